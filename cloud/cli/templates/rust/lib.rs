//! NAME: runs on the device. `iottly run --watch` runs it here and loads it again when you save.

use iottly_firmware::prelude::*;
use serde::Deserialize;

struct Room {
    temperature: f64,
    target: f64,
}

/// The command `{"set_target": {"celsius": 22}}`.
#[derive(Deserialize)]
struct SetTarget {
    celsius: f64,
}

impl Firmware for Room {
    fn init() -> Result<Self, Fault> {
        log::info("NAME starts");
        Ok(Self { temperature: 19.0, target: 20.0 })
    }

    fn tick(&mut self, _now_ms: u64) -> Result<Duration, Fault> {
        self.temperature += (self.target - self.temperature) * 0.1;
        send_msg(&json!({ "temperature": (self.temperature * 10.0).round() / 10.0, "target": self.target }))?;
        Ok(Duration::from_secs(1))
    }

    fn handle(&mut self, command: &Command) -> Result<(), Fault> {
        match command.name.as_str() {
            "set_target" => {
                self.target = target(&command.values()?)?;
                send_msg(&json!({ "set_target": { "target": self.target } }))
            }
            _ => Err(command.unsupported()),
        }
    }
}

fn target(wanted: &SetTarget) -> Result<f64, Fault> {
    if !(5.0..=30.0).contains(&wanted.celsius) {
        return Err(Fault::invalid("celsius must lie between 5 and 30"));
    }
    Ok(wanted.celsius)
}

iottly_firmware::firmware!(Room);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_limits() {
        assert_eq!(target(&SetTarget { celsius: 22.0 }), Ok(22.0));
        assert!(target(&SetTarget { celsius: 90.0 }).is_err());
    }
}
