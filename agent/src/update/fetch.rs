//! The thread that talks to the repository. Nothing waits for it: answers go to the update's mailbox.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use iottly_update::{Memory, Repository};

use super::admission::Admission;
use super::mailbox::UpdateMailbox;
use super::question::{Answer, Question};

/// Maximum number of questions that wait for the thread: one about directives, one of the update under way,
/// those that cancelled updates have left, and developer orders.
const QUESTIONS: usize = 8;

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
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || fetcher.run(&asked, &mailbox))?;
    Ok(Questions(questions))
}

struct Fetcher {
    repository: Repository,
    admission: Admission,
}

impl Fetcher {
    fn run(self, asked: &Receiver<Question>, mailbox: &UpdateMailbox) {
        while let Ok(question) = asked.recv() {
            self.repository.begin();
            mailbox.answer(self.answer(question));
        }
    }

    fn answer(&self, question: Question) -> Answer {
        let repository = &self.repository;
        match question {
            Question::Poll { seen, memory } => self.poll(&seen, &memory),
            Question::Admit { document, memory } => {
                let verdict = Box::new(self.admission.admit(repository, &document, &memory));
                Answer::Considered { document, verdict }
            }
            Question::Order { received, memory } => {
                let document = received.order.document.get().as_bytes();
                let verdict = Box::new(self.admission.order(repository, document, &memory));
                Answer::Ordered { received, verdict }
            }
            Question::Plan { offer, memory } => Answer::Planned {
                counter: offer.counter,
                verdict: Box::new(self.admission.plan(repository, &offer, &memory)),
            },
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

    /// Looks for a directive for this device, then for one for its group.
    fn poll(&self, seen: &[u8], memory: &Memory) -> Answer {
        let config = &self.admission.config;
        let ids = [
            Some(self.admission.device.to_string()),
            config.group.map(|group| group.to_string()),
        ];
        let mut unreachable = None;
        for id in ids.into_iter().flatten() {
            match self.repository.directive(&id) {
                Ok(Some(document)) if document == seen => return Answer::NoDirective,
                Ok(Some(document)) => {
                    let verdict = Box::new(self.admission.admit(&self.repository, &document, memory));
                    return Answer::Considered { document, verdict };
                }
                Ok(None) => {}
                Err(error) => unreachable = Some(error),
            }
        }
        unreachable.map_or(Answer::NoDirective, Answer::Unreachable)
    }
}
