//! Health of a device: what waits in its queue, and what its sandbox uses. Shapes and their limits only.
//!
//! A report is published at QoS 0 and never stored by the device: the newest replaces the ones before it. A device sends
//! it only to clouds whose welcome names [`TAKES_HEALTH`].

use serde::{Deserialize, Serialize};

use crate::DecodeError;
use crate::envelope::envelope;

/// Capability in the welcome of a cloud that takes reports about the health of devices.
pub const TAKES_HEALTH: &str = "health";
/// Maximum size of a report, in bytes.
pub const MAX_HEALTH_BYTES: usize = 4 << 10;
/// Longest time between two reports of a connected device, in milliseconds.
pub const HEALTH_EVERY_MS: u64 = 5 * 60_000;
/// Shortest time between two reports of a device, in milliseconds.
pub const HEALTH_LEAST_MS: u64 = 10_000;
/// Largest number in a report: the largest that every JSON reader represents exactly.
pub const MAX_HEALTH_NUMBER: u64 = (1 << 53) - 1;

envelope! {
    ['de]
    /// Message about the health of a device, on `v1/{device}/health` at QoS 0.
    pub enum HealthMessage {
        /// Report of the device.
        Report(HealthReport) = "health",
    }
}

impl HealthMessage {
    /// Decodes one publish from a device, and checks its sizes.
    ///
    /// # Errors
    /// The bytes are over [`MAX_HEALTH_BYTES`], are not JSON, are of another version or shape, or hold a number that no
    /// device counts up to.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_HEALTH_BYTES {
            return Err(DecodeError::TooLarge {
                len: bytes.len(),
                max: MAX_HEALTH_BYTES,
            });
        }
        let message: Self = serde_json::from_slice(bytes)?;
        let Self::Report(report) = &message;
        report
            .check()
            .map_err(|reason| DecodeError::Json(serde::de::Error::custom(reason)))?;
        Ok(message)
    }
}

/// State of the agent's queue and sandbox at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Time since the agent's start, in milliseconds.
    pub up_ms: u64,
    /// Bytes on disk that the queue may take, over all streams.
    pub queue_budget_bytes: u64,
    /// Messages of firmware and agent.
    pub history: StreamHealth,
    /// Command results, reports and log lines.
    pub control: StreamHealth,
    /// Firmware in the sandbox; none if the device has no firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareHealth>,
}

/// State of one stream of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamHealth {
    /// Records that the cloud has not acknowledged.
    pub waiting: u64,
    /// Size on disk, in bytes.
    pub bytes: u64,
    /// Age of the oldest record that waits, in milliseconds; none if nothing waits or its date is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// Records that were lost on the device since the agent's start.
    pub lost: u64,
}

/// Resources that the firmware uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FirmwareHealth {
    /// sha256 of what runs or ran last, hex; empty if it could not be loaded.
    pub digest: String,
    /// Memory in use, in bytes; 0 while nothing runs.
    pub memory_bytes: u64,
    /// Memory that it may use, in bytes.
    pub memory_limit_bytes: u64,
    /// Time over which calls are counted, in milliseconds: since the report before, or since the agent's start.
    pub over_ms: u64,
    /// Calls of the firmware in that time.
    pub calls: u64,
    /// Processor time of the longest of them, in microseconds.
    pub longest_us: u64,
    /// Largest part of its budget of processor time that one of them has used, in thousandths.
    pub budget_permille: u64,
    /// Traps since the agent's start.
    pub traps: u64,
    /// Restarts after failures since the agent's start.
    pub restarts: u64,
    /// Time since the last trap, in milliseconds; none if there was none since the agent's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trapped_ms: Option<u64>,
}

impl HealthReport {
    /// Refuses what no device of ours sends.
    fn check(&self) -> Result<(), String> {
        let stream = |stream: &StreamHealth| {
            [
                stream.waiting,
                stream.bytes,
                stream.oldest_ms.unwrap_or(0),
                stream.lost,
            ]
        };
        let mut numbers = vec![self.up_ms, self.queue_budget_bytes];
        numbers.extend(stream(&self.history));
        numbers.extend(stream(&self.control));
        if let Some(firmware) = &self.firmware {
            numbers.extend([
                firmware.memory_bytes,
                firmware.memory_limit_bytes,
                firmware.over_ms,
                firmware.calls,
                firmware.longest_us,
                firmware.budget_permille,
                firmware.traps,
                firmware.restarts,
                firmware.trapped_ms.unwrap_or(0),
            ]);
            let digest = firmware.digest.as_bytes();
            let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if !matches!(digest.len(), 0 | 64) || !digest.iter().all(is_hex) {
                return Err("the digest of the firmware is not 64 lower-case hex digits".to_owned());
            }
        }
        match numbers.into_iter().find(|number| *number > MAX_HEALTH_NUMBER) {
            Some(number) => Err(format!("the number {number} is over {MAX_HEALTH_NUMBER}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> HealthReport {
        HealthReport {
            up_ms: 1000,
            queue_budget_bytes: 64 << 20,
            history: StreamHealth::default(),
            control: StreamHealth::default(),
            firmware: Some(FirmwareHealth::default()),
        }
    }

    fn refusal(bytes: &[u8]) -> String {
        HealthMessage::decode(bytes).expect_err("refused").to_string()
    }

    #[test]
    fn hostile_reports_are_refused() {
        let with = |change: &dyn Fn(&mut HealthReport, &mut FirmwareHealth)| {
            let mut report = report();
            let mut firmware = FirmwareHealth::default();
            change(&mut report, &mut firmware);
            report.firmware = Some(firmware);
            refusal(&HealthMessage::Report(report).encode())
        };
        assert!(with(&|report, _| report.up_ms = u64::MAX).contains("is over"));
        assert!(with(&|report, _| report.history.waiting = 1 << 53).contains("is over"));
        assert!(with(&|report, _| report.control.oldest_ms = Some(1 << 60)).contains("is over"));
        assert!(with(&|_, firmware| firmware.traps = u64::MAX).contains("is over"));
        assert!(with(&|_, firmware| firmware.digest = "x".repeat(64)).contains("digest"));
        assert!(with(&|_, firmware| firmware.digest = "ab".to_owned()).contains("digest"));
        let long = [br#"{"v":1,"health":"#.to_vec(), vec![b' '; MAX_HEALTH_BYTES]].concat();
        assert!(matches!(
            HealthMessage::decode(&long),
            Err(DecodeError::TooLarge { .. })
        ));
        let shapes: [&[u8]; 8] = [
            b"",
            b"null",
            br#"{"v":1}"#,
            br#"{"v":2,"health":{}}"#,
            br#"{"v":1,"health":{"up_ms":-1}}"#,
            br#"{"v":1,"health":{"up_ms":"1","queue_budget_bytes":1,"history":{"waiting":0,"bytes":0,"lost":0},"control":{"waiting":0,"bytes":0,"lost":0}}}"#,
            br#"{"v":1,"health":{"up_ms":1.5,"queue_budget_bytes":1,"history":[],"control":[]}}"#,
            b"\xff\xfe",
        ];
        for shape in shapes {
            assert!(
                HealthMessage::decode(shape).is_err(),
                "{}",
                String::from_utf8_lossy(shape)
            );
        }
    }

    #[test]
    fn the_longest_report_is_within_its_limit() {
        let most = MAX_HEALTH_NUMBER;
        let stream = StreamHealth {
            waiting: most,
            bytes: most,
            oldest_ms: Some(most),
            lost: most,
        };
        let longest = HealthReport {
            up_ms: most,
            queue_budget_bytes: most,
            history: stream,
            control: stream,
            firmware: Some(FirmwareHealth {
                digest: "a".repeat(64),
                memory_bytes: most,
                memory_limit_bytes: most,
                over_ms: most,
                calls: most,
                longest_us: most,
                budget_permille: most,
                traps: most,
                restarts: most,
                trapped_ms: Some(most),
            }),
        };
        let bytes = HealthMessage::Report(longest.clone()).encode();
        assert!(bytes.len() < MAX_HEALTH_BYTES / 2, "{} bytes", bytes.len());
        let HealthMessage::Report(read) = HealthMessage::decode(&bytes).expect("valid");
        assert_eq!(read, longest);
    }
}
