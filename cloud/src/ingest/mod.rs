//! The path of a device's publish to a committed row and its acknowledgement, bounded in every step: decode →
//! validate → deduplicate on (device, stream, seq) → group commit → cumulative ack.

mod actor;
mod commit;
mod notice;
mod pace;
mod parts;
mod presences;
mod progress;
mod queue;
mod resend;
mod worker;

pub use actor::{Ingest, IngestHandle, IngestParts, IngestQueue};
pub use progress::STALLED;
