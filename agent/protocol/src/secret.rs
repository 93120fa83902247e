//! A secret in memory: it is not printed by mistake, is compared in constant time, and is overwritten when it is dropped.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Text of a password, a token or a code.
///
/// `Display` is missing and `Debug` shows nothing of the text, so it gets into a log line or an error only where the code
/// says [`expose`](Self::expose). Serialized, it is the text.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the text, for the place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl PartialEq for Secret {
    /// Compares in a time that depends on the length only.
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.0.as_bytes().ct_eq(other.0.as_bytes()))
    }
}

impl Eq for Secret {}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed_and_is_a_text_on_the_wire() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "Secret(…) Some(Secret(…))"
        );
        let text = serde_json::to_string(&secret).expect("a text");
        assert_eq!(text, "\"hunter2\"");
        assert_eq!(serde_json::from_str::<Secret>(&text).expect("a text"), secret);
        let error = serde_json::from_str::<Secret>("7")
            .expect_err("a number")
            .to_string();
        assert!(error.contains("expected a string"), "{error}");
    }

    #[test]
    fn equal_secrets_are_equal() {
        let secret = Secret::new("hunter2");
        for (other, equal) in [
            ("hunter2", true),
            ("hunter3", false),
            ("hunter", false),
            ("", false),
        ] {
            assert_eq!(secret == Secret::new(other), equal, "{other}");
        }
    }
}
