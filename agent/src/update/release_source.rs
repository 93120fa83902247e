//! Questions of the update under way to the repository, at most one outstanding. Never waits for an answer.

use iottly_update::{Memory, Offer, Planned};

use super::admission::Admission;
use super::fetch::Questions;
use super::question::Question;

/// Question of the update under way whose answer is outstanding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outstanding {
    /// Plan for the directive with this counter.
    Plan(u64),
    /// Chunk list of the release with this digest.
    List(String),
    /// Bytes from this offset of the release with this digest.
    Part(String, u64),
}

/// Source of signed metadata and release content for the update's state machine.
pub(super) struct ReleaseSource {
    pub(super) admission: Admission,
    questions: Questions,
    outstanding: Option<Outstanding>,
}

impl ReleaseSource {
    pub(super) const fn new(admission: Admission, questions: Questions) -> Self {
        Self {
            admission,
            questions,
            outstanding: None,
        }
    }

    /// Asks for the plan of a directive. Returns an error text if the question cannot be asked now.
    pub(super) fn plan(&mut self, offer: &Offer, memory: &Memory) -> Option<String> {
        self.ask(Outstanding::Plan(offer.counter), || Question::Plan {
            offer: Box::new(offer.clone()),
            memory: Box::new(memory.clone()),
        })
    }

    /// Asks for the chunk list of a release. Returns an error text if the question cannot be asked now.
    pub(super) fn chunk_list(&mut self, release: &Planned) -> Option<String> {
        self.ask(Outstanding::List(release.sha256.clone()), || Question::List {
            release: Box::new(release.clone()),
        })
    }

    /// Asks for `len` bytes of a release. Returns an error text if the question cannot be asked now.
    pub(super) fn part(&mut self, release: &Planned, from: u64, len: u64) -> Option<String> {
        self.ask(Outstanding::Part(release.sha256.clone(), from), || {
            Question::Part {
                release: Box::new(release.clone()),
                from,
                len,
            }
        })
    }

    /// Asks unless the same question is outstanding.
    fn ask(&mut self, key: Outstanding, question: impl FnOnce() -> Question) -> Option<String> {
        if self.outstanding.as_ref() == Some(&key) {
            return None;
        }
        if !self.questions.ask(question()) {
            return Some("earlier questions to the repository are not answered yet".to_owned());
        }
        self.outstanding = Some(key);
        None
    }

    /// Accepts an answer. Returns `false` if the question is no longer outstanding.
    pub(super) fn accepts(&mut self, key: &Outstanding) -> bool {
        self.outstanding
            .take_if(|outstanding| outstanding == key)
            .is_some()
    }
}
