use std::collections::BTreeMap;

use iottly_protocol::StreamClass::{Control, History};
use iottly_protocol::{GapReason, Refuse};
use proptest::prelude::*;

use super::*;
use crate::outbox::Item;

fn identity() -> Identity {
    let versions = Versions { agent: "1".into(), runtime: "2".into(), firmware_abi: "3".into() };
    Identity { boot: BootId::random(), versions, capabilities: Vec::new() }
}

fn info(class: StreamClass, oldest: u64, next: u64) -> StreamInfo {
    StreamInfo { stream: StreamId::random(), class, oldest, next }
}

fn session(oldest: u64, next: u64) -> Session {
    Session::new(identity(), [info(History, oldest, next), info(Control, 1, 1)], 1, 0)
}

fn history(session: &Session) -> StreamInfo {
    session.tracks[0].info
}

fn record(seq: u64) -> Item {
    Item::Record { seq, record: format!("{{\"n\":{seq}}}").into_bytes() }
}

/// Connects and returns the hello.
fn connect(session: &mut Session, now_ms: u64) -> Hello {
    let now_ms = now_ms.max(session.deadline_ms().expect("a time to connect"));
    let effects = session.handle(Event::Timer, now_ms);
    assert!(matches!(effects[..], [Effect::Connect(_)]), "{effects:?}");
    hello(session.handle(Event::Connected, now_ms))
}

fn hello(mut effects: Vec<Effect>) -> Hello {
    let Some(Effect::Publish(bytes)) = effects.pop() else { panic!("no hello in {effects:?}") };
    match Up::decode(&bytes).expect("own bytes") {
        Up::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

fn welcome(session: &mut Session, hello: &Hello, upto: u64, now_ms: u64) -> Vec<Effect> {
    let streams = hello.streams.iter().map(|info| match info.class {
        History => StreamPosition { stream: info.stream, upto },
        Control => StreamPosition { stream: info.stream, upto: 0 },
    });
    let welcome = Welcome { conn: hello.conn, time_ms: 0, streams: streams.collect() };
    session.handle(Event::Down(Down::Welcome(welcome)), now_ms)
}

fn open(session: &mut Session) -> Vec<Effect> {
    let hello = connect(session, 0);
    welcome(session, &hello, 0, 0)
}

fn peeked(effects: &[Effect]) -> Option<u64> {
    effects.iter().find_map(|effect| match effect {
        Effect::Peek { class: History, from, .. } => Some(*from),
        _ => None,
    })
}

fn read(session: &mut Session, items: Vec<Item>, now_ms: u64) -> Vec<Effect> {
    let from = match items.first().expect("items") {
        Item::Record { seq, .. } => *seq,
        Item::Hole { from, .. } => *from,
    };
    let page = Page { stream: history(session).stream, from, items };
    session.handle(Event::Read(History, Some(page)), now_ms)
}

fn ack(session: &mut Session, upto: u64, now_ms: u64) -> Vec<Effect> {
    let stream = history(session).stream;
    session.handle(Event::Down(Down::Ack(StreamPosition { stream, upto })), now_ms)
}

/// (first, count) of batches and (from, to) of gaps.
fn sent(effects: &[Effect]) -> Vec<(&'static str, u64, u64)> {
    let decode = |effect: &Effect| match effect {
        Effect::Publish(bytes) => match Up::decode(bytes).expect("own bytes") {
            Up::Batch(batch) => Some(("batch", batch.first, batch.records.len() as u64)),
            Up::Gap(gap) => Some(("gap", gap.from, gap.to)),
            Up::Hello(_) => Some(("hello", 0, 0)),
        },
        _ => None,
    };
    effects.iter().filter_map(decode).collect()
}

#[test]
fn nothing_is_sent_before_the_welcome() {
    let mut session = session(1, 4);
    let hello = connect(&mut session, 0);
    assert_eq!(hello.streams, [history(&session), session.tracks[1].info]);
    assert_eq!(session.state(), LinkState::Connecting);
    let effects = session.handle(Event::Streams(session.tracks.each_ref().map(|track| track.info)), 1);
    assert!(effects.is_empty(), "{effects:?}");

    let mut foreign = hello.clone();
    foreign.conn = ConnId::random();
    assert!(welcome(&mut session, &foreign, 0, 2).is_empty(), "a welcome for another connection is ignored");
    assert_eq!(session.state(), LinkState::Connecting);

    let effects = welcome(&mut session, &hello, 0, 3);
    assert_eq!(session.state(), LinkState::Online);
    assert_eq!(peeked(&effects), Some(1));
    let effects = read(&mut session, vec![record(1), record(2), record(3)], 4);
    assert_eq!(sent(&effects), [("batch", 1, 3)]);
    assert_eq!(peeked(&effects), None, "all is sent");
}

#[test]
fn a_welcome_moves_the_device_forward() {
    let mut session = session(1, 10);
    let hello = connect(&mut session, 0);
    let effects = welcome(&mut session, &hello, 6, 0);
    assert!(matches!(effects[0], Effect::Ack { class: History, upto: 6 }), "{effects:?}");
    assert_eq!(peeked(&effects), Some(7));
}

#[test]
fn a_new_connection_starts_behind_the_last_acknowledgement() {
    let mut session = session(1, 6);
    open(&mut session);
    read(&mut session, (1..=5).map(record).collect(), 0);
    let effects = ack(&mut session, 2, 1);
    assert!(matches!(effects[..], [Effect::Ack { class: History, upto: 2 }]), "{effects:?}");
    session.handle(Event::Disconnected, 2);
    assert_eq!(session.state(), LinkState::Offline);

    let hello = connect(&mut session, 2);
    assert_eq!(hello.streams[0].oldest, 3);
    let effects = welcome(&mut session, &hello, 2, 3);
    assert_eq!(peeked(&effects), Some(3));
    assert_eq!(sent(&read(&mut session, (3..=5).map(record).collect(), 4)), [("batch", 3, 3)]);
}

#[test]
fn a_page_from_before_a_reconnect_is_not_sent_twice() {
    let mut session = session(1, 6);
    open(&mut session);
    session.handle(Event::Disconnected, 1);
    let hello = connect(&mut session, 1);
    // The cloud had stored two records whose acknowledgement was lost.
    let effects = welcome(&mut session, &hello, 2, 2);
    assert_eq!(peeked(&effects), None, "the first read is still under way");
    let effects = read(&mut session, (1..=5).map(record).collect(), 3);
    assert_eq!(sent(&effects), []);
    assert_eq!(peeked(&effects), Some(3));
}

#[test]
fn holes_travel_as_gaps_in_front_of_what_follows() {
    let mut session = session(1, 8);
    open(&mut session);
    let hole = |from, to| Item::Hole { from, to, reason: GapReason::Corruption };
    let effects = read(&mut session, vec![record(1), hole(2, 4), record(5), record(6), hole(7, 7)], 0);
    assert_eq!(sent(&effects), [("batch", 1, 1), ("gap", 2, 4), ("batch", 5, 2), ("gap", 7, 7)]);
    let effects = ack(&mut session, 7, 0);
    assert!(matches!(effects[..], [Effect::Ack { upto: 7, .. }]), "{effects:?}");
}

#[test]
fn the_window_stops_the_stream_and_acknowledgements_move_it() {
    let mut session = session(1, 1000);
    let mut effects = open(&mut session);
    let mut batches = 0;
    while let Some(from) = peeked(&effects) {
        effects = read(&mut session, vec![record(from)], 0);
        batches += 1;
        assert!(batches < 100, "the window never closes");
    }
    let effects = ack(&mut session, 1, 0);
    assert_eq!(peeked(&effects), Some(batches + 1));
}

#[test]
fn without_an_acknowledgement_everything_is_sent_again() {
    let mut session = session(1, 3);
    open(&mut session);
    read(&mut session, vec![record(1), record(2)], 100);
    let due = session.deadline_ms().expect("a deadline");
    assert!(session.handle(Event::Timer, due - 1).is_empty());
    let effects = session.handle(Event::Timer, due);
    assert_eq!(peeked(&effects), Some(1));
    assert_eq!(sent(&read(&mut session, vec![record(1), record(2)], due)), [("batch", 1, 2)]);
}

#[test]
fn an_unanswered_hello_is_repeated() {
    let mut session = session(1, 3);
    let first = connect(&mut session, 0);
    let due = session.deadline_ms().expect("a deadline");
    let second = hello(session.handle(Event::Timer, due));
    assert_eq!(first, second);
    assert!(session.deadline_ms().expect("a deadline") - due > due, "patience grows");
}

#[test]
fn a_silent_broker_is_left() {
    let mut session = session(1, 1);
    session.handle(Event::Timer, 0);
    let due = session.deadline_ms().expect("a deadline");
    assert!(matches!(session.handle(Event::Timer, due)[..], [Effect::Drop(_)]));
    assert_eq!(session.state(), LinkState::Offline);
    assert!(session.deadline_ms().expect("a next attempt") > due);
}

#[test]
fn a_device_older_than_the_cloud_starts_a_new_stream() {
    let mut session = session(3, 5);
    let first = connect(&mut session, 0);
    let effects = welcome(&mut session, &first, 9, 0);
    assert!(matches!(effects[..], [Effect::Remint(History)]), "{effects:?}");
    assert!(ack(&mut session, 4, 1).is_empty(), "the old stream is over");

    let fresh = [info(History, 1, 3), session.tracks[1].info];
    let effects = session.handle(Event::Streams(fresh), 2);
    let second = hello(effects);
    assert_eq!((second.conn, second.streams[0]), (first.conn, fresh[0]));
    let effects = welcome(&mut session, &second, 0, 3);
    assert_eq!(peeked(&effects), Some(1));
}

#[test]
fn the_same_length_on_both_sides_is_no_restore() {
    let mut session = session(5, 5);
    let hello = connect(&mut session, 0);
    assert!(welcome(&mut session, &hello, 4, 0).is_empty());
}

#[test]
fn acknowledgements_of_what_was_never_given_are_ignored() {
    let mut session = session(1, 3);
    open(&mut session);
    assert!(ack(&mut session, 3, 0).is_empty());
    assert!(ack(&mut session, u64::MAX, 0).is_empty());
    let unknown = StreamPosition { stream: StreamId::random(), upto: 1 };
    assert!(session.handle(Event::Down(Down::Ack(unknown)), 0).is_empty());
}

#[test]
fn a_refused_record_becomes_a_dead_letter_and_blocks_nothing() {
    let mut session = session(1, 4);
    open(&mut session);
    read(&mut session, vec![record(1), record(2), record(3)], 0);
    let refuse = |session: &mut Session, seq| {
        let refuse = Refuse { stream: history(session).stream, seq, reason: "payload: not an object".into() };
        session.handle(Event::Down(Down::Refuse(refuse)), 0)
    };
    let effects = refuse(&mut session, 2);
    assert!(matches!(&effects[..], [Effect::DeadLetter { class: History, seq: 2, .. }]), "{effects:?}");
    assert_eq!(session.refused(), 1);
    assert!(matches!(ack(&mut session, 3, 0)[..], [Effect::Ack { upto: 3, .. }]));
    assert!(refuse(&mut session, 2).is_empty(), "it is gone already");
}

#[test]
fn connections_that_do_not_last_are_made_less_and_less_often() {
    let pause = |session: &mut Session, lasted_ms: u64| {
        let hello = connect(session, 0);
        let now_ms = 1_000_000_000;
        welcome(session, &hello, 0, now_ms);
        session.handle(Event::Disconnected, now_ms + lasted_ms);
        let pause = session.deadline_ms().expect("a next attempt") - now_ms - lasted_ms;
        session.phase = Phase::Waiting { until_ms: 0 };
        pause
    };
    let mut session = session(1, 1);
    let short: Vec<_> = (0..10).map(|_| pause(&mut session, 10)).collect();
    assert!(short[0] <= 200 && *short.last().expect("ten") >= 15_000, "{short:?}");
    assert!(pause(&mut session, STABLE_MS) <= 200);
}

#[test]
fn a_failed_read_is_tried_again() {
    let mut session = session(1, 2);
    open(&mut session);
    assert!(session.handle(Event::Read(History, None), 10).is_empty());
    let due = session.deadline_ms().expect("a next attempt");
    assert!(due > 10);
    assert_eq!(peeked(&session.handle(Event::Timer, due)), Some(1));
}

#[derive(Debug, Clone)]
enum Step {
    Push(u64),
    /// Lets the cloud process a message in flight, chosen by this number.
    Deliver(usize),
    /// Loses a message in flight.
    Lose(usize),
    Duplicate(usize),
    Cut,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..20).prop_map(Step::Push),
        10 => any::<usize>().prop_map(Step::Deliver),
        1 => any::<usize>().prop_map(Step::Lose),
        1 => any::<usize>().prop_map(Step::Duplicate),
        1 => Just(Step::Cut),
        2 => (1u64..20_000).prop_map(Step::Wait),
    ]
}

enum Message {
    Up(Vec<u8>),
    Down(Down),
}

/// A device, a cloud, and a wire between them that loses, repeats and reorders.
struct World {
    session: Session,
    streams: [StreamInfo; 2],
    acked: u64,
    stored: BTreeMap<u64, ()>,
    wire: Vec<Message>,
    connected: bool,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        let streams = [info(History, 1, 1), info(Control, 1, 1)];
        let session = Session::new(identity(), streams, 7, 0);
        Self { session, streams, acked: 0, stored: BTreeMap::new(), wire: Vec::new(), connected: false, now_ms: 0 }
    }

    fn upto(&self) -> u64 {
        (1..).find(|seq| !self.stored.contains_key(seq)).expect("endless") - 1
    }

    fn event(&mut self, event: Event) {
        let effects = self.session.handle(event, self.now_ms);
        for effect in effects {
            match effect {
                Effect::Connect(_) => {
                    self.connected = true;
                    self.event(Event::Connected);
                }
                Effect::Drop(_) => self.cut(),
                Effect::Publish(bytes) if self.connected => self.wire.push(Message::Up(bytes)),
                Effect::Publish(_) => {}
                Effect::Peek { class, from, max_records, .. } => {
                    let info = self.streams[index(class)];
                    let from = from.max(info.oldest);
                    let items = (from..info.next).take(max_records.min(5)).map(record).collect();
                    self.event(Event::Read(class, Some(Page { stream: info.stream, from, items })));
                }
                Effect::Ack { class, upto } => {
                    assert_eq!(class, History);
                    assert!((1..=upto).all(|seq| self.stored.contains_key(&seq)), "{upto} acknowledged, not all stored");
                    self.acked = self.acked.max(upto);
                    self.streams[0].oldest = self.acked + 1;
                    self.event(Event::Streams(self.streams));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn cut(&mut self) {
        self.connected = false;
        self.wire.clear();
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Down(down) => self.event(Event::Down(down)),
            Message::Up(bytes) => match Up::decode(&bytes).expect("own bytes") {
                Up::Hello(hello) => {
                    let upto = self.upto();
                    let position = |info: &StreamInfo| StreamPosition {
                        stream: info.stream,
                        upto: if info.class == History { upto } else { 0 },
                    };
                    let streams = hello.streams.iter().map(position).collect();
                    self.wire.push(Message::Down(Down::Welcome(Welcome { conn: hello.conn, time_ms: 0, streams })));
                }
                Up::Batch(batch) => {
                    for seq in batch.first..batch.first + batch.records.len() as u64 {
                        assert!(seq < self.streams[0].next, "{seq} was never pushed");
                        self.stored.insert(seq, ());
                    }
                    let position = StreamPosition { stream: batch.stream, upto: self.upto() };
                    self.wire.push(Message::Down(Down::Ack(position)));
                }
                Up::Gap(gap) => panic!("{gap:?}"),
            },
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(count) => {
                self.streams[0].next += count;
                self.event(Event::Streams(self.streams));
            }
            Step::Deliver(n) if !self.wire.is_empty() => {
                let message = self.wire.remove(n % self.wire.len());
                self.deliver(message);
            }
            Step::Lose(n) if !self.wire.is_empty() => drop(self.wire.remove(n % self.wire.len())),
            Step::Duplicate(n) if !self.wire.is_empty() => {
                let copy = match &self.wire[n % self.wire.len()] {
                    Message::Up(bytes) => Message::Up(bytes.clone()),
                    Message::Down(down) => Message::Down(down.clone()),
                };
                self.wire.push(copy);
            }
            Step::Cut if self.connected => {
                self.cut();
                self.event(Event::Disconnected);
            }
            Step::Wait(ms) => {
                self.now_ms += ms;
                while self.session.deadline_ms().is_some_and(|at| at <= self.now_ms) {
                    self.event(Event::Timer);
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn acknowledged_is_stored_and_everything_arrives_in_the_end(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        for _ in 0..10_000 {
            if world.acked + 1 == world.streams[0].next {
                break;
            }
            world.step(&if world.wire.is_empty() { Step::Wait(200_000) } else { Step::Deliver(0) });
        }
        prop_assert_eq!(world.acked + 1, world.streams[0].next);
        prop_assert_eq!(world.session.queued(), 0);
    }
}
