//! Series: every value of a message counts once in its minute and its hour, and goes with its message.

use std::collections::BTreeMap;

use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Change, Scope, UnixMs};
use iottly_core::series::{Line, MAX_PATHS, Range, Rollup, Split, Width};
use iottly_protocol::{DeviceId, GapReason, GroupId, MessageKind, ProjectId, StreamId};
use iottly_store::{LinesQuery, Selection, Store};
use serde_json::value::RawValue;

use super::{Setup, device, principal};

const MINUTE: UnixMs = 60_000;
const HOUR: UnixMs = 60 * MINUTE;
const DAY: UnixMs = 24 * HOUR;
/// Time of the tests: the beginning of an hour.
const NOW: UnixMs = 1_790_002_800_000;

/// Uploads messages of these device times and payloads.
async fn send(store: &dyn Store, scope: Scope, first: u64, received: UnixMs, messages: &[(UnixMs, String)]) {
    let entry = |(at, payload): &(UnixMs, String)| {
        Ok(Entry::Message {
            kind: MessageKind::UserDefined,
            at: *at,
            channel: None,
            payload: RawValue::from_string(payload.clone()).expect("JSON"),
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
        received,
        body,
    };
    store.ingest(vec![upload]).await.expect("commits");
}

fn t(value: f64) -> String {
    format!(r#"{{"t":{value}}}"#)
}

fn query(path: &str, width: Width, split: Split) -> LinesQuery {
    LinesQuery {
        path: path.into(),
        selection: Selection::default(),
        split,
        width,
        step_ms: width.ms(),
        range: Range {
            from: NOW - 500 * DAY,
            to: NOW + 6 * HOUR,
        },
        distributions: true,
    }
}

async fn lines(store: &dyn Store, scope: Scope, query: &LinesQuery) -> Vec<Line> {
    store.lines(scope.project, query).await.expect("reads")
}

/// Returns the only line as start, count, sum, lowest and highest value of its buckets.
async fn line(store: &dyn Store, scope: Scope, width: Width) -> Vec<(UnixMs, u64, f64, f64, f64)> {
    let lines = lines(store, scope, &query("t", width, Split::None)).await;
    assert!(lines.len() <= 1);
    let buckets = lines.iter().flat_map(|line| &line.buckets);
    buckets
        .map(|bucket| {
            let Rollup {
                count, sum, min, max, ..
            } = bucket.rollup;
            (bucket.at, count, sum, min, max)
        })
        .collect()
}

pub(crate) async fn each_value_counts_once_in_its_minute_and_its_hour(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    send(store, scope, 1, NOW + 10, &[(NOW + 1, t(1.0)), (NOW + 2, t(5.0))]).await;
    // The same again, and one more: duplicates count nowhere.
    send(
        store,
        scope,
        1,
        NOW + 20,
        &[(NOW + 1, t(1.0)), (NOW + 2, t(5.0)), (NOW + 3, t(3.0))],
    )
    .await;
    send(store, scope, 4, NOW + MINUTE, &[(NOW + MINUTE, t(-7.5))]).await;
    // A late one, one of a clock that is ahead, and one of a clock that is years behind.
    send(
        store,
        scope,
        5,
        NOW + 2 * MINUTE,
        &[(NOW - 3 * HOUR, t(100.0)), (NOW + DAY, t(2.0)), (7, t(4.0))],
    )
    .await;
    let minutes = [
        (NOW - 3 * HOUR, 1, 100.0, 100.0, 100.0),
        (NOW, 3, 9.0, 1.0, 5.0),
        (NOW + MINUTE, 1, -7.5, -7.5, -7.5),
        (NOW + 2 * MINUTE, 2, 6.0, 2.0, 4.0),
    ];
    assert_eq!(line(store, scope, Width::Minute).await, minutes);
    let hours = [(NOW - 3 * HOUR, 1, 100.0, 100.0, 100.0), (NOW, 6, 7.5, -7.5, 5.0)];
    assert_eq!(line(store, scope, Width::Hour).await, hours);
    // Steps of several hours are merged; without distributions the database adds up.
    for distributions in [true, false] {
        let query = LinesQuery {
            step_ms: 4 * HOUR,
            range: Range {
                from: 0,
                to: (NOW + 5 * HOUR).div_euclid(4 * HOUR) * 4 * HOUR,
            },
            distributions,
            ..query("t", Width::Hour, Split::None)
        };
        let lines = lines(store, scope, &query).await;
        let sums: Vec<_> = lines[0].buckets.iter().map(|bucket| bucket.rollup.sum).collect();
        assert!((sums.iter().sum::<f64>() - 107.5).abs() < 1e-9, "{sums:?}");
    }
    let list = store.series(scope.project).await.expect("reads");
    assert_eq!(
        (list.paths.len(), list.paths[0].path.as_str(), list.paths[0].seen),
        (1, "t", NOW)
    );
    assert!(
        store
            .lines(scope.project, &query("none", Width::Hour, Split::None))
            .await
            .expect("reads")
            .is_empty()
    );
}

pub(crate) async fn percentiles_of_many_commits_are_within_one_percent(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let values: Vec<f64> = (0..400).map(|n| f64::from((n * 7919) % 400) - 20.0).collect();
    for (first, chunk) in (1..).step_by(40).zip(values.chunks(40)) {
        let messages: Vec<_> = chunk.iter().map(|value| (NOW + 1, t(*value))).collect();
        send(store, scope, first, NOW + 5, &messages).await;
    }
    for width in Width::ALL {
        let lines = lines(store, scope, &query("t", width, Split::None)).await;
        let rollup = &lines[0].buckets[0].rollup;
        assert_eq!(rollup.count, 400);
        // 95 of 100 of -20 to 379.
        assert!((rollup.p95() - 359.0).abs() <= 3.6, "{}", rollup.p95());
    }
}

pub(crate) async fn devices_and_groups_have_lines_of_their_own(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let other = Scope {
        device: DeviceId::from_bytes([2; 16]),
        ..scope
    };
    device(store, other).await.expect("created");
    let group = GroupId::from_bytes([9; 16]);
    let by = principal(scope);
    let change = Change::CreateGroup {
        id: group,
        name: "north".into(),
        branch: None,
    };
    store
        .change(scope.project, &by, change, 1)
        .await
        .expect("created");
    let change = Change::UpdateDevice {
        device: other.device,
        group: Some(group),
        name: None,
        tags: None,
    };
    store.change(scope.project, &by, change, 1).await.expect("moved");
    send(store, scope, 1, NOW, &[(NOW, t(1.0))]).await;
    send(store, other, 1, NOW, &[(NOW, t(3.0)), (NOW, t(5.0))]).await;
    let sums = |lines: &[Line]| -> Vec<_> {
        lines
            .iter()
            .map(|line| (line.key.clone(), line.buckets[0].rollup.sum))
            .collect()
    };
    let own = GroupId::from_bytes([1; 16]).to_string();
    for (split, expected) in [
        (Split::None, vec![(None, 9.0)]),
        (
            Split::Device,
            vec![
                (Some(scope.device.to_string()), 1.0),
                (Some(other.device.to_string()), 8.0),
            ],
        ),
        (
            Split::Group,
            vec![(Some(own), 1.0), (Some(group.to_string()), 8.0)],
        ),
    ] {
        assert_eq!(
            sums(&lines(store, scope, &query("t", Width::Minute, split)).await),
            expected
        );
    }
    let selection = Selection {
        groups: vec![group],
        ..Selection::default()
    };
    assert_eq!(
        store
            .count_selected(scope.project, &selection)
            .await
            .expect("reads"),
        (1, 1)
    );
    assert_eq!(
        store
            .count_selected(scope.project, &Selection::default())
            .await
            .expect("reads"),
        (2, 2)
    );
    let chosen = LinesQuery {
        selection,
        ..query("t", Width::Minute, Split::None)
    };
    assert_eq!(sums(&lines(store, scope, &chosen).await), [(None, 8.0)]);
}

pub(crate) async fn a_device_has_the_paths_that_it_has_sent(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let [other, silent] = [2, 3].map(|id| Scope {
        device: DeviceId::from_bytes([id; 16]),
        ..scope
    });
    for scope in [other, silent] {
        device(store, scope).await.expect("created");
    }
    send(store, scope, 1, NOW, &[(NOW, r#"{"t":1,"shared":1}"#.into())]).await;
    send(
        store,
        other,
        1,
        NOW,
        &[(NOW - 2 * HOUR, r#"{"shared":2,"a":3}"#.into())],
    )
    .await;
    let of = async |scope| {
        let paths = store.series_of(scope).await.expect("reads").into_iter();
        paths.map(|path| (path.path, path.seen)).collect::<Vec<_>>()
    };
    assert_eq!(
        of(scope).await,
        [("shared".to_owned(), NOW), ("t".to_owned(), NOW)]
    );
    assert_eq!(
        of(other).await,
        [
            ("a".to_owned(), NOW - 2 * HOUR),
            ("shared".to_owned(), NOW - 2 * HOUR)
        ],
        "the newest hour is that of the device"
    );
    assert!(of(silent).await.is_empty());
    let foreign = Scope {
        project: ProjectId::from_bytes([9; 12]),
        ..scope
    };
    assert!(
        of(foreign).await.is_empty(),
        "a device is read in its project alone"
    );
}

pub(crate) async fn missing_messages_are_counted_beside_the_values(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    send(store, scope, 1, NOW, &[(NOW, t(1.0))]).await;
    let gap = Upload {
        scope,
        stream: StreamId::from_bytes([1; 16]),
        received: NOW + 5 * MINUTE,
        body: UploadBody::Gap {
            from: 2,
            to: 47,
            reason: GapReason::Budget,
        },
    };
    store.ingest(vec![gap.clone()]).await.expect("commits");
    store.ingest(vec![gap]).await.expect("commits");
    let lines = lines(store, scope, &query("t", Width::Minute, Split::None)).await;
    assert_eq!(
        (lines[0].missing.as_slice(), lines[0].lost()),
        (&[(NOW + 5 * MINUTE, 46)][..], 46)
    );
}

pub(crate) async fn what_exceeds_the_bounds_of_series_is_counted_and_stored(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let names = |from: usize, to: usize| {
        let keys: Vec<_> = (from..to).map(|n| format!(r#""k{n}":1"#)).collect();
        format!("{{{}}}", keys.join(","))
    };
    let mut messages: Vec<_> = (0..MAX_PATHS)
        .step_by(50)
        .map(|from| (NOW, names(from, from + 50)))
        .collect();
    messages.push((NOW, r#"{"late":1,"k0":1,"":4,"g":1e200}"#.into()));
    send(store, scope, 1, NOW, &messages).await;
    send(
        store,
        scope,
        messages.len() as u64 + 1,
        NOW,
        &[(NOW, r#"{"later":1,"k1":1}"#.into())],
    )
    .await;
    let list = store.series(scope.project).await.expect("reads");
    assert_eq!(
        (
            list.paths.len(),
            list.refused,
            list.skipped.named,
            list.skipped.great
        ),
        (MAX_PATHS, 2, 1, 1)
    );
    let lines = lines(store, scope, &query("k1", Width::Hour, Split::None)).await;
    assert_eq!(lines[0].buckets[0].rollup.count, 2, "series that are there go on");
    // Paths without values for as long as roll-ups are kept make room.
    let later = NOW + 800 * DAY;
    store.forget_series(scope.project, later).await.expect("reads");
    assert_eq!(
        store.series(scope.project).await.expect("reads").paths.len(),
        MAX_PATHS,
        "they have roll-ups still"
    );
    while store.prune_rollups(scope, later, 100).await.expect("deletes") {}
    store.forget_series(scope.project, later).await.expect("forgets");
    assert!(store.series(scope.project).await.expect("reads").paths.is_empty());
    send(
        store,
        scope,
        100,
        NOW + 800 * DAY,
        &[(NOW + 800 * DAY, r#"{"later":1}"#.into())],
    )
    .await;
    assert_eq!(store.series(scope.project).await.expect("reads").paths.len(), 1);
}

pub(crate) async fn rollups_go_with_their_messages(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let messages: Vec<_> = (0..4).map(|hour| (NOW + hour * HOUR, t(1.0))).collect();
    send(store, scope, 1, NOW + 4 * HOUR, &messages).await;
    store
        .drop_older(scope, NOW + HOUR + 5 * MINUTE, 1000)
        .await
        .expect("deletes");
    let minutes = line(store, scope, Width::Minute).await;
    let starts: Vec<_> = minutes.iter().map(|minute| minute.0).collect();
    assert_eq!(starts, [NOW + 2 * HOUR, NOW + 3 * HOUR]);
    assert_eq!(
        line(store, scope, Width::Hour).await.len(),
        3,
        "an hour goes when all of it is old"
    );
    // Minutes are kept for 90 days, hours for two years.
    let old = async |now, after| store.old_rollups(after, 10, now).await.expect("reads");
    let kept = old(NOW + 80 * DAY, None).await;
    assert_eq!((kept.devices, kept.last), (Vec::new(), Some(scope)));
    let found = old(NOW + 100 * DAY, None).await;
    assert_eq!(
        (found.devices, found.projects),
        (vec![scope], vec![scope.project])
    );
    assert_eq!(old(NOW + 100 * DAY, Some(scope)).await.last, None);
    let prune = async || {
        let done = store.prune_rollups(scope, NOW + 100 * DAY, 1).await;
        done.expect("deletes")
    };
    assert!(prune().await, "one of two");
    while prune().await {}
    assert!(old(NOW + 100 * DAY, None).await.devices.is_empty());
    assert_eq!(old(NOW + 800 * DAY, None).await.devices, [scope], "hours");
    assert!(line(store, scope, Width::Minute).await.is_empty());
    assert_eq!(line(store, scope, Width::Hour).await.len(), 3);
    let delete = Change::DeleteDevice(scope.device);
    store
        .change(scope.project, &principal(scope), delete, NOW)
        .await
        .expect("deletes");
    while store.erase_device_step(scope, 2).await.expect("erases") {}
}

pub(crate) async fn older_histories_are_filled_once_in_steps(setup: Setup) {
    let store = setup.store.as_ref();
    let scope = setup.scope;
    let values =
        |from: i64, to: i64| -> Vec<_> { (from..to).map(|n| (NOW + n * 20_000, t(n as f64))).collect() };
    send(store, scope, 1, NOW + 10 * HOUR, &values(0, 20)).await;
    let gap = UploadBody::Gap {
        from: 21,
        to: 23,
        reason: GapReason::Ttl,
    };
    let stream = StreamId::from_bytes([1; 16]);
    let gap = Upload {
        scope,
        stream,
        received: NOW + 10 * HOUR,
        body: gap,
    };
    store.ingest(vec![gap]).await.expect("commits");
    let expected = lines(store, scope, &query("t", Width::Minute, Split::None)).await;
    // As the migration leaves a database whose messages are older than roll-ups.
    let newest = NOW + 10 * HOUR + 1000;
    setup
        .vandalise(&format!(
            "DELETE FROM rollups; DELETE FROM series; DELETE FROM series_counts; \
             INSERT INTO series_fills (project, device, ts, id) VALUES (x'010101010101010101010101', \
             x'01010101010101010101010101010101', {newest}, x'ffffffffffffffffffffffff')"
        ))
        .await;
    assert_eq!(store.series(scope.project).await.expect("reads").filling, 1);
    assert!(store.fill_series(6).await.expect("fills"));
    // New messages, before and behind the place that the fill has reached: the clock was set back for some.
    send(store, scope, 24, NOW + 9 * HOUR, &values(20, 24)).await;
    send(store, scope, 28, NOW + 11 * HOUR, &values(24, 30)).await;
    let another = setup.another().await;
    let mut steps = 1;
    while another.fill_series(6).await.expect("fills") {
        steps += 1;
    }
    assert_eq!(steps, 5, "25 messages and a gap, six a step");
    assert_eq!(store.series(scope.project).await.expect("reads").filling, 0);
    let filled = lines(store, scope, &query("t", Width::Minute, Split::None)).await;
    let counts = |lines: &[Line]| -> BTreeMap<UnixMs, (u64, f64)> {
        let buckets = lines.iter().flat_map(|line| &line.buckets);
        buckets
            .map(|bucket| (bucket.at, (bucket.rollup.count, bucket.rollup.sum)))
            .collect()
    };
    let (before, after) = (counts(&expected), counts(&filled));
    assert_eq!(after.values().map(|(count, _)| count).sum::<u64>(), 30);
    for n in 0..30 / 3 {
        let sum = (3 * n..3 * n + 3).sum::<i64>() as f64;
        assert_eq!(after[&(NOW + n * MINUTE)], (3, sum));
    }
    assert_eq!((before[&NOW], filled[0].lost()), ((3, 3.0), expected[0].lost()));
}

pub(crate) async fn a_damaged_distribution_keeps_no_message_away(setup: Setup) {
    let store = setup.store.as_ref();
    let scope = setup.scope;
    send(
        store,
        scope,
        1,
        NOW,
        &[(NOW, t(1.0)), (NOW, t(2.0)), (NOW, t(3.0))],
    )
    .await;
    setup.vandalise("UPDATE rollups SET sketch = x'ff'").await;
    send(store, scope, 4, NOW, &[(NOW, t(4.0))]).await;
    assert_eq!(
        line(store, scope, Width::Minute).await,
        [(NOW, 4, 10.0, 1.0, 4.0)]
    );
}
