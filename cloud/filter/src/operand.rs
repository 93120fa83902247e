//! Operands of operators, converted to the form that the evaluation needs.

use crate::Value;

/// Returns MongoDB's truth of a value: everything is true but false, null and zero.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        value => value.as_whole() != Some(0),
    }
}

pub(super) fn size(value: &Value) -> Result<u64, String> {
    value
        .as_whole()
        .and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| "$size needs a whole number of at least 0".to_owned())
}

/// Returns divisor and remainder of `$mod`, truncated toward zero.
pub(super) fn modulo(value: &Value) -> Result<(i64, i64), String> {
    let Value::Array(items) = value else {
        return Err("$mod needs an array".to_owned());
    };
    let [divisor, remainder] = items.as_slice() else {
        return Err("$mod needs exactly two numbers".to_owned());
    };
    match (truncated(divisor), truncated(remainder)) {
        (Some(0), Some(_)) => Err("$mod divides by zero".to_owned()),
        (Some(divisor), Some(remainder)) => Ok((divisor, remainder)),
        _ => Err("$mod needs numbers in 64-bit range".to_owned()),
    }
}

fn truncated(value: &Value) -> Option<i64> {
    match value {
        Value::Double(v) => crate::value::truncate(*v),
        Value::Decimal(v) => v.truncated(),
        value => value.as_whole(),
    }
}

/// Returns the type numbers of a `$type`.
pub(super) fn types(value: &Value) -> Result<Vec<i8>, String> {
    match value {
        Value::Array(items) if items.is_empty() => Err("$type needs at least one type".to_owned()),
        Value::Array(items) => {
            let mut codes = Vec::new();
            for item in items {
                codes.extend(type_of(item)?);
            }
            codes.sort_unstable();
            codes.dedup();
            Ok(codes)
        }
        value => type_of(value),
    }
}

const TYPES: [(&str, i8); 21] = [
    ("double", 1),
    ("string", 2),
    ("object", 3),
    ("array", 4),
    ("binData", 5),
    ("undefined", 6),
    ("objectId", 7),
    ("bool", 8),
    ("date", 9),
    ("null", 10),
    ("regex", 11),
    ("dbPointer", 12),
    ("javascript", 13),
    ("symbol", 14),
    ("javascriptWithScope", 15),
    ("int", 16),
    ("timestamp", 17),
    ("long", 18),
    ("decimal", 19),
    ("minKey", -1),
    ("maxKey", 127),
];

fn type_of(value: &Value) -> Result<Vec<i8>, String> {
    let found = match value {
        Value::String(name) if name == "number" => return Ok(vec![1, 16, 18, 19]),
        Value::String(name) => TYPES.iter().find(|(known, _)| known == name),
        value => {
            let code = value.as_whole().ok_or("$type needs names or numbers of types")?;
            TYPES.iter().find(|(_, known)| i64::from(*known) == code)
        }
    };
    found
        .map(|(_, code)| vec![*code])
        .ok_or_else(|| "unknown type".to_owned())
}

/// Returns the positions of a `$bits…` operator from a mask, bytes, or a list.
pub(super) fn bit_positions(value: &Value) -> Result<Vec<u32>, String> {
    match value {
        Value::Binary(_, bytes) => Ok((0u32..)
            .zip(bytes)
            .flat_map(|(at, byte)| {
                (0..8)
                    .filter(move |bit| byte >> bit & 1 == 1)
                    .map(move |bit| at * 8 + bit)
            })
            .collect()),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                item.as_whole()
                    .filter(|position| (0..=i64::from(i32::MAX)).contains(position))
                    .and_then(|position| u32::try_from(position).ok())
                    .ok_or_else(|| "a bit position is not a whole number of at least 0".to_owned())
            })
            .collect(),
        value => {
            let mask = value
                .as_whole()
                .filter(|mask| *mask >= 0)
                .ok_or("a bit mask is not a whole number of at least 0")?;
            Ok((0..63).filter(|bit| mask >> bit & 1 == 1).collect())
        }
    }
}
