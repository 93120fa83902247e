//! Records that were created while the date was a guess.
//!
//! In the queue such a record has a header in front of its JSON: one byte that starts no JSON, the boot id,
//! and the uptime. The header is never sent: the record is dated when it is sent, or sent with its guessed
//! date if the date of that system start never became known.

use iottly_protocol::{Record, Report, limits};

use super::keeper::Fix;

const MARK: u8 = 1;
const HEADER_BYTES: usize = 1 + 16 + 8;

/// Returns the record with the header in front.
pub(super) fn seal(boot: [u8; 16], up_ms: u64, record: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER_BYTES + record.len());
    sealed.push(MARK);
    sealed.extend_from_slice(&boot);
    sealed.extend_from_slice(&up_ms.to_be_bytes());
    sealed.extend_from_slice(record);
    sealed
}

/// Returns boot id, uptime and record; `None` for a record without a header.
fn open(sealed: &[u8]) -> Option<([u8; 16], u64, &[u8])> {
    let rest = sealed.strip_prefix(&[MARK])?;
    let (boot, rest) = rest.split_first_chunk::<16>()?;
    let (up_ms, record) = rest.split_first_chunk::<8>()?;
    Some((*boot, u64::from_be_bytes(*up_ms), record))
}

/// Returns the record without its header.
pub(crate) fn strip_header(stored: &[u8]) -> &[u8] {
    open(stored).map_or(stored, |(_, _, record)| record)
}

/// Turns a stored record into the record to send. The same record and offset yield the same bytes.
pub(super) fn date(record: &mut Vec<u8>, fix: impl Fn([u8; 16]) -> Option<Fix>) {
    let Some((boot, up_ms, bytes)) = open(record) else {
        return;
    };
    let dated = fix(boot).and_then(|fix| encode(bytes, fix.at(up_ms), fix.error_ms));
    *record = dated
        .or_else(|| encode_unknown(bytes))
        .unwrap_or_else(|| bytes.to_vec());
}

fn encode(bytes: &[u8], at_ms: u64, error_ms: u64) -> Option<Vec<u8>> {
    let mut record: Record<'_> = serde_json::from_slice(bytes).ok()?;
    match &mut record {
        Record::Message(message) => (message.at_ms, message.at_error_ms) = (at_ms, Some(error_ms)),
        Record::Result(result) => result.at_ms = at_ms,
        Record::Report(Report::Firmware(report)) => report.at_ms = at_ms,
        Record::Report(Report::Config(report)) => report.at_ms = at_ms,
        Record::Report(Report::Update(report)) => report.at_ms = at_ms,
        Record::Report(Report::Developer(report)) => report.at_ms = at_ms,
        Record::Report(Report::Facts(_)) => {}
        Record::Log(line) => line.at_ms = at_ms,
    }
    Some(record.encode())
}

/// Marks the date of a message as a guess; other records have no field for it.
fn encode_unknown(bytes: &[u8]) -> Option<Vec<u8>> {
    match serde_json::from_slice(bytes).ok()? {
        Record::Message(mut message) => {
            message.at_error_ms = Some(limits::UNKNOWN_ERROR_MS);
            Some(Record::Message(message).encode())
        }
        Record::Result(_) | Record::Report(_) | Record::Log(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: [u8; 16] = [3; 16];

    fn dated(record: &str, fix: Option<Fix>) -> String {
        let mut stored = seal(BOOT, 500, record.as_bytes());
        assert_eq!(strip_header(&stored), record.as_bytes());
        date(&mut stored, |boot| fix.filter(|fix| fix.boot == boot));
        String::from_utf8(stored).expect("json")
    }

    #[test]
    fn a_record_is_dated_once_its_start_is_known_and_keeps_its_payload_s_text() {
        let fix = Fix {
            boot: BOOT,
            zero_ms: 1_000,
            error_ms: 7,
        };
        let message =
            r#"{"message":{"type":"userdefined","at_ms":1,"channel":"c","payload":{"b":1.50,"a":[ ]}}}"#;
        let sent = r#"{"message":{"type":"userdefined","at_ms":1500,"at_error_ms":7,"channel":"c","payload":{"b":1.50,"a":[ ]}}}"#;
        assert_eq!(dated(message, Some(fix)), sent);
        let guess = r#"{"message":{"type":"userdefined","at_ms":1,"at_error_ms":9007199254740991,"channel":"c","payload":{"b":1.50,"a":[ ]}}}"#;
        assert_eq!(dated(message, None), guess);
        let line = r#"{"log":{"level":"info","text":"x","at_ms":1}}"#;
        assert_eq!(
            dated(line, Some(fix)),
            r#"{"log":{"level":"info","text":"x","at_ms":1500}}"#
        );
        assert_eq!(dated(line, None), line);
    }

    #[test]
    fn records_with_a_date_stay_as_they_are() {
        for record in [&b"{\"x\":1}"[..], b"", b"\x01short"] {
            let mut stored = record.to_vec();
            date(&mut stored, |_| panic!("nothing to date"));
            assert_eq!(stored, record);
        }
        let mut damaged = seal(BOOT, 0, b"no json");
        date(&mut damaged, |_| None);
        assert_eq!(damaged, b"no json");
    }
}
