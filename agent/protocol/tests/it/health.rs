//! Bytes of the reports about a device's health, and of the welcome that asks for them.

use iottly_protocol::health::{FirmwareHealth, HealthMessage, HealthReport, StreamHealth, TAKES_HEALTH};
use iottly_protocol::{Down, Welcome};

#[test]
fn a_report() {
    let mut report = HealthReport {
        up_ms: 3_600_000,
        queue_budget_bytes: 67_108_864,
        history: StreamHealth {
            waiting: 412,
            bytes: 1_048_576,
            oldest_ms: Some(10_800_000),
            lost: 7,
        },
        control: StreamHealth::default(),
        firmware: None,
    };
    let golden = r#"{"v":1,"health":{"up_ms":3600000,"queue_budget_bytes":67108864,"history":{"waiting":412,"bytes":1048576,"oldest_ms":10800000,"lost":7},"control":{"waiting":0,"bytes":0,"lost":0}}}"#;
    let message = HealthMessage::Report(report.clone());
    assert_eq!(String::from_utf8(message.encode()).expect("utf-8"), golden);
    let HealthMessage::Report(read) = HealthMessage::decode(golden.as_bytes()).expect("decodes");
    assert_eq!(read, report);

    report.firmware = Some(FirmwareHealth {
        digest: "ab".repeat(32),
        memory_bytes: 3_145_728,
        memory_limit_bytes: 16_777_216,
        over_ms: 300_000,
        calls: 3000,
        longest_us: 4200,
        budget_permille: 42,
        traps: 2,
        restarts: 1,
        trapped_ms: Some(60_000),
    });
    report.history = StreamHealth::default();
    let digest = "ab".repeat(32);
    let golden = format!(
        r#"{{"v":1,"health":{{"up_ms":3600000,"queue_budget_bytes":67108864,"history":{{"waiting":0,"bytes":0,"lost":0}},"control":{{"waiting":0,"bytes":0,"lost":0}},"firmware":{{"digest":"{digest}","memory_bytes":3145728,"memory_limit_bytes":16777216,"over_ms":300000,"calls":3000,"longest_us":4200,"budget_permille":42,"traps":2,"restarts":1,"trapped_ms":60000}}}}}}"#
    );
    let message = HealthMessage::Report(report.clone());
    assert_eq!(String::from_utf8(message.encode()).expect("utf-8"), golden);
    // Fields of later agents are ignored.
    let later = golden.replacen(r#""up_ms""#, r#""later":{"x":[1]},"up_ms""#, 1);
    let HealthMessage::Report(read) = HealthMessage::decode(later.as_bytes()).expect("decodes");
    assert_eq!(read, report);
}

#[test]
fn a_welcome_that_asks_for_reports() {
    let welcome = Welcome {
        conn: "00000000-0000-4000-8000-000000000003".parse().expect("an id"),
        time_ms: 1_700_000_000_000,
        streams: Vec::new(),
        checks: Vec::new(),
        enroll: None,
        capabilities: vec![TAKES_HEALTH.to_owned()],
    };
    let golden = r#"{"v":1,"welcome":{"conn":"00000000-0000-4000-8000-000000000003","time_ms":1700000000000,"streams":[],"capabilities":["health"]}}"#;
    let text = String::from_utf8(Down::Welcome(welcome.clone()).encode()).expect("utf-8");
    assert_eq!(text, golden);
    let Down::Welcome(read) = Down::decode(golden.as_bytes()).expect("decodes") else {
        panic!("a welcome")
    };
    assert_eq!(read, welcome);
}
