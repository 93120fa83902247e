//! Values of conditions: their kinds, and the tests of the filter language that they become.

use serde_json::{Number, Value, json};

use super::ShortFormError;
use super::terms::{Given, Operator, Part};
use iottly_filter::date;

/// Kind of value that a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text, with `*` for any characters.
    Text,
    /// True or false.
    Flag,
    /// A length of time, in milliseconds in the document; without a unit, seconds.
    Duration,
    /// A date, as ISO 8601 in UTC.
    Time,
    /// A number, true, false, null or a text: the first that the value can be.
    Any,
}

/// Returns the test of a condition.
pub(super) fn test(
    name: &str,
    kind: Kind,
    operator: Operator,
    given: &Given,
) -> Result<Value, ShortFormError> {
    let refused = |expected| ShortFormError::Value {
        name: name.to_owned(),
        value: given.text.clone(),
        expected,
    };
    if given
        .parts
        .iter()
        .any(|part| part.text.is_empty() && !part.quoted)
        && !given.text.is_empty()
    {
        return Err(refused("a list without empty values"));
    }
    let equality = matches!(operator, Operator::Is | Operator::IsNot);
    if given.parts.len() > 1 {
        if !equality {
            return Err(refused(
                "a single value; only : = and != take a list, so a list is no value",
            ));
        }
        let all = given
            .parts
            .iter()
            .map(|part| one(kind, part).ok_or_else(|| refused(expected(kind))));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let list = if operator == Operator::Is { "$in" } else { "$nin" };
        return Ok(json!({ list: all }));
    }
    let part = &given.parts[0];
    if part.starred && matches!(kind, Kind::Text | Kind::Any) {
        let pattern = json!({ "$regex": pattern(&part.text) });
        return match operator {
            Operator::Is => Ok(pattern),
            Operator::IsNot => Ok(json!({ "$not": pattern })),
            Operator::Above | Operator::AtLeast | Operator::Below | Operator::AtMost => {
                Err(refused("a value without stars"))
            }
        };
    }
    let value = one(kind, part).ok_or_else(|| refused(expected(kind)))?;
    Ok(if operator == Operator::Is {
        value
    } else {
        json!({ operator.name(): value })
    })
}

/// Returns the test for a text that contains a word, in upper or lower case.
pub(super) fn contains(word: &str) -> Value {
    json!({ "$regex": quoted(word), "$options": "i" })
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Any => "a value",
        Kind::Flag => "true or false",
        Kind::Duration => "a duration such as 30s, 5m, 2h or 1d",
        Kind::Time => "a time in UTC such as 2026-11-26 or 2026-11-26T14:30",
    }
}

fn one(kind: Kind, part: &Part) -> Option<Value> {
    let text = part.text.as_str();
    match kind {
        Kind::Text => Some(json!(text)),
        Kind::Flag => text.parse::<bool>().ok().map(Value::Bool),
        Kind::Duration => duration(text).map(Value::from),
        Kind::Time => time(text).map(|at| json!({ "$date": at })),
        Kind::Any if part.quoted => Some(json!(text)),
        Kind::Any => Some(match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => text.parse::<Number>().map_or_else(|_| json!(text), Value::Number),
        }),
    }
}

/// Reads a length of time; returns it in milliseconds.
fn duration(text: &str) -> Option<i64> {
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let number: i64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Reads a date, or a date and time without seconds, or a whole one.
fn time(text: &str) -> Option<i64> {
    let rest = "1970-01-01T00:00:00.000";
    let text = text.trim_end_matches('Z');
    let whole = if matches!(text.len(), 10 | 16 | 19) {
        format!("{text}{}", &rest[text.len()..])
    } else {
        text.to_owned()
    };
    date::parse(&format!("{whole}Z")).ok()
}

/// Returns the pattern for a text in which stars stand for any characters.
fn pattern(text: &str) -> String {
    let parts: Vec<_> = text.split('*').map(quoted).collect();
    format!("^{}$", parts.join(".*"))
}

fn quoted(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii()
            && !letter.is_ascii_alphanumeric()
            && letter != '_'
            && !letter.is_ascii_whitespace()
        {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}
