// Counts how often a button is pressed. Contacts bounce, so a level counts once it has lasted for 20 ms.

const HOLD = 20;

let button, led, timer;
let pressed = false;
let presses = 0;

function init() {
  button = gpio.input('button', 'down');
  led = gpio.output('led');
  pressed = button.value;
  button.onChange(() => {
    clearTimeout(timer);
    timer = setTimeout(settled, HOLD);
  });
}

function settled() {
  if (button.value === pressed) return;
  pressed = button.value;
  led.set(pressed);
  if (pressed) send_msg({ presses: ++presses });
}
