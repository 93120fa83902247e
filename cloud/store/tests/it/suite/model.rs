//! Compares the store with a model in memory: a random sequence of events has to leave the same history in
//! both.

use iottly_core::MessageIds;
use iottly_core::ingest::stream::{Effect, StreamState};
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Cursor, Scope, UnixMs};
use iottly_protocol::{DeviceId, GapReason, MessageKind, StreamClass, StreamId};
use iottly_store::{PageQuery, ScanBounds};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRng, TestRunner};
use serde_json::value::RawValue;
use std::collections::HashMap;

use super::Setup;

/// Number of sequences, and of events in each.
const COURSES: usize = 12;
const EVENTS: usize = 40;

#[derive(Debug, Clone)]
enum Event {
    Records {
        device: u8,
        stream: u8,
        first: u64,
        count: u64,
        bad: u64,
        at: UnixMs,
    },
    Gap {
        device: u8,
        stream: u8,
        from: u64,
        count: u64,
        at: UnixMs,
    },
    Announce {
        device: u8,
        stream: u8,
        oldest: u64,
        at: UnixMs,
    },
    Presence {
        device: u8,
        online: bool,
        at: UnixMs,
    },
    Own {
        device: u8,
        at: UnixMs,
    },
    Drop {
        device: u8,
        before: UnixMs,
        limit: usize,
    },
    Scan {
        device: u8,
        from: Option<UnixMs>,
        to: Option<UnixMs>,
        size: usize,
    },
    Page {
        device: u8,
        page: PageQuery,
    },
}

/// Compared parts of an entry: all but its id, which is random.
type Shown = (
    UnixMs,
    MessageKind,
    UnixMs,
    Option<String>,
    String,
    Option<(StreamId, u64)>,
);

/// History as the simplest program would keep it.
#[derive(Default)]
struct Model {
    streams: HashMap<(u8, u8), StreamState>,
    online: HashMap<u8, bool>,
    /// Entries of each device in the order in which they were written.
    entries: HashMap<u8, Vec<Shown>>,
}

fn events() -> impl Strategy<Value = Event> {
    let at = prop_oneof![1_000i64..20_000, Just(5_000i64), 3_000_000_000i64..9_000_000_000];
    let limit = 1usize..12;
    let who = (1u8..3, 1u8..4);
    let first = prop_oneof![1u64..30, 1u64..200];
    prop_oneof![
        6 => (who.clone(), first.clone(), 1u64..12, 0u64..20, at.clone())
            .prop_map(|((device, stream), first, count, bad, at)| Event::Records { device, stream, first, count, bad, at }),
        2 => (who.clone(), first.clone(), 1u64..12, at.clone())
            .prop_map(|((device, stream), from, count, at)| Event::Gap { device, stream, from, count, at }),
        1 => (who.clone(), first, at.clone()).prop_map(|((device, stream), oldest, at)| Event::Announce { device, stream, oldest, at }),
        2 => (1u8..3, any::<bool>(), at.clone()).prop_map(|(device, online, at)| Event::Presence { device, online, at }),
        1 => (1u8..3, at.clone()).prop_map(|(device, at)| Event::Own { device, at }),
        1 => (1u8..3, at.clone(), limit.clone()).prop_map(|(device, before, limit)| Event::Drop { device, before, limit }),
        2 => (1u8..3, prop::option::of(at.clone()), prop::option::of(at.clone()), limit.clone())
            .prop_map(|(device, from, to, size)| Event::Scan { device, from, to, size }),
        1 => (1u8..3, any::<bool>(), any::<bool>(), prop::option::of(at), 0usize..6, limit).prop_map(
            |(device, ascending, agent, from, offset, limit)| {
                let kind = agent.then_some(MessageKind::IottlyAgent);
                Event::Page { device, page: PageQuery { kind, from, until: None, ascending, offset, limit } }
            }
        ),
    ]
}

impl Model {
    fn write(
        &mut self,
        ids: &MessageIds,
        device: u8,
        received: UnixMs,
        kind: MessageKind,
        rest: Option<Shown>,
        payload: &str,
    ) {
        let (timestamp, _) = ids.stamp(received);
        let entry = match rest {
            Some((_, _, at, channel, payload, origin)) => (timestamp, kind, at, channel, payload, origin),
            None => (timestamp, kind, timestamp, None, payload.to_owned(), None),
        };
        self.entries.entry(device).or_default().push(entry);
    }

    fn ingest(&mut self, ids: &MessageIds, device: u8, upload: Upload) -> u64 {
        let stream = upload.stream;
        let state = self.streams.entry((device, stream.as_bytes()[0])).or_default();
        let effects = state.apply(stream, upload.body);
        let upto = state.upto;
        for effect in effects {
            match effect {
                Effect::Accept(
                    seq,
                    Entry::Message {
                        kind,
                        at,
                        channel,
                        payload,
                        firmware: _,
                    },
                ) => {
                    let rest = (
                        0,
                        kind,
                        at,
                        channel,
                        payload.get().to_owned(),
                        Some((stream, seq)),
                    );
                    self.write(ids, device, upload.received, kind, Some(rest), "");
                }
                Effect::Gap { from, to, reason } => {
                    let count = to - from + 1;
                    let reason = reason.as_str();
                    let gap = format!(
                        r#"{{"gap":{{"stream":"{stream}","from":{from},"to":{to},"count":{count},"reason":"{reason}"}}}}"#
                    );
                    self.write(ids, device, upload.received, MessageKind::IottlyAgent, None, &gap);
                }
                Effect::Reused(seq, Entry::Message { payload, .. }) => {
                    let payload = payload.get();
                    let text = format!(
                        r#"{{"stream_reuse":{{"stream":"{stream}","seq":{seq},"type":"userdefined","payload":{payload}}}}}"#
                    );
                    self.write(
                        ids,
                        device,
                        upload.received,
                        MessageKind::IottlyAgent,
                        None,
                        &text,
                    );
                }
                Effect::Accept(..) | Effect::Refuse(_) | Effect::Reused(..) => {}
            }
        }
        upto
    }

    /// Returns the newest entries first; of one millisecond, the one written last comes first.
    fn newest(&self, device: u8) -> Vec<Shown> {
        let mut all: Vec<_> = self
            .entries
            .get(&device)
            .into_iter()
            .flatten()
            .cloned()
            .enumerate()
            .collect();
        all.sort_by_key(|(index, entry)| (entry.0, *index));
        all.into_iter().rev().map(|(_, entry)| entry).collect()
    }
}

fn records(first: u64, count: u64, bad: u64) -> UploadBody {
    let record = |seq: u64| {
        if seq % 20 == bad {
            return Err("bad".to_owned());
        }
        let payload = RawValue::from_string(format!(r#"{{"n": {seq}, "ä": "\u0000"}}"#)).expect("JSON");
        let channel = seq.is_multiple_of(3).then(|| format!("c{seq}"));
        Ok(Entry::Message {
            kind: MessageKind::UserDefined,
            at: seq as i64,
            channel,
            payload,
            firmware: None,
        })
    };
    UploadBody::Records {
        first,
        records: (first..first + count).map(record).collect(),
    }
}

pub(crate) async fn histories_are_what_a_model_in_memory_says(setup: Setup) {
    let course = prop::collection::vec(events(), EVENTS);
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(Config::default().rng_algorithm),
    );
    for turn in 0..COURSES {
        let course = course.new_tree(&mut runner).expect("a course").current();
        // Each sequence has devices of its own; a failure's message names the sequence.
        let devices = |device: u8| Scope {
            device: DeviceId::from_bytes([turn as u8 * 10 + device + 10; 16]),
            ..setup.scope
        };
        for device in 1..3 {
            super::device(setup.store.as_ref(), devices(device))
                .await
                .expect("created");
        }
        let (mut model, ids) = (Model::default(), MessageIds::new([1; 5]));
        // The store's own id generator remembers the previous sequence; a step back of more than it clamps
        // restarts both.
        setup
            .store
            .add_agent_message(setup.scope, RawValue::NULL.to_owned(), -10_000)
            .await
            .expect("writes");
        ids.stamp(-10_000);
        for (index, event) in course.iter().enumerate() {
            let what = format!("event {index} of {course:#?}");
            step(&setup, &mut model, &ids, &devices, event, &what).await;
        }
        for device in 1..3 {
            let all = setup
                .store
                .scan(devices(device), ScanBounds::default(), 10_000)
                .await
                .expect("reads");
            assert_eq!(
                all.iter().map(shown).collect::<Vec<_>>(),
                model.newest(device),
                "at the end of {course:#?}"
            );
        }
    }
}

fn shown(message: &iottly_core::model::StoredMessage) -> Shown {
    let (payload, channel) = (message.payload.get().to_owned(), message.channel.clone());
    (
        message.timestamp,
        message.kind,
        message.device_timestamp,
        channel,
        payload,
        message.origin,
    )
}

async fn step(
    setup: &Setup,
    model: &mut Model,
    ids: &MessageIds,
    devices: &impl Fn(u8) -> Scope,
    event: &Event,
    what: &str,
) {
    let store = setup.store.as_ref();
    let upload = |device: u8, stream: u8, received: UnixMs, body: UploadBody| Upload {
        scope: devices(device),
        stream: StreamId::from_bytes([stream; 16]),
        received,
        body,
    };
    let (device, upload) = match event.clone() {
        Event::Records {
            device,
            stream,
            first,
            count,
            bad,
            at,
        } => (device, upload(device, stream, at, records(first, count, bad))),
        Event::Gap {
            device,
            stream,
            from,
            count,
            at,
        } => {
            let body = UploadBody::Gap {
                from,
                to: from + count - 1,
                reason: GapReason::Ttl,
            };
            (device, upload(device, stream, at, body))
        }
        Event::Announce {
            device,
            stream,
            oldest,
            at,
        } => {
            let body = UploadBody::Announce {
                class: StreamClass::History,
                oldest,
                next: oldest,
            };
            (device, upload(device, stream, at, body))
        }
        Event::Presence { device, online, at } => {
            let changed = model.online.insert(device, online).unwrap_or(false) != online;
            let word = if online { "connected" } else { "disconnected" };
            if changed {
                let payload = format!(r#"{{"connectionstatus":"{word}"}}"#);
                model.write(ids, device, at, MessageKind::IottlyAgent, None, &payload);
            }
            let told = store
                .set_presence(devices(device), online, None, at)
                .await
                .expect("writes");
            assert_eq!(told.is_some(), changed, "{what}");
            return;
        }
        Event::Own { device, at } => {
            model.write(ids, device, at, MessageKind::IottlyAgent, None, "null");
            store
                .add_agent_message(devices(device), RawValue::NULL.to_owned(), at)
                .await
                .expect("writes");
            return;
        }
        other => return look(setup, model, devices, &other, what).await,
    };
    let outcome = store.ingest(vec![upload.clone()]).await.expect("commits");
    assert_eq!(outcome[0].upto, model.ingest(ids, device, upload), "{what}");
}

async fn look(setup: &Setup, model: &mut Model, devices: &impl Fn(u8) -> Scope, event: &Event, what: &str) {
    let store = setup.store.as_ref();
    match event.clone() {
        Event::Drop {
            device,
            before,
            limit,
        } => {
            let gone: Vec<_> = model
                .newest(device)
                .into_iter()
                .rev()
                .filter(|entry| entry.0 < before)
                .take(limit)
                .collect();
            let entries = model.entries.entry(device).or_default();
            for entry in &gone {
                let at = entries
                    .iter()
                    .position(|known| known == entry)
                    .expect("was found");
                entries.remove(at);
            }
            assert_eq!(
                store
                    .drop_older(devices(device), before, limit)
                    .await
                    .expect("deletes"),
                gone.len() as u64,
                "{what}"
            );
        }
        Event::Scan {
            device,
            from,
            to,
            size,
        } => {
            let fits =
                |entry: &Shown| from.is_none_or(|from| entry.0 >= from) && to.is_none_or(|to| entry.0 <= to);
            let expected: Vec<_> = model.newest(device).into_iter().filter(fits).collect();
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let page = store
                    .scan(devices(device), ScanBounds { from, to, before }, size)
                    .await
                    .expect("reads");
                let Some(last) = page.last() else { break };
                before = Some(Cursor {
                    timestamp: last.timestamp,
                    id: last.id,
                });
                found.extend(page.iter().map(shown));
            }
            assert_eq!(found, expected, "{what}");
        }
        Event::Page { device, page } => {
            let mut expected = model.newest(device);
            if page.ascending {
                expected.reverse();
            }
            let fits = |entry: &Shown| {
                page.kind.is_none_or(|kind| entry.1 == kind) && page.from.is_none_or(|from| entry.0 >= from)
            };
            let expected: Vec<_> = expected
                .into_iter()
                .filter(fits)
                .skip(page.offset)
                .take(page.limit)
                .collect();
            let found = store.page(devices(device), &page).await.expect("reads");
            assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected, "{what}");
        }
        _ => unreachable!("what writes is done in step"),
    }
}
