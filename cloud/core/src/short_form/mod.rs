//! The short form of filters, such as `group:demo temperature>30 offline>1h`, and its translation to the filter
//! language of the API. Pure.
//!
//! A space means "and", the word `or` separates alternatives, and `-` before a condition negates it. A text that
//! begins with `{` is a filter of the API already and stays as it is.

mod audit;
mod devices;
mod terms;
mod value;

use iottly_filter::{Filter, FilterError};
use serde_json::{Map, Value, json};

pub use audit::{AUDIT, document as audit_document, filter as audit_filter};
pub use devices::{DEVICES, DeviceFacts, DeviceFields, document as device_document, filter as device_filter};

use terms::{Term, Words};
use value::Kind;

/// Maximum length of a short form, in bytes.
pub const MAX_BYTES: usize = 2048;
/// Maximum number of conditions in a short form.
pub const MAX_TERMS: usize = 32;

/// Fields that a short form may name.
#[derive(Debug)]
pub struct Language {
    fields: &'static [Field],
    /// Path that a lone word is searched in; none if a lone word is no condition.
    word: Option<&'static str>,
    /// Meaning of other names than those of the fields.
    other: Other,
}

/// Meaning of names that are no field of a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// Refused.
    Refused,
    /// A path in the document.
    Path,
    /// A path in the payload of a message; fields that only devices have are refused.
    Payload,
    /// A path of the latest values of a device; fields that only messages have are refused.
    Values,
}

/// A field of a language.
#[derive(Debug)]
struct Field {
    name: &'static str,
    path: &'static str,
    kind: Kind,
    /// Example of a condition, for suggestions; empty for another spelling of a field.
    example: &'static str,
}

/// Fields of documents of any kind, as `iottly filter` reads them; other names are paths in the document.
pub static DOCUMENTS: Language = Language {
    fields: &[TIME, TIMESTAMP],
    word: None,
    other: Other::Path,
};

/// Fields of stored messages; other names are paths in the payload, but for those of devices.
pub static MESSAGES: Language = Language {
    fields: &[
        text("type", "type", "type:userdefined"),
        text("channel", "channel", "channel:alarms"),
        text("device", "from", "device:16825a35*"),
        text("name", "device.name", "name:cold-*"),
        text("group", "device.group", "group:demo"),
        text("tag", "device.tags", "tag:attic"),
        text("tags", "device.tags", ""),
        TIME,
        TIMESTAMP,
    ],
    word: None,
    other: Other::Payload,
};

const TIME: Field = Field {
    name: "at",
    path: "timestamp",
    kind: Kind::Time,
    example: "at>2026-11-26T14:00",
};
const TIMESTAMP: Field = Field {
    name: "timestamp",
    path: "timestamp",
    kind: Kind::Time,
    example: "timestamp<2026-11-27",
};

const fn text(name: &'static str, path: &'static str, example: &'static str) -> Field {
    Field {
        name,
        path,
        kind: Kind::Text,
        example,
    }
}

/// Reason for which a text is no short form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShortFormError {
    /// The text is longer than [`MAX_BYTES`].
    #[error("the filter is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// The text has more than [`MAX_TERMS`] conditions.
    #[error("the filter has more than {MAX_TERMS} conditions")]
    TooMany,
    /// A quotation mark has no end.
    #[error("the text after {0} has no closing quotation mark")]
    Unclosed(String),
    /// A condition has no value or no name.
    #[error("{0:?} is no condition; a condition is a name, one of : = != > >= < <=, and a value")]
    Incomplete(String),
    /// The word `or` or the sign `-` stands without a condition.
    #[error("{0:?} stands without a condition")]
    Dangling(String),
    /// The language has no such field.
    #[error("{name:?} is no field here; the fields are {known}")]
    UnknownField {
        /// Name of the condition.
        name: String,
        /// Fields of the language.
        known: String,
    },
    /// The field is one of devices, and the filter is over messages.
    #[error(
        "{0} is a condition on devices, for lists of devices; a value of that name in messages is payload.{0}"
    )]
    OfDevices(String),
    /// The field is one of messages, and the filter is over devices.
    #[error(
        "{0} is a condition on messages, for the stream, histories, alerts and webhooks; a latest value of that name is \
         payload.{0}"
    )]
    OfMessages(String),
    /// The value does not fit the field.
    #[error("{value:?} is not {expected} for {name}")]
    Value {
        /// Name of the condition.
        name: String,
        /// Value of the condition.
        value: String,
        /// Kind of value that the field takes, with an example.
        expected: &'static str,
    },
}

/// Reason for which a text is no filter over documents with few fields.
#[derive(Debug, thiserror::Error)]
pub enum UnknownField {
    /// The text is no filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The filter names a field that no document has.
    #[error("{name:?} is no field of {documents} in JSON; the fields are {known}")]
    Name {
        /// Name of the field.
        name: String,
        /// Kind of the documents.
        documents: &'static str,
        /// Names of their fields.
        known: String,
    },
}

/// Parses a filter that names known fields only: with others it would match all documents or none.
fn known_only(text: &str, documents: &'static str, known: &[&str]) -> Result<Filter, UnknownField> {
    let filter = Filter::parse(text)?;
    let unknown = filter
        .heads()
        .into_iter()
        .find(|head| !known.contains(head))
        .map(str::to_owned);
    match unknown {
        Some(name) => Err(UnknownField::Name {
            name,
            documents,
            known: known.join(", "),
        }),
        None => Ok(filter),
    }
}

impl Language {
    /// Translates a text to a filter of the API, as JSON text. An empty text is the filter `{}`.
    ///
    /// # Errors
    /// If the text is no short form of the language.
    pub fn translate(&self, text: &str) -> Result<String, ShortFormError> {
        if text.len() > MAX_BYTES {
            return Err(ShortFormError::TooLong);
        }
        if text.trim_start().starts_with('{') {
            return Ok(text.to_owned());
        }
        let mut alternatives = vec![Vec::new()];
        let mut count = 0;
        for word in Words::of(text) {
            let word = word?;
            if word.is_or() {
                let last = alternatives.last().expect("there is always one");
                if last.is_empty() {
                    return Err(ShortFormError::Dangling("or".to_owned()));
                }
                alternatives.push(Vec::new());
                continue;
            }
            count += 1;
            if count > MAX_TERMS {
                return Err(ShortFormError::TooMany);
            }
            let condition = self.condition(&Term::parse(&word)?)?;
            alternatives
                .last_mut()
                .expect("there is always one")
                .push(condition);
        }
        if alternatives.len() > 1 && alternatives.last().is_some_and(Vec::is_empty) {
            return Err(ShortFormError::Dangling("or".to_owned()));
        }
        let mut all: Vec<Value> = alternatives.into_iter().map(joined).collect();
        let filter = if all.len() == 1 {
            all.remove(0)
        } else {
            json!({ "$or": all })
        };
        Ok(filter.to_string())
    }

    /// Returns examples of conditions whose field begins with a text, for suggestions.
    pub fn suggestions(&self, begun: &str) -> impl Iterator<Item = &'static str> {
        self.fields
            .iter()
            .filter(move |field| field.name.starts_with(begun) && !field.example.is_empty())
            .map(|field| field.example)
    }

    fn condition(&self, term: &Term) -> Result<Value, ShortFormError> {
        let (path, test) = match &term.name {
            None => {
                let path = self
                    .word
                    .ok_or_else(|| ShortFormError::Incomplete(term.value.text.clone()))?;
                (path, value::contains(&term.value.text))
            }
            Some(name) => {
                let (path, kind) = self.field(name)?;
                (path, value::test(name, kind, term.operator, &term.value)?)
            }
        };
        let mut test = match (term.negated, test.is_object()) {
            (false, _) => test,
            (true, true) => json!({ "$not": test }),
            (true, false) => json!({ "$ne": test }),
        };
        // A device without the value is not one whose value is another.
        if self.other == Other::Values
            && !self.is_field(path)
            && let Value::Object(tests) = &mut test
            && tests
                .keys()
                .any(|operator| matches!(operator.as_str(), "$not" | "$ne" | "$nin"))
        {
            tests.insert("$exists".to_owned(), json!(true));
        }
        let is_value = self.other == Other::Values && !self.is_field(path) && !path.starts_with("payload.");
        let path = if is_value {
            format!("payload.{path}")
        } else {
            path.to_owned()
        };
        let mut condition = Map::new();
        condition.insert(path, test);
        Ok(Value::Object(condition))
    }

    /// Returns true for the path of a field.
    fn is_field(&self, path: &str) -> bool {
        self.fields.iter().any(|field| field.path == path)
    }

    fn field<'a>(&'a self, name: &'a str) -> Result<(&'a str, Kind), ShortFormError> {
        if let Some(field) = self.fields.iter().find(|field| field.name == name) {
            return Ok((field.path, field.kind));
        }
        // A name with a dollar sign would be an operator of the filter language.
        if self.other == Other::Refused || name.starts_with('$') {
            return Err(self.unknown(name));
        }
        if self.other == Other::Payload && DEVICES.fields.iter().any(|field| field.name == name) {
            return Err(ShortFormError::OfDevices(name.to_owned()));
        }
        if self.other == Other::Values && MESSAGES.fields.iter().any(|field| field.name == name) {
            return Err(ShortFormError::OfMessages(name.to_owned()));
        }
        Ok((name, Kind::Any))
    }

    /// Returns the error for a name that is no field.
    fn unknown(&self, name: &str) -> ShortFormError {
        let fields = self.fields.iter().filter(|field| !field.example.is_empty());
        let known: Vec<_> = fields.map(|field| field.name).collect();
        ShortFormError::UnknownField {
            name: name.to_owned(),
            known: known.join(", "),
        }
    }
}

/// Returns the condition that a field equals a text, whatever its characters.
#[must_use]
pub fn equals(field: &str, value: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if !value.is_empty() && value.chars().all(plain) {
        return format!("{field}:{value}");
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    format!("{field}:\"{quoted}\"")
}

/// Joins the conditions of an alternative: in one object if each path occurs once.
fn joined(conditions: Vec<Value>) -> Value {
    let mut together = Map::new();
    let distinct = conditions.iter().filter_map(Value::as_object).all(|condition| {
        condition
            .iter()
            .all(|(path, test)| together.insert(path.clone(), test.clone()).is_none())
    });
    if distinct {
        Value::Object(together)
    } else {
        json!({ "$and": conditions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    fn devices(text: &str) -> String {
        DEVICES.translate(text).expect("a short form")
    }

    #[test]
    fn conditions_become_a_filter() {
        for (text, filter) in [
            ("", "{}"),
            ("  group:demo ", r#"{"group":"demo"}"#),
            ("group:demo,field", r#"{"group":{"$in":["demo","field"]}}"#),
            ("group!=demo", r#"{"group":{"$ne":"demo"}}"#),
            ("-group:demo", r#"{"group":{"$ne":"demo"}}"#),
            ("offline>1h", r#"{"offline":{"$gt":3600000}}"#),
            ("offline>=90", r#"{"offline":{"$gte":90000}}"#),
            (r#"group:"two words""#, r#"{"group":"two words"}"#),
            (
                "tag:attic presence:online",
                r#"{"tags":"attic","presence":"online"}"#,
            ),
            ("name:cold-*", r#"{"name":{"$regex":"^cold\\-.*$"}}"#),
            ("legacy:true", r#"{"legacy":true}"#),
            ("porch", r#"{"name":{"$options":"i","$regex":"porch"}}"#),
            (
                "offline>1h offline<2d",
                r#"{"$and":[{"offline":{"$gt":3600000}},{"offline":{"$lt":172800000}}]}"#,
            ),
            (
                "group:a or group:b tag:c",
                r#"{"$or":[{"group":"a"},{"group":"b","tags":"c"}]}"#,
            ),
            (r#"{"group": "demo"}"#, r#"{"group": "demo"}"#),
        ] {
            assert_eq!(json(&devices(text)), json(filter), "{text}");
        }
    }

    #[test]
    fn paths_of_payloads_are_fields_of_messages() {
        for (text, filter) in [
            ("temperature>-15", r#"{"temperature":{"$gt":-15}}"#),
            ("temperature>=1.5", r#"{"temperature":{"$gte":1.5}}"#),
            ("door:open", r#"{"door":"open"}"#),
            ("door:null", r#"{"door":null}"#),
            ("a.b:7,true", r#"{"a.b":{"$in":[7,true]}}"#),
            (
                "at>2026-11-26",
                r#"{"timestamp":{"$gt":{"$date":1795651200000}}}"#,
            ),
        ] {
            let found = MESSAGES.translate(text).expect("a short form");
            assert_eq!(json(&found), json(filter), "{text}");
        }
        for (text, filter) in [
            ("group:demo", r#"{"device.group":"demo"}"#),
            ("-tag:attic", r#"{"device.tags":{"$ne":"attic"}}"#),
            ("name:cold-*", r#"{"device.name":{"$regex":"^cold\\-.*$"}}"#),
            ("device:16825a35", r#"{"from":"16825a35"}"#),
            ("payload.offline:true", r#"{"payload.offline":true}"#),
        ] {
            let found = MESSAGES.translate(text).expect("a short form");
            assert_eq!(json(&found), json(filter), "{text}");
        }
        for text in [
            "temperature>-15",
            "door:*x* or at>2026-11-26",
            "-door:open a:1,2",
            r#"x:"a\"b""#,
        ] {
            let filter = MESSAGES.translate(text).expect("a short form");
            crate::history::filter(&filter).unwrap_or_else(|error| panic!("{text}: {filter}: {error}"));
        }
    }

    #[test]
    fn what_is_no_condition_is_named() {
        for (text, reason) in [
            ("$temp>30", "\"$temp\" is no field here; the fields are name,"),
            ("channel:x", "channel is a condition on messages"),
            ("group:", "\"group:\" is no condition"),
            (":x", "\":x\" is no condition"),
            ("or group:a", "\"or\" stands without a condition"),
            ("group:a or", "\"or\" stands without a condition"),
            ("-", "\"-\" stands without a condition"),
            (
                "offline>soon",
                "\"soon\" is not a duration such as 30s, 5m, 2h or 1d for offline",
            ),
            (r#"group:"a"#, "no closing quotation mark"),
            ("legacy:maybe", "\"maybe\" is not true or false"),
            ("group>a,b", "a list"),
        ] {
            let error = DEVICES.translate(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for field in ["offline>1h", "presence:online", "id:1", "mac:b8*"] {
            let error = MESSAGES.translate(field).expect_err(field).to_string();
            assert!(error.contains("a condition on devices"), "{field}: {error}");
            DOCUMENTS.translate(field).expect("a path in a document");
        }
        assert!(MESSAGES.translate("$where:1").is_err());
        assert!(MESSAGES.translate("word").is_err());
        let many = "group:a ".repeat(MAX_TERMS + 1);
        assert_eq!(DEVICES.translate(&many), Err(ShortFormError::TooMany));
        assert_eq!(
            DEVICES.translate(&"a".repeat(MAX_BYTES + 1)),
            Err(ShortFormError::TooLong)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_found_by_its_condition(name in "[a-z \"\\\\*,:<>{}\u{e9}\\n-]{0,12}") {
            let found = devices(&equals("group", &name));
            proptest::prop_assert_eq!(json(&found), json!({ "group": name }));
        }

        #[test]
        fn any_text_is_a_filter_or_refused(text in "\\PC{0,60}") {
            if let Ok(filter) = MESSAGES.translate(&text) && !text.trim_start().starts_with('{') {
                let value: Value = serde_json::from_str(&filter).expect("JSON");
                proptest::prop_assert!(value.is_object());
            }
            let _ = DEVICES.translate(&text);
        }
    }
}
