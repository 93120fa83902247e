//! The text of a manifest and its rules. Grants nothing: a device decides what it allows.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::Interface;

/// Maximum size of a manifest, in bytes.
pub(crate) const MAX_BYTES: usize = 64 << 10;
/// Maximum size of the name of a firmware, a label or a channel, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Maximum number of labels of one interface, and of channels.
const MAX_LABELS: usize = 64;

/// Parsed manifest of a firmware.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the firmware: letters, digits, `-`, `_` and `.`, at most 128 bytes.
    pub name: String,
    /// Language of the source, if the manifest names it.
    pub lang: Option<Lang>,
    /// Labels and channels that the firmware uses.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Sizes that the firmware needs.
    #[serde(default)]
    pub sizes: Sizes,
}

/// Language of a firmware's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// JavaScript.
    Js,
    /// Rust.
    Rust,
}

/// Labels and channels that a firmware requests; at most 64 each, of at most 128 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Digital pins.
    pub gpio: BTreeSet<String>,
    /// I2C buses.
    pub i2c: BTreeSet<String>,
    /// SPI devices.
    pub spi: BTreeSet<String>,
    /// Serial ports.
    pub uart: BTreeSet<String>,
    /// PWM outputs.
    pub pwm: BTreeSet<String>,
    /// Analog inputs.
    pub adc: BTreeSet<String>,
    /// Channels for messages; every channel if there is no list.
    pub channels: Option<BTreeSet<String>>,
}

/// Sizes that a firmware requests; the device's default where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sizes {
    /// Size of linear memory, in bytes.
    pub memory: Option<usize>,
    /// Size of one message's payload, in bytes.
    pub payload: Option<usize>,
    /// Size of the key-value state, keys and values together, in bytes.
    pub state_bytes: Option<usize>,
    /// Number of keys in the state.
    pub state_keys: Option<usize>,
}

/// Reason why a text is not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The text is too long.
    #[error("the manifest has {0} bytes, the limit is {MAX_BYTES}")]
    TooLong(usize),
    /// The text is not TOML, lacks a field or has an unknown one.
    #[error("{0}")]
    Syntax(String),
    /// A name or label is not allowed.
    #[error("{what} {name:?}: {reason}")]
    Name {
        /// Kind of the name.
        what: &'static str,
        /// Refused name, cut if it is long.
        name: String,
        /// Rule that the name breaks.
        reason: &'static str,
    },
    /// More labels than a firmware may name.
    #[error("{what}: {count} names, the limit is {MAX_LABELS}")]
    TooMany {
        /// Name of the list.
        what: &'static str,
        /// Number of entries.
        count: usize,
    },
}

impl Manifest {
    /// Parses the text of a `firmware.toml`.
    ///
    /// # Errors
    /// [`ManifestError`] with the line or the name that is wrong.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_BYTES {
            return Err(ManifestError::TooLong(text.len()));
        }
        let manifest: Self =
            toml::from_str(text).map_err(|error| ManifestError::Syntax(syntax(text, &error)))?;
        if !manifest
            .name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            return Err(name_error(
                "name",
                &manifest.name,
                "only letters, digits, '-', '_' and '.'",
            ));
        }
        check_name("name", &manifest.name)?;
        manifest.capabilities.check()?;
        Ok(manifest)
    }

    /// Returns the interfaces that a firmware with this manifest may import: those of every firmware, and
    /// those of the board whose labels it names.
    pub fn interfaces(&self) -> impl Iterator<Item = Interface> + '_ {
        let asks = |interface: &Interface| {
            !interface.is_hardware() || !self.capabilities.labels(*interface).is_empty()
        };
        Interface::ALL.into_iter().filter(asks)
    }
}

static NONE: BTreeSet<String> = BTreeSet::new();

impl Capabilities {
    /// Returns the labels requested of `interface`; none for interfaces without labels.
    #[must_use]
    pub fn labels(&self, interface: Interface) -> &BTreeSet<String> {
        match interface {
            Interface::Gpio => &self.gpio,
            Interface::I2c => &self.i2c,
            Interface::Spi => &self.spi,
            Interface::Uart => &self.uart,
            Interface::Pwm => &self.pwm,
            Interface::Adc => &self.adc,
            _ => &NONE,
        }
    }

    fn check(&self) -> Result<(), ManifestError> {
        let hardware = Interface::ALL
            .into_iter()
            .map(|interface| (interface.name(), self.labels(interface)));
        let channels = self.channels.as_ref().map(|channels| ("channels", channels));
        for (what, names) in hardware.chain(channels) {
            if names.len() > MAX_LABELS {
                return Err(ManifestError::TooMany {
                    what,
                    count: names.len(),
                });
            }
            names.iter().try_for_each(|name| check_name(what, name))?;
        }
        Ok(())
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), ManifestError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "it is longer than 128 bytes"
    } else if name.chars().any(char::is_control) {
        "it contains control characters"
    } else {
        return Ok(());
    };
    Err(name_error(what, name, reason))
}

fn name_error(what: &'static str, name: &str, reason: &'static str) -> ManifestError {
    ManifestError::Name {
        what,
        name: name.chars().take(40).collect(),
        reason,
    }
}

/// Returns `line 3: unknown field …`, on one line.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| {
        text.as_bytes()[..span.start.min(text.len())]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1
    });
    let message: String = error.message().replace('\n', " ").chars().take(300).collect();
    format!("line {line}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
name = "thermostat"
lang = "js"
[capabilities]
gpio = ["heater"]
i2c = ["sensors"]
channels = ["alarm"]
[sizes]
state_bytes = 4096
"#;

    #[test]
    fn a_manifest_asks_for_what_it_names() {
        let manifest = Manifest::parse(FULL).unwrap();
        assert_eq!(
            (manifest.name.as_str(), manifest.lang),
            ("thermostat", Some(Lang::Js))
        );
        assert!(manifest.capabilities.labels(Interface::Gpio).contains("heater"));
        assert_eq!(manifest.sizes.state_bytes, Some(4096));
        let board: Vec<_> = manifest
            .interfaces()
            .filter(|interface| interface.is_hardware())
            .collect();
        assert_eq!(board, [Interface::Gpio, Interface::I2c]);
        assert!(
            manifest
                .interfaces()
                .any(|interface| interface == Interface::Telemetry)
        );
    }

    #[test]
    fn nothing_of_the_board_is_asked_for_by_silence() {
        let manifest = Manifest::parse("name = \"echo\"").unwrap();
        assert_eq!(
            manifest
                .interfaces()
                .filter(|interface| interface.is_hardware())
                .count(),
            0
        );
        assert_eq!(manifest.capabilities.channels, None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text: &str| Manifest::parse(text).unwrap_err().to_string();
        assert_eq!(error("lang = \"js\""), "line 1: missing field `name`");
        assert!(error("name = \"a\"\n\nnmae = 1").starts_with("line 3: unknown field `nmae`"));
        assert!(
            error("name = \"a\"\n[capabilities]\ngpoi = [\"x\"]").starts_with("line 3: unknown field `gpoi`")
        );
        assert_eq!(
            error("name = \"a b\""),
            "name \"a b\": only letters, digits, '-', '_' and '.'"
        );
        assert_eq!(error("name = \"\""), "name \"\": it is empty");
        assert_eq!(
            error("name = \"a\"\ncapabilities.gpio = [\"\"]"),
            "gpio \"\": it is empty"
        );
        assert_eq!(
            error(&"#".repeat(MAX_BYTES + 1)),
            "the manifest has 65537 bytes, the limit is 65536"
        );
        let many: Vec<_> = (0..65).map(|n| format!("\"{n}\"")).collect();
        assert_eq!(
            error(&format!("name = \"a\"\ncapabilities.i2c = [{}]", many.join(","))),
            "i2c: 65 names, the limit is 64"
        );
    }
}
