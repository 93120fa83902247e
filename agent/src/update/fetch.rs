//! The thread that talks to the repository. Nothing waits for it: answers go to the update's mailbox.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use iottly_update::{Memory, Repository};

use super::admission::{Admission, Fresh};
use super::mailbox::UpdateMailbox;
use super::question::{Answer, Question};
use crate::clock::Monotonic;

/// Maximum number of questions that wait for the thread: one about directives, one of the update under way,
/// those that cancelled updates have left, and developer orders.
const QUESTIONS: usize = 8;

/// Time for which metadata that was refreshed for a directive serves the plan of the same directive, in
/// milliseconds.
const FRESH_MS: u64 = 10_000;

/// Queue for questions.
#[derive(Debug, Clone)]
pub(super) struct Questions(SyncSender<Question>);

impl Questions {
    /// Asks without waiting. Returns `false` if the thread cannot take another question now.
    pub(super) fn ask(&self, question: Question) -> bool {
        self.0.try_send(question).is_ok()
    }
}

/// Starts the thread. The thread ends once every [`Questions`] is dropped; a fetch under way ends at its next
/// byte after [`Repository::stop`].
pub(super) fn start(
    repository: Repository,
    admission: Admission,
    mailbox: UpdateMailbox,
    name: &str,
) -> io::Result<Questions> {
    let (questions, asked) = sync_channel(QUESTIONS);
    let fetcher = Fetcher {
        repository,
        admission,
        clock: Monotonic::start(),
        admitted: None,
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || fetcher.run(&asked, &mailbox))?;
    Ok(Questions(questions))
}

struct Fetcher {
    repository: Repository,
    admission: Admission,
    clock: Monotonic,
    /// Directive that was considered last.
    admitted: Option<Admitted>,
}

/// Directive that was considered, and the metadata by which it was.
struct Admitted {
    document: Vec<u8>,
    fresh: Fresh,
    at_ms: u64,
}

impl Fetcher {
    fn run(mut self, asked: &Receiver<Question>, mailbox: &UpdateMailbox) {
        while let Ok(question) = asked.recv() {
            self.repository.begin();
            mailbox.answer(self.answer(question));
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        let repository = &self.repository;
        match question {
            Question::Poll { seen, memory } => self.poll(&seen, &memory),
            Question::Admit { document, memory } => self.consider(document, &memory),
            Question::Plan { offer, memory } => {
                let kept = self.admitted.take().filter(|admitted| {
                    admitted.document == offer.document.as_bytes()
                        && self.clock.now_ms().saturating_sub(admitted.at_ms) <= FRESH_MS
                });
                let kept = kept.map(|admitted| admitted.fresh);
                Answer::Planned {
                    counter: offer.counter,
                    verdict: Box::new(self.admission.plan(repository, &offer, &memory, kept)),
                }
            }
            Question::Refresh { memory } => {
                Answer::Refreshed(Box::new(self.admission.refresh(repository, &memory)))
            }
            Question::Order { received, memory } => {
                let document = received.order.document.get().as_bytes();
                let verdict = Box::new(self.admission.order(repository, document, &memory));
                Answer::Ordered { received, verdict }
            }
            Question::List { release } => {
                let parts = release.size.div_ceil(release.chunk_size.max(1));
                let result = repository.range(
                    &format!("chunks/{}", release.chunk_root),
                    0,
                    parts.saturating_mul(32),
                );
                Answer::List {
                    sha256: release.sha256,
                    result,
                }
            }
            Question::Part { release, from, len } => Answer::Part {
                result: repository.range(&release.path, from, len),
                sha256: release.sha256,
                from,
            },
        }
    }

    /// Decides on a directive, and keeps the metadata for its plan.
    fn consider(&mut self, document: Vec<u8>, memory: &Memory) -> Answer {
        let (verdict, fresh) = self.admission.admit(&self.repository, &document, memory);
        self.admitted = fresh.map(|fresh| Admitted {
            document: document.clone(),
            fresh,
            at_ms: self.clock.now_ms(),
        });
        Answer::Considered {
            document,
            verdict: Box::new(verdict),
        }
    }

    /// Looks for a directive for this device, then for one for its group.
    fn poll(&mut self, seen: &[u8], memory: &Memory) -> Answer {
        let config = &self.admission.config;
        let ids = [
            Some(self.admission.device.to_string()),
            config.group.map(|group| group.to_string()),
        ];
        let mut unreachable = None;
        for id in ids.into_iter().flatten() {
            match self.repository.directive(&id) {
                Ok(Some(document)) if document == seen => return Answer::NoDirective,
                Ok(Some(document)) => return self.consider(document, memory),
                Ok(None) => {}
                Err(error) => unreachable = Some(error),
            }
        }
        unreachable.map_or(Answer::NoDirective, Answer::Unreachable)
    }
}
