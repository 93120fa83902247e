//! Optional facts about an option of a definition: the type of its values, their unit, range and default. Pure.

use std::cmp::Ordering;
use std::fmt::{self, Display};

use iottly_protocol::limits::clip;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::definition::{MAX_VALUE_BYTES, OptionKind};

/// Maximum length of a unit, in bytes.
pub const MAX_UNIT_BYTES: usize = 32;
/// Maximum length of a number that is written as text, in bytes.
const MAX_NUMBER_BYTES: usize = 64;
/// Maximum length of a refused value in an error, in bytes.
const MAX_SHOWN_BYTES: usize = 64;
/// Largest whole number up to which floating point has all whole numbers: 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Facts about the values of an option. Facts that are not set are absent from every answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionFacts {
    /// Type of the values; any without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_type: Option<ValueType>,
    /// Unit of the values, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Lowest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Number>,
    /// Highest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Number>,
    /// Value that is sent for a missing one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// Type of an option's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Text.
    Text,
    /// Whole number.
    Integer,
    /// Number.
    Number,
    /// True or false.
    Boolean,
}

impl ValueType {
    /// All types, in the order in which forms offer them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Integer, Self::Number, Self::Boolean];

    /// Returns the name in definitions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// Returns the name for people, as in "is not …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        }
    }

    const fn is_numeric(self) -> bool {
        matches!(self, Self::Integer | Self::Number)
    }
}

/// End of a range, with its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    number: Number,
    unit: Option<String>,
}

impl Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.number, formatter)?;
        match &self.unit {
            Some(unit) => write!(formatter, " {unit}"),
            None => Ok(()),
        }
    }
}

/// Reason for which a value does not match the facts of its option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// The value has another type.
    #[error("{given} is not {}", expected.words())]
    Type {
        /// Value that was given, as JSON.
        given: String,
        /// Type of the option.
        expected: ValueType,
    },
    /// The number is too small.
    #[error("{given} is below the minimum of {minimum}")]
    Below {
        /// Number that was given.
        given: Number,
        /// Lowest number.
        minimum: Bound,
    },
    /// The number is too great.
    #[error("{given} is above the maximum of {maximum}")]
    Above {
        /// Number that was given.
        given: Number,
        /// Highest number.
        maximum: Bound,
    },
}

/// Reason for which an option cannot have these facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFacts {
    /// The unit is too long, or has characters that cannot be shown.
    #[error("the unit is over {MAX_UNIT_BYTES} bytes, or has control characters")]
    Unit,
    /// The option is a list of choices, which says all about its values.
    #[error("a MultipleChoice has no value_type, minimum, maximum or default")]
    OfChoices,
    /// A `FixedValue` has a second default.
    #[error("the default of a FixedValue is its value")]
    SecondDefault,
    /// A range without numbers.
    #[error("minimum and maximum need the value_type \"integer\" or \"number\"")]
    NoNumbers,
    /// A bound of whole numbers is not whole.
    #[error("the bound {0} is not a whole number")]
    Fraction(Number),
    /// No number is within the range.
    #[error("the minimum {minimum} is above the maximum {maximum}")]
    EmptyRange {
        /// Lowest number.
        minimum: Number,
        /// Highest number.
        maximum: Number,
    },
    /// The default is too long.
    #[error("the default is over its limit of {MAX_VALUE_BYTES} bytes")]
    LongDefault,
    /// The default does not match the other facts.
    #[error("the default does not fit: {0}")]
    Default(InvalidValue),
}

impl OptionFacts {
    /// Checks a value as a caller sends it: a number or truth value may be written as text.
    ///
    /// # Errors
    /// If it has another type, or is out of range.
    pub fn accepts(&self, value: &Value) -> Result<(), InvalidValue> {
        let Some(expected) = self.value_type else {
            return Ok(());
        };
        let mismatch = || InvalidValue::Type {
            given: clip(&value.to_string(), MAX_SHOWN_BYTES).to_owned(),
            expected,
        };
        let given = match (expected, value) {
            (ValueType::Text, Value::String(_)) | (ValueType::Boolean, Value::Bool(_)) => return Ok(()),
            (ValueType::Boolean, Value::String(text)) if truth(text).is_some() => return Ok(()),
            (ValueType::Integer | ValueType::Number, Value::Number(number)) => number.clone(),
            (ValueType::Integer | ValueType::Number, Value::String(text)) => {
                number(text).ok_or_else(mismatch)?
            }
            _ => return Err(mismatch()),
        };
        if expected == ValueType::Integer && !is_whole(&given) {
            return Err(mismatch());
        }
        let bound = |number: &Number| Bound {
            number: number.clone(),
            unit: self.unit.clone(),
        };
        match (&self.minimum, &self.maximum) {
            (Some(minimum), _) if order(&given, minimum) == Ordering::Less => Err(InvalidValue::Below {
                given,
                minimum: bound(minimum),
            }),
            (_, Some(maximum)) if order(&given, maximum) == Ordering::Greater => Err(InvalidValue::Above {
                given,
                maximum: bound(maximum),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the range of the values in words, without their unit; none without bounds.
    #[must_use]
    pub fn range(&self) -> Option<String> {
        match (&self.minimum, &self.maximum) {
            (Some(minimum), Some(maximum)) => Some(format!("{minimum} to {maximum}")),
            (Some(minimum), None) => Some(format!("{minimum} or more")),
            (None, Some(maximum)) => Some(format!("{maximum} or less")),
            (None, None) => None,
        }
    }

    /// Returns the value that the text of a form stands for: of the option's type if the text is such a value, else the
    /// text itself.
    #[must_use]
    pub fn value_of(&self, text: &str) -> Value {
        let typed = match self.value_type {
            Some(ValueType::Integer | ValueType::Number) => number(text).map(Value::Number),
            Some(ValueType::Boolean) => truth(text).map(Value::Bool),
            Some(ValueType::Text) | None => None,
        };
        typed.unwrap_or_else(|| Value::String(text.to_owned()))
    }

    /// Checks the facts of an option; an empty unit or default is as if it were not set.
    ///
    /// # Errors
    /// Names the first fault found.
    pub(super) fn checked(mut self, kind: &OptionKind) -> Result<Self, InvalidFacts> {
        self.unit = self
            .unit
            .map(|unit| unit.trim().to_owned())
            .filter(|unit| !unit.is_empty());
        if self
            .unit
            .as_ref()
            .is_some_and(|unit| unit.len() > MAX_UNIT_BYTES || unit.chars().any(char::is_control))
        {
            return Err(InvalidFacts::Unit);
        }
        self.default = self.default.filter(|default| default.as_str() != Some(""));
        let has_range = self.minimum.is_some() || self.maximum.is_some();
        match kind {
            OptionKind::MultipleChoice { .. }
                if has_range || self.value_type.is_some() || self.default.is_some() =>
            {
                return Err(InvalidFacts::OfChoices);
            }
            OptionKind::FixedValue { .. } if self.default.is_some() => {
                return Err(InvalidFacts::SecondDefault);
            }
            OptionKind::FixedValue { .. } | OptionKind::MultipleChoice { .. } | OptionKind::FreeValue => {}
        }
        if has_range {
            self.check_range()?;
        }
        if let OptionKind::FixedValue { value } = kind {
            self.accepts(&Value::String(value.clone()))
                .map_err(InvalidFacts::Default)?;
        }
        self.check_default()?;
        Ok(self)
    }

    fn check_range(&self) -> Result<(), InvalidFacts> {
        let kind = self.value_type.filter(|kind| kind.is_numeric());
        let kind = kind.ok_or(InvalidFacts::NoNumbers)?;
        let bounds = [&self.minimum, &self.maximum];
        let fraction = bounds.into_iter().flatten().find(|bound| !is_whole(bound));
        if let Some(fraction) = fraction.filter(|_| kind == ValueType::Integer) {
            return Err(InvalidFacts::Fraction(fraction.clone()));
        }
        match (&self.minimum, &self.maximum) {
            (Some(minimum), Some(maximum)) if order(minimum, maximum) == Ordering::Greater => {
                Err(InvalidFacts::EmptyRange {
                    minimum: minimum.clone(),
                    maximum: maximum.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// A default has exactly the option's type, because it is sent as it is.
    fn check_default(&self) -> Result<(), InvalidFacts> {
        let Some(default) = &self.default else {
            return Ok(());
        };
        let expected = self.value_type.unwrap_or(ValueType::Text);
        let fits = match expected {
            ValueType::Text => default.is_string(),
            ValueType::Integer | ValueType::Number => default.is_number(),
            ValueType::Boolean => default.is_boolean(),
        };
        if !fits {
            return Err(InvalidFacts::Default(InvalidValue::Type {
                given: clip(&default.to_string(), MAX_SHOWN_BYTES).to_owned(),
                expected,
            }));
        }
        if default.as_str().is_some_and(|text| text.len() > MAX_VALUE_BYTES) {
            return Err(InvalidFacts::LongDefault);
        }
        self.accepts(default).map_err(InvalidFacts::Default)
    }
}

/// Reads a number as JSON writes it, or as fields of browsers do, such as `.5`.
fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_NUMBER_BYTES {
        return None;
    }
    // Whole numbers keep all their digits; `+5` and `007` are none in JSON.
    let whole = text
        .parse::<i64>()
        .map(Number::from)
        .or_else(|_| text.parse::<u64>().map(Number::from));
    whole
        .ok()
        .or_else(|| serde_json::from_str(text).ok())
        .or_else(|| {
            let is_plain = text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let parsed = text.parse::<f64>().ok().filter(|_| is_plain);
            parsed.and_then(Number::from_f64)
        })
}

fn truth(text: &str) -> Option<bool> {
    text.trim().parse().ok()
}

fn exact(number: &Number) -> Option<i128> {
    let signed = number.as_i64().map(i128::from);
    signed.or_else(|| number.as_u64().map(i128::from))
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

fn is_whole(number: &Number) -> bool {
    // A larger number has lost digits, so it is not the one that was typed.
    exact(number).is_some() || float(number).fract() == 0.0 && float(number).abs() <= MAX_EXACT
}

/// Compares numbers: whole ones exactly, others as floating point.
fn order(left: &Number, right: &Number) -> Ordering {
    match (exact(left), exact(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        // Numbers in JSON are finite, and -0.0 is 0.
        _ => float(left).partial_cmp(&float(right)).unwrap_or(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(value: Value) -> OptionFacts {
        serde_json::from_value(value).expect("facts")
    }

    #[test]
    fn values_are_checked_by_type_and_range() {
        let target =
            facts(json!({"value_type": "number", "unit": "°C", "minimum": 5, "maximum": 60, "default": 20}));
        for (value, refusal) in [
            (json!(5), None),
            (json!(60.0), None),
            (json!("21.5"), None),
            (json!(" .5e1 "), None),
            (json!(95), Some("95 is above the maximum of 60 °C")),
            (json!("4.9"), Some("4.9 is below the minimum of 5 °C")),
            (json!("warm"), Some("\"warm\" is not a number")),
            (json!("1e400"), Some("\"1e400\" is not a number")),
            (json!("inf"), Some("\"inf\" is not a number")),
            (json!(true), Some("true is not a number")),
            (json!([5]), Some("[5] is not a number")),
        ] {
            let error = target.accepts(&value).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), refusal, "{value}");
        }
        let count = facts(json!({"value_type": "integer", "maximum": 9_007_199_254_740_992_u64}));
        assert!(count.accepts(&json!(9_007_199_254_740_992_u64)).is_ok());
        assert!(
            count.accepts(&json!(9_007_199_254_740_993_u64)).is_err(),
            "compared exactly, not as floating point"
        );
        assert!(count.accepts(&json!(3.0)).is_ok() && count.accepts(&json!(3.5)).is_err());
        let any = facts(json!({"value_type": "integer"}));
        assert!(
            any.accepts(&json!("18446744073709551617")).is_err(),
            "it would reach the device as another number"
        );
        let positive = facts(json!({"value_type": "number", "minimum": 0}));
        assert!(positive.accepts(&json!(-0.0)).is_ok() && positive.accepts(&json!(-0.1)).is_err());
        let lit = facts(json!({"value_type": "boolean"}));
        assert!(lit.accepts(&json!(true)).is_ok() && lit.accepts(&json!("false")).is_ok());
        assert!(lit.accepts(&json!("yes")).is_err() && lit.accepts(&json!(1)).is_err());
        let text = facts(json!({"value_type": "text"}));
        assert!(text.accepts(&json!("5")).is_ok() && text.accepts(&json!(5)).is_err());
        assert!(
            OptionFacts::default().accepts(&json!({"any": [1]})).is_ok(),
            "an option without a type takes what it took before"
        );
    }

    #[test]
    fn a_long_refused_value_is_cut() {
        let error = facts(json!({"value_type": "number"})).accepts(&json!("é".repeat(10_000)));
        assert!(error.expect_err("not a number").to_string().len() < 100);
    }

    #[test]
    fn texts_of_a_form_become_values_of_the_type() {
        for (kind, text, value) in [
            (json!("integer"), "42", json!(42)),
            (json!("integer"), "007", json!(7)),
            (json!("integer"), " +5 ", json!(5)),
            (json!("number"), "-003", json!(-3)),
            (
                json!("integer"),
                "18446744073709551615",
                json!(18_446_744_073_709_551_615_u64),
            ),
            (json!("number"), "21.50", json!(21.5)),
            (json!("number"), "warm", json!("warm")),
            (json!("boolean"), "true", json!(true)),
            (json!("text"), "42", json!("42")),
            (Value::Null, "42", json!("42")),
        ] {
            assert_eq!(facts(json!({"value_type": kind})).value_of(text), value, "{text}");
        }
    }

    #[test]
    fn facts_that_do_not_fit_are_refused_with_the_reason() {
        let fixed = |value: &str| OptionKind::FixedValue { value: value.into() };
        let choice = OptionKind::MultipleChoice {
            listvalues: vec!["a".into()],
        };
        let free = OptionKind::FreeValue;
        for (kind, given, refusal) in [
            (&free, json!({"unit": "x".repeat(33)}), Some("unit")),
            (&free, json!({"unit": "a\u{0}"}), Some("control characters")),
            (&free, json!({"unit": " °C "}), None),
            (&choice, json!({"unit": "l"}), None),
            (&choice, json!({"value_type": "integer"}), Some("MultipleChoice")),
            (&choice, json!({"default": "a"}), Some("MultipleChoice")),
            (&fixed("a"), json!({"default": "b"}), Some("is its value")),
            (
                &fixed("warm"),
                json!({"value_type": "number"}),
                Some("\"warm\" is not a number"),
            ),
            (
                &fixed("20"),
                json!({"value_type": "number", "maximum": 10}),
                Some("above the maximum"),
            ),
            (&fixed("20"), json!({"value_type": "number"}), None),
            (&free, json!({"minimum": 1}), Some("need the value_type")),
            (
                &free,
                json!({"value_type": "text", "maximum": 1}),
                Some("need the value_type"),
            ),
            (
                &free,
                json!({"value_type": "integer", "minimum": 0.5}),
                Some("0.5 is not a whole number"),
            ),
            (
                &free,
                json!({"value_type": "number", "minimum": 2, "maximum": 1}),
                Some("the minimum 2 is above the maximum 1"),
            ),
            (&free, json!({"default": 5}), Some("5 is not text")),
            (
                &free,
                json!({"value_type": "number", "default": "5"}),
                Some("\"5\" is not a number"),
            ),
            (
                &free,
                json!({"value_type": "number", "maximum": 4, "default": 5}),
                Some("above the maximum of 4"),
            ),
            (&free, json!({"default": "x".repeat(1025)}), Some("limit of 1024")),
            (&free, json!({"value_type": "boolean", "default": false}), None),
            (&free, json!({"default": ""}), None),
        ] {
            let error = facts(given.clone()).checked(kind).err();
            let error = error.map(|error| error.to_string());
            match refusal {
                None => assert_eq!(error, None, "{given}"),
                Some(reason) => assert!(
                    error.as_ref().is_some_and(|error| error.contains(reason)),
                    "{given}: {error:?}"
                ),
            }
        }
        let empty = facts(json!({"unit": "  ", "default": ""})).checked(&free);
        assert_eq!(empty, Ok(OptionFacts::default()));
    }
}
