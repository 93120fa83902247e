//! Parts of the board that the device's operator grants to firmware. Pure.

use std::collections::{BTreeMap, BTreeSet};

use iottly_sandbox::Interface;
use serde::Deserialize;

/// Labels of the board, by interface. An interface that is not listed has none; `*` stands for all labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, BTreeSet<String>>")]
pub struct Grants(BTreeMap<Interface, BTreeSet<String>>);

impl Grants {
    /// Returns `true` if the list has this label.
    #[must_use]
    pub fn allow(&self, interface: Interface, label: &str) -> bool {
        self.0
            .get(&interface)
            .is_some_and(|labels| labels.contains(label) || labels.contains("*"))
    }
}

impl TryFrom<BTreeMap<String, BTreeSet<String>>> for Grants {
    type Error = String;

    fn try_from(lists: BTreeMap<String, BTreeSet<String>>) -> Result<Self, String> {
        let hardware = |(name, labels): (String, BTreeSet<String>)| {
            let interface = Interface::from_name(&name).filter(|interface| interface.is_hardware());
            interface
                .map(|interface| (interface, labels))
                .ok_or_else(|| format!("{name:?} is not an interface of a board"))
        };
        lists
            .into_iter()
            .map(hardware)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(text: &str) -> Result<Grants, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn what_is_not_named_is_not_granted() {
        let grants = grants("gpio = [\"led\"]\nuart = []").expect("valid");
        assert!(grants.allow(Interface::Gpio, "led"));
        assert!(!grants.allow(Interface::Gpio, "relay"));
        assert!(!grants.allow(Interface::Uart, "led"));
        assert!(!grants.allow(Interface::I2c, "led"));
    }

    #[test]
    fn only_interfaces_of_a_board_are_granted() {
        for text in ["telemetry = [\"a\"]", "gpoi = [\"led\"]"] {
            let error = grants(text).expect_err(text).to_string();
            assert!(error.contains("is not an interface of a board"), "{error}");
        }
    }
}
