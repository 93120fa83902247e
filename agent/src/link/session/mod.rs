//! The decisions of the link: which records to send or send again, and when to connect. Does no I/O and reads
//! no clock.
//!
//! A connection goes through *connecting → greeting → open*. Greeting sends the hello and waits for the
//! welcome; only an open session sends records. A record counts as delivered when the cloud has acknowledged
//! it, never when the broker has, so a new connection starts again after the last acknowledgement.

use iottly_protocol::health::TAKES_HEALTH;
use iottly_protocol::{
    BootId, ConnId, Down, Hello, StreamClass, StreamId, StreamInfo, StreamPosition, Up, Versions, Welcome,
};

use super::backoff::Backoff;
use super::effect::Effect;
use super::track::Track;
use crate::outbox::{CLASSES, Page, index};
use crate::status::LinkState;

/// Maximum time until the broker has confirmed the subscription, in milliseconds.
const CONNECT_MS: u64 = 25_000;
/// First and longest wait for a welcome before the hello is repeated, in milliseconds.
const WELCOME_MIN_MS: u64 = 5_000;
const WELCOME_MAX_MS: u64 = 60_000;

/// Longest interval between two hellos of a copy, in milliseconds.
const HELD_MS: u64 = 20_000;

/// Time that a session must have been open for the backoff to be reset, in milliseconds. Two devices that
/// share one identity disconnect each other, which must not become a tight loop.
const STABLE_MS: u64 = 2_000;
/// Minimum time between two new streams of a class, in milliseconds: the cloud can cause one, and each is
/// written to the board's disk.
const MINT_EVERY_MS: u64 = 3_600_000;

/// Event that the session handles.
#[derive(Debug)]
pub(super) enum Event {
    /// The broker has accepted the connection and the subscription.
    Connected,
    /// The connection has ended.
    Disconnected,
    /// The cloud had no room for the device.
    Busy {
        /// Time that the cloud asks to wait, in milliseconds.
        after_ms: Option<u64>,
    },
    /// A message from the cloud.
    Down(Down),
    /// The queue has committed, removed or renumbered records.
    Streams([StreamInfo; 2]),
    /// Answer to [`Effect::Peek`]; `None` if the queue could not read.
    Read(StreamClass, Option<Page>),
    /// The time of [`Session::deadline_ms`] has come.
    Timer,
}

/// Facts about the device for a hello.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) boot: BootId,
    pub(super) versions: Versions,
    pub(super) capabilities: Vec<String>,
    pub(super) hardware: Option<String>,
}

#[derive(Debug)]
enum Phase {
    Waiting {
        until_ms: u64,
    },
    Connecting {
        until_ms: u64,
    },
    Greeting {
        until_ms: u64,
        patience_ms: u64,
        asked_at_ms: u64,
    },
    Open {
        since_ms: u64,
    },
    /// The board is a copy: it connects no more.
    Ended,
}

/// The link's state machine.
#[derive(Debug)]
pub(super) struct Session {
    identity: Identity,
    conn: ConnId,
    phase: Phase,
    backoff: Backoff,
    tracks: [Track; 2],
    /// Earliest time at which a stream may be replaced by a new one, by class.
    mint_from_ms: [u64; 2],
    refused: u64,
    /// The highest directive counter that was accepted.
    counter: u64,
    /// True while several boards share this device's keys and no operator has decided: the session connects as a copy.
    held: bool,
}

impl Session {
    /// Creates a session that connects at its first timer.
    pub(super) fn new(identity: Identity, streams: [StreamInfo; 2], seed: u64, now_ms: u64) -> Self {
        Self {
            identity,
            conn: ConnId::random(),
            phase: Phase::Waiting { until_ms: now_ms },
            backoff: Backoff::new(seed),
            tracks: streams.map(Track::new),
            mint_from_ms: [0; 2],
            refused: 0,
            counter: 0,
            held: false,
        }
    }

    /// Sets the age of each stream that replaced an earlier one, in milliseconds; `None` for an original
    /// stream.
    pub(super) fn minted(&mut self, ago_ms: [Option<u64>; 2], now_ms: u64) {
        self.mint_from_ms =
            ago_ms.map(|ago| ago.map_or(0, |ago| now_ms.saturating_add(MINT_EVERY_MS.saturating_sub(ago))));
    }

    /// Sets the highest accepted directive counter, for the next hello.
    pub(super) fn accepted(&mut self, counter: u64) {
        self.counter = counter;
    }

    /// Returns the state of the link for the status.
    pub(super) fn state(&self) -> LinkState {
        match self.phase {
            Phase::Waiting { .. } | Phase::Ended => LinkState::Offline,
            Phase::Connecting { .. } | Phase::Greeting { .. } => LinkState::Connecting,
            Phase::Open { .. } => LinkState::Online,
        }
    }

    /// Returns the number of records that the cloud has refused since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns the number of records that the cloud has not acknowledged.
    pub(super) fn queued(&self) -> u64 {
        self.tracks
            .iter()
            .map(|track| track.info.next - track.info.oldest)
            .sum()
    }

    /// Returns the time at which [`Event::Timer`] is due.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Waiting { until_ms }
            | Phase::Connecting { until_ms }
            | Phase::Greeting { until_ms, .. } => Some(until_ms),
            Phase::Open { .. } => self.tracks.iter().filter_map(Track::deadline_ms).min(),
            Phase::Ended => None,
        }
    }

    /// Handles an event and returns the effects.
    pub(super) fn handle(&mut self, event: Event, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Connected => self.greet(WELCOME_MIN_MS, now_ms, &mut effects),
            Event::Disconnected => self.wait(now_ms, Backoff::next_ms),
            Event::Busy { after_ms } => self.wait(now_ms, |backoff| backoff.busy_ms(after_ms)),
            Event::Down(down) => self.down(down, now_ms, &mut effects),
            Event::Streams(streams) => self.streams(streams, now_ms, &mut effects),
            Event::Read(class, page) => self.read(class, page, now_ms, &mut effects),
            Event::Timer => self.timer(now_ms, &mut effects),
        }
        effects
    }

    fn wait(&mut self, now_ms: u64, pause: impl FnOnce(&mut Backoff) -> u64) {
        if let Phase::Open { since_ms } = self.phase
            && now_ms.saturating_sub(since_ms) >= STABLE_MS
        {
            self.backoff.reset();
        }
        if !matches!(self.phase, Phase::Waiting { .. } | Phase::Ended) {
            self.phase = Phase::Waiting {
                until_ms: now_ms.saturating_add(pause(&mut self.backoff)),
            };
        }
    }

    fn greet(&mut self, patience_ms: u64, now_ms: u64, effects: &mut Vec<Effect>) {
        let asked_at_ms = match self.phase {
            Phase::Waiting { .. } | Phase::Ended => return,
            // A welcome does not show which of several hellos it answers: assume the first.
            Phase::Greeting { asked_at_ms, .. } => asked_at_ms,
            Phase::Connecting { .. } | Phase::Open { .. } => now_ms,
        };
        for track in &mut self.tracks {
            track.rewind();
        }
        let hello = Hello {
            boot: self.identity.boot,
            conn: self.conn,
            versions: self.identity.versions.clone(),
            capabilities: self.identity.capabilities.clone(),
            directive_counter: self.counter,
            hardware: self.identity.hardware.clone(),
            streams: self.tracks.iter().map(|track| track.info).collect(),
        };
        effects.push(Effect::Publish(Up::Hello(hello).encode()));
        self.phase = Phase::Greeting {
            until_ms: now_ms.saturating_add(patience_ms),
            patience_ms,
            asked_at_ms,
        };
    }

    fn timer(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Waiting { until_ms } if now_ms >= until_ms => {
                self.conn = ConnId::random();
                self.phase = Phase::Connecting {
                    until_ms: now_ms.saturating_add(CONNECT_MS),
                };
                effects.push(Effect::Connect(self.conn));
            }
            Phase::Connecting { until_ms } if now_ms >= until_ms => {
                effects.push(Effect::Drop("the broker did not confirm the connection in time"));
                self.wait(now_ms, Backoff::next_ms);
            }
            // The broker is reachable but the cloud is not: another hello costs less than a new connection.
            Phase::Greeting {
                until_ms,
                patience_ms,
                ..
            } if now_ms >= until_ms => {
                let longest_ms = if self.held { HELD_MS } else { WELCOME_MAX_MS };
                self.greet((patience_ms * 2).min(longest_ms), now_ms, effects);
            }
            Phase::Open { .. } => {
                for track in &mut self.tracks {
                    track.expire(now_ms);
                    track.pump(effects);
                }
            }
            Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Ended => {}
        }
    }

    fn down(&mut self, down: Down, now_ms: u64, effects: &mut Vec<Effect>) {
        match down {
            Down::Welcome(welcome) => self.welcome(&welcome, now_ms, effects),
            Down::Ack(position) => self.ack(position, now_ms, effects),
            Down::Refuse(refuse) => {
                if let Some(track) = self.track(refuse.stream).filter(|track| track.holds(refuse.seq)) {
                    let class = track.info.class;
                    self.refused += 1;
                    effects.push(Effect::DeadLetter {
                        class,
                        seq: refuse.seq,
                        reason: refuse.reason,
                    });
                }
            }
            Down::Command(command) => effects.push(Effect::Command(command)),
            Down::Cancel(cancel) => effects.push(Effect::Cancel(cancel.id)),
            Down::Config(config) => effects.push(Effect::Config(config)),
            Down::Directive(directive) => effects.push(Effect::Directive(directive)),
            Down::Developer(order) => effects.push(Effect::Developer(order)),
            Down::Board(order) => effects.push(Effect::Board(order)),
            Down::Root(root) => effects.push(Effect::Root(root.version)),
            Down::Held(held) if held.boot == self.identity.boot => self.verdict(held.kept, now_ms, effects),
            Down::Held(_) => {}
        }
    }

    /// Continues as the verdict on this board says; it may come more than once.
    fn verdict(&mut self, kept: Option<bool>, now_ms: u64, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        let held = match kept {
            None => true,
            Some(true) => false,
            Some(false) => {
                effects.push(Effect::Drop("the board is a copy of a device"));
                effects.push(Effect::Leave);
                self.phase = Phase::Ended;
                return;
            }
        };
        if held == self.held {
            return;
        }
        self.held = held;
        effects.push(Effect::Drop(if held {
            "another board has the keys of this device; connecting as a copy"
        } else {
            "the board was kept as the device"
        }));
        self.phase = Phase::Waiting { until_ms: now_ms };
    }

    /// Returns the process as which a copy connects; none for the device itself.
    pub(super) fn copy(&self) -> Option<BootId> {
        self.held.then_some(self.identity.boot)
    }

    /// Ends the session of a board that is known to be a copy.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
    }

    fn welcome(&mut self, welcome: &Welcome, now_ms: u64, effects: &mut Vec<Effect>) {
        let Phase::Greeting { asked_at_ms, .. } = self.phase else {
            return;
        };
        if welcome.conn != self.conn {
            return;
        }
        self.phase = Phase::Open { since_ms: now_ms };
        // Before any read: the records sent are dated by this time.
        effects.push(Effect::Time {
            cloud_ms: welcome.time_ms,
            asked_ms: now_ms.saturating_sub(asked_at_ms),
        });
        if let Some(offer) = welcome.enroll {
            effects.push(Effect::Offered(offer));
        }
        if welcome.capabilities.iter().any(|name| name == TAKES_HEALTH) {
            effects.push(Effect::TakesHealth);
        }
        for position in &welcome.streams {
            let Some(track) = self.track(position.stream) else {
                continue;
            };
            let check = welcome
                .checks
                .iter()
                .find(|check| check.stream == position.stream);
            // The cloud knows numbers that this device has never assigned: its storage is older than the
            // cloud's.
            if check.map_or(position.upto, |check| check.seq.max(position.upto)) >= track.info.next {
                let class = track.info.class;
                if !self.remint(class, now_ms, effects) {
                    return;
                }
                continue;
            }
            // An older storage may also have assigned the cloud's numbers to new records since.
            match check.filter(|check| track.holds(check.seq)) {
                Some(check) => track.verify(check.seq, check.hash, position.upto),
                None => self.ack(*position, now_ms, effects),
            }
        }
        for track in &mut self.tracks {
            track.pump(effects);
        }
    }

    fn ack(&mut self, position: StreamPosition, now_ms: u64, effects: &mut Vec<Effect>) {
        // Before the welcome the position may refer to other records of the same numbers; the welcome repeats
        // it.
        if !matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        let Some(track) = self.track(position.stream).filter(|track| !track.is_held()) else {
            return;
        };
        if position.upto >= track.info.next {
            // The cloud acknowledges numbers that this device has never assigned: the device was restored
            // from an older image.
            let class = track.info.class;
            self.remint(class, now_ms, effects);
            return;
        }
        if !track.holds(position.upto) {
            return;
        }
        track.acked(position.upto, now_ms);
        effects.push(Effect::Ack {
            class: track.info.class,
            upto: position.upto,
        });
        track.pump(effects);
    }

    fn streams(&mut self, streams: [StreamInfo; 2], now_ms: u64, effects: &mut Vec<Effect>) {
        let mut renewed = false;
        for class in CLASSES {
            let track = &mut self.tracks[index(class)];
            let info = streams[index(class)];
            if info.stream == track.info.stream {
                // The queue may not have processed the latest acknowledgement yet, and a page that was published
                // may be newer than its notice.
                track.info.oldest = track.info.oldest.max(info.oldest);
                track.info.next = track.info.next.max(info.next);
            } else {
                track.restart(info);
                self.mint_from_ms[index(class)] = now_ms.saturating_add(MINT_EVERY_MS);
                renewed = true;
            }
        }
        let minting = self.tracks.iter().any(|track| track.reminting);
        match self.phase {
            // A hello announces the new stream to the cloud.
            Phase::Open { .. } | Phase::Greeting { .. } if renewed && !minting => {
                self.greet(WELCOME_MIN_MS, now_ms, effects)
            }
            Phase::Open { .. } if !renewed => self.tracks.iter_mut().for_each(|track| track.pump(effects)),
            _ => {}
        }
    }

    fn read(&mut self, class: StreamClass, page: Option<Page>, now_ms: u64, effects: &mut Vec<Effect>) {
        let open = matches!(self.phase, Phase::Open { .. });
        let track = &mut self.tracks[index(class)];
        track.reading = None;
        let Some(page) = page.filter(|page| !page.items.is_empty() || page.from >= track.info.next) else {
            track.retry_at_ms = Some(now_ms.saturating_add(1000));
            return;
        };
        if !open {
            return;
        }
        match track.compare(&page) {
            Some(Ok(upto)) => {
                let stream = track.info.stream;
                return self.ack_or_pump(class, StreamPosition { stream, upto }, now_ms, effects);
            }
            Some(Err(_)) => {
                self.remint(class, now_ms, effects);
                return;
            }
            None => {}
        }
        // A page requested before a reconnect, an acknowledgement or a new stream is stale; another read
        // follows.
        if !track.is_held() && page.stream == track.info.stream && page.from == track.sent + 1 {
            track.publish(&page.items, now_ms, effects);
        }
        track.pump(effects);
    }

    /// Continues after a comparison.
    fn ack_or_pump(
        &mut self,
        class: StreamClass,
        position: StreamPosition,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.ack(position, now_ms, effects);
        self.tracks[index(class)].pump(effects);
    }

    /// Requests a new stream, in which the stored records are renumbered. Within an hour of the last one,
    /// drops the connection instead and returns `false`: the cloud could demand a new stream after each of
    /// them.
    fn remint(&mut self, class: StreamClass, now_ms: u64, effects: &mut Vec<Effect>) -> bool {
        if now_ms < self.mint_from_ms[index(class)] {
            effects.push(Effect::Drop(
                "the cloud demands another new stream within an hour",
            ));
            self.wait(now_ms, Backoff::next_ms);
            return false;
        }
        self.tracks[index(class)].reminting = true;
        effects.push(Effect::Remint(class));
        true
    }

    fn track(&mut self, stream: StreamId) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.info.stream == stream)
    }
}

#[cfg(test)]
mod tests;
