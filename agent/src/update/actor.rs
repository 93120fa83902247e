use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use iottly_protocol::DeviceId;
use iottly_protocol::release::{Directive, Refusal};
use iottly_protocol::tuf::Store as _;
use iottly_sandbox::{Cache, Runtime};
use iottly_update::{Event, MetaError, Offer, Repository, SystemDisk, TrustFolder, Updater};

use super::config::UpdateConfig;
use super::directives::Directives;
use super::host::DeviceHost;
use crate::clock::Monotonic;
use crate::guest::{Jobs, News};
use crate::outbox::Outbox;
use crate::threads::ended;
use crate::throttle::{LogLimit, cut};

/// News and requests that wait for the thread.
const INPUTS: usize = 16;
/// How long the thread waits before it takes up an update that its disk has stopped.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// How soon a directive is looked at again that could not be verified, milliseconds.
const LOOK_AGAIN_MS: u64 = 1000;

/// What reaches the thread.
pub(super) enum Input {
    /// The cloud has sent a directive.
    Directive(Vec<u8>),
    /// What became of the firmware on trial.
    News(News),
    /// The agent stops.
    Stop,
}

/// What the thread is made of.
pub(crate) struct UpdateParts {
    pub(crate) device: DeviceId,
    pub(crate) config: UpdateConfig,
    pub(crate) data: PathBuf,
    pub(crate) factory: Option<PathBuf>,
    pub(crate) abi: &'static str,
    pub(crate) cache: Arc<Cache>,
    pub(crate) runtime: Runtime,
    pub(crate) jobs: Jobs,
    pub(crate) outbox: Outbox,
}

/// A handle on the thread.
pub(crate) struct UpdateThread {
    inputs: SyncSender<Input>,
    directives: Directives,
    thread: thread::JoinHandle<()>,
}

impl UpdateThread {
    /// Starts the thread, and with it the firmware that the journal names.
    ///
    /// # Errors
    /// When the trusted root cannot be put in its place, or the system gives no thread.
    pub(crate) fn start(parts: UpdateParts, name: &str) -> io::Result<Self> {
        let mut trust = TrustFolder::new(&parts.data.join("trust"));
        if trust.get("root")?.is_none() {
            let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", parts.config.root.display()));
            trust.put("root", &std::fs::read(&parts.config.root).map_err(named)?)?;
        }
        let (news, inputs) = sync_channel(INPUTS);
        let repository = match &parts.config.ca {
            Some(ca) => Repository::with_ca(&parts.config.repository, ca)?,
            None => Repository::at(&parts.config.repository),
        };
        let directives = Directives::new(news.clone());
        let actor = Actor {
            parts,
            repository,
            trust,
            news: news.clone(),
            inputs,
            directives: directives.clone(),
            clock: Monotonic::start(),
            seen: Vec::new(),
            sent: None,
            told: None,
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || actor.run())?;
        Ok(Self { inputs: news, directives, thread })
    }

    /// Where directives from the cloud go.
    pub(crate) fn directives(&self) -> Directives {
        self.directives.clone()
    }

    /// Asks the thread to end; an update under way goes on at the next start.
    pub(crate) async fn stop(self, deadline: Duration) -> bool {
        // A full channel wakes the thread as well, and it looks for a stop among what it finds.
        let _ = self.inputs.try_send(Input::Stop);
        ended(&self.thread, deadline).await
    }
}

struct Actor {
    parts: UpdateParts,
    repository: Repository,
    trust: TrustFolder,
    news: SyncSender<Input>,
    inputs: Receiver<Input>,
    directives: Directives,
    clock: Monotonic,
    /// The directive that was followed last.
    seen: Vec<u8>,
    /// A directive from the cloud, and when to look at it (again); the latest counts.
    sent: Option<(Vec<u8>, u64)>,
    /// Why a directive was refused last.
    told: Option<(Vec<u8>, Refusal)>,
}

type DeviceUpdater = Updater<SystemDisk, DeviceHost>;

impl Actor {
    fn run(mut self) {
        loop {
            let failed = match self.serve() {
                Ok(()) => return,
                Err(error) => error,
            };
            tracing::warn!(device.id = %self.parts.device, error = %failed, "the update stands still");
            match self.inputs.recv_timeout(AFTER_FAILURE) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Input::Directive(document)) => self.sent = Some((document, 0)),
                Ok(Input::News(_)) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn host(&self) -> DeviceHost {
        let parts = &self.parts;
        DeviceHost {
            device: parts.device,
            config: parts.config.clone(),
            repository: self.repository.clone(),
            trust: self.trust.clone(),
            data: parts.data.clone(),
            factory: parts.factory.clone(),
            abi: parts.abi,
            cache: Arc::clone(&parts.cache),
            runtime: parts.runtime.clone(),
            jobs: parts.jobs.clone(),
            outbox: parts.outbox.clone(),
            news: self.news.clone(),
            health: (0, 0),
            release_seq: None,
            clock: self.clock,
        }
    }

    /// Boots the machine and feeds it until the agent stops.
    fn serve(&mut self) -> io::Result<()> {
        let disk = SystemDisk::open(&self.parts.data)?;
        let mut updater = Updater::boot(disk, self.host())?;
        let every = self.parts.config.poll_seconds.max(1).saturating_mul(1000);
        let mut look_at = 0;
        self.facts(&mut updater);
        loop {
            if updater.memory().last.is_some() {
                // Its report is in the queue, on the disk.
                updater.handle(Event::Reported)?;
                self.facts(&mut updater);
            }
            let now_ms = self.clock.now_ms();
            let sent_at = self.sent.as_ref().map(|(_, at)| *at);
            let due = [updater.wake_at(), sent_at].into_iter().flatten().fold(look_at, u64::min);
            match self.inputs.recv_timeout(Duration::from_millis(due.saturating_sub(now_ms))) {
                Ok(Input::Directive(document)) => self.sent = Some((document, 0)),
                Ok(Input::News(News::Healthy)) => updater.handle(Event::Healthy)?,
                Ok(Input::News(News::Failed(why))) => updater.handle(Event::Trapped(why))?,
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    let now_ms = self.clock.now_ms();
                    if updater.wake_at().is_some_and(|at| at <= now_ms) {
                        updater.handle(Event::Tick)?;
                    }
                    if let Some((document, _)) = self.sent.take_if(|(_, at)| *at <= now_ms) {
                        self.consider_sent(&mut updater, document)?;
                    }
                    if look_at <= now_ms {
                        self.look(&mut updater)?;
                        look_at = self.clock.now_ms().saturating_add(every);
                    }
                }
            }
        }
    }

    /// Looks for a directive to this device, then for one to its group.
    fn look(&mut self, updater: &mut DeviceUpdater) -> io::Result<()> {
        let ids = [Some(self.parts.device.to_string()), self.parts.config.group.map(|group| group.to_string())];
        for id in ids.into_iter().flatten() {
            match updater.host().repository.directive(&id) {
                Ok(Some(document)) if document != self.seen => return self.consider(updater, document).map(drop),
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(error) => tracing::debug!(device.id = %self.parts.device, error, "no directive can be fetched"),
            }
        }
        Ok(())
    }

    /// Considers what the cloud has sent; what cannot be verified yet is looked at again, unless something newer comes.
    fn consider_sent(&mut self, updater: &mut DeviceUpdater, document: Vec<u8>) -> io::Result<()> {
        if !self.consider(updater, document.clone())? {
            self.sent = Some((document, self.clock.now_ms().saturating_add(LOOK_AGAIN_MS)));
        }
        self.directives.accepted(updater.memory().counter);
        Ok(())
    }

    /// Follows a directive or says why not; false when that cannot be decided now.
    fn consider(&mut self, updater: &mut DeviceUpdater, document: Vec<u8>) -> io::Result<bool> {
        let memory = updater.memory().clone();
        match updater.host().admit(&document, &memory) {
            // It was followed before and lies there until the next one comes.
            Ok(None) => {
                self.seen = document;
                Ok(true)
            }
            Ok(Some(directive)) => {
                let text = String::from_utf8_lossy(&document).into_owned();
                let counter = directive.counter;
                updater.handle(Event::Offer(offer(directive, text)))?;
                // In the last steps of an update nothing else is begun: it is looked at again when it comes again.
                if updater.memory().counter >= counter {
                    self.seen = document;
                    self.told = None;
                }
                Ok(true)
            }
            // It is tried again with the next look.
            Err(MetaError::Unreachable(detail)) => {
                tracing::debug!(device.id = %self.parts.device, detail, "a directive cannot be verified yet");
                Ok(false)
            }
            // Told once; looked at again, for its time may come and the repository may be brought up to date.
            Err(MetaError::Refused(why)) => {
                let told = Some((document, why));
                if self.told != told
                    && let Some((document, why)) = &told
                {
                    static REFUSED: LogLimit = LogLimit::new();
                    if let Some(more) = REFUSED.pass() {
                        tracing::warn!(device.id = %self.parts.device, why = cut(&format!("{why:?}")), more, "a directive is refused");
                    }
                    updater.host().refuse(document, why);
                }
                self.told = told;
                Ok(true)
            }
        }
    }

    /// Tells the cloud what decides on releases here.
    fn facts(&self, updater: &mut DeviceUpdater) {
        let memory = updater.memory().clone();
        self.directives.accepted(memory.counter);
        updater.host().tell_facts(&memory);
    }
}

fn offer(directive: Directive, document: String) -> Offer {
    Offer {
        id: directive.id,
        document,
        counter: directive.counter,
        action: directive.action,
        sha256: directive.sha256.to_ascii_lowercase(),
        deadline_s: directive.deadline_s,
        window: directive.window,
        max_bps: directive.max_bps,
    }
}
