//! Bytes of every wire message: a change that breaks one breaks devices in the field.

use std::borrow::Cow;

use iottly_protocol::enroll::EnrollOffer;
use iottly_protocol::release::{
    DeveloperReport, DeveloperState, DeviceFacts, Ending, EngineFact, EngineNeed, EngineTarget, LeaseId,
    Place, Reason, Step, UpdateState,
};
use iottly_protocol::*;
use serde_json::value::RawValue;

const DEVICE: &str = "00000000-0000-4000-8000-000000000005";
const STREAM: &str = "00000000-0000-4000-8000-000000000001";
const BOOT: &str = "00000000-0000-4000-8000-000000000002";
const CONN: &str = "00000000-0000-4000-8000-000000000003";
const COMMAND: &str = "00000000-0000-4000-8000-000000000004";

fn id<T: std::str::FromStr<Err = IdError>>(text: &str) -> T {
    text.parse().expect("golden id")
}

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).expect("golden json")
}

/// Asserts the encoding of a message and that decoding and encoding again gives the same bytes.
fn up(message: &Up<'_>, golden: &str) {
    assert_eq!(String::from_utf8(message.encode()).expect("utf-8"), golden);
    let again = Up::decode(golden.as_bytes()).expect("decodes");
    assert_eq!(String::from_utf8(again.encode()).expect("utf-8"), golden);
}

fn down(message: &Down, golden: &str) {
    assert_eq!(String::from_utf8(message.encode()).expect("utf-8"), golden);
    let again = Down::decode(golden.as_bytes()).expect("decodes");
    assert_eq!(String::from_utf8(again.encode()).expect("utf-8"), golden);
}

fn record(record: &Record<'_>, golden: &str) {
    assert_eq!(String::from_utf8(record.encode()).expect("utf-8"), golden);
    let again = Record::decode(raw(golden)).expect("decodes");
    assert_eq!(String::from_utf8(again.encode()).expect("utf-8"), golden);
}

#[test]
fn hello() {
    up(
        &Up::Hello(Hello {
            boot: id(BOOT),
            conn: id(CONN),
            versions: Versions {
                agent: "0.1.0".into(),
                runtime: "48.0.8".into(),
                firmware_abi: "0.1.0".into(),
            },
            capabilities: vec!["pulley".into()],
            directive_counter: 7,
            hardware: Some("ab".into()),
            streams: vec![
                StreamInfo {
                    stream: id(STREAM),
                    class: StreamClass::History,
                    oldest: 3,
                    next: 9,
                },
                StreamInfo {
                    stream: id(CONN),
                    class: StreamClass::Control,
                    oldest: 1,
                    next: 1,
                },
            ],
        }),
        r#"{"v":1,"hello":{"boot":"00000000-0000-4000-8000-000000000002","conn":"00000000-0000-4000-8000-000000000003","versions":{"agent":"0.1.0","runtime":"48.0.8","firmware_abi":"0.1.0"},"capabilities":["pulley"],"directive_counter":7,"hardware":"ab","streams":[{"stream":"00000000-0000-4000-8000-000000000001","class":"history","oldest":3,"next":9},{"stream":"00000000-0000-4000-8000-000000000003","class":"control","oldest":1,"next":1}]}}"#,
    );
}

#[test]
fn batch() {
    let golden = r#"{"v":1,"batch":{"stream":"00000000-0000-4000-8000-000000000001","first":3,"records":[{"message":{"type":"userdefined","at_ms":1,"payload":{"b":1,"a":2.0}}},{"log":{"level":"info","text":"x","at_ms":2}}]}}"#;
    let records = [
        raw(r#"{"message":{"type":"userdefined","at_ms":1,"payload":{"b":1,"a":2.0}}}"#),
        raw(r#"{"log":{"level":"info","text":"x","at_ms":2}}"#),
    ];
    up(
        &Up::Batch(Batch {
            stream: id(STREAM),
            first: 3,
            records: records.to_vec(),
        }),
        golden,
    );
    let joined = encode_batch(
        id(STREAM),
        3,
        records.iter().map(|record| record.get().as_bytes()),
    );
    assert_eq!(String::from_utf8(joined).expect("utf-8"), golden);
}

#[test]
fn gap() {
    for (reason, name) in [
        (GapReason::Ttl, "ttl"),
        (GapReason::Budget, "budget"),
        (GapReason::Corruption, "corruption"),
        (GapReason::Refused, "refused"),
        (GapReason::HeadMismatch, "head_mismatch"),
        (GapReason::Restore, "restore"),
    ] {
        assert_eq!(reason.as_str(), name);
        up(
            &Up::Gap(Gap {
                stream: id(STREAM),
                from: 4,
                to: 6,
                reason,
            }),
            &format!(r#"{{"v":1,"gap":{{"stream":"{STREAM}","from":4,"to":6,"reason":"{name}"}}}}"#),
        );
    }
}

#[test]
fn message_record() {
    record(
        &Record::Message(Message {
            kind: MessageKind::UserDefined,
            at_ms: 1_492_597_597_019,
            at_error_ms: None,
            channel: Some(Cow::Borrowed("plant")),
            payload: raw(r#"{"t":21.50,"é":[1, 2]}"#),
            firmware: None,
        }),
        r#"{"message":{"type":"userdefined","at_ms":1492597597019,"channel":"plant","payload":{"t":21.50,"é":[1, 2]}}}"#,
    );
    record(
        &Record::Message(Message {
            kind: MessageKind::IottlyAgent,
            at_ms: 0,
            at_error_ms: None,
            channel: None,
            payload: raw("null"),
            firmware: None,
        }),
        r#"{"message":{"type":"iottlyagent","at_ms":0,"payload":null}}"#,
    );
}

#[test]
fn result_record() {
    for (state, name) in [
        (CommandState::Delivered, "delivered"),
        (CommandState::Done, "done"),
        (CommandState::Failed, "failed"),
        (CommandState::Expired, "expired"),
        (CommandState::Interrupted, "interrupted"),
        (CommandState::Cancelled, "cancelled"),
    ] {
        assert_eq!(state.as_str(), name);
        record(
            &Record::Result(CommandResult {
                id: id(COMMAND),
                state,
                detail: None,
                at_ms: 5,
            }),
            &format!(r#"{{"result":{{"id":"{COMMAND}","state":"{name}","at_ms":5}}}}"#),
        );
    }
    record(
        &Record::Result(CommandResult {
            id: id(COMMAND),
            state: CommandState::Failed,
            detail: Some("no handler".into()),
            at_ms: 5,
        }),
        r#"{"result":{"id":"00000000-0000-4000-8000-000000000004","state":"failed","detail":"no handler","at_ms":5}}"#,
    );
}

#[test]
fn report_record() {
    for (state, name) in [
        (FirmwareState::Running, "running"),
        (FirmwareState::Restarting, "restarting"),
        (FirmwareState::Quarantined, "quarantined"),
        (FirmwareState::Stopped, "stopped"),
    ] {
        record(
            &Record::Report(Report::Firmware(FirmwareReport {
                state,
                digest: "ab".into(),
                detail: None,
                at_ms: 5,
            })),
            &format!(r#"{{"report":{{"firmware":{{"state":"{name}","digest":"ab","at_ms":5}}}}}}"#),
        );
    }
}

#[test]
fn log_record() {
    for (level, name) in [
        (Level::Trace, "trace"),
        (Level::Debug, "debug"),
        (Level::Info, "info"),
        (Level::Warn, "warn"),
        (Level::Error, "error"),
    ] {
        record(
            &Record::Log(LogLine {
                level,
                text: "two\nlines".into(),
                at_ms: 5,
                firmware: None,
            }),
            &format!(r#"{{"log":{{"level":"{name}","text":"two\nlines","at_ms":5}}}}"#),
        );
    }
}

fn config() -> DeviceConfig {
    DeviceConfig {
        version: 3,
        values: raw(r#"{"b":1.50,"a":"x"}"#).to_owned(),
    }
}

#[test]
fn config_and_its_report() {
    down(
        &Down::Config(config()),
        r#"{"v":1,"config":{"version":3,"values":{"b":1.50,"a":"x"}}}"#,
    );
    record(
        &Record::Report(Report::Config(ConfigReport { version: 3, at_ms: 5 })),
        r#"{"report":{"config":{"version":3,"at_ms":5}}}"#,
    );
}

#[test]
fn directive() {
    let document = raw(r#"{"signed":{"id":"d-7","b":1.0},"signatures":[]}"#).to_owned();
    down(
        &Down::Directive(SignedDirective { document }),
        r#"{"v":1,"directive":{"document":{"signed":{"id":"d-7","b":1.0},"signatures":[]}}}"#,
    );
}

#[test]
fn announcement_of_a_root() {
    down(
        &Down::Root(NewestRoot { version: 3 }),
        r#"{"v":1,"root":{"version":3}}"#,
    );
}

#[test]
fn developer_orders_and_reports() {
    let document = raw(r#"{"signed":{"id":"o-9"},"signatures":[]}"#);
    let order = SignedOrder::new(document.to_owned(), Some(b"\0asm"));
    assert_eq!(order.script().expect("base64"), Some(b"\0asm".to_vec()));
    down(
        &Down::Developer(order),
        r#"{"v":1,"developer":{"document":{"signed":{"id":"o-9"},"signatures":[]},"script":"AGFzbQ=="}}"#,
    );
    down(
        &Down::Developer(SignedOrder::new(document.to_owned(), None)),
        r#"{"v":1,"developer":{"document":{"signed":{"id":"o-9"},"signatures":[]}}}"#,
    );
    let mut report = DeveloperReport {
        order: "o-9".into(),
        lease: Some(id::<LeaseId>(COMMAND)),
        sha256: "ab".into(),
        state: DeveloperState::Running,
        reason: None,
        detail: None,
        place: None,
        ms: Some(12),
        at_ms: 5,
    };
    for (state, name) in [
        (DeveloperState::Running, "running"),
        (DeveloperState::Failed, "failed"),
        (DeveloperState::Refused, "refused"),
        (DeveloperState::Ended, "ended"),
    ] {
        assert_eq!(state.as_str(), name);
        report.state = state;
        record(
            &Record::Report(Report::Developer(Box::new(report.clone()))),
            &format!(
                r#"{{"report":{{"developer":{{"order":"o-9","lease":"{COMMAND}","sha256":"ab","state":"{name}","ms":12,"at_ms":5}}}}}}"#
            ),
        );
    }
    report.lease = None;
    report.ms = None;
    report.reason = Some(Reason::Invalid);
    report.detail = Some("x is not defined".into());
    report.place = Some(Place {
        file: "main.js".into(),
        line: 3,
        column: 7,
    });
    record(
        &Record::Report(Report::Developer(Box::new(report))),
        r#"{"report":{"developer":{"order":"o-9","sha256":"ab","state":"ended","reason":"invalid","detail":"x is not defined","place":{"file":"main.js","line":3,"column":7},"at_ms":5}}}"#,
    );
}

#[test]
fn a_script_of_the_largest_size_fits_in_a_publish_and_a_larger_one_is_not_decoded() {
    let document = raw(&format!("\"{}\"", "x".repeat(release::MAX_ORDER_BYTES - 2))).to_owned();
    let largest = SignedOrder::new(document.clone(), Some(&vec![7; release::MAX_ORDER_SCRIPT_BYTES]));
    let bytes = Down::Developer(largest).encode();
    let Ok(Down::Developer(order)) = Down::decode(&bytes) else {
        panic!("fits")
    };
    assert_eq!(
        order.script().expect("base64").map(|script| script.len()),
        Some(release::MAX_ORDER_SCRIPT_BYTES)
    );
    let larger = SignedOrder::new(
        document.clone(),
        Some(&vec![7; release::MAX_ORDER_SCRIPT_BYTES + 3]),
    );
    assert!(larger.script().is_err());
    let mut odd = larger;
    odd.script = Some("AGFz bQ==".into());
    assert!(odd.script().is_err());
}

#[test]
fn records_name_the_firmware_that_made_them() {
    let mark = FirmwareMark::of(&"0123456789abcdef".repeat(4));
    record(
        &Record::Message(Message {
            kind: MessageKind::UserDefined,
            at_ms: 1,
            at_error_ms: None,
            channel: None,
            firmware: mark,
            payload: raw("1"),
        }),
        r#"{"message":{"type":"userdefined","at_ms":1,"firmware":"0123456789ab","payload":1}}"#,
    );
    let line = LogLine {
        level: Level::Info,
        text: "x".into(),
        at_ms: 5,
        firmware: mark,
    };
    record(
        &Record::Log(line.clone()),
        r#"{"log":{"level":"info","text":"x","at_ms":5,"firmware":"0123456789ab"}}"#,
    );
    let plain = LogLine {
        firmware: None,
        ..line.clone()
    };
    assert_eq!(
        Record::Log(line).fingerprint(),
        Record::Log(plain).fingerprint(),
        "a cloud that does not know the field has the same"
    );
    for bad in ["0123456789a", "0123456789AB", "0123456789abc", ""] {
        assert!(bad.parse::<FirmwareMark>().is_err(), "{bad}");
    }
}

#[test]
fn update_reports() {
    let mut report = UpdateReport {
        directive: "d-7".into(),
        sha256: "ab".into(),
        state: UpdateState::Underway(Step::Trial),
        reason: None,
        detail: None,
        at_ms: 5,
    };
    record(
        &Record::Report(Report::Update(report.clone())),
        r#"{"report":{"update":{"directive":"d-7","sha256":"ab","state":"trial","at_ms":5}}}"#,
    );
    report.state = UpdateState::Ended(Ending::RolledBack);
    report.reason = Some(Reason::CrashLoop);
    report.detail = Some("tick: trap".into());
    record(
        &Record::Report(Report::Update(report)),
        r#"{"report":{"update":{"directive":"d-7","sha256":"ab","state":"rolled_back","reason":"crash_loop","detail":"tick: trap","at_ms":5}}}"#,
    );
    let mut facts = DeviceFacts {
        device: id(DEVICE),
        project: ProjectId::from_bytes([1; 12]),
        group: None,
        board: "virtual".into(),
        abi: "0.1.0".into(),
        root_version: 1,
        counter: 7,
        running_seq: 3,
        running_sha256: "ab".into(),
        floor: 2,
        free: 1000,
        data_schema: 1,
        capabilities: vec!["gpio".into()],
        quarantined: vec!["cd".into()],
        clock_trusted: true,
        engines: Vec::new(),
    };
    record(
        &Record::Report(Report::Facts(Box::new(facts.clone()))),
        &format!(
            r#"{{"report":{{"facts":{{"device":"{DEVICE}","project":"010101010101010101010101","board":"virtual","abi":"0.1.0","root_version":1,"counter":7,"running_seq":3,"running_sha256":"ab","floor":2,"free":1000,"data_schema":1,"capabilities":["gpio"],"quarantined":["cd"],"clock_trusted":true}}}}}}"#
        ),
    );
    facts.engines = vec![EngineFact {
        abi: "script 1".into(),
        sha256: "ef".into(),
    }];
    record(
        &Record::Report(Report::Facts(Box::new(facts))),
        &format!(
            r#"{{"report":{{"facts":{{"device":"{DEVICE}","project":"010101010101010101010101","board":"virtual","abi":"0.1.0","root_version":1,"counter":7,"running_seq":3,"running_sha256":"ab","floor":2,"free":1000,"data_schema":1,"capabilities":["gpio"],"quarantined":["cd"],"clock_trusted":true,"engines":[{{"abi":"script 1","sha256":"ef"}}]}}}}}}"#
        ),
    );
}

#[test]
fn engine_of_a_manifest() {
    let mut need = EngineNeed::of("script 1");
    assert_eq!(
        serde_json::to_string(&need).expect("json"),
        r#"{"abi":"script 1"}"#
    );
    need.exact = Some("ef".into());
    need.target = Some(EngineTarget {
        path: "engine/ef.wasm".into(),
        sha256: "ef".into(),
        size: 9,
    });
    let text = r#"{"abi":"script 1","exact":"ef","target":{"path":"engine/ef.wasm","sha256":"ef","size":9}}"#;
    assert_eq!(serde_json::to_string(&need).expect("json"), text);
    assert_eq!(serde_json::from_str::<EngineNeed>(text).expect("own form"), need);
}

#[test]
fn welcome_and_ack() {
    let position = StreamPosition {
        stream: id(STREAM),
        upto: 8,
    };
    let mut welcome = Welcome {
        conn: id(CONN),
        time_ms: 1_700_000_000_000,
        streams: vec![position],
        checks: Vec::new(),
        enroll: None,
        capabilities: Vec::new(),
    };
    down(
        &Down::Welcome(welcome.clone()),
        r#"{"v":1,"welcome":{"conn":"00000000-0000-4000-8000-000000000003","time_ms":1700000000000,"streams":[{"stream":"00000000-0000-4000-8000-000000000001","upto":8}]}}"#,
    );
    welcome.enroll = Some(EnrollOffer {
        port: 8443,
        fingerprint: None,
    });
    down(
        &Down::Welcome(welcome.clone()),
        r#"{"v":1,"welcome":{"conn":"00000000-0000-4000-8000-000000000003","time_ms":1700000000000,"streams":[{"stream":"00000000-0000-4000-8000-000000000001","upto":8}],"enroll":{"port":8443}}}"#,
    );
    welcome.enroll = None;
    welcome.checks = vec![StreamCheck {
        stream: id(STREAM),
        seq: 7,
        hash: u32::MAX,
    }];
    down(
        &Down::Welcome(welcome),
        r#"{"v":1,"welcome":{"conn":"00000000-0000-4000-8000-000000000003","time_ms":1700000000000,"streams":[{"stream":"00000000-0000-4000-8000-000000000001","upto":8}],"checks":[{"stream":"00000000-0000-4000-8000-000000000001","seq":7,"hash":4294967295}]}}"#,
    );
    down(
        &Down::Ack(position),
        r#"{"v":1,"ack":{"stream":"00000000-0000-4000-8000-000000000001","upto":8}}"#,
    );
}

#[test]
fn refuse() {
    down(
        &Down::Refuse(Refuse {
            stream: id(STREAM),
            seq: 4,
            reason: "payload is nested deeper than 32".into(),
        }),
        r#"{"v":1,"refuse":{"stream":"00000000-0000-4000-8000-000000000001","seq":4,"reason":"payload is nested deeper than 32"}}"#,
    );
}

#[test]
fn command_and_cancel() {
    down(
        &Down::Command(Command {
            id: id(COMMAND),
            cmd_type: "echo".into(),
            values: raw(r#"{"content":"hi there!"}"#).to_owned(),
            ttl_ms: 60_000,
        }),
        r#"{"v":1,"command":{"id":"00000000-0000-4000-8000-000000000004","cmd_type":"echo","values":{"content":"hi there!"},"ttl_ms":60000}}"#,
    );
    down(
        &Down::Cancel(Cancel { id: id(COMMAND) }),
        r#"{"v":1,"cancel":{"id":"00000000-0000-4000-8000-000000000004"}}"#,
    );
}

#[test]
fn status() {
    let status = Status::new(id(CONN), false);
    assert_eq!(
        status.encode(),
        br#"{"v":1,"conn":"00000000-0000-4000-8000-000000000003","online":false}"#
    );
    assert_eq!(Status::decode(&status.encode()).expect("decodes"), status);
    assert!(
        Status::decode(br#"{"v":2,"conn":"00000000-0000-4000-8000-000000000003","online":false}"#).is_err()
    );
}

#[test]
fn a_newer_peer_may_add_fields() {
    let newer = r#"{"v":1,"ack":{"stream":"00000000-0000-4000-8000-000000000001","upto":8,"later":true}}"#;
    assert!(Down::decode(newer.as_bytes()).is_ok());
}

#[test]
fn garbage_is_refused_by_name() {
    let refused = [
        ("", "EOF"),
        ("\u{0}\u{1}", "expected value"),
        ("[]", "an envelope"),
        (r#"{"v":1}"#, "holds no message"),
        (
            r#"{"ack":{"stream":"00000000-0000-4000-8000-000000000001","upto":8}}"#,
            "missing field `v`",
        ),
        (
            r#"{"v":2,"ack":{"stream":"00000000-0000-4000-8000-000000000001","upto":8}}"#,
            "wire version 2",
        ),
        (
            r#"{"v":1,"ack":{"stream":"nope","upto":8}}"#,
            "stream id \"nope\"",
        ),
        (
            r#"{"v":1,"ack":{"stream":"00000000-0000-4000-8000-000000000001","upto":-1}}"#,
            "upto",
        ),
        (r#"{"v":1,"launch":{}}"#, "unexpected key \"launch\""),
    ];
    for (text, reason) in refused {
        let error = Down::decode(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(reason) || text.contains("-1"), "{text}: {error}");
        assert!(Up::decode(text.as_bytes()).is_err(), "{text}");
    }
    let huge = vec![b' '; limits::MAX_PUBLISH_BYTES + 1];
    assert!(matches!(Up::decode(&huge), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn fingerprints() {
    let payload = serde_json::value::RawValue::from_string(r#"{"n":1}"#.to_owned()).expect("json");
    let message = |channel, at_ms| {
        Record::Message(Message {
            kind: MessageKind::UserDefined,
            at_ms,
            at_error_ms: None,
            channel,
            payload: &payload,
            firmware: None,
        })
        .fingerprint()
    };
    let line = Record::Log(LogLine {
        level: Level::Info,
        text: "a line".into(),
        at_ms: 5,
        firmware: None,
    })
    .fingerprint();
    let seen = [
        message(None, 5),
        message(Some("c".into()), 5),
        message(None, 6),
        line,
    ];
    assert_eq!(seen, [2_280_551_752, 3_791_702_057, 3_564_383_948, 1_731_806_697]);
}
