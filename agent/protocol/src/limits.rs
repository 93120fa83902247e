//! Limits that device and cloud enforce alike, in bytes unless named otherwise.

/// Maximum size of the JSON payload of one firmware message.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Maximum size of an encoded [`Record`](crate::Record): a payload, its channel and the fields around them.
pub const MAX_RECORD_BYTES: usize = MAX_PAYLOAD_BYTES + 4096;
/// Maximum size of an MQTT publish in either direction.
pub const MAX_PUBLISH_BYTES: usize = 2 << 20;
/// Size at which the device closes a batch, unless a single record is larger.
pub const BATCH_BYTES: usize = 256 << 10;
/// Maximum number of records in one batch.
pub const BATCH_RECORDS: usize = 1000;
/// Maximum size of a channel's name.
pub const MAX_CHANNEL_BYTES: usize = 128;
/// Maximum size of a release's component: the cloud stores and signs no larger one, and a device neither
/// downloads nor compiles one.
pub const MAX_COMPONENT_BYTES: usize = 16 << 20;
/// Maximum size of the name of what scripts rely on, such as `script 1`.
pub const MAX_ENGINE_NAME_BYTES: usize = 64;
/// Maximum number of script engines in a device's facts: its own and those that releases have brought.
pub const MAX_ENGINES: usize = 8;
/// Maximum number of streams in a hello.
pub const MAX_STREAMS: usize = 16;
/// Maximum size of one log line or reason; longer text is cut at a character boundary.
pub const MAX_TEXT_BYTES: usize = 4096;
/// Maximum size of the encoded values of one command.
pub const MAX_VALUES_BYTES: usize = 64 << 10;
/// Maximum size of a device's settings, as JSON text.
pub const MAX_CONFIG_BYTES: usize = 64 << 10;
/// Maximum nesting of objects and arrays in a message payload.
pub const MAX_JSON_DEPTH: usize = 32;

/// Error of a time that is only a guess, in milliseconds: the largest number that every JSON reader
/// represents exactly.
pub const UNKNOWN_ERROR_MS: u64 = (1 << 53) - 1;

/// Returns the start of `text`: at most `max` bytes, cut at a character boundary.
#[must_use]
pub fn clip(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns true if the nesting of a JSON text stays within `max` levels; brackets inside strings do not
/// count.
#[must_use]
pub fn depth_within(json: &str, max: usize) -> bool {
    depth(json) <= max
}

/// Returns the deepest nesting of objects and arrays in a JSON text; brackets inside strings do not count.
#[must_use]
pub fn depth(json: &str) -> usize {
    let mut deepest = 0usize;
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_respects_characters() {
        assert_eq!(clip("héllo", 2), "h");
        assert_eq!(clip("héllo", 3), "hé");
        assert_eq!(clip("abc", 10), "abc");
    }

    #[test]
    fn depth_ignores_brackets_in_strings() {
        assert!(depth_within(r#"{"a":"[[[[","b":[1]}"#, 2));
        assert!(!depth_within(r#"{"a":[[1]]}"#, 2));
        assert!(depth_within(r#"{"a":"\"[["}"#, 1));
        assert_eq!(depth(r#"{"a":[{}],"b":{}}"#), 3);
        assert_eq!(depth("]]{"), 1, "text that is not JSON has a depth too");
    }
}
