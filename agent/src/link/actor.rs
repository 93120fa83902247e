//! The task that owns the connection and performs the effects of the session. Decides nothing about records.

use std::time::Duration;

use iottly_protocol::{
    BootId, Command, CommandId, DeviceConfig, Down, SignedDirective, SignedOrder, StreamClass, StreamInfo,
    Versions,
};
use rumqttc::{AsyncClient, Publish};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::client::{Connection, Endpoint, Incoming};
use super::effect::Effect;
use super::session::{Event, Identity, Session};
use super::way::Ways;
use crate::board_view::BoardPort;
use crate::clock::Monotonic;
use crate::files;
use crate::health::HealthPort;
use crate::outbox::{Item, Outbox, Page};
use crate::status::{LinkState, StatusBoard};
use crate::throttle::{LogLimit, cut};
use crate::update::Directives;
use crate::watchdog::{self, IDLE, Part};

/// Maximum number of reads of the queue under way: one per stream.
const READS: usize = 2;

/// Command from the cloud, for the inbox.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A new command; the inbox confirms the receipt once the command is journaled.
    Command(Command, Receipt),
    /// Withdraw a command.
    Cancel(CommandId, Receipt),
}

/// MQTT message of a delivery; the broker counts it as in flight until it is confirmed.
#[derive(Debug)]
pub(crate) struct Receipt {
    client: AsyncClient,
    publish: Publish,
}

impl Receipt {
    /// Acknowledges the message to the broker.
    pub(crate) fn confirm(self) {
        if self.client.try_ack(&self.publish).is_err() {
            tracing::debug!(
                "failed to acknowledge a message of a closed connection; the cloud sends it again"
            );
        }
    }

    /// Acknowledges the message although nothing was done for it. An unacknowledged message occupies one of
    /// the few slots that the broker has for messages in flight, which acknowledgements of records need. The
    /// cloud sends a command again after the next hello; see [`Skipped::request_again`].
    pub(crate) fn skip(self) -> Skipped {
        let skipped = Skipped(self.client.clone());
        self.confirm();
        skipped
    }
}

/// Connection on which a message was skipped.
#[derive(Debug)]
pub(crate) struct Skipped(AsyncClient);

impl Skipped {
    /// Ends the connection if it is still open: the next one begins with a hello, after which the cloud
    /// repeats open commands.
    pub(crate) fn request_again(self) {
        if self.0.try_disconnect().is_err() {
            tracing::debug!("failed to end the connection, it has ended already; continuing");
        }
    }
}

/// Connections of the link to the rest of the agent.
pub(crate) struct Links {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: mpsc::Sender<Delivery>,
    pub(crate) status: StatusBoard,
    /// Latest settings from the cloud.
    pub(crate) settings: watch::Sender<Option<DeviceConfig>>,
    /// Receiver of directives, if the device takes releases.
    pub(crate) directives: Option<Directives>,
    /// View of the board, if the device shows it.
    pub(crate) board: Option<BoardPort>,
    /// Reports about the device's health.
    pub(crate) health: HealthPort,
    /// Becomes true when the agent stops.
    pub(crate) stop: watch::Receiver<bool>,
    /// Reports the progress of the task.
    pub(crate) part: Part,
}

/// State of the link's task.
pub(crate) struct Actor {
    session: Session,
    endpoint: Endpoint,
    ways: Ways,
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
            capabilities: endpoint.capabilities.clone(),
            hardware: endpoint.hardware.clone(),
        };
        let mut session = Session::new(identity, *streams.borrow_and_update(), seed, clock.now_ms());
        if endpoint.copy_mark.exists() {
            tracing::error!(device.id = %endpoint.device, file.path = %endpoint.copy_mark.display(), "another board was kept as this device; staying offline until this board is enrolled for itself");
            session.end();
        }
        session.minted(links.outbox.minted_ago_ms(), clock.now_ms());
        let (reads_tx, reads) = mpsc::channel(READS);
        Self {
            session,
            ways: Ways::new(endpoint.route.named()),
            endpoint,
            links,
            clock,
            connection: None,
            streams,
            reads,
            reads_tx,
        }
    }

    /// Runs until the agent stops, then disconnects.
    pub(crate) async fn run(mut self) {
        let mut stop = self.links.stop.clone();
        loop {
            self.links.part.turn();
            let wait = self
                .session
                .deadline_ms()
                .map(|at| Duration::from_millis(at.saturating_sub(self.clock.now_ms())));
            let event = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                incoming = receive(&mut self.connection) => self.incoming(incoming),
                state = board_state(&mut self.links.board) => {
                    if let (LinkState::Online, Some(connection)) = (self.session.state(), &self.connection) {
                        connection.publish_board(state);
                    }
                    None
                }
                Ok(()) = self.links.health.reports.changed() => {
                    let report = self.links.health.reports.borrow_and_update().clone();
                    if let (LinkState::Online, Some(connection)) = (self.session.state(), &self.connection) {
                        connection.publish_health(report);
                    }
                    None
                }
                Some((class, page)) = self.reads.recv() => Some(Event::Read(class, page.map(|page| self.dated(page)))),
                Ok(()) = self.streams.changed() => Some(Event::Streams(*self.streams.borrow_and_update())),
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => Some(Event::Timer),
                () = sleep(IDLE) => None,
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
            Incoming::Ready => {
                if let Some(way) = self.connection.as_ref().map(Connection::way)
                    && self.ways.worked(way)
                {
                    tracing::info!(device.id = %self.endpoint.device, connection.way = ?way, "connected to the broker on another way than before");
                }
                Some(Event::Connected)
            }
            Incoming::Lost(loss) => {
                static LOST: LogLimit = LogLimit::new();
                if let Some(more) = LOST.pass() {
                    tracing::info!(device.id = %self.endpoint.device, error = cut(&loss.reason), suppressed = more, "lost the connection to the broker; reconnecting");
                }
                self.connection = None;
                if loss.refused {
                    self.endpoint.refused.notify_one();
                }
                Some(match loss.busy {
                    Some(after_s) => Event::Busy {
                        after_ms: after_s.map(|after_s| after_s.saturating_mul(1000)),
                    },
                    None => Event::Disconnected,
                })
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
                            tracing::warn!(device.id = %self.endpoint.device, error = cut(&error), suppressed = more, "failed to decode a message from the cloud; skipping it");
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
        let was_online = self.session.state() == LinkState::Online;
        let effects = self.session.handle(event, self.clock.now_ms());
        for effect in effects {
            self.perform(effect, &mut receipt);
        }
        if let Some(receipt) = receipt {
            receipt.confirm();
        }
        if was_online && self.session.state() != LinkState::Online {
            self.tell_health(false);
        }
        self.links.status.link(
            self.session.state(),
            self.session.queued(),
            self.session.refused(),
        );
    }

    fn perform(&mut self, effect: Effect, receipt: &mut Option<Receipt>) {
        match effect {
            Effect::Connect(conn) => {
                let way = self.ways.next();
                self.connection = Some(Connection::open(&self.endpoint, way, conn, self.session.copy()));
            }
            Effect::Drop(reason) => self.drop_connection(reason),
            Effect::Publish(payload) => {
                if self
                    .connection
                    .as_ref()
                    .is_some_and(|connection| connection.publish(payload).is_err())
                {
                    self.drop_connection("the connection accepts no more publishes");
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
                    let _step = watchdog::step("storing the time");
                    if clock.set(cloud_ms, asked_ms)
                        && let Some(directives) = &self.links.directives
                    {
                        directives.time_revised();
                    }
                }
            }
            Effect::Leave => self.leave(),
            Effect::Ack { class, upto } => self.links.outbox.ack(class, upto),
            Effect::DeadLetter { class, seq, reason } => {
                static REFUSED: LogLimit = LogLimit::new();
                if let Some(more) = REFUSED.pass() {
                    let reason = cut(&reason);
                    tracing::warn!(device.id = %self.endpoint.device, stream.class = ?class, record.seq = seq, error = reason, suppressed = more, "the cloud refused a record; keeping a copy");
                }
                self.links.outbox.dead_letter(class, seq, &reason);
            }
            Effect::Remint(class) => {
                static AHEAD: LogLimit = LogLimit::new();
                if let Some(more) = AHEAD.pass() {
                    tracing::warn!(device.id = %self.endpoint.device, stream.class = ?class, suppressed = more, "the cloud is ahead of this device's storage; starting a new stream");
                }
                self.links.outbox.remint(class);
            }
            Effect::TakesHealth => self.tell_health(true),
            Effect::Offered(offer) => self.links.status.offered(offer),
            Effect::Command(command) => self.deliver(receipt, |receipt| Delivery::Command(command, receipt)),
            // The cloud repeats the latest settings after each welcome, so losing these costs nothing.
            Effect::Config(config) => _ = self.links.settings.send(Some(config)),
            Effect::Directive(directive) => self.forward_directive(&directive),
            Effect::Developer(order) => self.forward_order(order),
            Effect::Root(version) => {
                // Without updates there is nothing to trust.
                if let Some(directives) = &self.links.directives {
                    directives.root_announced(version);
                }
            }
            Effect::Board(order) => {
                // Without room it is dropped: the cloud repeats its order every few seconds.
                let sent = self
                    .links
                    .board
                    .as_ref()
                    .map(|board| board.orders.try_send(order));
                if let Some(Err(error)) = sent {
                    tracing::debug!(device.id = %self.endpoint.device, %error, "failed to hand an order to the view of the board; dropping it");
                }
            }
            Effect::Cancel(id) => self.deliver(receipt, |receipt| Delivery::Cancel(id, receipt)),
        }
    }

    /// Notifies the reports about the device's health that a cloud takes them, or that the connection has ended.
    fn tell_health(&self, takes: bool) {
        // Without room for it reports are missing until the next welcome, or are made for no connection.
        if let Err(error) = self.links.health.link.try_send(takes) {
            tracing::debug!(device.id = %self.endpoint.device, %error, "failed to tell the reports about the health of the connection; continuing");
        }
    }

    /// Notes on the disk that another board was kept as the device.
    fn leave(&self) {
        let (device, mark) = (self.endpoint.device, &self.endpoint.copy_mark);
        tracing::error!(device.id = %device, "another board was kept as this device; staying offline until this board is enrolled for itself");
        if let Err(error) = files::replace(mark, b"another board was kept as this device\n") {
            tracing::error!(device.id = %device, %error, "failed to note that the board is a copy; it asks the cloud again after a restart");
        }
    }

    /// Returns the page with every record as it is sent.
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

    /// Hands a directive to the update. The cloud repeats a directive until the device has ended it, so one
    /// that is not accepted now comes again.
    fn forward_directive(&self, directive: &SignedDirective) {
        let document = directive.document.get().as_bytes().to_vec();
        if !self
            .links
            .directives
            .as_ref()
            .is_some_and(|directives| directives.put(document))
        {
            static UNWANTED: LogLimit = LogLimit::new();
            if let Some(more) = UNWANTED.pass() {
                tracing::warn!(device.id = %self.endpoint.device, suppressed = more, "received a directive, but updates are not configured or are stopping; skipping it");
            }
        }
    }

    /// Hands a developer order to the update. The cloud repeats the newest after the next welcome.
    fn forward_order(&self, order: SignedOrder) {
        if !self
            .links
            .directives
            .as_ref()
            .is_some_and(|directives| directives.put_order(order))
        {
            static UNWANTED: LogLimit = LogLimit::new();
            if let Some(more) = UNWANTED.pass() {
                tracing::warn!(device.id = %self.endpoint.device, suppressed = more, "received a developer order, but updates are not configured or are stopping; skipping it");
            }
        }
    }

    /// Hands a delivery to the inbox. If the inbox is full, drops the connection: the cloud repeats
    /// unanswered commands after the next hello.
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
            tracing::info!(device.id = %self.endpoint.device, error = reason, suppressed = more, "dropped the connection to the broker; reconnecting");
        }
        self.connection = None;
    }
}

/// Waits for a new state of the board.
async fn board_state(board: &mut Option<BoardPort>) -> Vec<u8> {
    if let Some(board) = board
        && board.states.changed().await.is_ok()
    {
        return board.states.borrow_and_update().clone();
    }
    std::future::pending().await
}

async fn receive(connection: &mut Option<Connection>) -> Incoming {
    match connection {
        Some(connection) => connection.recv().await,
        None => std::future::pending().await,
    }
}
