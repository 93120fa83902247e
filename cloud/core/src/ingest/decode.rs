//! Decodes the bytes of a publish to validated uploads. Pure; every refusal names the fault.

use iottly_protocol::board::CAN_SHOW_BOARD;
use iottly_protocol::enroll::CAN_ENROLL;
use iottly_protocol::limits::{
    BATCH_RECORDS, MAX_ENGINES, MAX_RECORD_BYTES, MAX_STREAMS, MAX_TEXT_BYTES, clip,
};
use iottly_protocol::payload;
use iottly_protocol::release::{DeveloperReport, DeviceFacts, MAX_LEASE_S};
use iottly_protocol::{
    Batch, FirmwareReport, Gap, Hello, Message, Record, Report, StreamId, Up, UpdateReport,
};
use serde_json::value::RawValue;

use super::{Entry, UploadBody};
use crate::model::UnixMs;

/// Highest accepted sequence number: the largest integer that every JSON reader represents exactly.
pub const MAX_SEQ: u64 = (1 << 53) - 1;

/// Maximum length of a name or id in a report about updates, in bytes.
const MAX_ID_BYTES: usize = 64;
/// Maximum length of the name of an author's file in a report, in bytes.
const MAX_FILE_BYTES: usize = 256;
/// Maximum number of names in a list of such a report.
const MAX_NAMES: usize = 64;

/// A valid publish.
#[derive(Debug)]
pub enum Decoded {
    /// Hello of the device: introduces its connection.
    Hello(Hello),
    /// Records or a gap of one stream.
    Upload(StreamId, UploadBody),
}

/// Decodes and validates a publish. An invalid record in a batch is refused on its own.
///
/// # Errors
/// The reason for which the publish as a whole is invalid.
pub fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    match Up::decode(bytes).map_err(|error| clip(&error.to_string(), 256).to_owned())? {
        // The number of a device's capabilities is unbounded; two are of use here.
        Up::Hello(mut hello) => check_hello(&hello).map(|()| {
            let known = [CAN_ENROLL, CAN_SHOW_BOARD];
            let named = known.map(|name| {
                hello
                    .capabilities
                    .iter()
                    .any(|own| own == name)
                    .then(|| name.to_owned())
            });
            hello.capabilities = named.into_iter().flatten().collect();
            hello.hardware = hello.hardware.filter(|text| text.len() == 64);
            Decoded::Hello(hello)
        }),
        Up::Batch(batch) => decode_batch(&batch),
        Up::Gap(gap) => decode_gap(&gap),
    }
}

fn check_hello(hello: &Hello) -> Result<(), String> {
    if hello.streams.len() > MAX_STREAMS {
        return Err(format!(
            "hello names {} streams, the limit is {MAX_STREAMS}",
            hello.streams.len()
        ));
    }
    for info in &hello.streams {
        if info.oldest == 0 || info.next < info.oldest || info.next > MAX_SEQ + 1 {
            return Err(format!(
                "hello of stream {} holds {}..{}, which is not a range",
                info.stream, info.oldest, info.next
            ));
        }
    }
    Ok(())
}

fn decode_batch(batch: &Batch<'_>) -> Result<Decoded, String> {
    let count = batch.records.len() as u64;
    if count == 0 || count > BATCH_RECORDS as u64 {
        return Err(format!(
            "batch holds {count} records, 1 to {BATCH_RECORDS} are allowed"
        ));
    }
    if batch.first == 0 || batch.first > MAX_SEQ || batch.first + count - 1 > MAX_SEQ {
        return Err(format!(
            "batch starts at {}, numbers go from 1 to {MAX_SEQ}",
            batch.first
        ));
    }
    let records = batch.records.iter().map(|raw| decode_record(raw)).collect();
    Ok(Decoded::Upload(
        batch.stream,
        UploadBody::Records {
            first: batch.first,
            records,
        },
    ))
}

fn decode_gap(gap: &Gap) -> Result<Decoded, String> {
    if gap.from == 0 || gap.to < gap.from || gap.to > MAX_SEQ {
        return Err(format!("gap {}..={} is not a range", gap.from, gap.to));
    }
    Ok(Decoded::Upload(
        gap.stream,
        UploadBody::Gap {
            from: gap.from,
            to: gap.to,
            reason: gap.reason,
        },
    ))
}

fn decode_record(raw: &RawValue) -> Result<Entry, String> {
    if raw.get().len() > MAX_RECORD_BYTES {
        return Err(format!(
            "record of {} bytes is over the limit of {MAX_RECORD_BYTES}",
            raw.get().len()
        ));
    }
    match Record::decode(raw).map_err(|error| format!("record: {}", clip(&error.to_string(), 200)))? {
        Record::Message(message) => check_message(message),
        Record::Result(mut result) => {
            check_time(result.at_ms)?;
            result.detail = result.detail.map(clipped);
            Ok(Entry::Result(result))
        }
        Record::Report(Report::Firmware(report)) => check_firmware(report),
        Record::Report(Report::Config(report)) => {
            check_time(report.at_ms)?;
            Ok(Entry::Settings(report))
        }
        Record::Report(Report::Update(report)) => check_update(report),
        Record::Report(Report::Facts(facts)) => check_facts(facts),
        Record::Report(Report::Developer(report)) => check_developer(report),
        Record::Log(mut line) => {
            check_time(line.at_ms)?;
            line.text = clipped(line.text);
            Ok(Entry::Log(line))
        }
    }
}

fn check_message(message: Message<'_>) -> Result<Entry, String> {
    let at = check_time(message.at_ms)?;
    let payload = payload::accept_raw(message.payload).map_err(|error| error.to_string())?;
    if let Some(channel) = &message.channel {
        payload::check_channel(channel).map_err(|error| error.to_string())?;
    }
    let channel = message.channel.map(std::borrow::Cow::into_owned);
    Ok(Entry::Message {
        kind: message.kind,
        at,
        channel,
        payload,
        firmware: message.firmware,
    })
}

fn check_firmware(mut report: FirmwareReport) -> Result<Entry, String> {
    check_time(report.at_ms)?;
    if report.digest.len() > 64 || !report.digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("firmware digest is not hex of a sha256".into());
    }
    report.detail = report.detail.map(clipped);
    Ok(Entry::Firmware(report))
}

fn check_update(mut report: UpdateReport) -> Result<Entry, String> {
    check_time(report.at_ms)?;
    if report.directive.len() > MAX_ID_BYTES || report.sha256.len() > MAX_ID_BYTES {
        return Err(format!(
            "update names a directive or a release with more than {MAX_ID_BYTES} bytes"
        ));
    }
    if [&report.directive, &report.sha256]
        .iter()
        .any(|id| id.chars().any(char::is_control))
    {
        return Err("update names a directive or a release with a control character".into());
    }
    report.detail = report.detail.map(clipped);
    Ok(Entry::Update(report))
}

fn check_developer(mut report: Box<DeveloperReport>) -> Result<Entry, String> {
    check_time(report.at_ms)?;
    let file = report.place.as_ref().map(|place| &place.file);
    let odd = |text: &String, max| text.len() > max || text.chars().any(char::is_control);
    if [&report.order, &report.sha256]
        .iter()
        .any(|id| odd(id, MAX_ID_BYTES))
        || file.is_some_and(|file| odd(file, MAX_FILE_BYTES))
    {
        return Err(format!(
            "developer report names an order or script with more than {MAX_ID_BYTES} bytes, a file with more than \
             {MAX_FILE_BYTES}, or one with a control character"
        ));
    }
    report.ms = report.ms.map(|ms| ms.min(MAX_LEASE_S * 1000));
    report.detail = report.detail.map(clipped);
    Ok(Entry::Developer(report))
}

fn check_facts(facts: Box<DeviceFacts>) -> Result<Entry, String> {
    let lists = [&facts.capabilities, &facts.quarantined];
    let names = lists
        .iter()
        .flat_map(|list| list.iter())
        .chain([&facts.board, &facts.abi, &facts.running_sha256])
        .chain(
            facts
                .engines
                .iter()
                .flat_map(|engine| [&engine.abi, &engine.sha256]),
        );
    let is_odd = |name: &String| name.len() > MAX_ID_BYTES || name.chars().any(char::is_control);
    if facts.engines.len() > MAX_ENGINES {
        return Err(format!("facts hold more than {MAX_ENGINES} engines"));
    }
    if lists.iter().any(|list| list.len() > MAX_NAMES) || names.into_iter().any(is_odd) {
        return Err(format!(
            "facts hold more than {MAX_NAMES} names, or one that is not at most {MAX_ID_BYTES} bytes of plain text"
        ));
    }
    let numbers = [
        facts.root_version,
        facts.counter,
        facts.running_seq,
        facts.floor,
        facts.free,
    ];
    if numbers.iter().any(|number| *number > MAX_SEQ) {
        return Err(format!("facts hold a number over {MAX_SEQ}"));
    }
    Ok(Entry::Facts(facts))
}

fn check_time(at_ms: u64) -> Result<UnixMs, String> {
    UnixMs::try_from(at_ms)
        .ok()
        .filter(|at| *at <= MAX_SEQ as UnixMs)
        .ok_or_else(|| format!("at_ms {at_ms} is out of range"))
}

fn clipped(text: String) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        text
    } else {
        clip(&text, MAX_TEXT_BYTES).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::encode_batch;
    use proptest::prelude::*;

    use iottly_protocol::limits::{MAX_JSON_DEPTH, MAX_PAYLOAD_BYTES};
    use iottly_protocol::payload::{Bounds, accept_object, check_channel};

    use super::*;

    fn stream() -> StreamId {
        StreamId::from_bytes([7; 16])
    }

    fn one(record: &str) -> Result<Entry, String> {
        match decode(&encode_batch(stream(), 1, [record.as_bytes()])).expect("the batch itself is fine") {
            Decoded::Upload(_, UploadBody::Records { mut records, .. }) => records.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn message(payload: &str) -> String {
        format!(r#"{{"message":{{"type":"userdefined","at_ms":1,"payload":{payload}}}}}"#)
    }

    #[test]
    fn a_payload_keeps_its_text() {
        let Ok(Entry::Message { payload, .. }) = one(&message(r#"{"b":1.50,"a":[ ]}"#)) else {
            panic!("accepted")
        };
        assert_eq!(payload.get(), r#"{"b":1.50,"a":[ ]}"#);
    }

    #[test]
    fn bad_records_are_refused_by_name() {
        let deep = format!("{}1{}", "[".repeat(33), "]".repeat(33));
        let long = format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES));
        let channel = |name: &str| {
            format!(r#"{{"message":{{"type":"userdefined","at_ms":1,"channel":{name},"payload":1}}}}"#)
        };
        let cases = [
            (message(&deep), "nests 33 levels deep, the limit is 32"),
            (message(&long), "bytes, the limit is 1048576"),
            (message("1e999"), "not valid JSON: number out of range"),
            (message(&"9".repeat(400)), "not valid JSON: number out of range"),
            (channel(&format!("\"{}\"", "c".repeat(129))), "name has 129 bytes"),
            (channel(r#""a\nb""#), "control character"),
            (channel("\"\""), "name is empty"),
            (
                r#"{"message":{"type":"userdefined","at_ms":-1,"payload":1}}"#.into(),
                "record: ",
            ),
            (
                r#"{"message":{"type":"userdefined","at_ms":18446744073709551615,"payload":1}}"#.into(),
                "at_ms",
            ),
            (
                r#"{"message":{"type":"other","at_ms":1,"payload":1}}"#.into(),
                "record: ",
            ),
            (r#"{"surprise":{}}"#.into(), "record: "),
            ("7".into(), "record: "),
            (
                r#"{"report":{"firmware":{"state":"running","digest":"zz","at_ms":1}}}"#.into(),
                "digest",
            ),
        ];
        for (record, reason) in cases {
            let error = one(&record).expect_err(reason);
            assert!(error.contains(reason), "{error}");
            assert!(error.len() < 400);
        }
    }

    #[test]
    fn facts_with_too_many_engines_or_a_long_name_are_refused() {
        let facts = |engines: &[(&str, &str)]| {
            let engines: Vec<_> = engines
                .iter()
                .map(|(abi, sha256)| serde_json::json!({ "abi": abi, "sha256": sha256 }))
                .collect();
            let facts = serde_json::json!({ "report": { "facts": {
                "device": "00000000-0000-4000-8000-000000000002", "project": "010101010101010101010101",
                "board": "virtual", "abi": "0.1.0", "root_version": 1, "counter": 7, "running_seq": 3,
                "running_sha256": "ab", "floor": 2, "free": 1, "data_schema": 1, "capabilities": [],
                "clock_trusted": true, "engines": engines,
            }}});
            one(&facts.to_string())
        };
        assert!(facts(&[("script 1", "ab"); MAX_ENGINES]).is_ok());
        assert!(facts(&[("script 1", "ab"); MAX_ENGINES + 1]).is_err());
        assert!(facts(&[(&"x".repeat(1000), "ab")]).is_err());
        assert!(facts(&[("script\u{7}", "ab")]).is_err());
    }

    #[test]
    fn one_bad_record_does_not_cost_its_neighbours() {
        let good = message("1");
        let bytes = encode_batch(stream(), 5, [good.as_bytes(), b"{}", good.as_bytes()]);
        let Ok(Decoded::Upload(_, UploadBody::Records { first: 5, records })) = decode(&bytes) else {
            panic!("decodes")
        };
        assert_eq!(
            records.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, false, true]
        );
    }

    #[test]
    fn frames_that_mean_nothing_are_refused_whole() {
        let id = stream();
        let cases = [
            format!(r#"{{"v":1,"batch":{{"stream":"{id}","first":1,"records":[]}}}}"#),
            format!(r#"{{"v":1,"batch":{{"stream":"{id}","first":0,"records":[1]}}}}"#),
            format!(r#"{{"v":1,"batch":{{"stream":"{id}","first":9007199254740992,"records":[1]}}}}"#),
            format!(r#"{{"v":1,"gap":{{"stream":"{id}","from":5,"to":4,"reason":"ttl"}}}}"#),
            format!(r#"{{"v":1,"gap":{{"stream":"{id}","from":0,"to":4,"reason":"ttl"}}}}"#),
            "\u{0}garbage".into(),
            String::new(),
        ];
        for text in cases {
            assert!(decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    /// Returns a message of the firmware as the device would send it: checked, made a record, and put in a
    /// batch.
    fn sent(payload: &str, channel: Option<&str>) -> Option<(String, Result<Entry, String>)> {
        let payload = accept_object(payload, Bounds::WIRE).ok()?;
        channel.map(check_channel).transpose().ok()?;
        let raw: &RawValue = serde_json::from_str(&payload).expect("accepted is JSON");
        let channel = channel.map(std::borrow::Cow::Borrowed);
        let kind = iottly_protocol::MessageKind::UserDefined;
        let record = Record::Message(Message {
            kind,
            at_ms: 1,
            at_error_ms: None,
            channel,
            payload: raw,
            firmware: None,
        })
        .encode();
        Some((
            payload.trim().to_owned(),
            one(std::str::from_utf8(&record).expect("JSON is text")),
        ))
    }

    #[test]
    fn what_a_device_accepts_at_the_limits_is_taken() {
        let wide = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_PAYLOAD_BYTES - 8));
        let quotes = format!("{{\"a\":\"{}\"}}", "\\\"".repeat((MAX_PAYLOAD_BYTES - 8) / 2));
        let deep = format!(
            "{}1{}",
            "{\"a\":".repeat(MAX_JSON_DEPTH),
            "}".repeat(MAX_JSON_DEPTH)
        );
        let channel = "\"\\".repeat(64);
        for payload in [
            &wide,
            &quotes,
            &deep,
            r#"{"a":"boiler \ud83d"}"#,
            r#"{"\u0000":1,"\u0000":1e308}"#,
        ] {
            for channel in [None, Some(channel.as_str())] {
                let (payload, taken) = sent(payload, channel).expect("the device accepts it");
                let Ok(Entry::Message { payload: stored, .. }) = taken else {
                    panic!("refused: {taken:?}")
                };
                assert_eq!(stored.get(), payload);
            }
        }
    }

    proptest! {
        /// A payload that the device accepts is accepted by the cloud and stored unchanged.
        #[test]
        fn what_a_device_accepts_is_taken(
            text in r#"\s?\{("[a\u{0}-\u{20}\\ud83dD5🔥"]{0,12}":?)?[\[\]{}",:\\ud83dD5bnft0-9eE.+\- 🔥]{0,60}\}\s?"#,
            channel in proptest::option::of(r#"[a-c"\\\u{0}-\u{20}🔥]{0,6}"#),
        ) {
            if let Some((payload, taken)) = sent(&text, channel.as_deref()) {
                let Ok(Entry::Message { payload: stored, channel: name, .. }) = taken else { panic!("{payload}: {taken:?}") };
                prop_assert_eq!(stored.get(), payload);
                prop_assert_eq!(name, channel);
            }
        }

        /// The same with texts that are JSON by construction: every character, every half of a surrogate
        /// pair, any number.
        #[test]
        fn any_value_that_a_device_accepts_is_taken(
            units in proptest::collection::vec(any::<u16>(), 0..30),
            number in r"-?[1-9][0-9]{0,5}(\.[0-9]{1,4})?([eE][+\-]?[0-9]{1,3})?",
            nested in 0usize..40,
        ) {
            let text: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let value = format!("{}{number}{}", "[".repeat(nested), "]".repeat(nested));
            if let Some((payload, taken)) = sent(&format!("{{\"{text}\":{value},\"{text}\":\"{text}\"}}"), None) {
                let Ok(Entry::Message { payload: stored, .. }) = taken else { panic!("{payload}: {taken:?}") };
                prop_assert_eq!(stored.get(), payload);
            }
        }

        /// The decoder never panics, and every accepted payload can be parsed as a value later.
        #[test]
        fn anything_may_arrive(text in r#"[\[\]{}",:\\ue0-9.+\-a-fDd ]{0,40}"#) {
            let bytes = format!(r#"{{"v":1,"batch":{{"stream":"{}","first":1,"records":[{}]}}}}"#, stream(), message(&text));
            if let Ok(Decoded::Upload(_, UploadBody::Records { records, .. })) = decode(bytes.as_bytes()) {
                for entry in records.into_iter().flatten() {
                    if let Entry::Message { payload, .. } = entry {
                        prop_assert!(serde_json::from_str::<serde_json::Value>(payload.get()).is_ok(), "{}", payload.get());
                    }
                }
            }
        }
    }
}
