//! Decides when the provider's description and keys are read again. Takes the times as arguments.

use std::time::Duration;

/// Age at which they are read again.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// Age above which they are not used, even when they cannot be read again.
const USABLE: Duration = Duration::from_secs(24 * 60 * 60);
/// Minimum time between two reads: tokens with invented key ids must not make the cloud ask the provider each time.
const PAUSE: Duration = Duration::from_secs(10);
/// Minimum time between two reads while there is nothing to use.
const SHORT_PAUSE: Duration = Duration::from_secs(5);

/// Result of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The stored ones are used.
    Use,
    /// Description and keys are read; if that fails, the stored ones are used if there are any.
    Read,
    /// Nothing can be used, and the provider is not asked again yet.
    Wait,
}

/// Times that decide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    /// Time since the stored ones were read; none if there are none.
    pub(super) stored: Option<Duration>,
    /// Time since the last read, also if it failed.
    pub(super) tried: Option<Duration>,
    /// True if a token names a key that the stored ones do not contain.
    pub(super) unknown_key: bool,
}

/// Returns true if ones of this age may be used.
pub(super) fn is_usable(age: Duration) -> bool {
    age < USABLE
}

pub(super) fn reading(ages: Ages) -> Reading {
    let rested = |pause| ages.tried.is_none_or(|tried| tried >= pause);
    match ages.stored.filter(|age| is_usable(*age)) {
        None if rested(SHORT_PAUSE) => Reading::Read,
        None => Reading::Wait,
        Some(age) if (ages.unknown_key || age >= FRESH) && rested(PAUSE) => Reading::Read,
        Some(_) => Reading::Use,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_asked_when_needed_and_not_more_often() {
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        for (stored, tried, unknown_key, wanted) in [
            (None, None, false, Reading::Read),
            (None, Some(4), false, Reading::Wait),
            (None, Some(5), false, Reading::Read),
            (Some(10), Some(10), false, Reading::Use),
            (Some(9), Some(9), true, Reading::Use),
            (Some(10), Some(10), true, Reading::Read),
            (Some(3599), Some(3599), false, Reading::Use),
            (Some(3600), Some(3600), false, Reading::Read),
            (Some(4000), Some(9), false, Reading::Use),
            (Some(86_400), Some(1), false, Reading::Wait),
            (Some(86_400), Some(30), false, Reading::Read),
        ] {
            let ages = Ages {
                stored: seconds(stored),
                tried: seconds(tried),
                unknown_key,
            };
            assert_eq!(reading(ages), wanted, "{ages:?}");
        }
    }
}
