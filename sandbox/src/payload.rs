//! Checks of a firmware's messages: the protocol's rules, within this firmware's limits.

use std::borrow::Cow;

use iottly_protocol::payload::{BadChannel, BadPayload, Bounds, accept_object, check_channel};

use crate::{Fault, Limits};

/// Checks a payload. Returns it with well-formed text and no other change.
pub(crate) fn check<'a>(text: &'a str, limits: &Limits) -> Result<Cow<'a, str>, Fault> {
    let bounds = Bounds {
        bytes: limits.payload_bytes.min(Bounds::WIRE.bytes),
        depth: limits.payload_depth.min(Bounds::WIRE.depth),
    };
    accept_object(text, bounds).map_err(|error| match error {
        BadPayload::TooLarge { .. } => Fault::Limit(error.to_string()),
        BadPayload::TooDeep { .. } | BadPayload::NotObject | BadPayload::NotJson(_) => {
            Fault::Invalid(error.to_string())
        }
    })
}

/// Checks a channel's name.
pub(crate) fn channel(name: &str, limits: &Limits) -> Result<(), Fault> {
    if name.len() > limits.channel_bytes {
        return Err(Fault::Limit(format!(
            "the channel's name has {} bytes, the limit is {}",
            name.len(),
            limits.channel_bytes
        )));
    }
    check_channel(name).map_err(|error| match error {
        BadChannel::TooLong(_) => Fault::Limit(error.to_string()),
        BadChannel::Empty | BadChannel::Control => Fault::Invalid(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firmwares_own_limits_are_named() {
        let limits = Limits {
            payload_bytes: 200,
            payload_depth: 3,
            channel_bytes: 4,
            ..Limits::default()
        };
        let refuse = |text: &str| check(text, &limits).unwrap_err().to_string();
        assert_eq!(refuse("[1]"), "invalid: the payload is not a JSON object");
        assert_eq!(
            refuse("{\"a\":[[[1]]]}"),
            "invalid: the payload nests 4 levels deep, the limit is 3"
        );
        assert_eq!(
            refuse(&format!("{{\"a\":\"{}\"}}", "x".repeat(300))),
            "limit: the payload has 308 bytes, the limit is 200"
        );
        assert!(refuse("{\"a\":1e400}").starts_with("invalid: the payload is not valid JSON"));
        assert_eq!(
            channel("abcde", &limits).unwrap_err().to_string(),
            "limit: the channel's name has 5 bytes, the limit is 4"
        );
        assert_eq!(
            channel("a\nb", &limits).unwrap_err().to_string(),
            "invalid: the channel's name contains control characters"
        );
    }

    #[test]
    fn no_firmware_gets_more_than_the_wire_carries() {
        let limits = Limits {
            payload_bytes: usize::MAX,
            payload_depth: usize::MAX,
            channel_bytes: usize::MAX,
            ..Limits::default()
        };
        assert!(check(&format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)), &limits).is_err());
        assert!(check(&format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33)), &limits).is_err());
        assert!(channel(&"c".repeat(129), &limits).is_err());
    }
}
