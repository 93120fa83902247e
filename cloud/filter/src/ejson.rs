//! Reads extended JSON into values. Never writes it: the API writes the legacy form itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::value::truncate;
use crate::{Document, DocumentError, Value, date};

/// Treatment of a malformed wrapper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Fails.
    Strict,
    /// Keeps the wrapper as a plain object.
    Lenient,
}

pub(super) fn decode(text: &str, mode: Mode) -> Result<Value, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = mode.deserialize(&mut json).map_err(|e| e.to_string())?;
    json.end().map_err(|e| e.to_string())?;
    Ok(value)
}

impl Document {
    /// Reads an extended JSON object.
    ///
    /// # Errors
    /// When the text is not a JSON object, or a wrapper such as `$date` in it is malformed.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        match decode(text, Mode::Strict).map_err(DocumentError)? {
            Value::Object(document) => Ok(document),
            _ => Err(DocumentError("it is not an object".to_owned())),
        }
    }
}

impl Value {
    /// Reads JSON that a device wrote. A malformed wrapper stays a plain object, so that no device can make its
    /// history unreadable.
    ///
    /// # Errors
    /// When the text is not JSON.
    pub fn parse_lenient(text: &str) -> Result<Self, DocumentError> {
        decode(text, Mode::Lenient).map_err(DocumentError)
    }
}

impl<'de> DeserializeSeed<'de> for Mode {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Mode {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::integer(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        // Beyond i64 an integer is a double, as in every JSON reader of that language family.
        Ok(i64::try_from(v).map_or(Value::Double(v as f64), Value::integer))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Double(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut document = Document::new();
        let mut wrapper = false;
        while let Some(key) = map.next_key::<String>()? {
            wrapper |= is_wrapper(&key);
            document.0.push((key, map.next_value_seed(self)?));
        }
        if !wrapper {
            return Ok(Value::Object(document));
        }
        match (unwrap(&document), self) {
            (Ok(value), _) => Ok(value),
            (Err(_), Self::Lenient) => Ok(Value::Object(document)),
            (Err(reason), Self::Strict) => Err(A::Error::custom(reason)),
        }
    }
}

fn is_wrapper(key: &str) -> bool {
    key.starts_with('$')
        && matches!(
            key,
            "$date"
                | "$oid"
                | "$numberInt"
                | "$numberLong"
                | "$numberDouble"
                | "$numberDecimal"
                | "$regularExpression"
                | "$binary"
                | "$uuid"
                | "$timestamp"
                | "$undefined"
                | "$minKey"
                | "$maxKey"
                | "$symbol"
                | "$code"
                | "$scope"
                | "$dbPointer"
                | "$ref"
        )
}

/// Returns the value that a wrapper object represents.
fn unwrap(document: &Document) -> Result<Value, String> {
    if let [(key, content)] = document.0.as_slice() {
        return unwrap_one(key, content).map_err(|reason| format!("{key}: {reason}"));
    }
    if let (2, Some(Value::String(base64)), Some(Value::String(subtype))) =
        (document.0.len(), document.get("$binary"), document.get("$type"))
    {
        return binary(base64, subtype).map_err(|reason| format!("$binary: {reason}"));
    }
    let key = document
        .0
        .iter()
        .map(|(key, _)| key.as_str())
        .find(|key| is_wrapper(key))
        .unwrap_or_default();
    if matches!(key, "$code" | "$scope" | "$ref") {
        return Err(format!("{key} is not supported"));
    }
    Err(format!("{key} is next to other keys"))
}

fn unwrap_one(key: &str, content: &Value) -> Result<Value, String> {
    match (key, content) {
        ("$date", content) => date_of(content).map(Value::Date),
        ("$oid", Value::String(hex)) => object_id(hex)
            .map(Value::ObjectId)
            .ok_or_else(|| "it is not 24 hex digits".to_owned()),
        ("$numberInt", content) => whole_of(content)
            .and_then(|v| i32::try_from(v).ok())
            .map(Value::Int)
            .ok_or_else(|| "it is not a 32-bit integer".to_owned()),
        ("$numberLong", content) => whole_of(content)
            .map(Value::Long)
            .ok_or_else(|| "it is not a 64-bit integer".to_owned()),
        ("$numberDouble", content) => double_of(content)
            .map(Value::Double)
            .ok_or_else(|| "it is not a number".to_owned()),
        ("$numberDecimal", Value::String(text)) => Ok(Value::Decimal(text.parse()?)),
        ("$regularExpression", Value::Object(parts)) => regular_expression(parts),
        ("$binary", Value::Object(parts)) => match (parts.0.len(), parts.get("base64"), parts.get("subType"))
        {
            (2, Some(Value::String(base64)), Some(Value::String(subtype))) => binary(base64, subtype),
            _ => Err("it needs the texts base64 and subType".to_owned()),
        },
        ("$uuid", Value::String(text)) if text.len() == 36 => {
            let id = uuid::Uuid::try_parse(text).map_err(|_| "it is not a UUID".to_owned())?;
            Ok(Value::Binary(4, id.as_bytes().to_vec()))
        }
        ("$timestamp", Value::Object(parts)) => {
            match (parts.0.len(), number_in(parts, "t"), number_in(parts, "i")) {
                (2, Some(t), Some(i)) => Ok(Value::Timestamp(t, i)),
                _ => Err("it needs the 32-bit numbers t and i".to_owned()),
            }
        }
        ("$undefined", Value::Bool(true)) => Ok(Value::Null),
        ("$minKey", Value::Int(1)) => Ok(Value::MinKey),
        ("$maxKey", Value::Int(1)) => Ok(Value::MaxKey),
        ("$symbol", Value::String(text)) => Ok(Value::String(text.clone())),
        ("$code" | "$scope" | "$dbPointer" | "$ref", _) => Err("it is not supported".to_owned()),
        _ => Err("its value has the wrong type".to_owned()),
    }
}

fn date_of(content: &Value) -> Result<i64, String> {
    match content {
        Value::Int(v) => Ok(i64::from(*v)),
        Value::Long(v) => Ok(*v),
        Value::Double(v) => truncate(*v).ok_or_else(|| "its milliseconds are out of range".to_owned()),
        Value::String(text) => date::parse(text).map_err(str::to_owned),
        _ => Err("it is neither milliseconds nor text".to_owned()),
    }
}

fn object_id(hex: &str) -> Option<[u8; 12]> {
    let digits: &[u8; 24] = hex.as_bytes().try_into().ok()?;
    let mut id = [0; 12];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [
            char::from(pair[0]).to_digit(16)?,
            char::from(pair[1]).to_digit(16)?,
        ];
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(id)
}

fn whole_of(content: &Value) -> Option<i64> {
    match content {
        Value::String(text) if !text.starts_with('+') => text.parse().ok(),
        Value::Int(v) => Some(i64::from(*v)),
        Value::Long(v) => Some(*v),
        _ => None,
    }
}

fn double_of(content: &Value) -> Option<f64> {
    match content {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // Rust also reads "inf" and "nan", which extended JSON does not have.
            text if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => text.parse().ok(),
            _ => None,
        },
        Value::Int(v) => Some(f64::from(*v)),
        Value::Long(v) => Some(*v as f64),
        Value::Double(v) => Some(*v),
        _ => None,
    }
}

fn regular_expression(parts: &Document) -> Result<Value, String> {
    match (parts.0.len(), parts.get("pattern"), parts.get("options")) {
        (2, Some(Value::String(pattern)), Some(Value::String(options))) => {
            let mut letters: Vec<char> = options.chars().collect();
            letters.sort_unstable();
            Ok(Value::Regex(pattern.clone(), letters.into_iter().collect()))
        }
        _ => Err("it needs the texts pattern and options".to_owned()),
    }
}

fn binary(base64: &str, subtype: &str) -> Result<Value, String> {
    let bytes = STANDARD
        .decode(base64)
        .map_err(|_| "it is not base64".to_owned())?;
    if subtype.is_empty() || subtype.len() > 2 || !subtype.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("its subtype is not one or two hex digits".to_owned());
    }
    let subtype = u8::from_str_radix(subtype, 16).map_err(|e| e.to_string())?;
    Ok(Value::Binary(subtype, bytes))
}

fn number_in(parts: &Document, key: &str) -> Option<u32> {
    parts
        .get(key)
        .and_then(whole_of)
        .and_then(|v| u32::try_from(v).ok())
}
