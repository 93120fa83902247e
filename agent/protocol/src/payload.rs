//! Rules for the payload and the channel of a message. Device and cloud call the same functions: what a
//! device has accepted from its firmware is never refused later for its form.
//!
//! A payload is JSON that every reader of this project can turn into values: within [`MAX_PAYLOAD_BYTES`] and
//! [`MAX_JSON_DEPTH`], no number outside of a double's range, and well-formed text. Half a surrogate pair
//! (`\ud83d` alone, from a text that was cut in the middle of an emoji) is not a reason to lose a message: it
//! becomes U+FFFD, as in browsers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::{MAX_CHANNEL_BYTES, MAX_JSON_DEPTH, MAX_PAYLOAD_BYTES, depth};

/// Length of a run of digits from which on a number may be outside of a double's range.
const LONG_NUMBER: usize = 300;
/// Size of one `\uXXXX`, in bytes.
const ESCAPE: usize = 6;

/// Maximum size and depth of a payload; a device may set smaller ones than the wire has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum size, in bytes.
    pub bytes: usize,
    /// Maximum nesting of objects and arrays.
    pub depth: usize,
}

impl Bounds {
    /// Bounds of the wire, which the cloud accepts.
    pub const WIRE: Self = Self {
        bytes: MAX_PAYLOAD_BYTES,
        depth: MAX_JSON_DEPTH,
    };
}

/// Reason why a text is not a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// The text is too long.
    #[error("the payload has {len} bytes, the limit is {max}")]
    TooLarge {
        /// Size of the text, in bytes.
        len: usize,
        /// Maximum size, in bytes.
        max: usize,
    },
    /// Objects and arrays are nested too deeply.
    #[error("the payload nests {depth} levels deep, the limit is {max}")]
    TooDeep {
        /// Depth of the text.
        depth: usize,
        /// Maximum depth.
        max: usize,
    },
    /// The text is not an object, which a firmware's payload has to be.
    #[error("the payload is not a JSON object")]
    NotObject,
    /// The text is not JSON, or holds a number outside of a double's range.
    #[error("the payload is not valid JSON: {0}")]
    NotJson(String),
}

/// Reason why a text is not the name of a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChannel {
    /// The name is empty.
    #[error("the channel's name is empty")]
    Empty,
    /// The name is too long.
    #[error("the channel's name has {0} bytes, the limit is {MAX_CHANNEL_BYTES}")]
    TooLong(usize),
    /// The name has control characters.
    #[error("the channel's name contains control characters")]
    Control,
}

/// Checks the payload that a firmware sends: one object. Returns its text, with U+FFFD in place of half
/// surrogate pairs; the length stays the same.
///
/// # Errors
/// [`BadPayload`], which the firmware receives at once.
pub fn accept_object(text: &str, bounds: Bounds) -> Result<Cow<'_, str>, BadPayload> {
    within(text, bounds)?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(BadPayload::NotObject);
    }
    let text = mended(text);
    readable(&text)?;
    Ok(text)
}

/// Checks the payload of a record that has arrived; it may be any value. JSON that passed as raw text is read
/// a second time only when it holds what raw text hides: escapes, exponents, very long numbers.
///
/// # Errors
/// [`BadPayload`]; none of these texts passes [`accept_object`] on a device.
pub fn accept_raw(raw: &RawValue) -> Result<Box<RawValue>, BadPayload> {
    within(raw.get(), Bounds::WIRE)?;
    if !may_be_unreadable(raw.get()) {
        return Ok(raw.to_owned());
    }
    let text = mended(raw.get());
    readable(&text)?;
    match text {
        Cow::Borrowed(_) => Ok(raw.to_owned()),
        Cow::Owned(text) => {
            RawValue::from_string(text).map_err(|error| BadPayload::NotJson(error.to_string()))
        }
    }
}

/// Checks the name of a channel.
///
/// # Errors
/// [`BadChannel`] with the rule that the name breaks.
pub fn check_channel(name: &str) -> Result<(), BadChannel> {
    if name.is_empty() {
        return Err(BadChannel::Empty);
    }
    if name.len() > MAX_CHANNEL_BYTES {
        return Err(BadChannel::TooLong(name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(BadChannel::Control);
    }
    Ok(())
}

fn within(text: &str, bounds: Bounds) -> Result<(), BadPayload> {
    if text.len() > bounds.bytes {
        return Err(BadPayload::TooLarge {
            len: text.len(),
            max: bounds.bytes,
        });
    }
    let depth = depth(text);
    if depth > bounds.depth {
        return Err(BadPayload::TooDeep {
            depth,
            max: bounds.depth,
        });
    }
    Ok(())
}

/// Returns JSON text with escapes of half surrogate pairs replaced by `\ufffd`, which is as long.
fn mended(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == b'\\'))
    {
        at += found;
        match (surrogate(bytes, at), surrogate(bytes, at + ESCAPE)) {
            (Some(Half::High), Some(Half::Low)) => at += 2 * ESCAPE,
            (Some(_), _) => {
                mended.get_or_insert_with(|| bytes.to_vec())[at..at + ESCAPE].copy_from_slice(br"\ufffd");
                at += ESCAPE;
            }
            // Another escape: its second character never begins one.
            (None, _) => at += 2,
        }
    }
    mended.map_or(Cow::Borrowed(text), |bytes| {
        Cow::Owned(String::from_utf8(bytes).expect("ASCII was replaced by as much ASCII"))
    })
}

/// Half of a surrogate pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// Returns the half that `\uXXXX` at this place stands for, if it is one.
fn surrogate(bytes: &[u8], at: usize) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', kind, third, fourth] = bytes.get(at..at + ESCAPE)? else {
        return None;
    };
    let hex = third.is_ascii_hexdigit() && fourth.is_ascii_hexdigit();
    match kind {
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' if hex => Some(Half::High),
        b'c'..=b'f' | b'C'..=b'F' if hex => Some(Half::Low),
        _ => None,
    }
}

/// Returns true if JSON that passed as raw text could still fail to become values: half surrogate pairs and
/// numbers out of range hide behind `\u`, exponents and very long runs of digits.
fn may_be_unreadable(text: &str) -> bool {
    let mut digits = 0usize;
    let mut before = 0u8;
    for byte in text.bytes() {
        let suspicious = match byte {
            b'e' | b'E' => digits > 0,
            b'u' => before == b'\\',
            _ => false,
        };
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        if suspicious || digits > LONG_NUMBER {
            return true;
        }
        before = byte;
    }
    false
}

fn readable(text: &str) -> Result<(), BadPayload> {
    serde_json::from_str::<Readable>(text)
        .map(drop)
        .map_err(|error| BadPayload::NotJson(error.to_string()))
}

/// Accepts any value that [`serde_json::Value`] would, and keeps nothing of it.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Bounds = Bounds { bytes: 200, depth: 3 };

    fn refuse(text: &str) -> String {
        accept_object(text, SMALL).expect_err(text).to_string()
    }

    #[test]
    fn objects_pass_as_they_are() {
        for text in [
            "{}",
            " {\"a\":[[1]]}",
            r#"{"a":"[[[[[{\"{{{{\\"}"#,
            r#"{"z":1,"a":1e300,"z":2}"#,
            r#"{"a":"\u0000\\ud83d"}"#,
        ] {
            assert_eq!(accept_object(text, SMALL).as_deref(), Ok(text));
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for text in ["[1]", "\"{}\"", ""] {
            assert_eq!(refuse(text), "the payload is not a JSON object");
        }
        assert!(refuse("{} {}").starts_with("the payload is not valid JSON: trailing characters"));
        for text in [
            "{\"a\":NaN}",
            "{\"a\":1e400}",
            "{\"a\":-1e999}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":01}",
            "{'a':1}",
            r#"{"a":"\x"}"#,
        ] {
            assert!(
                refuse(text).starts_with("the payload is not valid JSON"),
                "{text}"
            );
        }
        assert_eq!(
            refuse("{\"a\":[[[1]]]}"),
            "the payload nests 4 levels deep, the limit is 3"
        );
        assert_eq!(
            refuse(&format!("{{\"a\":\"{}\"}}", "x".repeat(300))),
            "the payload has 308 bytes, the limit is 200"
        );
        let long = format!("{{\"a\":{}}}", "9".repeat(400));
        assert!(accept_object(&long, Bounds::WIRE).is_err());
    }

    #[test]
    fn half_a_pair_becomes_the_replacement_character() {
        for (text, expected) in [
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (r#"{"a":"\uDD25\ud83d"}"#, r#"{"a":"\ufffd\ufffd"}"#),
            (r#"{"a":"\ud83d\ud83d\udd25"}"#, r#"{"a":"\ufffd\ud83d\udd25"}"#),
            (
                r#"{"\ud83d":"\\ud83d \ud83dx"}"#,
                r#"{"\ufffd":"\\ud83d \ufffdx"}"#,
            ),
            (r#"{"a":"\\\ud83d\u0041"}"#, r#"{"a":"\\\ufffd\u0041"}"#),
        ] {
            assert_eq!(accept_object(text, SMALL).as_deref(), Ok(expected));
            let raw = RawValue::from_string(text.to_owned()).expect("raw JSON");
            assert_eq!(accept_raw(&raw).expect("mended").get(), expected);
        }
    }

    #[test]
    fn sizes_end_at_the_limit_to_the_byte() {
        for (over, good) in [(0, true), (1, false)] {
            let text = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_PAYLOAD_BYTES - 8 + over));
            assert_eq!(accept_object(&text, Bounds::WIRE).is_ok(), good, "{}", text.len());
            let nested = format!(
                "{}1{}",
                "{\"a\":".repeat(MAX_JSON_DEPTH + over),
                "}".repeat(MAX_JSON_DEPTH + over)
            );
            assert_eq!(accept_object(&nested, Bounds::WIRE).is_ok(), good);
            assert_eq!(check_channel(&"c".repeat(MAX_CHANNEL_BYTES + over)).is_ok(), good);
        }
        assert_eq!(check_channel(""), Err(BadChannel::Empty));
        assert_eq!(check_channel("a\u{85}b"), Err(BadChannel::Control));
    }

    proptest! {
        /// Every text that passes can be read as values, and passes again unchanged.
        #[test]
        fn what_passes_can_be_read(text in r#"\{("[a\\ud83D5"]{0,12}":?)?[\[\]{}",:\\ud83dD5bnft0-9eE.+\-]{0,40}\}"#) {
            if let Ok(accepted) = accept_object(&text, Bounds::WIRE) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&accepted).is_ok(), "{accepted}");
                let again = accept_object(&accepted, Bounds::WIRE);
                prop_assert_eq!(again.as_deref(), Ok(&*accepted));
                let raw = RawValue::from_string(accepted.clone().into_owned()).expect("raw JSON");
                let taken = accept_raw(&raw).expect("the cloud takes it");
                prop_assert_eq!(taken.get(), &*accepted);
            }
        }

        /// Every text passes that is written as JSON with each character escaped.
        #[test]
        fn any_text_passes(units in proptest::collection::vec(any::<u16>(), 0..40)) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let accepted = accept_object(&format!("{{\"{escaped}\":\"{escaped}\"}}"), Bounds::WIRE).map(Cow::into_owned);
            let value: serde_json::Value = serde_json::from_str(&accepted.expect("accepted")).expect("readable");
            let lossy = String::from_utf16_lossy(&units);
            prop_assert_eq!(value[&lossy].as_str(), Some(&*lossy));
        }
    }
}
