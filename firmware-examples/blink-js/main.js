// Blinks the LED twice a second.

let led;

function init() {
  led = gpio.output('led');
}

function loop() {
  led.toggle();
  return 250;
}
