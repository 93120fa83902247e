//! `iottly-agent healthcheck`: asks the agent that runs on a data folder, for container engines and service managers.

use std::path::PathBuf;

use anyhow::{Context, bail};
use iottly_agent::{FirmwareStatus, LinkState, StatusReport, ask_status};

/// Time without the cloud that is healthy unless another one is given, in seconds: a reconnection takes less.
const DEFAULT_OFFLINE_SECONDS: u64 = 60;

/// Question about an agent's health.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Data folder of the agent.
    pub(crate) data: PathBuf,
    /// Longest healthy time without the cloud, in seconds; none for any time.
    pub(crate) max_offline: Option<u64>,
}

impl Check {
    /// Reads the options; `max_offline` is a number of seconds or `any`.
    pub(crate) fn new(data: PathBuf, max_offline: Option<&str>) -> anyhow::Result<Self> {
        let max_offline = match max_offline {
            None => Some(DEFAULT_OFFLINE_SECONDS),
            Some("any") => None,
            Some(text) => Some(
                text.parse()
                    .context("--max-offline is not a number of seconds or any")?,
            ),
        };
        Ok(Self { data, max_offline })
    }

    /// Asks the agent. Returns its status in words.
    ///
    /// # Errors
    /// The agent does not answer, or was without its cloud for too long.
    pub(crate) fn ask(&self) -> anyhow::Result<String> {
        let report =
            ask_status(&self.data).with_context(|| format!("no agent answers in {}", self.data.display()))?;
        let words = words(&report);
        if is_healthy(&report, self.max_offline) {
            return Ok(format!("{words}\n"));
        }
        bail!(words)
    }
}

/// Decides whether the status is healthy. Firmware that fails is reported to the cloud and does not count.
fn is_healthy(report: &StatusReport, max_offline: Option<u64>) -> bool {
    match (report.offline_seconds, max_offline) {
        (None, _) | (_, None) => true,
        (Some(offline), Some(max)) => offline <= max,
    }
}

fn words(report: &StatusReport) -> String {
    let link = match (report.link, report.offline_seconds) {
        (LinkState::Online, _) => "online".to_owned(),
        (_, Some(seconds)) => format!("offline for {seconds} s"),
        (_, None) => "offline".to_owned(),
    };
    let firmware = match report.firmware {
        FirmwareStatus::Absent => "no firmware",
        FirmwareStatus::Starting => "firmware is starting",
        FirmwareStatus::Running => "firmware is running",
        FirmwareStatus::Restarting => "firmware failed and is restarted",
        FirmwareStatus::Quarantined => "firmware failed too often and waits",
        FirmwareStatus::Stopped => "firmware is stopped",
    };
    format!("{link}, {firmware}, {} records wait for the cloud", report.queued)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(link: LinkState, offline_seconds: Option<u64>) -> StatusReport {
        StatusReport {
            link,
            offline_seconds,
            firmware: FirmwareStatus::Quarantined,
            queued: 7,
            refused: 0,
        }
    }

    #[test]
    fn an_agent_is_healthy_while_it_is_online_or_was_a_moment_ago() {
        let check = |text| Check::new("data".into(), text).map(|check| check.max_offline);
        assert_eq!(check(None).expect("default"), Some(60));
        assert_eq!(check(Some("5")).expect("seconds"), Some(5));
        assert_eq!(check(Some("any")).expect("any"), None);
        let error = check(Some("soon")).expect_err("no number").to_string();
        assert!(error.contains("--max-offline"), "{error}");
        for (report, max, healthy) in [
            (report(LinkState::Online, None), Some(0), true),
            (report(LinkState::Connecting, Some(60)), Some(60), true),
            (report(LinkState::Offline, Some(61)), Some(60), false),
            (report(LinkState::Offline, Some(9_000)), None, true),
        ] {
            assert_eq!(is_healthy(&report, max), healthy, "{report:?}");
        }
        assert_eq!(
            words(&report(LinkState::Connecting, Some(61))),
            "offline for 61 s, firmware failed too often and waits, 7 records wait for the cloud"
        );
    }
}
