//! Questions to the repository's thread, and its answers.

use iottly_protocol::release::Directive;
use iottly_update::{Memory, Offer, Planned};

use super::admission::Verdict;

/// A question to the repository.
#[derive(Debug)]
pub(super) enum Question {
    /// Asks whether there is a directive to the device or its group other than the one that was followed
    /// last.
    Poll { seen: Vec<u8>, memory: Box<Memory> },
    /// Asks whether a directive from the cloud is to be followed.
    Admit { document: Vec<u8>, memory: Box<Memory> },
    /// Asks what an accepted directive is to bring.
    Plan { offer: Box<Offer>, memory: Box<Memory> },
    /// The list of a release's parts.
    List { release: Box<Planned> },
    /// Some bytes of a release.
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
    /// The repository cannot be asked for directives, and why.
    Unreachable(String),
    /// Verdict on a directive.
    Considered {
        document: Vec<u8>,
        verdict: Box<Verdict<Option<Directive>>>,
    },
    /// Release that the directive with this counter is to bring.
    Planned {
        counter: u64,
        verdict: Box<Verdict<Planned>>,
    },
    /// The list of parts of the release with this digest.
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
