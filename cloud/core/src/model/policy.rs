//! The policy of a rollout and its checks. Pure.

use iottly_protocol::DeviceId;
use iottly_protocol::release::Window;
use serde::{Deserialize, Serialize};

/// Policy of a rollout: the order in which devices get the release, and the conditions that halt it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Number of devices that get the release first (the canary).
    pub canary: u32,
    /// Waves after the canary; each begins when the one before it is done. The remaining devices follow the
    /// last wave.
    pub waves: Vec<Wave>,
    /// Maximum number of devices that update at the same time; 0 for no limit.
    pub concurrency: u32,
    /// Maximum number of devices of the canary that may fail.
    pub canary_failures: u32,
    /// Maximum percentage of finished devices that may fail, once [`Policy::sample`] devices have finished.
    pub failure_percent: u8,
    /// Number of devices that must have finished before the percentage counts.
    pub sample: u32,
    /// Number of times that a failed device is directed to try again.
    pub retries: u32,
    /// Wait between a wave and the next one, in seconds.
    pub soak_s: u64,
    /// Maximum silence of a device about a directive before it counts as failed, in seconds. Every report
    /// restarts it; waiting for the window, a capped download and a trial get additional time.
    pub silence_s: u64,
    /// Devices that keep their current release.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub pins: Vec<DeviceId>,
    /// Duration of the trial of a release on each device, in milliseconds.
    pub grace_ms: u64,
    /// Maximum duration of an update on a device, in seconds; waiting for the window is not counted.
    pub deadline_s: u64,
    /// Maximum download rate of a device, in bytes per second; 0 for no limit.
    pub max_bps: u64,
    /// Daily window in which a device may activate a release; none for any time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub window: Option<Window>,
}

/// Maximum number of waves of a policy.
const MAX_WAVES: usize = 100;
/// Maximum number of devices that a policy pins.
const MAX_PINS: usize = 10_000;
/// Maximum duration of a trial, in milliseconds: a day.
const MAX_GRACE_MS: u64 = 24 * 60 * 60 * 1000;
/// Length of a window that is open all day, in minutes.
const ALWAYS_MINUTES: u16 = 1440;
/// Maximum deadline and silence, in seconds: thirty days.
const MAX_WAIT_S: u64 = 30 * 24 * 60 * 60;

/// A part of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Wave {
    /// A number of further devices.
    Count(u32),
    /// All devices up to a percentage of the group.
    Percent(u8),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            canary: 1,
            waves: Vec::new(),
            concurrency: 0,
            canary_failures: 0,
            failure_percent: 10,
            sample: 10,
            retries: 0,
            soak_s: 0,
            silence_s: 7200,
            pins: Vec::new(),
            grace_ms: 10_000,
            deadline_s: 3600,
            max_bps: 0,
            window: None,
        }
    }
}

/// Error of checking a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A percentage is over 100.
    #[error("{0} percent is over 100")]
    Percent(u8),
    /// The percentages of the waves are not ascending.
    #[error("a wave up to {0} percent follows one up to {1} percent")]
    Order(u8, u8),
    /// A number is out of its range.
    #[error("{0} is not within {1}")]
    Range(&'static str, String),
    /// A device would count as late before it could finish its trial.
    #[error("{0} ({1} s) is shorter than the trial of grace_ms ({2} ms): no device could pass it in time")]
    TooShort(&'static str, u64, u64),
    /// A trial would continue outside of the window.
    #[error("the window ({0} minutes) is shorter than the trial of grace_ms ({1} ms)")]
    Window(u16, u64),
    /// The release cannot be downloaded before the deadline.
    #[error("{size} bytes at max_bps ({bps} bytes a second) take longer than deadline_s ({deadline_s} s)")]
    TooSlow {
        /// Size of the release, in bytes.
        size: u64,
        /// Maximum download rate, in bytes per second.
        bps: u64,
        /// Maximum duration of an update, in seconds.
        deadline_s: u64,
    },
}

impl Policy {
    /// Checks that the waves are ascending and that the times do not contradict each other.
    ///
    /// # Errors
    /// If a percentage is over 100 or below the one before it, a number is out of its range, or a device that
    /// does everything in time could count as late.
    pub fn check(&self) -> Result<(), PolicyError> {
        let mut before = 0;
        for wave in &self.waves {
            let Wave::Percent(percent) = *wave else { continue };
            if percent > 100 {
                return Err(PolicyError::Percent(percent));
            }
            if percent < before {
                return Err(PolicyError::Order(percent, before));
            }
            before = percent;
        }
        if self.failure_percent > 100 {
            return Err(PolicyError::Percent(self.failure_percent));
        }
        let range = |name, good: bool, limits: String| {
            if good {
                Ok(())
            } else {
                Err(PolicyError::Range(name, limits))
            }
        };
        range(
            "the number of waves",
            self.waves.len() <= MAX_WAVES,
            format!("0 to {MAX_WAVES}"),
        )?;
        range(
            "the number of pins",
            self.pins.len() <= MAX_PINS,
            format!("0 to {MAX_PINS}"),
        )?;
        range(
            "grace_ms",
            self.grace_ms <= MAX_GRACE_MS,
            format!("0 to {MAX_GRACE_MS}"),
        )?;
        range(
            "deadline_s",
            (1..=MAX_WAIT_S).contains(&self.deadline_s),
            format!("1 to {MAX_WAIT_S}"),
        )?;
        range(
            "silence_s",
            (1..=MAX_WAIT_S).contains(&self.silence_s),
            format!("1 to {MAX_WAIT_S}"),
        )?;
        range("soak_s", self.soak_s <= MAX_WAIT_S, format!("0 to {MAX_WAIT_S}"))?;
        range("max_bps", self.max_bps <= 1 << 40, format!("0 to {}", 1u64 << 40))?;
        let window = self
            .window
            .is_none_or(|window| window.start_minute < 1440 && window.minutes > 0);
        range(
            "window.start_minute",
            window,
            "0 to 1439, with at least a minute after it".to_owned(),
        )?;
        self.check_times()
    }

    fn check_times(&self) -> Result<(), PolicyError> {
        for (name, seconds) in [("silence_s", self.silence_s), ("deadline_s", self.deadline_s)] {
            if seconds.saturating_mul(1000) < self.grace_ms {
                return Err(PolicyError::TooShort(name, seconds, self.grace_ms));
            }
        }
        match self.window {
            Some(window)
                if window.minutes < ALWAYS_MINUTES && u64::from(window.minutes) * 60_000 < self.grace_ms =>
            {
                Err(PolicyError::Window(window.minutes, self.grace_ms))
            }
            _ => Ok(()),
        }
    }

    /// Checks that a release of `size` bytes can be downloaded before its deadline.
    ///
    /// # Errors
    /// If the maximum download rate is too low for that.
    pub fn fits(&self, size: u64) -> Result<(), PolicyError> {
        if self.max_bps > 0 && size / self.max_bps > self.deadline_s {
            return Err(PolicyError::TooSlow {
                size,
                bps: self.max_bps,
                deadline_s: self.deadline_s,
            });
        }
        Ok(())
    }

    /// Returns the number of devices, in order, after which each wave ends; the last end is `total`.
    pub fn ends(&self, total: usize) -> Vec<usize> {
        let mut ends = vec![usize::try_from(self.canary).unwrap_or(usize::MAX).min(total)];
        for wave in &self.waves {
            let last = ends[ends.len() - 1];
            let end = match *wave {
                Wave::Count(count) => last.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)),
                Wave::Percent(percent) => (total * usize::from(percent)).div_ceil(100).max(last),
            };
            ends.push(end.min(total));
        }
        ends.push(total);
        ends.dedup();
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_contradict_each_other_are_refused() {
        let ok = Policy {
            grace_ms: 20_000,
            silence_s: 20,
            ..Policy::default()
        };
        ok.check().expect("just enough");
        let window = |minutes| {
            Some(Window {
                start_minute: 0,
                minutes,
            })
        };
        for (policy, expected) in [
            (
                Policy {
                    silence_s: 19,
                    ..ok.clone()
                },
                PolicyError::TooShort("silence_s", 19, 20_000),
            ),
            (
                Policy {
                    deadline_s: 6,
                    ..ok.clone()
                },
                PolicyError::TooShort("deadline_s", 6, 20_000),
            ),
            (
                Policy {
                    grace_ms: 120_000,
                    silence_s: 200,
                    window: window(1),
                    ..ok.clone()
                },
                PolicyError::Window(1, 120_000),
            ),
        ] {
            assert_eq!(policy.check(), Err(expected), "{policy:?}");
        }
        Policy {
            silence_s: 10,
            window: window(30),
            ..Policy::default()
        }
        .check()
        .expect("waiting for the window does not count as silence");
        let slow = Policy {
            max_bps: 100,
            deadline_s: 60,
            ..Policy::default()
        };
        slow.fits(6_000).expect("just in time");
        assert_eq!(
            slow.fits(6_100),
            Err(PolicyError::TooSlow {
                size: 6_100,
                bps: 100,
                deadline_s: 60
            })
        );
        Policy::default().fits(u64::MAX).expect("no cap");
    }

    #[test]
    fn waves_end_where_they_say() {
        let policy = Policy {
            canary: 2,
            waves: vec![Wave::Count(8), Wave::Percent(25), Wave::Percent(50)],
            ..Policy::default()
        };
        policy.check().expect("forward");
        assert_eq!(policy.ends(100), [2, 10, 25, 50, 100]);
        assert_eq!(policy.ends(12), [2, 10, 12]);
        assert_eq!(policy.ends(1), [1]);
        assert_eq!(policy.ends(0), [0]);
        let back = Policy {
            waves: vec![Wave::Percent(50), Wave::Percent(10)],
            ..Policy::default()
        };
        assert_eq!(back.check(), Err(PolicyError::Order(10, 50)));
        let over = Policy {
            waves: vec![Wave::Percent(101)],
            ..Policy::default()
        };
        assert_eq!(over.check(), Err(PolicyError::Percent(101)));
    }
}
