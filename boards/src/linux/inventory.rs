//! Parts that a board offers, and which of them are free.

use std::io;
use std::path::Path;

use gpiocdev::Chip;

use super::{LinuxBoard, adc, gpio, pwm};
use crate::profile::Node;
use crate::{Part, State};

impl LinuxBoard {
    /// Returns the parts of the profile; with `discover`, also those that the system has. Opens nothing that is free.
    pub(super) fn inventory(&self) -> Vec<Part> {
        let mut parts = self.pins();
        let profile = &self.profile;
        parts.extend(profile.i2c.iter().map(|node| self.node_part("i2c", node)));
        parts.extend(profile.spi.iter().map(|spi| self.node_part("spi", &spi.at)));
        parts.extend(profile.uart.iter().map(|node| self.node_part("uart", node)));
        let class = self.system.sys("class/pwm");
        for part in &profile.pwm {
            let state = match pwm::chip(&class, &part.device) {
                Ok(chip) if pwm::is_running(&chip, part.channel) => {
                    State::Used("a running signal".to_owned())
                }
                Ok(chip) => self.access(&part.label, &chip.join("export"), None),
                Err(error) => self.refused(
                    &part.label,
                    &class.join(&part.device),
                    part.needs.as_deref(),
                    &error,
                ),
            };
            let device = format!("{} channel {}", part.device, part.channel);
            parts.push(Part::new("pwm", &part.label, device, state));
        }
        let devices = self.system.sys("bus/iio/devices");
        for part in &profile.adc {
            let state = match adc::converter(&devices, &part.device) {
                Ok(_) => State::Free,
                Err(error) => self.refused(
                    &part.label,
                    &devices.join(&part.device),
                    part.needs.as_deref(),
                    &error,
                ),
            };
            let device = format!("{} {}", part.device, part.channel);
            parts.push(Part::new("adc", &part.label, device, state));
        }
        if profile.discover {
            self.discovered_nodes(&mut parts);
        }
        parts
    }

    fn pins(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for pin in &self.profile.pins {
            let state = match gpio::chip_of(&self.system, &self.profile.name, &pin.label, pin) {
                Ok(chip) => line_state(&chip, pin.line),
                Err(error) => State::Refused(error.to_string()),
            };
            parts.push(Part {
                alias: pin.alias.clone(),
                ..Part::new(
                    "gpio",
                    &pin.label,
                    format!("{} line {}", pin.chip, pin.line),
                    state,
                )
            });
        }
        if self.profile.discover {
            for chip in gpio::chips(&self.system).0 {
                for line in 0..chip.lines.min(1024) {
                    let label = format!("{}/{line}", chip.label);
                    let device = format!("{} line {line}", chip.name);
                    parts.push(Part::new("gpio", &label, device, line_state(&chip.path, line)));
                }
            }
        }
        parts
    }

    fn node_part(&self, interface: &'static str, node: &Node) -> Part {
        let path = self.system.dev(&node.node);
        let state = self.access(&node.label, &path, node.needs.as_deref());
        Part::new(interface, &node.label, path.display().to_string(), state)
    }

    /// Nodes of `/dev` whose names are labels.
    fn discovered_nodes(&self, parts: &mut Vec<Part>) {
        let kinds = [
            ("i2c", "i2c-"),
            ("spi", "spidev"),
            ("uart", "ttyS"),
            ("uart", "ttyAMA"),
            ("uart", "ttyUSB"),
            ("uart", "ttyACM"),
        ];
        let Ok(entries) = std::fs::read_dir(self.system.dev("")) else {
            return;
        };
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        for (interface, begin) in kinds {
            for name in names.iter().filter(|name| name.starts_with(begin)) {
                parts.push(self.node_part(
                    interface,
                    &Node {
                        label: name.clone(),
                        node: name.clone(),
                        needs: None,
                    },
                ));
            }
        }
    }

    /// Returns the state of a file that has to be writable.
    fn access(&self, label: &str, path: &Path, needs: Option<&str>) -> State {
        use rustix::fs::{Access, access};
        match access(path, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) => State::Free,
            // Files that only take a value are not readable.
            Err(_) if access(path, Access::WRITE_OK).is_ok() => State::Free,
            Err(error) => self.refused(label, path, needs, &error.into()),
        }
    }

    fn refused(&self, label: &str, path: &Path, needs: Option<&str>, error: &io::Error) -> State {
        State::Refused(self.system.refusal(label, path, needs, error).to_string())
    }
}

fn line_state(chip: &Path, line: u32) -> State {
    match Chip::from_path(chip).and_then(|chip| chip.line_info(line)) {
        Ok(info) if !info.used => State::Free,
        Ok(info) if info.consumer.is_empty() => State::Used("the kernel".to_owned()),
        Ok(info) => State::Used(info.consumer),
        Err(error) => State::Refused(error.to_string()),
    }
}
