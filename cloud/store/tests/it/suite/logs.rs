//! Log lines of devices: the newest are kept, and searched in the order of their receipt.

use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_protocol::{Level, LogLine, StreamId};
use iottly_store::LogQuery;

use super::Setup;

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
