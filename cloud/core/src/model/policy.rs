use iottly_protocol::DeviceId;
use iottly_protocol::release::Window;
use serde::{Deserialize, Serialize};

/// How a rollout spreads, and what stops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How many devices get the release first.
    pub canary: u32,
    /// What comes after the canary; each begins when the one before it is done. All the rest follows the
    /// last.
    pub waves: Vec<Wave>,
    /// How many devices may be under way at once; 0 for no limit.
    pub concurrency: u32,
    /// How many devices of the canary may fail.
    pub canary_failures: u32,
    /// How many of a hundred finished devices may fail in all, once [`Policy::sample`] have finished.
    pub failure_percent: u8,
    /// How many devices must have finished before the percentage counts.
    pub sample: u32,
    /// How often a device that failed is told again.
    pub retries: u32,
    /// How long after a wave the next one waits, seconds.
    pub soak_s: u64,
    /// Longest silence of a device about a directive before it counts as failed, seconds. Each of its words
    /// begins it anew; waiting for the window, a capped download and a trial have their own time beyond it.
    pub silence_s: u64,
    /// Devices that keep what they run.
    #[schema(value_type = Vec<String>)]
    pub pins: Vec<DeviceId>,
    /// How long a release is on trial on each device, milliseconds.
    pub grace_ms: u64,
    /// Longest time an update may take on a device, seconds; waiting for the window does not count.
    pub deadline_s: u64,
    /// Bytes a second that a device may download; 0 for no cap.
    pub max_bps: u64,
    /// When a device may switch a release on; always when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub window: Option<Window>,
}

/// Most waves of a policy.
const MAX_WAVES: usize = 100;
/// Most devices that a policy pins.
const MAX_PINS: usize = 10_000;
/// Longest trial: a day, milliseconds.
const MAX_GRACE_MS: u64 = 24 * 60 * 60 * 1000;
/// A window of so many minutes is open all day.
const ALWAYS_MINUTES: u16 = 1440;
/// Longest deadline and silence: thirty days, seconds.
const MAX_WAIT_S: u64 = 30 * 24 * 60 * 60;

/// A part of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Wave {
    /// So many devices more.
    Count(u32),
    /// Until so many of a hundred devices have been reached.
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

/// Why a policy makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A percentage is over a hundred.
    #[error("{0} percent are more than all devices")]
    Percent(u8),
    /// Waves by percentage go back.
    #[error("a wave until {0} percent comes after one until {1} percent")]
    Order(u8, u8),
    /// A number is outside of what makes sense.
    #[error("{0} is not within {1}")]
    Range(&'static str, String),
    /// A device could not finish its trial before it counts as late.
    #[error("{0} ({1} s) is shorter than the trial of grace_ms ({2} ms): no device could pass it in time")]
    TooShort(&'static str, u64, u64),
    /// A trial would go on outside of the window.
    #[error("the window ({0} minutes) is shorter than the trial of grace_ms ({1} ms)")]
    Window(u16, u64),
    /// A release could not be downloaded in time.
    #[error("{size} bytes at max_bps ({bps} bytes a second) take longer than deadline_s ({deadline_s} s)")]
    TooSlow {
        /// Length of the release, bytes.
        size: u64,
        /// Bytes a second.
        bps: u64,
        /// Seconds that an update may take.
        deadline_s: u64,
    },
}

impl Policy {
    /// Checks that the waves go forward, and that its times do not contradict each other.
    ///
    /// # Errors
    /// When a percentage is over a hundred or below the one before it, a number is out of its range, or a
    /// device that does all in time could count as late.
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
            "0 to 1439, with at least a minute behind it".to_owned(),
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
    /// When the cap on the download does not let it through in time.
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

    /// After how many devices, in order, each wave ends; the last end is `total`.
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
        .expect("waiting for the window is no silence");
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
