//! Histories: order, filters by time, sizes, and concurrent writers.

use iottly_core::command::seeded_definitions;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Cursor, ORPHANED, Scope, Scopes, SecretHash, StoredMessage, UnixMs};
use iottly_protocol::{FirmwareMark, GroupId, Level, LogLine, MessageKind, ProjectId, StreamId};
use iottly_store::{EntrySize, LogQuery, PageQuery, ScanBounds};
use iottly_web::auth::mint_token;
use serde_json::value::RawValue;

use super::{Setup, upload};

const DAY: UnixMs = 24 * 60 * 60 * 1000;

pub(crate) async fn what_is_written_is_there_after_reopening(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let token = mint_token(scope.project, "t", Scopes::PROJECT, Some(9), 1)
        .expect("randomness")
        .token;
    store
        .create_token(SecretHash([3; 32]), &token)
        .await
        .expect("created");
    store
        .create_group(
            scope.project,
            GroupId::from_bytes([9; 16]),
            "a group",
            Some("main"),
        )
        .await
        .expect("created");
    let outcomes = store
        .ingest(vec![upload(*scope, 1, 1, 200, 1_000)])
        .await
        .expect("commits");
    assert_eq!((outcomes[0].upto, outcomes[0].stored.len()), (200, 200));
    store.close().await;
    assert!(
        store.projects().await.is_err() && store.expire_commands(0).await.is_err(),
        "closed is closed"
    );

    let store = setup.another().await;
    assert_eq!(store.projects().await.expect("reads").len(), 1);
    assert_eq!(
        store.token(SecretHash([3; 32])).await.expect("reads"),
        Some(token)
    );
    assert_eq!(store.token(SecretHash([4; 32])).await.expect("reads"), None);
    assert_eq!(
        store.definitions(scope.project).await.expect("reads"),
        seeded_definitions()
    );
    let groups = store.groups(scope.project).await.expect("reads");
    assert_eq!(
        groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(),
        [ORPHANED, "a group"]
    );
    let members = store.all_members(scope.project).await.expect("reads");
    assert_eq!(members, [(groups[0].id, scope.device)]);
    let (found, secret) = store
        .device_credentials(scope.device)
        .await
        .expect("reads")
        .expect("exists");
    assert!(
        found == *scope
            && secret.matches(&SecretHash::of(b"secret"))
            && !secret.matches(&SecretHash::of(b"other"))
    );
    assert_eq!(
        store
            .stream_upto(*scope, StreamId::from_bytes([1; 16]))
            .await
            .expect("reads"),
        200
    );
    let again = store
        .ingest(vec![upload(*scope, 1, 101, 150, 2_000)])
        .await
        .expect("commits");
    assert_eq!(
        (again[0].upto, again[0].stored.len()),
        (250, 50),
        "duplicates are known after a restart"
    );
    let newest = &store.scan(*scope, ScanBounds::default(), 1).await.expect("reads")[0];
    assert_eq!(
        (
            newest.payload.get(),
            newest.channel.as_deref(),
            newest.device_timestamp
        ),
        ("250", Some("c"), 7)
    );
    assert_eq!(newest.firmware, FirmwareMark::of("0123456789ab"));
    assert_eq!(newest.origin, Some((StreamId::from_bytes([1; 16]), 250)));
}

pub(crate) async fn pages_meet_without_overlap_whatever_the_timestamps(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    // Several messages per millisecond, and a clock that steps back far enough to be followed.
    let times = [5_000, 5_000, 5_001, 9_000, 1_000, 1_000, 2_000];
    for (index, received) in times.into_iter().enumerate() {
        store
            .ingest(vec![upload(scope, 1, index as u64 * 3 + 1, 3, received)])
            .await
            .expect("commits");
    }
    let all = store
        .scan(scope, ScanBounds::default(), 1_000)
        .await
        .expect("reads");
    assert_eq!(all.len(), 21);
    assert!(
        all.windows(2)
            .all(|pair| (pair[0].timestamp, pair[0].id) > (pair[1].timestamp, pair[1].id))
    );
    for size in 1..=6 {
        let (mut before, mut paged) = (None, Vec::new());
        loop {
            let page = store
                .scan(
                    scope,
                    ScanBounds {
                        before,
                        ..ScanBounds::default()
                    },
                    size,
                )
                .await
                .expect("reads");
            let Some(last) = page.last() else { break };
            before = Some(Cursor {
                timestamp: last.timestamp,
                id: last.id,
            });
            paged.extend(page.into_iter().map(|message| message.id));
        }
        assert_eq!(
            paged,
            all.iter().map(|message| message.id).collect::<Vec<_>>(),
            "pages of {size}"
        );
    }
    let bounds = ScanBounds {
        from: Some(2_000),
        to: Some(5_000),
        before: None,
    };
    let within = store.scan(scope, bounds, 1_000).await.expect("reads");
    assert_eq!(
        within.len(),
        all.iter()
            .filter(|m| (2_000..=5_000).contains(&m.timestamp))
            .count()
    );
}

pub(crate) async fn what_is_measured_is_what_is_read(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    for (index, received) in [5_000, 5_000, 5_001, 9_000, 1_000].into_iter().enumerate() {
        store
            .ingest(vec![upload(scope, 1, index as u64 * 3 + 1, 3, received)])
            .await
            .expect("commits");
    }
    // Bytes count, not characters.
    let payload = RawValue::from_string(r#""aé🔥""#.to_owned()).expect("JSON");
    store
        .add_agent_message(scope, payload, 9_500)
        .await
        .expect("writes");
    let bounds = ScanBounds {
        from: Some(2_000),
        to: Some(9_900),
        before: None,
    };
    let read = store.scan(scope, bounds, 100).await.expect("reads");
    let sizes = store.entry_sizes(scope, bounds, 100).await.expect("reads");
    let of = |message: &StoredMessage| EntrySize {
        cursor: Cursor {
            timestamp: message.timestamp,
            id: message.id,
        },
        bytes: message.payload.get().len() as u64,
    };
    assert_eq!(sizes, read.iter().map(of).collect::<Vec<_>>());
    assert_eq!((sizes.len(), sizes[0].bytes), (13, 9));
    let between = store
        .entries_between(scope, sizes[2].cursor, sizes[5].cursor, 100)
        .await
        .expect("reads");
    assert_eq!(between.iter().map(of).collect::<Vec<_>>(), sizes[2..=5]);
    let query = PageQuery {
        limit: 7,
        offset: 2,
        ascending: true,
        ..PageQuery::default()
    };
    let page = store.page(scope, &query).await.expect("reads");
    let sizes = store.page_sizes(scope, &query).await.expect("reads");
    assert_eq!(sizes, page.iter().map(of).collect::<Vec<_>>());
    let keys: Vec<_> = sizes.iter().rev().map(|size| size.cursor).collect();
    let entries = store.entries(scope, &keys).await.expect("reads");
    assert_eq!(
        entries
            .iter()
            .map(|message| of(message).cursor)
            .collect::<Vec<_>>(),
        keys
    );
}

pub(crate) async fn pages_by_number_select_and_sort(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    store
        .ingest(vec![upload(scope, 1, 1, 7, 1_000), upload(scope, 1, 8, 3, 5_000)])
        .await
        .expect("commits");
    let payload = RawValue::from_string(r#"{"b":1,"a":1,"b":2}"#.to_owned()).expect("JSON");
    let own = store
        .add_agent_message(scope, payload, 6_000)
        .await
        .expect("writes")
        .expect("there is room");
    let page = async |query: PageQuery| {
        let found = store.page(scope, &query).await.expect("reads");
        found
            .iter()
            .map(|message| message.payload.get().to_owned())
            .collect::<Vec<_>>()
    };
    let all = PageQuery {
        limit: 100,
        ..PageQuery::default()
    };
    assert_eq!(
        page(PageQuery { limit: 3, ..all }).await,
        [own.payload.get(), "10", "9"],
        "text stays as it came"
    );
    assert_eq!(
        page(PageQuery {
            offset: 9,
            ascending: true,
            ..all
        })
        .await,
        ["10", own.payload.get()]
    );
    assert_eq!(
        page(PageQuery {
            kind: Some(MessageKind::IottlyAgent),
            ..all
        })
        .await,
        [own.payload.get()]
    );
    assert_eq!(
        page(PageQuery {
            from: Some(5_000),
            until: Some(6_000),
            ..all
        })
        .await,
        ["10", "9", "8"]
    );
    assert!(page(PageQuery { offset: 11, ..all }).await.is_empty());
}

pub(crate) async fn presence_is_written_once_per_change(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    assert!(
        store
            .set_presence(scope, false, None, 1)
            .await
            .expect("writes")
            .is_none()
    );
    let told = store
        .set_presence(scope, true, Some("1.0"), 2)
        .await
        .expect("writes")
        .expect("a change");
    assert_eq!(told.payload.get(), r#"{"connectionstatus":"connected"}"#);
    assert!(
        store
            .set_presence(scope, true, Some("1.1"), 3)
            .await
            .expect("writes")
            .is_none()
    );
    let device = store.device(scope).await.expect("reads").expect("exists");
    assert_eq!(
        (
            device.online,
            device.online_since,
            device.agent_version.as_deref()
        ),
        (true, Some(2), Some("1.1"))
    );
    assert_eq!(store.online_devices().await.expect("reads"), [scope]);
    assert_eq!(
        store
            .scan(scope, ScanBounds::default(), 10)
            .await
            .expect("reads")
            .len(),
        1
    );
    let stranger = Scope {
        project: ProjectId::from_bytes([2; 12]),
        ..scope
    };
    assert!(
        store
            .set_presence(stranger, false, None, 4)
            .await
            .expect("writes")
            .is_none(),
        "another tenant changes nothing"
    );
}

pub(crate) async fn forgotten_streams_are_the_oldest(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    for stream in 0..80 {
        store
            .ingest(vec![upload(scope, stream, 1, 1, 1_000 + i64::from(stream))])
            .await
            .expect("commits");
    }
    let upto = async |stream: u8| {
        store
            .stream_upto(scope, StreamId::from_bytes([stream; 16]))
            .await
            .expect("reads")
    };
    assert_eq!((upto(15).await, upto(16).await, upto(79).await), (0, 1, 1));
}

/// Two workers behind a shared subscription get the same publishes in different groups and orders.
pub(crate) async fn two_processes_store_each_number_once(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let others = Scope {
        device: iottly_protocol::DeviceId::from_bytes([2; 16]),
        ..*scope
    };
    super::device(store.as_ref(), others).await.expect("created");
    let uploads = |first: u64| {
        let mut uploads = vec![
            upload(*scope, 1, first, 5, 1_000),
            upload(others, 1, first, 5, 1_000),
        ];
        if first.is_multiple_of(2) {
            uploads.reverse();
        }
        uploads
    };
    let mut workers = tokio::task::JoinSet::new();
    for turn in 0..4 {
        let store = setup.another().await;
        // Each worker has overlapping pieces, and starts at another end.
        let mut groups: Vec<_> = (0..20).map(|piece| uploads(piece * 4 + 1)).collect();
        if turn % 2 == 1 {
            groups.reverse();
        }
        workers.spawn(async move {
            for group in groups {
                store.ingest(group).await.expect("commits");
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.expect("a worker ends well");
    }
    for scope in [*scope, others] {
        let stored = store
            .scan(scope, ScanBounds::default(), 1_000)
            .await
            .expect("reads");
        let mut numbers: Vec<u64> = stored
            .iter()
            .filter_map(|message| Some(message.origin?.1))
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=81).collect::<Vec<_>>());
        assert_eq!(
            store
                .stream_upto(scope, StreamId::from_bytes([1; 16]))
                .await
                .expect("reads"),
            81
        );
    }
}

pub(crate) async fn months_have_room(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let another = setup.another().await;
    // 31 December 2023 to 1 March 2024, a leap year, from two processes at once.
    let from = 1_703_980_800_000;
    let uploads =
        |first: u64| (0..61).map(move |day: u64| upload(*scope, 1, first + day, 1, from + day as i64 * DAY));
    let (one, two) = tokio::join!(
        store.ingest(uploads(1).collect()),
        another.ingest(uploads(1).collect())
    );
    one.expect("commits");
    two.expect("commits");
    let all = store
        .scan(*scope, ScanBounds::default(), 1_000)
        .await
        .expect("reads");
    assert_eq!(all.len(), 61);
    assert!(all.windows(2).all(|pair| pair[0].timestamp > pair[1].timestamp));
    let february = ScanBounds {
        from: Some(1_706_745_600_000),
        to: Some(1_709_251_199_999),
        before: None,
    };
    assert_eq!(
        store.scan(*scope, february, 1_000).await.expect("reads").len(),
        29
    );
}

pub(crate) async fn logs_keep_the_newest_lines(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let line = |n: u64| {
        Ok(Entry::Log(LogLine {
            level: Level::Info,
            text: format!("line {n} \u{0}"),
            at_ms: n,
            firmware: None,
        }))
    };
    for first in [1, 801] {
        let body = UploadBody::Records {
            first,
            records: (first..first + 800).map(line).collect(),
        };
        let upload = Upload {
            scope,
            stream: StreamId::from_bytes([1; 16]),
            received: 5,
            body,
        };
        assert_eq!(
            store.ingest(vec![upload]).await.expect("commits")[0].upto,
            first + 799
        );
    }
    let lines = store.logs(scope, 2_000).await.expect("reads");
    assert_eq!(
        (
            lines.len(),
            lines[0].device_timestamp,
            lines[999].device_timestamp
        ),
        (1_000, 1_600, 601)
    );
    assert!(lines[0].text.starts_with("line 1600 "), "{}", lines[0].text);
}

pub(crate) async fn logs_of_a_project_are_searched(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let line = |at_ms: u64, level, text: &str| {
        Ok(Entry::Log(LogLine {
            level,
            text: text.to_owned(),
            at_ms,
            firmware: None,
        }))
    };
    let body = UploadBody::Records {
        first: 1,
        records: vec![
            line(10, Level::Info, "100% of Sensors answer"),
            line(20, Level::Error, "sensor_7 does not answer"),
            line(20, Level::Debug, "a second of the same time"),
        ],
    };
    let upload = Upload {
        scope,
        stream: StreamId::from_bytes([1; 16]),
        received: 5,
        body,
    };
    store.ingest(vec![upload]).await.expect("commits");
    let found = async |project, level, contains: &str, until| {
        let query = LogQuery {
            level,
            contains: contains.to_owned(),
            until,
            before: None,
            limit: 10,
        };
        let lines = store.project_logs(project, &query).await.expect("reads").lines;
        assert!(lines.iter().all(|(device, _)| *device == scope.device));
        lines
            .into_iter()
            .map(|(_, line)| line.device_timestamp)
            .collect::<Vec<_>>()
    };
    let own = scope.project;
    assert_eq!(found(own, Level::Trace, "", None).await, [20, 20, 10]);
    assert_eq!(found(own, Level::Info, "", None).await, [20, 10]);
    assert_eq!(found(own, Level::Trace, "SENSOR", None).await, [20, 10]);
    assert_eq!(found(own, Level::Trace, "sensor_", None).await, [20]);
    assert_eq!(found(own, Level::Trace, "0%", None).await, [10]);
    assert_eq!(found(own, Level::Trace, "", Some(5)).await, [20, 20, 10]);
    assert!(
        found(own, Level::Trace, "", Some(4)).await.is_empty(),
        "by the time of receipt"
    );
    // A board whose clock is far ahead does not stay on top.
    let ahead = Upload {
        scope,
        stream: StreamId::from_bytes([2; 16]),
        received: 4,
        body: UploadBody::Records {
            first: 1,
            records: vec![line(9_000_000, Level::Info, "from the future")],
        },
    };
    store.ingest(vec![ahead]).await.expect("commits");
    assert_eq!(found(own, Level::Trace, "", None).await, [20, 20, 10, 9_000_000]);
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let query = LogQuery {
            level: Level::Trace,
            contains: String::new(),
            until: None,
            before,
            limit: 1,
        };
        let page = store.project_logs(own, &query).await.expect("reads");
        pages.extend(page.lines.into_iter().map(|(_, line)| line.text));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let texts = [
        "a second of the same time",
        "sensor_7 does not answer",
        "100% of Sensors answer",
        "from the future",
    ];
    assert_eq!(pages, texts, "lines of one time are on several pages");
    assert!(found(super::stranger(), Level::Trace, "", None).await.is_empty());
}
