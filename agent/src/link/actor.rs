use std::time::Duration;

use iottly_protocol::{
    BootId, Command, CommandId, DeviceConfig, Down, SignedDirective, StreamClass, StreamInfo, Versions,
};
use rumqttc::{AsyncClient, Publish};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::client::{Connection, Endpoint, Incoming};
use super::effect::Effect;
use super::session::{Event, Identity, Session};
use crate::clock::Monotonic;
use crate::outbox::{Item, Outbox, Page};
use crate::status::StatusBoard;
use crate::throttle::{LogLimit, cut};
use crate::update::Directives;
use crate::watchdog;

/// Reads of the queue under way: one for each stream.
const READS: usize = 2;

/// A command from the cloud, on its way to the inbox.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A new command; the receipt is to be confirmed once it is journaled.
    Command(Command, Receipt),
    /// Withdraw a command.
    Cancel(CommandId, Receipt),
}

/// The broker's message that carried something; until it is confirmed the broker counts it as in flight.
#[derive(Debug)]
pub(crate) struct Receipt {
    client: AsyncClient,
    publish: Publish,
}

impl Receipt {
    /// Acknowledges the message to the broker.
    pub(crate) fn confirm(self) {
        if self.client.try_ack(&self.publish).is_err() {
            tracing::debug!("a message of a closed connection could not be acknowledged");
        }
    }

    /// Acknowledges the message although nothing was done for it: as long as one is not acknowledged it takes
    /// one of the few places that the broker has for messages in flight, and acknowledgements of records need
    /// them. The cloud offers a command again after the next hello; [`LeftOut::ask_again`] brings that about.
    pub(crate) fn leave_out(self) -> LeftOut {
        let left_out = LeftOut(self.client.clone());
        self.confirm();
        left_out
    }
}

/// The connection over which something came that was left out.
#[derive(Debug)]
pub(crate) struct LeftOut(AsyncClient);

impl LeftOut {
    /// Ends the connection, if it is still the same: the next one begins with a hello.
    pub(crate) fn ask_again(self) {
        if self.0.try_disconnect().is_err() {
            tracing::debug!("the connection has ended already");
        }
    }
}

/// What the link is connected to inside the agent.
pub(crate) struct Links {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: mpsc::Sender<Delivery>,
    pub(crate) status: StatusBoard,
    /// The settings that the cloud named last.
    pub(crate) settings: watch::Sender<Option<DeviceConfig>>,
    /// Who looks at directives, on a device that takes releases.
    pub(crate) directives: Option<Directives>,
    /// Turns true when the agent stops.
    pub(crate) stop: watch::Receiver<bool>,
}

/// The task that owns the connection and performs what the session decides.
pub(crate) struct Actor {
    session: Session,
    endpoint: Endpoint,
    links: Links,
    clock: Monotonic,
    connection: Option<Connection>,
    streams: watch::Receiver<[StreamInfo; 2]>,
    reads: mpsc::Receiver<(StreamClass, Option<Page>)>,
    reads_tx: mpsc::Sender<(StreamClass, Option<Page>)>,
}

impl Actor {
    pub(crate) fn new(endpoint: Endpoint, boot: BootId, versions: Versions, seed: u64, links: Links) -> Self {
        let clock = Monotonic::start();
        let mut streams = links.outbox.streams();
        let identity = Identity {
            boot,
            versions,
            capabilities: Vec::new(),
        };
        let mut session = Session::new(identity, *streams.borrow_and_update(), seed, clock.now_ms());
        session.minted(links.outbox.minted_ago_ms(), clock.now_ms());
        let (reads_tx, reads) = mpsc::channel(READS);
        Self {
            session,
            endpoint,
            links,
            clock,
            connection: None,
            streams,
            reads,
            reads_tx,
        }
    }

    /// Runs until the agent stops, then takes leave of the broker.
    pub(crate) async fn run(mut self) {
        let mut stop = self.links.stop.clone();
        loop {
            let wait = self
                .session
                .deadline_ms()
                .map(|at| Duration::from_millis(at.saturating_sub(self.clock.now_ms())));
            let event = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                incoming = receive(&mut self.connection) => self.incoming(incoming),
                Some((class, page)) = self.reads.recv() => Some(Event::Read(class, page.map(|page| self.dated(page)))),
                Ok(()) = self.streams.changed() => Some(Event::Streams(*self.streams.borrow_and_update())),
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => Some(Event::Timer),
            };
            if let Some(event) = event {
                self.handle(event, None);
            }
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    fn incoming(&mut self, incoming: Incoming) -> Option<Event> {
        match incoming {
            Incoming::Ready => Some(Event::Connected),
            Incoming::Lost(reason) => {
                static LOST: LogLimit = LogLimit::new();
                if let Some(more) = LOST.pass() {
                    tracing::info!(device.id = %self.endpoint.device, reason = cut(&reason), more, "link lost; connecting again");
                }
                self.connection = None;
                Some(Event::Disconnected)
            }
            Incoming::Message(publish) => {
                let client = self.connection.as_ref().map(Connection::client)?;
                let receipt = Receipt { client, publish };
                match Down::decode(&receipt.publish.payload) {
                    Ok(down) => self.handle(Event::Down(down), Some(receipt)),
                    Err(error) => {
                        static ODD: LogLimit = LogLimit::new();
                        if let Some(more) = ODD.pass() {
                            let error = error.to_string();
                            tracing::warn!(device.id = %self.endpoint.device, error = cut(&error), more, "a message from the cloud was not understood; leaving it out");
                        }
                        receipt.confirm();
                    }
                }
                None
            }
        }
    }

    fn handle(&mut self, event: Event, mut receipt: Option<Receipt>) {
        if let Some(directives) = &self.links.directives {
            self.session.accepted(directives.counter());
        }
        let effects = self.session.handle(event, self.clock.now_ms());
        for effect in effects {
            self.perform(effect, &mut receipt);
        }
        if let Some(receipt) = receipt {
            receipt.confirm();
        }
        self.links.status.link(
            self.session.state(),
            self.session.queued(),
            self.session.refused(),
        );
    }

    fn perform(&mut self, effect: Effect, receipt: &mut Option<Receipt>) {
        match effect {
            Effect::Connect(conn) => self.connection = Some(Connection::open(&self.endpoint, conn)),
            Effect::Drop(reason) => self.drop_connection(reason),
            Effect::Publish(payload) => {
                if self
                    .connection
                    .as_ref()
                    .is_some_and(|connection| connection.publish(payload).is_err())
                {
                    self.drop_connection("the connection does not take what is sent");
                    self.session.handle(Event::Disconnected, self.clock.now_ms());
                }
            }
            Effect::Peek {
                class,
                from,
                max_records,
                max_bytes,
            } => {
                let tx = self.reads_tx.clone();
                self.links
                    .outbox
                    .peek(class, from, max_records, max_bytes, move |page| {
                        // The channel has room for one read of each stream, and there are no more.
                        let _ = tx.try_send((class, page.ok()));
                    });
            }
            Effect::Time { cloud_ms, asked_ms } => {
                if let Some(clock) = self.links.outbox.clock() {
                    let _step = watchdog::step("keeping the time");
                    clock.told(cloud_ms, asked_ms);
                }
            }
            Effect::Ack { class, upto } => self.links.outbox.ack(class, upto),
            Effect::DeadLetter { class, seq, reason } => {
                static REFUSED: LogLimit = LogLimit::new();
                if let Some(more) = REFUSED.pass() {
                    let reason = cut(&reason);
                    tracing::warn!(device.id = %self.endpoint.device, ?class, seq, reason, more, "the cloud refused a record; keeping a copy");
                }
                self.links.outbox.dead_letter(class, seq, &reason);
            }
            Effect::Remint(class) => {
                static AHEAD: LogLimit = LogLimit::new();
                if let Some(more) = AHEAD.pass() {
                    tracing::warn!(device.id = %self.endpoint.device, ?class, more, "the cloud is ahead of this device's storage; starting a new stream");
                }
                self.links.outbox.remint(class);
            }
            Effect::Command(command) => self.deliver(receipt, |receipt| Delivery::Command(command, receipt)),
            // The latest word counts, and it is repeated after each welcome: nothing is lost when this one
            // is.
            Effect::Config(config) => _ = self.links.settings.send(Some(config)),
            Effect::Directive(directive) => self.direct(&directive),
            Effect::Cancel(id) => self.deliver(receipt, |receipt| Delivery::Cancel(id, receipt)),
        }
    }

    /// The page as it is sent.
    fn dated(&self, mut page: Page) -> Page {
        if let Some(clock) = self.links.outbox.clock() {
            for item in &mut page.items {
                if let Item::Record { record, .. } = item {
                    clock.date(record);
                }
            }
        }
        page
    }

    /// The cloud sends a directive again until the device has ended it: one that is not taken now comes back.
    fn direct(&self, directive: &SignedDirective) {
        let document = directive.document.get().as_bytes().to_vec();
        if !self
            .links
            .directives
            .as_ref()
            .is_some_and(|directives| directives.put(document))
        {
            static UNWANTED: LogLimit = LogLimit::new();
            if let Some(more) = UNWANTED.pass() {
                tracing::warn!(device.id = %self.endpoint.device, more, "a directive came and nobody looks at it; leaving it out");
            }
        }
    }

    /// Hands over to the inbox, or drops the connection: the cloud sends what was not answered again after
    /// the next hello.
    fn deliver(&mut self, receipt: &mut Option<Receipt>, make: impl FnOnce(Receipt) -> Delivery) {
        let Some(receipt) = receipt.take() else { return };
        if self.links.inbox.try_send(make(receipt)).is_err() {
            self.drop_connection("more commands arrive than can be journaled");
            self.session.handle(Event::Disconnected, self.clock.now_ms());
        }
    }

    fn drop_connection(&mut self, reason: &str) {
        static DROPPED: LogLimit = LogLimit::new();
        if let Some(more) = DROPPED.pass() {
            tracing::info!(device.id = %self.endpoint.device, reason, more, "link dropped; connecting again");
        }
        self.connection = None;
    }
}

async fn receive(connection: &mut Option<Connection>) -> Incoming {
    match connection {
        Some(connection) => connection.recv().await,
        None => std::future::pending().await,
    }
}
