//! The smallest firmware: sends hello once. Every firmware answers the command `echo`; this one shows how to
//! write your own answer.

use iottly_firmware::prelude::*;

struct Echo {
    echoes: u32,
}

impl Firmware for Echo {
    fn init() -> Result<Self, Fault> {
        send_msg(&json!({ "hello": "echo firmware is running" }))?;
        Ok(Self { echoes: 0 })
    }

    // Command: {"echo": {"content": "hi there!"}}
    fn handle(&mut self, command: &Command) -> Result<(), Fault> {
        if command.name != "echo" {
            return Err(command.unsupported());
        }
        self.echoes += 1;
        log::info(&format!("echo number {}: {}", self.echoes, command.values));
        send(&format!(r#"{{"ECHO":{{"echo":{}}}}}"#, command.values))
    }
}

iottly_firmware::firmware!(Echo);
