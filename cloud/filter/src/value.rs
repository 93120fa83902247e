//! Values and documents: JSON, and what extended JSON adds to it.

use crate::Decimal;

/// A value of a document or a filter.
#[derive(Debug, Clone)]
pub enum Value {
    /// MongoDB's MinKey, which sorts before everything.
    MinKey,
    /// JSON null.
    Null,
    /// A JSON integer in 32-bit range.
    Int(i32),
    /// A JSON integer outside of 32-bit range.
    Long(i64),
    /// A JSON number with a point or an exponent.
    Double(f64),
    /// A 34-digit decimal.
    Decimal(Decimal),
    /// Text.
    String(String),
    /// An object.
    Object(Document),
    /// An array.
    Array(Vec<Value>),
    /// Bytes with their subtype.
    Binary(u8, Vec<u8>),
    /// A MongoDB ObjectId.
    ObjectId([u8; 12]),
    /// True or false.
    Bool(bool),
    /// Unix time in milliseconds.
    Date(i64),
    /// MongoDB's internal timestamp: seconds and increment.
    Timestamp(u32, u32),
    /// A regular expression: pattern and options, the options sorted.
    Regex(String, String),
    /// MongoDB's MaxKey, which sorts after everything.
    MaxKey,
}

/// An object that keeps the order of its keys. The last value of a repeated key counts.
#[derive(Debug, Clone, Default)]
pub struct Document(pub(super) Vec<(String, Value)>);

/// Reason why a text is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document is not valid: {0}")]
pub struct DocumentError(pub(super) String);

impl Document {
    /// Creates an empty document.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field.
    pub fn push(&mut self, key: &str, value: Value) {
        self.0.push((key.to_owned(), value));
    }

    /// Returns the value of a field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }
}

impl Value {
    /// Returns the value of a JSON integer.
    #[must_use]
    pub fn integer(value: i64) -> Self {
        i32::try_from(value).map_or(Self::Long(value), Self::Int)
    }

    /// Returns MongoDB's type number, as `$type` takes it.
    pub(super) fn type_code(&self) -> i8 {
        match self {
            Self::MinKey => -1,
            Self::Double(_) => 1,
            Self::String(_) => 2,
            Self::Object(_) => 3,
            Self::Array(_) => 4,
            Self::Binary(..) => 5,
            Self::ObjectId(_) => 7,
            Self::Bool(_) => 8,
            Self::Date(_) => 9,
            Self::Null => 10,
            Self::Regex(..) => 11,
            Self::Int(_) => 16,
            Self::Timestamp(..) => 17,
            Self::Long(_) => 18,
            Self::Decimal(_) => 19,
            Self::MaxKey => 127,
        }
    }

    /// Returns the whole number that equals the value, if there is one.
    pub(super) fn as_whole(&self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(i64::from(*v)),
            Self::Long(v) => Some(*v),
            Self::Double(v) if v.fract() == 0.0 => truncate(*v),
            Self::Decimal(v) => v.truncated().filter(|whole| *v == Decimal::from(*whole)),
            _ => None,
        }
    }
}

/// Returns the whole part of a double; none when it is out of the range of i64.
pub(super) fn truncate(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let whole = value.trunc();
    // The cast is exact: -2^63 ≤ whole < 2^63, and it has no fraction.
    (-LIMIT..LIMIT).contains(&whole).then_some(whole as i64)
}
