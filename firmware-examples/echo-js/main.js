// The smallest firmware: sends hello once and answers the command `echo`.
// Every script answers `echo` even without a handler; this one shows how to write your own.

let echoes = 0;

function init() {
  send_msg({ hello: 'echo firmware is running' });
}

// Command: {"echo": {"content": "hi there!"}}
function echo(command) {
  echoes += 1;
  send_msg({ ECHO: { echo: { content: command.echo.content } } });
  log(`echo number ${echoes}: ${command.echo.content}`);
}
