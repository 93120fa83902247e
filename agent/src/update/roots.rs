//! Time at which the device takes up a new root that the cloud has announced. Pure: the time is an argument, in
//! milliseconds of the monotonic clock.

/// First and longest pause before a root that could not be fetched is asked for again, in milliseconds.
const PAUSE_MS: (u64, u64) = (1_000, 3_600_000);

/// Announced root that the device does not trust yet.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// Version that was announced; none once the device trusts it.
    wanted: Option<u64>,
    at_ms: u64,
    pause_ms: u64,
    /// True while a question to the repository is outstanding.
    asking: bool,
}

impl Roots {
    /// Notes that the cloud has announced a root. Returns `true` if the device trusts it already, so that the cloud does not
    /// know what the device trusts.
    pub(super) fn announced(&mut self, version: u64, trusted: u64, now_ms: u64) -> bool {
        if version <= trusted {
            return true;
        }
        self.wanted = self.wanted.max(Some(version));
        (self.at_ms, self.pause_ms) = (now_ms, PAUSE_MS.0);
        false
    }

    /// Returns the time at which [`Roots::is_due`] is true; none while there is nothing to ask.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (self.wanted.is_some() && !self.asking).then_some(self.at_ms)
    }

    /// Returns `true` if the repository is to be asked now.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.due_ms().is_some_and(|at| at <= now_ms)
    }

    /// Notes that the repository was asked, or that it takes no question now.
    pub(super) fn asked(&mut self, asked: bool, now_ms: u64) {
        self.asking = asked;
        if !asked {
            self.at_ms = now_ms.saturating_add(PAUSE_MS.0);
        }
    }

    /// Notes the end of a question, after which the device trusts this version. A root that is still wanted is asked for
    /// again after a pause, which grows.
    pub(super) fn answered(&mut self, trusted: u64, now_ms: u64) {
        self.asking = false;
        if self.wanted.is_some_and(|wanted| wanted <= trusted) {
            self.wanted = None;
        }
        self.at_ms = now_ms.saturating_add(self.pause_ms);
        self.pause_ms = self.pause_ms.saturating_mul(2).min(PAUSE_MS.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_root_is_asked_for_until_it_is_trusted() {
        let mut roots = Roots::default();
        assert_eq!(roots.due_ms(), None);
        assert!(
            roots.announced(3, 3, 5),
            "it is trusted, which the cloud does not know"
        );
        assert_eq!(roots.due_ms(), None);
        assert!(!roots.announced(4, 3, 10));
        assert!(roots.is_due(10) && !roots.is_due(9));
        roots.asked(false, 12);
        assert_eq!(roots.due_ms(), Some(1_012), "the repository was busy");
        roots.asked(true, 1_012);
        assert_eq!(roots.due_ms(), None, "one question at a time");
        roots.answered(3, 20);
        assert_eq!(roots.due_ms(), Some(1_020));
        roots.asked(true, 0);
        roots.answered(3, 2_000);
        assert_eq!(roots.due_ms(), Some(4_000), "the pause grows");
        assert!(!roots.announced(5, 3, 2_500));
        assert_eq!(roots.due_ms(), Some(2_500), "a newer one is asked for at once");
        roots.asked(true, 0);
        roots.answered(5, 2_600);
        assert_eq!(roots.due_ms(), None);
    }

    #[test]
    fn the_pause_has_an_end() {
        let mut roots = Roots::default();
        roots.announced(2, 1, 0);
        for _ in 0..100 {
            roots.asked(true, 0);
            roots.answered(1, 0);
        }
        assert_eq!(roots.due_ms(), Some(PAUSE_MS.1));
    }
}
