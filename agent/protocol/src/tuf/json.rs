//! JSON of signed documents: strict parsing and the canonical form that is signed.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// JSON as signed documents use it: no fractions, and each key of an object once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    /// Writes the canonical form (OLPC): keys sorted, no spaces, only `"` and `\` escaped.
    pub(super) fn write_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Unsigned(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Negative(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write_canonical(out);
                }
                out.push(b']');
            }
            Self::Map(entries) => {
                out.push(b'{');
                for (at, (key, value)) in entries.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_text(key, out);
                    out.push(b':');
                    value.write_canonical(out);
                }
                out.push(b'}');
            }
        }
    }

    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_canonical(&mut out);
        out
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Returns the canonical form of a JSON text.
///
/// # Errors
/// The text is not JSON, has a fraction, or an object has a key twice.
pub fn canonical(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    Ok(serde_json::from_slice::<Node>(json)?.canonical())
}

/// Returns the canonical form of a JSON value.
///
/// # Errors
/// A number in the value is a fraction.
pub fn canonical_value(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    canonical(&serde_json::to_vec(value)?)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without fractions")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Negative(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = access.next_key::<String>()? {
            if entries.contains_key(&key) {
                return Err(de::Error::custom(format_args!("key {key:?} is repeated")));
            }
            entries.insert(key, access.next_value()?);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_sorts_and_escapes_two_characters() {
        let form = canonical(br#" {"b": [1, -2, true, null], "a\u00e9": "x\"\\\n/\u0001", "B": {}} "#)
            .expect("json");
        assert_eq!(
            form,
            b"{\"B\":{},\"a\xc3\xa9\":\"x\\\"\\\\\n/\x01\",\"b\":[1,-2,true,null]}"
        );
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for bad in [
            &br#"{"a":1,"a":2}"#[..],
            br#"{"a":{"b":1,"b":1}}"#,
            b"1.0",
            b"1e3",
            b"18446744073709551616",
            b"{} {}",
            b"{}x",
            b"",
            br#""\ud800""#,
            b"\"\xff\"",
        ] {
            assert!(canonical(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(
            canonical("[".repeat(1000).as_bytes()).is_err(),
            "depth is bounded"
        );
    }
}
