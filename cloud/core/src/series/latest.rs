//! Latest values of a device: the newest number, flag or short text of each path of its messages, packed as one text.
//!
//! The text is a list of words: `@` and a time in Unix milliseconds begin the values of that time, and each value is two
//! words, its path and itself. It has no quotation mark, backslash or control character, so that a database that packs many
//! of them as JSON need not escape anything.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize, Serializer};

use super::MAX_PATHS;
use super::extract::{Found, walk};
use crate::model::UnixMs;
use iottly_filter::{Document, Value};

/// Maximum number of latest values of a device: as many as a project has series.
pub const MAX_LATEST: usize = MAX_PATHS;
/// Maximum size of the packed latest values of a device, in bytes. The oldest ones that exceed it are forgotten.
pub const MAX_LATEST_BYTES: usize = 16 << 10;

/// Number, flag or short text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Reading {
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A text of at most [`LATEST_TEXT_BYTES`](super::LATEST_TEXT_BYTES).
    Text(String),
}

impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // A whole number has no point, as most devices send it.
            Self::Number(number) => match written(*number).parse::<i64>() {
                Ok(whole) => serializer.serialize_i64(whole),
                Err(_) => serializer.serialize_f64(*number),
            },
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl From<Found<'_>> for Reading {
    fn from(found: Found<'_>) -> Self {
        match found {
            Found::Number(number) => Self::Number(number),
            Found::Flag(flag) => Self::Flag(flag),
            Found::Text(text) => Self::Text(text.to_owned()),
        }
    }
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => f.write_str(&written(*number)),
            Self::Flag(flag) => flag.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Returns a number in the fewest digits that give it back.
fn written(number: f64) -> String {
    // The other form writes a hundred digits of a large number.
    let text = format!("{number:?}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Latest value of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestValue<'a> {
    /// Keys that lead to the value, joined with `.`.
    pub path: Cow<'a, str>,
    /// The value.
    pub value: Reading,
    /// Time of its message.
    pub at: UnixMs,
}

/// Packed latest values of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latest(String);

impl Latest {
    /// Returns what was stored.
    #[must_use]
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the text to store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the values, the newest first, then by path. Damaged ones are left out.
    pub fn values(&self) -> impl Iterator<Item = LatestValue<'_>> {
        self.words().filter_map(|(at, path, word)| {
            Some(LatestValue {
                path: unescaped(path),
                value: value(word)?,
                at,
            })
        })
    }

    /// Returns the values of some paths by their places in the list; none for a path without a value.
    #[must_use]
    pub fn of_paths(&self, paths: &[String]) -> Vec<Option<(Reading, UnixMs)>> {
        let mut found = vec![None; paths.len()];
        for value in self.values() {
            if let Some(place) = paths.iter().position(|path| *path == value.path) {
                found[place] = Some((value.value, value.at));
            }
        }
        found
    }

    /// Returns the time of the oldest value; none without values.
    #[must_use]
    pub fn oldest(&self) -> Option<UnixMs> {
        self.words().map(|(at, ..)| at).min()
    }

    /// Returns the values without those from before a time.
    #[must_use]
    pub fn since(&self, at: UnixMs) -> Self {
        let kept = self.words().filter(|(time, ..)| *time >= at);
        packed(
            kept.map(|(at, path, word)| (at, Cow::Borrowed(path), Cow::Borrowed(word)))
                .collect(),
        )
    }

    /// Returns values whose paths begin with one of these keys, as the payload of a message that has them all. Objects whose
    /// keys are the positions of an array become one.
    #[must_use]
    pub fn payload(&self, keys: &[&str]) -> Document {
        let mut root = Node::default();
        for (_, path, word) in self.words() {
            let path = unescaped(path);
            let head = path.split('.').next().unwrap_or_default();
            if keys.contains(&head)
                && let Some(value) = value(word)
            {
                root.put(path.split('.'), value);
            }
        }
        root.document()
    }

    /// Returns time, path and value as they are written.
    fn words(&self) -> impl Iterator<Item = (UnixMs, &str, &str)> {
        let (mut words, mut at) = (self.0.split(' '), None);
        std::iter::from_fn(move || {
            loop {
                let word = words.next()?;
                if let Some(time) = word.strip_prefix('@') {
                    at = time.parse().ok();
                    continue;
                }
                let value = words.next()?;
                if let Some(at) = at {
                    return Some((at, word, value));
                }
            }
        })
    }
}

/// Newest values of some messages, and how they change what is stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Newest {
    values: BTreeMap<String, (UnixMs, Reading)>,
    /// True if messages come newest first, and after all that is stored: of two values of a time the first one stays.
    is_backwards: bool,
}

impl Newest {
    /// Returns an empty one for messages that come newest first, and after all that is stored.
    #[must_use]
    pub fn backwards() -> Self {
        Self {
            is_backwards: true,
            ..Self::default()
        }
    }

    /// Returns true if a value of one time replaces a known one.
    const fn replaces(&self, at: UnixMs, known: UnixMs) -> bool {
        at > known || at == known && !self.is_backwards
    }

    /// Takes the value of a path, unless there is one of a later time.
    pub fn put(&mut self, path: &str, found: Found<'_>, at: UnixMs) {
        let known = self.values.get(path).map(|known| known.0);
        if known.is_none_or(|known| self.replaces(at, known)) {
            self.values.insert(path.to_owned(), (at, found.into()));
        }
    }

    /// Takes the values of a message.
    pub fn message(&mut self, payload: &str, at: UnixMs) {
        walk(payload, |path, found| self.put(path, found, at));
    }

    /// Returns true without values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns what is stored with these values in it: of two values of a path that of the later time, or else that of the
    /// message which was received later.
    #[must_use]
    pub fn onto(&self, stored: &Latest) -> Latest {
        let mut all: Vec<(UnixMs, Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(self.values.len());
        let mut late: HashSet<&str> = HashSet::new();
        for (at, path, word) in stored.words() {
            let own = self.values.get_key_value(unescaped(path).as_ref());
            match own {
                Some((_, (new, _))) if self.replaces(*new, at) => continue,
                Some((path, _)) => _ = late.insert(path),
                None => {}
            }
            all.push((at, Cow::Borrowed(path), Cow::Borrowed(word)));
        }
        let new = self
            .values
            .iter()
            .filter(|(path, _)| !late.contains(path.as_str()));
        all.extend(new.map(|(path, (at, value))| (*at, escaped(path), Cow::Owned(word(value)))));
        packed(all)
    }
}

/// Packs values: as many of the newest as there is room for.
fn packed(mut values: Vec<(UnixMs, Cow<'_, str>, Cow<'_, str>)>) -> Latest {
    values.sort_unstable_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let (mut text, mut last) = (String::new(), None);
    for (at, path, word) in values.into_iter().take(MAX_LATEST) {
        let before = text.len();
        let gap = if before == 0 { "" } else { " " };
        let _ = match last {
            Some(last) if last == at => write!(text, "{gap}{path} {word}"),
            _ => write!(text, "{gap}@{at} {path} {word}"),
        };
        if text.len() > MAX_LATEST_BYTES {
            text.truncate(before);
            break;
        }
        last = Some(at);
    }
    Latest(text)
}

fn word(value: &Reading) -> String {
    match value {
        Reading::Number(number) => written(*number),
        Reading::Flag(flag) => if *flag { "+" } else { "!" }.to_owned(),
        Reading::Text(text) => format!("'{}", escaped(text)),
    }
}

fn value(word: &str) -> Option<Reading> {
    match word {
        "+" => Some(Reading::Flag(true)),
        "!" => Some(Reading::Flag(false)),
        _ => match word.strip_prefix('\'') {
            Some(text) => Some(Reading::Text(unescaped(text).into_owned())),
            None => word
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                .map(Reading::Number),
        },
    }
}

/// Characters that are written as `%` and two hex digits.
fn is_special(letter: char) -> bool {
    matches!(letter, ' ' | '"' | '\\' | '%' | '@' | '\u{7f}') || letter < ' '
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_special(letter) {
            let _ = write!(escaped, "%{:02x}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split('%');
    let mut unescaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits.filter(u8::is_ascii) {
            Some(byte) => {
                unescaped.push(char::from(byte));
                unescaped.push_str(&part[2..]);
            }
            // Damaged: it stays as it is.
            None => {
                unescaped.push('%');
                unescaped.push_str(part);
            }
        }
    }
    Cow::Owned(unescaped)
}

/// Values below a key, in the order of their paths.
#[derive(Default)]
struct Node {
    value: Option<Reading>,
    below: BTreeMap<String, Node>,
}

impl Node {
    fn put<'p>(&mut self, mut path: impl Iterator<Item = &'p str>, value: Reading) {
        let Some(key) = path.next() else {
            self.value = Some(value);
            return;
        };
        if let Some(below) = self.below.get_mut(key) {
            below.put(path, value);
            return;
        }
        self.below.entry(key.to_owned()).or_default().put(path, value);
    }

    fn document(self) -> Document {
        let mut document = Document::new();
        for (key, node) in self.below {
            document.push(&key, node.filtered());
        }
        document
    }

    /// Returns the value as filters see it. A path that has had a value and an object has both; the value counts.
    fn filtered(self) -> Value {
        match self.value {
            Some(Reading::Number(number)) => return Value::Double(number),
            Some(Reading::Flag(flag)) => return Value::Bool(flag),
            Some(Reading::Text(text)) => return Value::String(text),
            None => {}
        }
        let place = |name: &str| {
            name.parse::<usize>()
                .ok()
                .filter(|place| place.to_string() == name)
        };
        let is_array = self
            .below
            .keys()
            .all(|name| place(name).is_some_and(|place| place < self.below.len()));
        if is_array {
            let mut below: Vec<_> = self.below.into_iter().collect();
            below.sort_unstable_by_key(|(name, _)| place(name));
            return Value::Array(below.into_iter().map(|(_, node)| node.filtered()).collect());
        }
        Value::Object(self.document())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::LATEST_TEXT_BYTES;
    use super::*;

    fn of(messages: &[(UnixMs, &str)]) -> Latest {
        let mut latest = Latest::default();
        for (at, payload) in messages {
            let mut newest = Newest::default();
            newest.message(payload, *at);
            latest = newest.onto(&latest);
        }
        latest
    }

    fn shown(latest: &Latest) -> Vec<(String, String, UnixMs)> {
        let values = latest.values();
        values
            .map(|value| (value.path.into_owned(), value.value.to_string(), value.at))
            .collect()
    }

    fn row(path: &str, value: &str, at: UnixMs) -> (String, String, UnixMs) {
        (path.to_owned(), value.to_owned(), at)
    }

    #[test]
    fn a_later_message_replaces_what_it_names_and_a_late_one_nothing() {
        let latest = of(&[
            (5, r#"{"t":21.5,"door":"open","room":{"on":true},"none":null}"#),
            (9, r#"{"t":-3}"#),
            (7, r#"{"t":100,"h":40,"door":"shut"}"#),
            (7, r#"{"h":41}"#),
        ]);
        assert_eq!(latest.as_str(), "@9 t -3 @7 door 'shut h 41 @5 room.on +");
        let expected = [
            row("t", "-3", 9),
            row("door", "shut", 7),
            row("h", "41", 7),
            row("room.on", "true", 5),
        ];
        assert_eq!(shown(&latest), expected);
        assert_eq!((latest.oldest(), Latest::default().oldest()), (Some(5), None));
        assert_eq!(latest.since(7).as_str(), "@9 t -3 @7 door 'shut h 41");
        assert_eq!(latest.since(10), Latest::default());
        let picked = latest.of_paths(&["h".into(), "x".into()]);
        assert_eq!(picked, [Some((Reading::Number(41.0), 7)), None]);
    }

    #[test]
    fn what_exceeds_a_bound_is_the_oldest() {
        let mut latest = Latest::default();
        for n in 0..MAX_LATEST as i64 + 3 {
            let mut newest = Newest::default();
            newest.message(&format!(r#"{{"k{n}":{n}}}"#), n);
            latest = newest.onto(&latest);
        }
        let values = shown(&latest);
        assert_eq!(values.len(), MAX_LATEST);
        assert_eq!(values.last(), Some(&row("k3", "3", 3)));
        let text = "x".repeat(LATEST_TEXT_BYTES);
        for n in 0..MAX_LATEST as i64 {
            let mut newest = Newest::default();
            newest.message(&format!(r#"{{"{}{n}":"{text}"}}"#, "p".repeat(100)), 1000 + n);
            latest = newest.onto(&latest);
            assert!(latest.as_str().len() <= MAX_LATEST_BYTES);
        }
        assert_eq!(shown(&latest)[0].2, 1000 + MAX_LATEST as i64 - 1);
        let long = format!(r#"{{"door":"{text}y"}}"#);
        assert_eq!(
            of(&[(1, r#"{"door":"open"}"#), (2, &long)]).as_str(),
            "@1 door 'open"
        );
    }

    #[test]
    fn of_two_values_of_a_time_the_one_received_later_stays_in_both_directions() {
        let stored = of(&[(5, r#"{"t":3,"u":3}"#)]);
        let mut forwards = Newest::default();
        forwards.message(r#"{"t":4}"#, 5);
        forwards.message(r#"{"t":5}"#, 5);
        assert_eq!(forwards.onto(&stored).as_str(), "@5 t 5 u 3");
        let mut backwards = Newest::backwards();
        backwards.message(r#"{"t":2,"v":2}"#, 5);
        backwards.message(r#"{"t":1,"v":1}"#, 5);
        backwards.message(r#"{"u":9}"#, 6);
        assert_eq!(backwards.onto(&stored).as_str(), "@6 u 9 @5 t 3 v 2");
    }

    #[test]
    fn the_payload_has_the_asked_keys_and_arrays() {
        let latest = of(&[(1, r#"{"a":{"b":1},"list":[3,{"x":"y"}],"gap":{"1":2},"other":9}"#)]);
        let payload = latest.payload(&["a", "list", "gap"]);
        for (filter, matches) in [
            (r#"{"a.b":1}"#, true),
            (r#"{"list":3}"#, true),
            (r#"{"list.1.x":"y"}"#, true),
            (r#"{"list.x":"y"}"#, true),
            (r#"{"gap.1":{"$gt":1}}"#, true),
            (r#"{"gap":2}"#, false),
            (r#"{"other":{"$exists":true}}"#, false),
        ] {
            let filter = iottly_filter::Filter::parse(filter).expect("a filter");
            let found = filter.matches(&payload, &mut iottly_filter::Budget::steps(1000));
            assert_eq!(found, Ok(matches), "{filter:?}");
        }
    }

    #[test]
    fn damaged_text_gives_what_can_be_read() {
        for text in ["t 5", "@x t 5", "@1 t", "@1 t abc", "@1", " ", "@1 t inf"] {
            assert_eq!(Latest::stored(text.to_owned()).values().count(), 0, "{text}");
        }
        let latest = Latest::stored("@1 a%zz 5 b%e9 '%2".to_owned());
        assert_eq!(shown(&latest), [row("a%zz", "5", 1), row("b%e9", "%2", 1)]);
    }

    proptest! {
        #[test]
        fn any_value_is_read_as_it_was_written(
            values in prop::collection::vec(("[a-z @%'\"\\\\.\u{e9}]{1,12}", 0_i64..4, prop_oneof![
                any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Reading::Number),
                any::<bool>().prop_map(Reading::Flag),
                "\\PC{0,16}|[\\n\u{0}\u{7f} ]{1,3}".prop_map(Reading::Text),
            ]), 0..20)
        ) {
            let (mut expected, mut latest) = (BTreeMap::new(), Latest::default());
            for (path, at, value) in &values {
                let found = match value {
                    Reading::Number(number) => Found::Number(*number),
                    Reading::Flag(flag) => Found::Flag(*flag),
                    Reading::Text(text) => Found::Text(text),
                };
                let mut newest = Newest::default();
                newest.put(path, found, *at);
                latest = newest.onto(&latest);
                if expected.get(path).is_none_or(|(known, _)| known <= at) {
                    expected.insert(path.clone(), (*at, value.clone()));
                }
            }
            prop_assert!(!latest.as_str().contains(['"', '\\', '\n']));
            let read: BTreeMap<_, _> =
                latest.values().map(|value| (value.path.into_owned(), (value.at, value.value))).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
