//! Model test of a device, a cloud, and a wire between them that loses, repeats and reorders: every
//! acknowledged record is committed, and no record disappears. The cloud's side is the cloud's own stream
//! state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use iottly_core::ingest::stream::{Effect as Change, StreamState};
use iottly_core::ingest::{Entry, UploadBody};
use iottly_protocol::{Record, StreamId};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Push(u64),
    /// Notifies the session of what the queue has committed since the last notice.
    Notice,
    /// Drops this number of the oldest records.
    Drop(u64),
    /// Delivers a message in flight, chosen by this number.
    Deliver(usize),
    /// Loses a message in flight.
    Lose(usize),
    Duplicate(usize),
    /// The cloud commits the received records.
    Commit,
    Cut,
    Wait(u64),
    RestartDevice,
    /// Stores an image of the device.
    ImageDevice,
    /// Restores the device from the image.
    RestoreDevice,
    /// The cloud loses received records that are not committed.
    KillCloud,
    ImageCloud,
    RestoreCloud,
}

fn faults() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..20).prop_map(Step::Push),
        6 => Just(Step::Notice),
        1 => (1u64..10).prop_map(Step::Drop),
        20 => any::<usize>().prop_map(Step::Deliver),
        1 => any::<usize>().prop_map(Step::Lose),
        1 => any::<usize>().prop_map(Step::Duplicate),
        8 => Just(Step::Commit),
        1 => Just(Step::Cut),
        4 => (1u64..20_000).prop_map(Step::Wait),
        1 => Just(Step::RestartDevice),
        1 => Just(Step::KillCloud),
    ]
}

fn with_restored_device() -> impl Strategy<Value = Step> {
    prop_oneof![20 => faults(), 1 => Just(Step::ImageDevice), 1 => Just(Step::RestoreDevice)]
}

fn with_restored_cloud() -> impl Strategy<Value = Step> {
    prop_oneof![20 => faults(), 1 => Just(Step::ImageCloud), 1 => Just(Step::RestoreCloud)]
}

#[derive(Debug, Clone)]
enum Message {
    Up(Vec<u8>),
    Down(Down),
}

/// Number on the device: a stored record with this text, or a dropped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Text(u64),
    Dropped(u64),
}

impl Held {
    const fn text(self) -> u64 {
        match self {
            Self::Text(text) | Self::Dropped(text) => text,
        }
    }
}

/// State that survives a restart of the device.
#[derive(Debug, Clone)]
struct Disk {
    streams: [StreamInfo; 2],
    /// Time at which the stream replaced an earlier one.
    minted_ms: Option<u64>,
    held: BTreeMap<u64, Held>,
}

/// State that survives a kill of the cloud.
#[derive(Debug, Clone, Default)]
struct Database {
    states: BTreeMap<[u8; 16], StreamState>,
    texts: BTreeMap<([u8; 16], u64), u64>,
    lost: BTreeSet<([u8; 16], u64)>,
}

struct World {
    session: Session,
    disk: Disk,
    disk_image: Disk,
    database: Database,
    database_image: Database,
    received: VecDeque<Vec<u8>>,
    wire: Vec<Message>,
    connected: bool,
    now_ms: u64,
    texts: u64,
    /// Texts that the cloud must have in the end.
    owed: BTreeSet<u64>,
}

fn text_record(text: u64) -> Vec<u8> {
    format!(r#"{{"message":{{"type":"userdefined","at_ms":7,"payload":{{"text":{text}}}}}}}"#).into_bytes()
}

/// Texts that the cloud refuses for good.
const fn is_refused(text: u64) -> bool {
    text.is_multiple_of(31)
}

fn entry(record: &serde_json::value::RawValue) -> (u64, Result<Entry, String>) {
    let Record::Message(message) = Record::decode(record).expect("own record") else {
        panic!("{record}")
    };
    let text = message
        .payload
        .get()
        .trim_start_matches(r#"{"text":"#)
        .trim_end_matches('}')
        .parse()
        .expect("a number");
    let at = i64::try_from(message.at_ms).expect("small");
    let entry = Entry::Message {
        kind: message.kind,
        at,
        channel: None,
        payload: message.payload.to_owned(),
        firmware: None,
    };
    (
        text,
        if is_refused(text) {
            Err("no".to_owned())
        } else {
            Ok(entry)
        },
    )
}

impl World {
    fn new() -> Self {
        let streams = [info(History, 1, 1), info(Control, 1, 1)];
        let disk = Disk {
            streams,
            minted_ms: None,
            held: BTreeMap::new(),
        };
        Self {
            session: Session::new(identity(), streams, 7, 0),
            disk_image: disk.clone(),
            disk,
            database: Database::default(),
            database_image: Database::default(),
            received: VecDeque::new(),
            wire: Vec::new(),
            connected: false,
            now_ms: 0,
            texts: 0,
            owed: BTreeSet::new(),
        }
    }

    fn event(&mut self, event: Event) {
        for effect in self.session.handle(event, self.now_ms) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Connect(_) => {
                self.connected = true;
                self.event(Event::Connected);
            }
            Effect::Drop(_) => self.cut(),
            Effect::Publish(bytes) if self.connected => self.wire.push(Message::Up(bytes)),
            Effect::Publish(_) => {}
            Effect::Peek {
                class,
                from,
                max_records,
                ..
            } => {
                let page = self.page(class, from, max_records.min(5));
                self.event(Event::Read(class, Some(page)));
            }
            Effect::Ack { class, upto } => self.forget(class, upto),
            Effect::DeadLetter { class, seq, .. } => {
                assert_eq!(class, History);
                assert!(self.disk.held.contains_key(&seq), "number {seq} is not here");
            }
            Effect::Time { .. } | Effect::TakesHealth => {}
            Effect::Remint(History) => {
                let left = self.disk.held.values().copied().collect::<Vec<_>>();
                self.disk.held = (1..).zip(left).collect();
                self.disk.streams[0] = info(History, 1, self.disk.held.len() as u64 + 1);
                let earlier = self.disk.minted_ms.replace(self.now_ms);
                assert!(
                    earlier.is_none_or(|earlier| self.now_ms - earlier >= MINT_EVERY_MS),
                    "two new streams within an hour"
                );
                self.event(Event::Streams(self.disk.streams));
            }
            other => panic!("{other:?}"),
        }
    }

    fn page(&self, class: StreamClass, from: u64, max: usize) -> Page {
        let info = self.disk.streams[index(class)];
        let from = from.max(info.oldest);
        let item = |(seq, held): (&u64, &Held)| match held {
            Held::Text(text) => Item::Record {
                seq: *seq,
                record: text_record(*text),
            },
            Held::Dropped(_) => Item::Hole {
                from: *seq,
                to: *seq,
                reason: GapReason::Budget,
            },
        };
        let items = if class == History {
            self.disk.held.range(from..).take(max).map(item).collect()
        } else {
            Vec::new()
        };
        Page {
            stream: info.stream,
            from,
            items,
        }
    }

    /// The device removes records: the cloud must have each of them unchanged, or have recorded the number as
    /// lost.
    fn forget(&mut self, class: StreamClass, upto: u64) {
        assert_eq!(class, History);
        let stream = *self.disk.streams[0].stream.as_bytes();
        let kept = self.disk.held.split_off(&(upto + 1));
        for (seq, held) in std::mem::replace(&mut self.disk.held, kept) {
            let stored = self.database.texts.get(&(stream, seq)).copied();
            let told = self.database.lost.contains(&(stream, seq));
            assert!(
                told || stored == Some(held.text()),
                "number {seq}: the device forgets {held:?}, the cloud has {stored:?}"
            );
            if let (true, Held::Text(text)) = (told, held) {
                self.owed.remove(&text);
            }
        }
        self.disk.streams[0].oldest = upto + 1;
        self.event(Event::Streams(self.disk.streams));
    }

    fn cut(&mut self) {
        self.connected = false;
        self.wire.clear();
    }

    fn disconnect(&mut self) {
        if self.connected {
            self.cut();
            self.event(Event::Disconnected);
        }
    }

    fn restart(&mut self) {
        self.cut();
        self.session = Session::new(identity(), self.disk.streams, 7, self.now_ms);
        self.session.minted(
            [self.disk.minted_ms.map(|at| self.now_ms - at), None],
            self.now_ms,
        );
    }

    fn commit(&mut self) {
        while let Some(bytes) = self.received.pop_front() {
            match Up::decode(&bytes).expect("own bytes") {
                Up::Hello(hello) => self.greet(&hello),
                Up::Batch(batch) => {
                    let (texts, records): (Vec<_>, Vec<_>) =
                        batch.records.iter().map(|record| entry(record)).unzip();
                    self.apply(
                        batch.stream,
                        UploadBody::Records {
                            first: batch.first,
                            records,
                        },
                        batch.first,
                        &texts,
                    );
                    self.acknowledge(batch.stream);
                }
                Up::Gap(gap) => {
                    let body = UploadBody::Gap {
                        from: gap.from,
                        to: gap.to,
                        reason: gap.reason,
                    };
                    self.apply(gap.stream, body, gap.from, &[]);
                    self.acknowledge(gap.stream);
                }
            }
        }
    }

    fn greet(&mut self, hello: &Hello) {
        let mut welcome = Welcome {
            conn: hello.conn,
            time_ms: 0,
            streams: Vec::new(),
            checks: Vec::new(),
            enroll: None,
            capabilities: Vec::new(),
        };
        for info in &hello.streams {
            let body = UploadBody::Announce {
                class: info.class,
                oldest: info.oldest,
                next: info.next,
            };
            self.apply(info.stream, body, 0, &[]);
            let state = &self.database.states[info.stream.as_bytes()];
            welcome.streams.push(StreamPosition {
                stream: info.stream,
                upto: state.upto,
            });
            welcome
                .checks
                .extend(state.newest().map(|(seq, hash)| StreamCheck {
                    stream: info.stream,
                    seq,
                    hash,
                }));
        }
        self.wire.push(Message::Down(Down::Welcome(welcome)));
    }

    /// Each number becomes one entry or is lost once.
    fn apply(&mut self, stream: StreamId, body: UploadBody, first: u64, texts: &[u64]) {
        let key = *stream.as_bytes();
        for change in self.database.states.entry(key).or_default().apply(stream, body) {
            match change {
                Change::Accept(seq, _) => {
                    let text = texts[usize::try_from(seq - first).expect("small")];
                    let earlier = self.database.texts.insert((key, seq), text);
                    assert!(
                        earlier.is_none() && !self.database.lost.contains(&(key, seq)),
                        "number {seq} is there already"
                    );
                }
                Change::Gap { from, to, .. } => {
                    for seq in from..=to {
                        let fresh = self.database.lost.insert((key, seq));
                        assert!(
                            fresh && !self.database.texts.contains_key(&(key, seq)),
                            "number {seq} is there and lost"
                        );
                    }
                }
                Change::Refuse(refuse) => self.wire.push(Message::Down(Down::Refuse(refuse))),
                Change::Reused(seq, _) => panic!("number {seq} was given twice and sent"),
            }
        }
    }

    fn acknowledge(&mut self, stream: StreamId) {
        let upto = self.database.states[stream.as_bytes()].upto;
        self.wire
            .push(Message::Down(Down::Ack(StreamPosition { stream, upto })));
    }

    /// Records that only the cloud had are no longer required, but must be recorded as lost; `forget` and
    /// `apply` check that.
    fn restore_cloud(&mut self) {
        self.received.clear();
        self.wire.clear();
        self.database = self.database_image.clone();
        let there: BTreeSet<u64> = self.database.texts.values().copied().collect();
        let held = self.held_texts();
        self.owed
            .retain(|text| there.contains(text) || held.contains(text));
        self.disconnect();
    }

    /// Records that only the device had are lost with it.
    fn restore_device(&mut self) {
        self.disk = self.disk_image.clone();
        // Records sent before may still be committed.
        let held = self.held_texts();
        let there: BTreeSet<u64> = self.database.texts.values().copied().collect();
        self.owed
            .retain(|text| there.contains(text) || held.contains(text));
        self.restart();
    }

    fn held_texts(&self) -> BTreeSet<u64> {
        let text = |held: &Held| {
            if let Held::Text(text) = held {
                Some(*text)
            } else {
                None
            }
        };
        self.disk.held.values().filter_map(text).collect()
    }

    fn push(&mut self, count: u64) {
        for _ in 0..count {
            self.texts += 1;
            if !is_refused(self.texts) {
                self.owed.insert(self.texts);
            }
            self.disk
                .held
                .insert(self.disk.streams[0].next, Held::Text(self.texts));
            self.disk.streams[0].next += 1;
        }
    }

    fn give_up(&mut self, count: u64) {
        let oldest = self
            .disk
            .held
            .values_mut()
            .take(usize::try_from(count).expect("small"));
        for held in oldest {
            *held = Held::Dropped(held.text());
            self.owed.remove(&held.text());
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(count) => self.push(*count),
            Step::Notice => self.event(Event::Streams(self.disk.streams)),
            Step::Drop(count) => self.give_up(*count),
            Step::Deliver(n) if !self.wire.is_empty() => match self.wire.remove(n % self.wire.len()) {
                Message::Down(down) => self.event(Event::Down(down)),
                Message::Up(bytes) => self.received.push_back(bytes),
            },
            Step::Lose(n) if !self.wire.is_empty() => drop(self.wire.remove(n % self.wire.len())),
            Step::Duplicate(n) if !self.wire.is_empty() => {
                self.wire.push(self.wire[n % self.wire.len()].clone())
            }
            Step::Commit => self.commit(),
            Step::Cut => self.disconnect(),
            Step::Wait(ms) => {
                self.now_ms += ms;
                while self.session.deadline_ms().is_some_and(|at| at <= self.now_ms) {
                    self.event(Event::Timer);
                }
            }
            Step::RestartDevice => self.restart(),
            Step::ImageDevice => self.disk_image = self.disk.clone(),
            Step::RestoreDevice => self.restore_device(),
            Step::KillCloud => {
                self.received.clear();
                self.wire.clear();
                self.disconnect();
            }
            Step::ImageCloud => self.database_image = self.database.clone(),
            Step::RestoreCloud => self.restore_cloud(),
            Step::Deliver(_) | Step::Lose(_) | Step::Duplicate(_) => {}
        }
    }

    /// Runs without faults until the cloud has welcomed the device and the device has no records left.
    fn settle(&mut self) -> bool {
        for _ in 0..20_000 {
            let open = self.session.state() == LinkState::Online;
            if open && self.disk.held.is_empty() && self.session.queued() == 0 {
                return true;
            }
            self.step(&Step::Notice);
            self.commit();
            self.step(&if self.wire.is_empty() {
                Step::Wait(200_000)
            } else {
                Step::Deliver(0)
            });
        }
        false
    }

    fn check(steps: &[Step]) -> Result<(), TestCaseError> {
        let mut world = Self::new();
        for step in steps {
            world.step(step);
        }
        prop_assert!(
            world.settle(),
            "{} records stay on the device",
            world.disk.held.len()
        );
        let there: BTreeSet<u64> = world.database.texts.values().copied().collect();
        let vanished: Vec<_> = world.owed.difference(&there).collect();
        prop_assert!(vanished.is_empty(), "vanished: {vanished:?}");
        let StreamInfo { stream, next, .. } = world.disk.streams[0];
        let told = |seq: &u64| {
            let key = (*stream.as_bytes(), *seq);
            world.database.texts.contains_key(&key) || world.database.lost.contains(&key)
        };
        let silent: Vec<_> = (1..next).filter(|seq| !told(seq)).collect();
        prop_assert!(silent.is_empty(), "neither there nor told as lost: {silent:?}");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn acknowledged_is_committed_and_nothing_vanishes(steps in prop::collection::vec(faults(), 1..200)) {
        World::check(&steps)?;
    }

    #[test]
    fn a_device_put_back_to_an_image_loses_nothing_new(steps in prop::collection::vec(with_restored_device(), 1..300)) {
        World::check(&steps)?;
    }

    #[test]
    fn a_cloud_put_back_to_a_copy_tells_what_it_lost(steps in prop::collection::vec(with_restored_cloud(), 1..300)) {
        World::check(&steps)?;
    }
}
