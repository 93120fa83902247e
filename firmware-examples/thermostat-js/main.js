// A thermostat for one room: measures every second, heats when it is too cold, and takes a new target by command.
// The room is simulated, so it runs on any device.

const OUTSIDE = 8; // degrees Celsius
const HYSTERESIS = 0.3; // the heater does not chatter around the target

const room = { temperature: 18, target: 20, heating: false, at: 0 };

function init() {
  room.at = Date.now();
  log(`thermostat ready, target ${room.target} degrees`);
}

// Called every second.
function loop() {
  const now = Date.now();
  simulate(Math.min(Math.max(now - room.at, 0), 10000) / 1000);
  room.at = now;
  control();
  send_msg(reading());
}

// Command: {"set_target": {"celsius": "22.5"}}
function set_target(command) {
  const value = command.set_target.celsius;
  const celsius = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof celsius !== 'number' || !Number.isFinite(celsius)) {
    return refuse(`celsius is ${JSON.stringify(value)}, not a number`);
  }
  if (celsius < 5 || celsius > 30) {
    return refuse(`celsius is ${celsius}, it must lie between 5 and 30`);
  }
  room.target = celsius;
  control();
  log(`new target ${celsius} degrees`);
  send_msg({ set_target: { accepted: true, ...reading() } });
}

function refuse(reason) {
  log.warn(`set_target refused: ${reason}`);
  send_msg({ set_target: { accepted: false, error: reason } });
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
}

// Heat flows out, the heater adds some, and the sensor has noise.
function simulate(seconds) {
  const loss = (room.temperature - OUTSIDE) * 0.004;
  const gain = room.heating ? 0.15 : 0;
  const noise = (Math.random() - 0.5) * 0.04;
  room.temperature += (gain - loss) * seconds + noise;
}
