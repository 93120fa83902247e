//! The envelope around every message: `{"v":1,"<kind>":{…}}`. Defines no message itself.

/// Version of the wire format, the `v` of every envelope.
pub const WIRE_VERSION: u64 = 1;

/// Generates the enum of one direction with its encoder and decoder; `[$de]` names the lifetime of the
/// decoded bytes.
///
/// A derive cannot do this: payloads are kept as raw JSON text, which serde's internally tagged and flattened
/// forms lose.
macro_rules! envelope {
    ([$de:lifetime] $(#[$doc:meta])* pub enum $name:ident $(<$lt:lifetime>)? { $($(#[$vdoc:meta])* $variant:ident($body:ty) = $tag:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub enum $name $(<$lt>)? { $($(#[$vdoc])* $variant($body),)+ }

        impl $(<$lt>)? $name $(<$lt>)? {
            /// Encodes the message in its envelope.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                serde_json::to_vec(self).expect("wire types have string keys and serialize without failing")
            }

            /// Returns the name of the message's kind on the wire.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $tag,)+ }
            }
        }

        impl $(<$lt>)? serde::Serialize for $name $(<$lt>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("v", &$crate::envelope::WIRE_VERSION)?;
                match self { $(Self::$variant(body) => map.serialize_entry($tag, body)?,)+ }
                map.end()
            }
        }

        impl<$de> serde::Deserialize<$de> for $name $(<$lt>)? {
            fn deserialize<D: serde::Deserializer<$de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Frame;
                impl<$de> serde::de::Visitor<$de> for Frame {
                    type Value = $name $(<$lt>)?;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an envelope {\"v\":1,\"<kind>\":{…}}")
                    }

                    fn visit_map<A: serde::de::MapAccess<$de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        use serde::de::Error;
                        let mut versioned = false;
                        let mut found = None;
                        while let Some(key) = map.next_key::<std::borrow::Cow<$de, str>>()? {
                            match key.as_ref() {
                                "v" => {
                                    let version = map.next_value::<u64>()?;
                                    if version != $crate::envelope::WIRE_VERSION {
                                        return Err(A::Error::custom(format_args!("wire version {version} is not supported")));
                                    }
                                    versioned = true;
                                }
                                $($tag if found.is_none() => found = Some($name::$variant(map.next_value::<$body>()?)),)+
                                other => return Err(A::Error::custom(format_args!("unexpected key {:?}", $crate::limits::clip(other, 64)))),
                            }
                        }
                        if !versioned {
                            return Err(A::Error::missing_field("v"));
                        }
                        found.ok_or_else(|| A::Error::custom("the envelope holds no message"))
                    }
                }
                deserializer.deserialize_map(Frame)
            }
        }
    };
}
pub(crate) use envelope;
