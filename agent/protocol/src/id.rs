//! Ids on the wire. Each has exactly one text form; every other spelling is refused.

use std::fmt;
use std::str::FromStr;

#[doc(hidden)]
pub use serde::de::Error as DeserializeError;
#[doc(hidden)]
pub use serde::{Deserialize, Deserializer, Serialize, Serializer};
#[doc(hidden)]
pub use uuid::Uuid;

/// Reason why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} id {text:?} is not {form}")]
pub struct IdError {
    kind: &'static str,
    text: String,
    form: &'static str,
}

impl IdError {
    fn new(kind: &'static str, text: &str, form: &'static str) -> Self {
        Self {
            kind,
            text: crate::limits::clip(text, 64).to_owned(),
            form,
        }
    }
}

/// Defines an id that is a UUID v4 in hyphenated lower case: `uuid_id!(/** Doc */ Name, "kind")`.
#[macro_export]
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name($crate::id::Uuid);

        impl $name {
            /// Returns a new random id.
            #[must_use]
            pub fn random() -> Self {
                Self($crate::id::Uuid::new_v4())
            }

            /// Returns the id of these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self($crate::id::Uuid::from_bytes(bytes))
            }

            /// Returns the 16 bytes of the id.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::IdError;

            /// Parses the hyphenated lower-case form only, so that an id has one spelling.
            fn from_str(text: &str) -> ::std::result::Result<Self, $crate::IdError> {
                $crate::id::canonical($kind, text).map(Self)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }

        $crate::text_serde!($name);
    };
}

/// Implements serde by the `Display` and `FromStr` of a type.
#[macro_export]
#[doc(hidden)]
macro_rules! text_serde {
    ($name:ident) => {
        impl $crate::id::Serialize for $name {
            fn serialize<S: $crate::id::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> $crate::id::Deserialize<'de> for $name {
            fn deserialize<D: $crate::id::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                let text =
                    <::std::borrow::Cow<'de, str> as $crate::id::Deserialize>::deserialize(deserializer)?;
                text.parse()
                    .map_err(<D::Error as $crate::id::DeserializeError>::custom)
            }
        }
    };
}

/// Parses a UUID in its one spelling.
#[doc(hidden)]
pub fn canonical(kind: &'static str, text: &str) -> Result<Uuid, IdError> {
    let malformed = || IdError::new(kind, text, "a lower-case UUID");
    let id = Uuid::try_parse(text).map_err(|_| malformed())?;
    let mut spelling = Uuid::encode_buffer();
    if id.hyphenated().encode_lower(&mut spelling) != text {
        return Err(malformed());
    }
    Ok(id)
}

uuid_id!(
    /// Id of a device (the API's board id); also its MQTT user name and, unless it has copies, client id.
    DeviceId, "device"
);
uuid_id!(
    /// Id of a deployment group.
    GroupId, "deployment group"
);
uuid_id!(
    /// Id of a numbered sequence of records; created together with the queue that holds them.
    StreamId, "stream"
);
uuid_id!(
    /// Id of one start of the agent process.
    BootId, "boot"
);
uuid_id!(
    /// Id of one MQTT connection of an agent.
    ConnId, "connection"
);
uuid_id!(
    /// Id of a command, from the API call to its result.
    CommandId, "command"
);

/// Id of a project: 24 hex digits on the wire (the layout of a MongoDB ObjectId).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId([u8; 12]);

impl ProjectId {
    /// Returns the id of these 12 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// Returns the 12 bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl FromStr for ProjectId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::new("project", text, "24 lower-case hex digits");
        if text.len() != 24 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(malformed());
        }
        let mut bytes = [0; 12];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

text_serde!(ProjectId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_per_id() {
        let text = "a2792ce8-216f-477c-a5cc-4f7e9f407e29";
        let id: DeviceId = text.parse().expect("valid");
        assert_eq!(id.to_string(), text);
        for bad in [
            "A2792CE8-216F-477C-A5CC-4F7E9F407E29",
            "a2792ce8216f477ca5cc4f7e9f407e29",
            "{a2792ce8-216f-477c-a5cc-4f7e9f407e29}",
            "",
            "x",
        ] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad} must be refused");
        }
    }

    #[test]
    fn project_is_an_object_id() {
        let text = "58f73b41c3cc4800078010c5";
        assert_eq!(text.parse::<ProjectId>().expect("valid").to_string(), text);
        for bad in [
            "58F73b41c3cc4800078010c5",
            "58f73b41c3cc4800078010c",
            "58f73b41c3cc4800078010cé",
            "+8f73b41c3cc4800078010c5",
        ] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad} must be refused");
        }
    }
}
