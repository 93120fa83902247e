//! MQTT topics of a device. Parses and writes them; access rules beyond a device's own topics are the
//! broker's.

use std::fmt;
use std::str::FromStr;

use crate::{DeviceId, IdError};

/// MQTT topic of a device; all but `board` and `health` are used at QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// `v1/{device}/up`: envelopes of [`Up`](crate::Up), device to cloud.
    Up(DeviceId),
    /// `v1/{device}/down`: envelopes of [`Down`](crate::Down), cloud to device.
    Down(DeviceId),
    /// `v1/{device}/held`: for boards that share the keys of one device: hellos to the cloud, verdicts to the boards.
    Held(DeviceId),
    /// `v1/{device}/status`: retained [`Status`](crate::Status), also the last will.
    Status(DeviceId),
    /// `v1/{device}/board`: envelopes of [`BoardMessage`](crate::board::BoardMessage), device to cloud, at QoS 0.
    Board(DeviceId),
    /// `v1/{device}/health`: envelopes of [`HealthMessage`](crate::health::HealthMessage), device to cloud, at QoS 0.
    Health(DeviceId),
}

/// Reason why a topic is not one of a device's.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The topic has another shape.
    #[error("topic {0:?} is not v1/<device>/up, down, held, status, board or health")]
    Shape(String),
    /// The device part is malformed.
    #[error(transparent)]
    Device(#[from] IdError),
}

impl Topic {
    /// Returns the device that the topic belongs to.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        match self {
            Self::Up(device)
            | Self::Down(device)
            | Self::Held(device)
            | Self::Status(device)
            | Self::Board(device)
            | Self::Health(device) => *device,
        }
    }

    /// Returns true if the device itself may publish to this topic as the device, not as one of its copies.
    #[must_use]
    pub const fn is_from_device(&self) -> bool {
        matches!(
            self,
            Self::Up(_) | Self::Status(_) | Self::Board(_) | Self::Health(_)
        )
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(device) => write!(f, "v1/{device}/up"),
            Self::Down(device) => write!(f, "v1/{device}/down"),
            Self::Held(device) => write!(f, "v1/{device}/held"),
            Self::Status(device) => write!(f, "v1/{device}/status"),
            Self::Board(device) => write!(f, "v1/{device}/board"),
            Self::Health(device) => write!(f, "v1/{device}/health"),
        }
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let shape = || TopicError::Shape(crate::limits::clip(text, 128).to_owned());
        let rest = text.strip_prefix("v1/").ok_or_else(shape)?;
        let (device, leaf) = rest.split_once('/').ok_or_else(shape)?;
        let make = match leaf {
            "up" => Self::Up,
            "down" => Self::Down,
            "held" => Self::Held,
            "status" => Self::Status,
            "board" => Self::Board,
            "health" => Self::Health,
            _ => return Err(shape()),
        };
        Ok(make(device.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back() {
        let device = "a2792ce8-216f-477c-a5cc-4f7e9f407e29".parse().expect("valid");
        for topic in [
            Topic::Up(device),
            Topic::Down(device),
            Topic::Held(device),
            Topic::Status(device),
            Topic::Board(device),
            Topic::Health(device),
        ] {
            assert_eq!(topic.to_string().parse::<Topic>().expect("own text"), topic);
        }
    }

    #[test]
    fn foreign_shapes_are_refused() {
        for bad in [
            "",
            "v1",
            "v1/x/up",
            "v2/a2792ce8-216f-477c-a5cc-4f7e9f407e29/up",
            "v1/a2792ce8-216f-477c-a5cc-4f7e9f407e29/up/x",
            "v1/+/up",
            "/v1/a2792ce8-216f-477c-a5cc-4f7e9f407e29/up",
        ] {
            assert!(bad.parse::<Topic>().is_err(), "{bad} must be refused");
        }
    }
}
