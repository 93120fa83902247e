//! Checks of names, tags and other texts in requests.

use iottly_protocol::limits::clip;

use crate::error::ApiError;

/// Maximum length of the name of a project, device, group or token, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Maximum length of the name of a branch or a tag, in bytes.
const MAX_WORD_BYTES: usize = 64;

/// Returns a name without surrounding white space. It has 1 to 128 bytes and no control characters.
pub(crate) fn name(what: &str, given: &str) -> Result<String, ApiError> {
    let name = given.trim();
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(invalid(format!(
            "{what} is not 1 to {MAX_NAME_BYTES} bytes of plain text"
        )));
    }
    Ok(name.to_owned())
}

/// Returns the name of a device, checked like every [`name`].
pub(crate) fn device_name(given: &str) -> Result<String, ApiError> {
    name("name", given)
}

/// Checks a word that is usable in URLs and file names: 1 to 64 ASCII letters, digits, `.`, `_` or `-`, not
/// starting with a dot or a dash.
pub(crate) fn word(what: &str, given: &str) -> Result<String, ApiError> {
    let plain = given
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if given.is_empty() || given.len() > MAX_WORD_BYTES || !plain || given.starts_with(['.', '-']) {
        let shown = clip(given, MAX_WORD_BYTES);
        return Err(invalid(format!(
            "{what} {shown:?} is not 1 to {MAX_WORD_BYTES} letters, digits, \".\", \"_\" or \"-\""
        )));
    }
    Ok(given.to_owned())
}

/// Returns a tag without surrounding white space. It has 1 to 64 bytes and no control characters or commas.
pub(super) fn tag(given: &str) -> Result<String, ApiError> {
    let tag = given.trim();
    if tag.is_empty() || tag.len() > MAX_WORD_BYTES || tag.chars().any(|c| c.is_control() || c == ',') {
        return Err(invalid(format!(
            "tag {:?} is not 1 to {MAX_WORD_BYTES} bytes of text without commas",
            clip(given, MAX_WORD_BYTES)
        )));
    }
    Ok(tag.to_owned())
}

/// Checks that a text has at most `max` bytes.
pub(super) fn bounded(what: &str, given: String, max: usize) -> Result<String, ApiError> {
    if given.len() > max {
        Err(invalid(format!("{what} is longer than {max} bytes")))
    } else {
        Ok(given)
    }
}

fn invalid(message: String) -> ApiError {
    ApiError::invalid("invalid_body", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_words_and_tags() {
        assert_eq!(name("name", "  board of Ø ").expect("fits"), "board of Ø");
        assert!(
            name("name", " ").is_err()
                && name("name", "a\nb").is_err()
                && name("name", &"x".repeat(129)).is_err()
        );
        assert_eq!(word("branch", "release-1.0_b").expect("fits"), "release-1.0_b");
        for bad in ["", "..", "-a", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(word("branch", bad).is_err(), "{bad}");
        }
        assert_eq!(tag(" north wing ").expect("fits"), "north wing");
        assert!(tag("a,b").is_err() && tag("").is_err());
    }
}
