// Misbehaves on purpose, one way a command, to show how a device reacts. Not for real devices.

const hoard = [];

// Processor time: stopped as trap `time-budget`, then started again.
function spin() { for (;;); }

// Stack: trap `stack-overflow`.
function dive() { return dive() + 1; }

// Memory: the script's engine runs out and throws.
function hog() { for (;;) hoard.push(new Uint8Array(65536).fill(1)); }

// Host calls: trap `host-calls` if the processor time suffices, `time-budget` if not.
function pester() { for (;;) Date.now(); }

// The others end in a fault `limit` that the code can catch; here it becomes the command's result.
function shout() { for (;;) send_msg({ noise: 'x'.repeat(1000) }); }
function chatter() { for (let line = 0; line < 1000; line++) log(`line ${line}`); }
function oversize() { send_msg({ text: 'x'.repeat(2 * 1024 * 1024) }); }
function bloat() { state.set('bloat', 'x'.repeat(100000)); }
function scribble() { for (let n = 0; ; n++) state.set('scribble', n); }
function litter() { for (let n = 0; ; n++) setTimeout(() => {}, 3600000 + n); }

// A label that the manifest does not name: fault `denied`.
function trespass() { gpio.output('heater', true); }
function elsewhere() { i2c.open('sensors'); }
