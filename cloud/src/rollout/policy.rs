use iottly_protocol::DeviceId;
use serde::{Deserialize, Serialize};

/// How a rollout spreads, and what stops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How many devices get the release first.
    pub canary: u32,
    /// What comes after the canary; each begins when the one before it is done. All the rest follows the last.
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
    /// How long a device may say nothing about a directive before it counts as failed, seconds.
    pub silence_s: u64,
    /// Devices that keep what they run.
    pub pins: Vec<DeviceId>,
}

/// A part of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Policy {
    /// Checks that the waves go forward.
    ///
    /// # Errors
    /// When a percentage is over a hundred or below the one before it.
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
        Ok(())
    }

    /// After how many devices, in order, each wave ends; the last end is `total`.
    pub(super) fn ends(&self, total: usize) -> Vec<usize> {
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
    fn waves_end_where_they_say() {
        let policy = Policy { canary: 2, waves: vec![Wave::Count(8), Wave::Percent(25), Wave::Percent(50)], ..Policy::default() };
        policy.check().expect("forward");
        assert_eq!(policy.ends(100), [2, 10, 25, 50, 100]);
        assert_eq!(policy.ends(12), [2, 10, 12]);
        assert_eq!(policy.ends(1), [1]);
        assert_eq!(policy.ends(0), [0]);
        let back = Policy { waves: vec![Wave::Percent(50), Wave::Percent(10)], ..Policy::default() };
        assert_eq!(back.check(), Err(PolicyError::Order(10, 50)));
        let over = Policy { waves: vec![Wave::Percent(101)], ..Policy::default() };
        assert_eq!(over.check(), Err(PolicyError::Percent(101)));
    }
}
