// Counts, ten messages a second. A number is on the device's disk before it counts as sent, so a missing number in the
// history is a lost message. After a kill between the two lines a number may be sent twice.
function loop() {
  const n = state.get('n', 0) + 1;
  send_msg({ n }, { durable: true });
  state.set('n', n);
  return 100;
}
