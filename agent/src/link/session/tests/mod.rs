//! The session without a network: events in, effects out.

mod clock_steps;
mod greeting;
mod held;
mod model;
mod restores;
mod sending;

use iottly_protocol::StreamClass::{Control, History};
use iottly_protocol::{GapReason, Refuse, StreamCheck};

use super::*;
use crate::outbox::Item;

fn identity() -> Identity {
    let versions = Versions {
        agent: "1".into(),
        runtime: "2".into(),
        firmware_abi: "3".into(),
    };
    Identity {
        boot: BootId::random(),
        versions,
        capabilities: Vec::new(),
        hardware: None,
    }
}

fn info(class: StreamClass, oldest: u64, next: u64) -> StreamInfo {
    StreamInfo {
        stream: StreamId::random(),
        class,
        oldest,
        next,
    }
}

fn session(oldest: u64, next: u64) -> Session {
    Session::new(
        identity(),
        [info(History, oldest, next), info(Control, 1, 1)],
        1,
        0,
    )
}

fn history(session: &Session) -> StreamInfo {
    session.tracks[0].info
}

fn record(seq: u64) -> Item {
    Item::Record {
        seq,
        record: format!("{{\"n\":{seq}}}").into_bytes(),
    }
}

/// Connects and returns the hello.
fn connect(session: &mut Session, now_ms: u64) -> Hello {
    let now_ms = now_ms.max(session.deadline_ms().expect("a time to connect"));
    let effects = session.handle(Event::Timer, now_ms);
    assert!(matches!(effects[..], [Effect::Connect(_)]), "{effects:?}");
    hello(session.handle(Event::Connected, now_ms))
}

fn hello(mut effects: Vec<Effect>) -> Hello {
    let Some(Effect::Publish(bytes)) = effects.pop() else {
        panic!("no hello in {effects:?}")
    };
    match Up::decode(&bytes).expect("own bytes") {
        Up::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

fn welcome(session: &mut Session, hello: &Hello, upto: u64, now_ms: u64) -> Vec<Effect> {
    let streams = hello.streams.iter().map(|info| match info.class {
        History => StreamPosition {
            stream: info.stream,
            upto,
        },
        Control => StreamPosition {
            stream: info.stream,
            upto: 0,
        },
    });
    let welcome = Welcome {
        conn: hello.conn,
        time_ms: 0,
        streams: streams.collect(),
        checks: Vec::new(),
        enroll: None,
        capabilities: Vec::new(),
    };
    greeted(session.handle(Event::Down(Down::Welcome(welcome)), now_ms))
}

/// Effects of a welcome beside the time.
fn greeted(mut effects: Vec<Effect>) -> Vec<Effect> {
    if matches!(effects.first(), Some(Effect::Time { .. })) {
        effects.remove(0);
    }
    effects
}

fn open(session: &mut Session) -> Vec<Effect> {
    let hello = connect(session, 0);
    welcome(session, &hello, 0, 0)
}

fn peeked(effects: &[Effect]) -> Option<u64> {
    effects.iter().find_map(|effect| match effect {
        Effect::Peek {
            class: History, from, ..
        } => Some(*from),
        _ => None,
    })
}

fn read(session: &mut Session, items: Vec<Item>, now_ms: u64) -> Vec<Effect> {
    let from = match items.first().expect("items") {
        Item::Record { seq, .. } => *seq,
        Item::Hole { from, .. } => *from,
    };
    let page = Page {
        stream: history(session).stream,
        from,
        items,
    };
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
