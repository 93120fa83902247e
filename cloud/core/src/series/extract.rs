//! Numbers, flags and short texts in the payload of a message, each with its path.

use std::fmt;
use std::fmt::Write as _;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Maximum nesting of a number in its payload: keys and positions of its path.
pub const MAX_DEPTH: usize = 8;
/// Maximum length of a path, in bytes.
pub const MAX_PATH_BYTES: usize = 128;
/// Maximum number of values of one message that become points of series.
pub const MAX_VALUES: usize = 64;
/// Maximum magnitude of a value. The sum of all values that a history can hold stays a finite number.
pub const MAX_MAGNITUDE: f64 = 1e150;
/// Maximum length of a text that is a latest value, in bytes.
pub const LATEST_TEXT_BYTES: usize = 64;

/// Value in a payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A text of at most [`LATEST_TEXT_BYTES`].
    Text(&'a str),
}

/// Numbers of a payload that became no points, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Numbers, objects and arrays nested too deeply.
    pub deep: u64,
    /// Numbers whose path is too long, or has an empty key or a control character in it.
    pub named: u64,
    /// Numbers above the maximum of a message.
    pub many: u64,
    /// Numbers of too great a magnitude.
    pub great: u64,
}

impl Skipped {
    /// Returns the number of values that were skipped, for whatever reason.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.deep + self.named + self.many + self.great
    }
}

/// Calls `found` with the path and the value of each number in a payload. A path is the keys that lead to the number,
/// joined with `.`; positions of arrays are keys. A key that occurs twice in an object is found twice. Text that is not
/// JSON is read up to its error.
pub fn extract(payload: &str, mut found: impl FnMut(&str, f64)) -> Skipped {
    walk(payload, |path, value| {
        if let Found::Number(number) = value {
            found(path, number);
        }
    })
}

/// Calls `found` with the path and the value of each number, as [`extract`] does, and of each flag and short text. A message
/// has as many flags and texts as numbers.
pub fn walk(payload: &str, found: impl FnMut(&str, Found<'_>)) -> Skipped {
    let mut walk = Walk {
        path: String::new(),
        depth: 0,
        named: true,
        values: 0,
        words: 0,
        skipped: Skipped::default(),
        found,
    };
    let mut deserializer = serde_json::Deserializer::from_str(payload);
    // The error of a text that is not JSON is known since the message was accepted.
    let _ = (&mut walk).deserialize(&mut deserializer);
    walk.skipped
}

struct Walk<F> {
    path: String,
    depth: usize,
    /// False while the path holds a key that no series can have.
    named: bool,
    /// Numbers that were found.
    values: usize,
    /// Flags and texts that were found.
    words: usize,
    skipped: Skipped,
    found: F,
}

impl<F: FnMut(&str, Found<'_>)> Walk<F> {
    fn is_named(&self) -> bool {
        self.depth > 0 && self.named && self.path.len() <= MAX_PATH_BYTES
    }

    /// Takes a flag or a text. What exceeds a bound is no value of a series, so it is not counted.
    fn word(&mut self, found: Found<'_>) {
        if self.is_named() && self.words < MAX_VALUES {
            self.words += 1;
            (self.found)(&self.path, found);
        }
    }

    fn number(&mut self, value: f64) {
        // A payload that is a number itself has no path.
        if !self.is_named() {
            self.skipped.named += 1;
        } else if value.is_nan() || value.abs() > MAX_MAGNITUDE {
            self.skipped.great += 1;
        } else if self.values >= MAX_VALUES {
            self.skipped.many += 1;
        } else {
            self.values += 1;
            (self.found)(&self.path, Found::Number(value));
        }
    }

    /// Calls `read` below a key, whose name `push` appends.
    fn below<E>(
        &mut self,
        push: impl FnOnce(&mut String) -> bool,
        read: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let (length, named) = (self.path.len(), self.named);
        if self.depth > 0 {
            self.path.push('.');
        }
        self.named &= push(&mut self.path);
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        self.named = named;
        self.path.truncate(length);
        done
    }
}

impl<'de, F: FnMut(&str, Found<'_>)> DeserializeSeed<'de> for &mut Walk<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Key of an object; appends itself to the path.
struct Key<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        // A longer key is too long for a path, whatever follows.
        let end = key.floor_char_boundary(MAX_PATH_BYTES + 1);
        self.0.push_str(&key[..end]);
        Ok(!key.is_empty() && end == key.len() && !key.chars().any(char::is_control))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a series holds doubles; an integer beyond 2^53 is the nearest one"
)]
impl<'de, F: FnMut(&str, Found<'_>)> Visitor<'de> for &mut Walk<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.number(value as f64);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.number(value as f64);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.number(value);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if text.len() <= LATEST_TEXT_BYTES {
            self.word(Found::Text(text));
        }
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        self.word(Found::Flag(flag));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            self.skipped.deep += 1;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut key = String::new();
        loop {
            key.clear();
            let Some(named) = map.next_key_seed(Key(&mut key))? else {
                return Ok(());
            };
            let push = |path: &mut String| {
                path.push_str(&key);
                named
            };
            self.below(push, |walk| map.next_value_seed(walk))?;
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            self.skipped.deep += 1;
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        for at in 0_usize.. {
            let push = |path: &mut String| write!(path, "{at}").is_ok();
            let mut more = false;
            self.below(push, |walk| {
                more = seq.next_element_seed(walk)?.is_some();
                Ok(())
            })?;
            if !more {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(payload: &str) -> (Vec<(String, f64)>, Skipped) {
        let mut values = Vec::new();
        let skipped = extract(payload, |path, value| values.push((path.to_owned(), value)));
        (values, skipped)
    }

    #[test]
    fn each_number_has_the_path_that_leads_to_it() {
        let (values, skipped) = all(
            r#"{"t":21.5,"room":{"in":-3,"names":["a",{"x":1e3}]},"on":true,"none":null,"text":"7","list":[1,[2]]}"#,
        );
        let expected = [
            ("t", 21.5),
            ("room.in", -3.0),
            ("room.names.1.x", 1000.0),
            ("list.0", 1.0),
            ("list.1.0", 2.0),
        ];
        let expected: Vec<_> = expected.map(|(path, value)| (path.to_owned(), value)).into();
        assert_eq!((values, skipped), (expected, Skipped::default()));
    }

    #[test]
    fn what_exceeds_a_bound_is_counted_by_its_reason() {
        assert_eq!(all("7").1.named, 1);
        assert_eq!(
            all(r#"{"":1,"a\nb":2,"c":3}"#),
            (
                vec![("c".into(), 3.0)],
                Skipped {
                    named: 2,
                    ..Skipped::default()
                }
            )
        );
        let long = format!(
            r#"{{"{}":1,"{}":2}}"#,
            "k".repeat(MAX_PATH_BYTES),
            "k".repeat(MAX_PATH_BYTES + 1)
        );
        assert_eq!((all(&long).0.len(), all(&long).1.named), (1, 1));
        let deep = format!(
            "{}1{}",
            r#"{"a":"#.repeat(MAX_DEPTH + 1),
            "}".repeat(MAX_DEPTH + 1)
        );
        assert_eq!((all(&deep).0.len(), all(&deep).1.deep), (0, 1));
        let just = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
        assert_eq!(all(&just).0.len(), 1);
        let many = format!("[{}]", vec!["1"; MAX_VALUES + 5].join(","));
        assert_eq!((all(&many).0.len(), all(&many).1.many), (MAX_VALUES, 5));
        assert_eq!(all(r#"{"a":1e151,"b":-1e151,"c":1e150}"#).1.great, 2);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_exceed_its_bounds(text in ".{0,200}") {
            let (values, _) = all(&text);
            prop_assert!(values.len() <= MAX_VALUES);
            for (path, value) in values {
                prop_assert!(path.len() <= MAX_PATH_BYTES && value.is_finite());
            }
        }
    }
}
