//! What a message's payload must be: the JSON text of one object, within size and depth.

use serde::de::IgnoredAny;

use crate::{Fault, Limits};

/// Checks a payload without changing it.
pub(crate) fn check(text: &str, limits: &Limits) -> Result<(), Fault> {
    if text.len() > limits.payload_bytes {
        return Err(Fault::Limit(format!("the payload has {} bytes, the limit is {}", text.len(), limits.payload_bytes)));
    }
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Fault::Invalid("the payload is not a JSON object".to_owned()));
    }
    let depth = depth(text);
    if depth > limits.payload_depth {
        return Err(Fault::Invalid(format!("the payload nests {depth} levels deep, the limit is {}", limits.payload_depth)));
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::Invalid(format!("the payload is not valid JSON: {error}"))),
    }
}

/// Deepest nesting of objects and arrays; brackets inside strings do not count.
fn depth(json: &str) -> usize {
    let (mut deepest, mut depth, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(text: &str) -> String {
        check(text, &Limits { payload_bytes: 200, payload_depth: 3, ..Limits::default() }).unwrap_err().to_string()
    }

    #[test]
    fn objects_pass_as_they_are() {
        let limits = Limits { payload_bytes: 200, payload_depth: 3, ..Limits::default() };
        for text in ["{}", " {\"a\":[[1]]}", r#"{"a":"[[[[[{\"{{{{\\"}"#, r#"{"z":1,"a":1e300,"z":2}"#] {
            assert_eq!(check(text, &limits), Ok(()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        assert_eq!(refuse("[1]"), "invalid: the payload is not a JSON object");
        assert_eq!(refuse("\"{}\""), "invalid: the payload is not a JSON object");
        assert_eq!(refuse(""), "invalid: the payload is not a JSON object");
        assert!(refuse("{} {}").starts_with("invalid: the payload is not valid JSON: trailing characters"));
        assert!(refuse("{\"a\":NaN}").starts_with("invalid: the payload is not valid JSON"));
        assert_eq!(refuse("{\"a\":[[[1]]]}"), "invalid: the payload nests 4 levels deep, the limit is 3");
        assert_eq!(refuse(&format!("{{\"a\":\"{}\"}}", "x".repeat(300))), "limit: the payload has 308 bytes, the limit is 200");
    }
}
