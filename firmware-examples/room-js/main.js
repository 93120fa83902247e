// A heated room on the virtual board: its thermometer measures the air outside, the LED blinks while the firmware lives, the
// heater's pin is high while it heats, and the button raises the target by half a degree. Only the room is simulated.

const SENSOR = 0x76; // a BME280 on the bus `sensors`
const HYSTERESIS = 0.3; // the heater does not chatter around the target
const INSULATION = 0.01; // share of the difference to the outside that is lost in a second
const POWER = 0.5; // degrees that the heater adds in a second

const room = { temperature: 21, target: 23, heating: false, at: 0 };
let led, heater, button, bus, trim;
let presses = 0;

function init() {
  led = gpio.output('led');
  heater = gpio.output('heater');
  button = gpio.input('button', 'down');
  button.onRising(pressed);
  bus = i2c.open('sensors');
  const [a, b, c, d, e, f] = bus.writeRead(SENSOR, [0x88], 6);
  trim = [a | b << 8, signed(c | d << 8), signed(e | f << 8)];
  bus.write(SENSOR, [0xf4, 0b00100011]); // measure the temperature again and again
  room.at = Date.now();
  log(`room ready, target ${room.target} degrees`);
}

// Called every second.
function loop() {
  led.toggle();
  const now = Date.now();
  const outside = measure();
  simulate(outside, Math.min(Math.max(now - room.at, 0), 10000) / 1000);
  room.at = now;
  control();
  send_msg({ ...reading(), outside });
}

function pressed() {
  presses += 1;
  room.target = room.target >= 30 ? 18 : room.target + 0.5;
  control();
  send_msg({ button: { presses, target: room.target } });
}

// Command: {"set_target": {"celsius": "22.5"}}
function set_target(command) {
  const value = command.set_target.celsius;
  const celsius = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof celsius !== 'number' || !(celsius >= 5 && celsius <= 30)) {
    log.warn(`set_target refused: ${JSON.stringify(value)}`);
    return send_msg({ set_target: { accepted: false, error: 'celsius must be a number from 5 to 30' } });
  }
  room.target = celsius;
  control();
  log(`new target ${celsius} degrees`);
  send_msg({ set_target: { accepted: true, ...reading() } });
}

// Uses the room's name from the device's settings in the cloud.
function reading() {
  const values = { temperature: Math.round(room.temperature * 10) / 10, target: room.target, heating: room.heating };
  const name = config.get('room');
  return name === undefined ? values : { room: name, ...values };
}

function control() {
  if (room.temperature < room.target - HYSTERESIS) room.heating = true;
  if (room.temperature > room.target + HYSTERESIS) room.heating = false;
  heater.set(room.heating);
}

// Heat flows out, the heater adds some, and walls are never quite still.
function simulate(outside, seconds) {
  const loss = (room.temperature - outside) * INSULATION;
  const gain = room.heating ? POWER : 0;
  room.temperature += (gain - loss) * seconds + (Math.random() - 0.5) * 0.04;
}

// Temperature as the sensor's data sheet computes it, from a value of 20 bits and three numbers of its calibration.
function measure() {
  const [high, middle, low] = bus.writeRead(SENSOR, [0xfa], 3);
  const raw = high << 12 | middle << 4 | low >> 4;
  const first = (raw / 16384 - trim[0] / 1024) * trim[1];
  const second = (raw / 131072 - trim[0] / 8192) ** 2 * trim[2];
  return Math.round((first + second) / 512) / 10;
}

function signed(word) {
  return word > 32767 ? word - 65536 : word;
}
