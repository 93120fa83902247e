//! Latest values: the newest of each path, whatever the order of the messages, and gone with their messages.

use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Change, Scope, UnixMs};
use iottly_protocol::{DeviceId, MessageKind, StreamId};
use iottly_store::Store;
use serde_json::value::RawValue;

use super::{Setup, device, principal};

/// Time of the tests.
const NOW: UnixMs = 1_790_002_800_000;

async fn send(store: &dyn Store, scope: Scope, first: u64, messages: &[(UnixMs, &str)]) {
    let entry = |(at, payload): &(UnixMs, &str)| {
        Ok(Entry::Message {
            kind: MessageKind::UserDefined,
            at: *at,
            channel: None,
            payload: RawValue::from_string((*payload).to_owned()).expect("JSON"),
            firmware: None,
        })
    };
    let body = UploadBody::Records {
        first,
        records: messages.iter().map(entry).collect(),
    };
    let upload = Upload {
        scope,
        stream: StreamId::from_bytes([1; 16]),
        received: NOW,
        body,
    };
    store.ingest(vec![upload]).await.expect("commits");
}

/// Returns the packed values of a device; an empty text without any.
async fn latest(store: &dyn Store, scope: Scope) -> String {
    let found = store
        .latest_of(scope.project, &[scope.device])
        .await
        .expect("reads");
    found
        .into_iter()
        .next()
        .map_or(String::new(), |(device, latest)| {
            assert_eq!(device, scope.device);
            latest.as_str().to_owned()
        })
}

pub(crate) async fn the_newest_value_of_each_path_stays(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    send(
        store,
        scope,
        1,
        &[
            (NOW - 5, r#"{"t":1,"door":"open \"x\\"}"#),
            (NOW - 9, r#"{"t":2,"on":true}"#),
        ],
    )
    .await;
    // A late one, and a duplicate with other values, which is not stored.
    send(store, scope, 3, &[(NOW - 7, r#"{"t":3,"h":40.5}"#)]).await;
    send(store, scope, 3, &[(NOW, r#"{"t":4}"#)]).await;
    let (first, late, early) = (NOW - 5, NOW - 7, NOW - 9);
    let expected = format!("@{first} door 'open%20%22x%5c t 1 @{late} h 40.5 @{early} on +");
    assert_eq!(latest(store, scope).await, expected);
    // Devices come in parts, by id.
    let mut ids = vec![scope.device];
    for n in 2..=5 {
        let other = Scope {
            device: DeviceId::from_bytes([n; 16]),
            ..scope
        };
        device(store, other).await.expect("created");
        if n != 3 {
            send(store, other, 1, &[(NOW, r#"{"t":1}"#)]).await;
            ids.push(other.device);
        }
    }
    let (mut after, mut read) = (None, Vec::new());
    loop {
        let part = store.latest_after(scope.project, after, 2).await.expect("reads");
        let Some((last, _)) = part.last() else { break };
        after = Some(*last);
        read.extend(part.into_iter().map(|(device, latest)| {
            assert!(latest.values().any(|value| value.path == "t"));
            device
        }));
    }
    assert_eq!(read, ids);
    let stranger = super::stranger();
    assert!(
        store
            .latest_after(stranger, None, 9)
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(store.latest_of(stranger, &ids).await.expect("reads").is_empty());
}

pub(crate) async fn latest_values_go_with_their_messages(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    send(
        store,
        scope,
        1,
        &[(NOW - 50, r#"{"a":1}"#), (NOW - 10, r#"{"b":2}"#)],
    )
    .await;
    store.drop_older(scope, NOW - 50, 100).await.expect("deletes");
    assert_eq!(
        latest(store, scope).await,
        format!("@{} b 2 @{} a 1", NOW - 10, NOW - 50)
    );
    store.drop_older(scope, NOW - 20, 100).await.expect("deletes");
    assert_eq!(latest(store, scope).await, format!("@{} b 2", NOW - 10));
    store.drop_older(scope, NOW, 100).await.expect("deletes");
    assert_eq!(latest(store, scope).await, "");
    send(store, scope, 3, &[(NOW, r#"{"a":1}"#)]).await;
    let by = principal(scope);
    store
        .change(scope.project, &by, Change::DeleteDevice(scope.device), NOW)
        .await
        .expect("deleted");
    while store.erase_device_step(scope, 100).await.expect("erases") {}
    assert_eq!(latest(store, scope).await, "");
}

pub(crate) async fn older_histories_give_their_latest_values(setup: Setup) {
    let scope = setup.scope;
    let store = setup.store.as_ref();
    let mut messages = vec![(NOW - 500, r#"{"once":7}"#.to_owned())];
    messages.extend((0..20).map(|n| (NOW - 400 + n, format!(r#"{{"t":{n}}}"#))));
    let messages: Vec<_> = messages.iter().map(|(at, text)| (*at, text.as_str())).collect();
    send(store, scope, 1, &messages).await;
    let expected = latest(store, scope).await;
    // As the migration leaves a database whose messages are older than latest values.
    setup
        .vandalise(&format!(
            "DELETE FROM latest_values; INSERT INTO latest_fills (project, device, ts, id) VALUES \
             (x'010101010101010101010101', x'01010101010101010101010101010101', {NOW}, x'ffffffffffffffffffffffff')"
        ))
        .await;
    assert!(store.fill_series(6).await.expect("fills"));
    // A late message between two steps.
    send(store, scope, 22, &[(NOW - 450, r#"{"t":1,"late":true}"#)]).await;
    let mut steps = 1;
    while store.fill_series(6).await.expect("fills") {
        steps += 1;
    }
    assert_eq!(steps, 4, "21 messages, six a step");
    assert_eq!(
        latest(store, scope).await,
        expected.replace(
            &format!(" @{} once", NOW - 500),
            &format!(" @{} late + @{} once", NOW - 450, NOW - 500)
        )
    );
}

pub(crate) async fn minutes_are_counted_for_a_day(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let minute = 60_000;
    let start = NOW.div_euclid(minute) * minute;
    let day = 24 * 60 * minute;
    for (first, received, count) in [(1, start, 3), (4, start + minute - 1, 2), (6, start + minute, 4)] {
        store
            .ingest(vec![super::upload(scope, 1, first, count, received)])
            .await
            .expect("commits");
    }
    let counts = async |from, to| {
        let minutes = store.minutes(scope.project, from, to).await.expect("reads");
        minutes
            .into_iter()
            .map(|minute| (minute.start - start, minute.messages))
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(start, start + 2 * minute).await, [(0, 5), (minute, 4)]);
    assert_eq!(counts(start, start + minute).await, [(0, 5)]);
    // The same minute of the next day takes over its place.
    store
        .ingest(vec![super::upload(scope, 1, 10, 1, start + day)])
        .await
        .expect("commits");
    assert_eq!(
        counts(start - day, start + 2 * day).await,
        [(minute, 4), (day, 1)]
    );
    assert!(
        store
            .minutes(super::stranger(), 0, NOW * 2)
            .await
            .expect("reads")
            .is_empty()
    );
}
