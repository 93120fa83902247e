//! Properties of a board that its enrolment carries: for people, and to recognise a copy of its keys on other hardware.

use serde::{Deserialize, Serialize};

use super::hex;

/// Maximum length of a name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Maximum length of a profile or a version, in bytes.
const MAX_WORD_BYTES: usize = 64;

/// Reason why the properties of a board are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FactsError(&'static str);

/// Properties of a board, as it states them. None of them proves anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BoardFacts {
    /// Name that the board wants; the cloud's own name for the device comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// MAC address: six bytes in upper-case hex digits with colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Hash of the board's serial number or machine id: 64 lower-case hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// Board profile, such as `generic`.
    #[serde(default)]
    pub profile: String,
    /// Version of the agent.
    #[serde(default)]
    pub agent: String,
}

impl BoardFacts {
    /// Checks the form of all properties.
    ///
    /// # Errors
    /// Names the first property that is malformed.
    pub fn check(&self) -> Result<(), FactsError> {
        let plain = |text: &str, max: usize| text.len() <= max && !text.chars().any(char::is_control);
        if !self
            .name
            .as_deref()
            .is_none_or(|name| !name.trim().is_empty() && plain(name, MAX_NAME_BYTES))
        {
            return Err(FactsError(
                "name is not 1 to 128 bytes without control characters",
            ));
        }
        if !self.mac.as_deref().is_none_or(is_mac) {
            return Err(FactsError("mac is not of the form 00:00:5E:00:53:01"));
        }
        if self
            .hardware
            .as_deref()
            .is_some_and(|text| hex::<32>(text).is_none())
        {
            return Err(FactsError("hardware is not 64 lower-case hex digits"));
        }
        if !plain(&self.profile, MAX_WORD_BYTES) || !plain(&self.agent, MAX_WORD_BYTES) {
            return Err(FactsError(
                "profile or agent is longer than 64 bytes or has control characters",
            ));
        }
        Ok(())
    }
}

fn is_mac(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    text.len() == 17
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at % 3 == 2 { byte == b':' } else { is_digit(byte) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_properties_are_named() {
        let with = |change: fn(&mut BoardFacts)| {
            let mut facts = BoardFacts::default();
            change(&mut facts);
            facts.check().map_err(|error| error.to_string())
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|facts| facts.mac = Some("00:00:5E:00:53:01".into())), Ok(()));
        for (change, word) in [
            (
                (|facts| facts.name = Some(" ".into())) as fn(&mut BoardFacts),
                "name",
            ),
            (|facts| facts.name = Some("a\nb".into()), "name"),
            (|facts| facts.name = Some("x".repeat(129)), "name"),
            (|facts| facts.mac = Some("00:00:5e:00:53:01".into()), "mac"),
            (|facts| facts.mac = Some("é0:00:5E:00:53:1".into()), "mac"),
            (|facts| facts.hardware = Some("ab".into()), "hardware"),
            (|facts| facts.profile = "x".repeat(65), "profile"),
            (|facts| facts.agent = "1\0".into(), "agent"),
        ] {
            let error = with(change).expect_err(word);
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
