//! Questions to the repository's thread, and its answers.

use iottly_protocol::release::{DeveloperOrder, Directive};
use iottly_protocol::tuf::Instant;
use iottly_update::{Memory, Offer, Planned};

use super::admission::Verdict;
use super::orders::Received;

/// A question to the repository.
#[derive(Debug)]
pub(super) enum Question {
    /// Poll for a directive for the device or its group, other than `seen`, the one followed last.
    Poll { seen: Vec<u8>, memory: Box<Memory> },
    /// Admission of a directive that the cloud has sent.
    Admit { document: Vec<u8>, memory: Box<Memory> },
    /// Refresh of the metadata, for a root that was announced.
    Refresh { memory: Box<Memory> },
    /// Verification of a developer order.
    Order { received: Received, memory: Box<Memory> },
    /// Release that an accepted directive names.
    Plan { offer: Box<Offer>, memory: Box<Memory> },
    /// Chunk list of a release.
    List { release: Box<Planned> },
    /// `len` bytes of a release.
    Part {
        release: Box<Planned>,
        from: u64,
        len: u64,
    },
}

/// Result of a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// The repository has no other directive.
    NoDirective,
    /// The repository cannot be reached, with the reason.
    Unreachable(String),
    /// Verdict on a directive.
    Considered {
        document: Vec<u8>,
        verdict: Box<Verdict<Option<Directive>>>,
    },
    /// End of a refresh of the metadata.
    Refreshed(Box<Verdict<()>>),
    /// Verified developer order, and the date of its verification.
    Ordered {
        received: Received,
        verdict: Box<Verdict<(DeveloperOrder, Instant)>>,
    },
    /// Release that the directive with this counter names.
    Planned {
        counter: u64,
        verdict: Box<Verdict<Planned>>,
    },
    /// Chunk list of the release with this digest.
    List {
        sha256: String,
        result: Result<Vec<u8>, String>,
    },
    /// Bytes of the release with this digest.
    Part {
        sha256: String,
        from: u64,
        result: Result<Vec<u8>, String>,
    },
}
