//! Presence of devices: whether a device is connected, by the events of its connections, and what people are shown of
//! that, with the last proof of the link. Pure.

mod connection;
mod packets;
mod pauses;
mod view;

pub use connection::{Event, Presence};
pub use packets::Packets;
pub use pauses::Pauses;
pub use view::{Facts, Shown, View};
