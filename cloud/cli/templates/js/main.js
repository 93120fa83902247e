// NAME: runs on the device. `iottly run --watch` runs it here and loads it again when you save.

const room = { temperature: 19, target: 20 };

// Once, when the firmware starts.
function init() {
  log('NAME starts');
}

// Every second, unless it returns other milliseconds.
function loop() {
  room.temperature += (room.target - room.temperature) * 0.1 + (Math.random() - 0.5) * 0.2;
  send_msg({ temperature: Math.round(room.temperature * 10) / 10, target: room.target });
}

// One function per command: {"set_target": {"celsius": 22}}
function set_target(command) {
  const celsius = Number(command.set_target.celsius);
  if (!(celsius >= 5 && celsius <= 30)) throw new Fault('invalid', 'celsius must lie between 5 and 30');
  room.target = celsius;
  send_msg({ set_target: { target: celsius } });
}
