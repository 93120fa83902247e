//! Presence as people are shown it, with its last proof. Pure.

use super::Pauses;
use crate::model::{Absence, Proof, UnixMs};

/// Facts that presence is derived from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// True while the device is connected.
    pub online: bool,
    /// Time of the last change of `online`; none before the first connection.
    pub changed: Option<UnixMs>,
    /// Last proof of the link; none before the first.
    pub proof: Option<Proof>,
    /// Last sendings of the device, as far as they are known.
    pub pauses: Option<&'a Pauses>,
    /// Planned absence, if there is one.
    pub absence: Option<&'a Absence>,
}

/// Presence of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The link works, and the device sends as usual.
    Online {
        /// Time of the connection.
        since: Option<UnixMs>,
    },
    /// The link works, but the device has sent nothing for three usual pauses.
    Silent {
        /// Time of its last message.
        since: UnixMs,
    },
    /// No connection.
    Offline {
        /// Time at which the connection ended; none for a device that never had one.
        since: Option<UnixMs>,
    },
    /// No connection, as planned.
    Absent {
        /// Time at which the connection ended; none for a device that never had one.
        since: Option<UnixMs>,
        /// The plan.
        planned: Absence,
    },
}

impl Shown {
    /// Returns the word in the API.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Online { .. } => "online",
            Self::Silent { .. } => "silent",
            Self::Offline { .. } => "offline",
            Self::Absent { .. } => "absent",
        }
    }

    /// Returns the time since which it is so.
    #[must_use]
    pub const fn since(&self) -> Option<UnixMs> {
        match self {
            Self::Silent { since } => Some(*since),
            Self::Online { since } | Self::Offline { since } | Self::Absent { since, .. } => *since,
        }
    }
}

/// Presence with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Presence.
    pub shown: Shown,
    /// Last proof of the link; none before the first.
    pub proof: Option<Proof>,
}

impl View {
    /// Returns the presence at `now`.
    #[must_use]
    pub fn of(facts: Facts<'_>, now: UnixMs) -> Self {
        let planned = facts.absence.filter(|absence| absence.covers(now));
        let silent = facts.pauses.filter(|pauses| {
            // Messages of before the connection say nothing about it.
            pauses.silent_at().is_some_and(|at| at <= now) && pauses.last() >= facts.changed
        });
        let shown = match (facts.online, planned) {
            (true, _) => match silent.and_then(Pauses::last) {
                Some(since) => Shown::Silent { since },
                None => Shown::Online { since: facts.changed },
            },
            (false, Some(planned)) => Shown::Absent {
                since: facts.changed,
                planned: planned.clone(),
            },
            (false, None) => Shown::Offline { since: facts.changed },
        };
        Self {
            shown,
            proof: facts.proof,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Facts<'_> = Facts {
        online: false,
        changed: Some(100),
        proof: None,
        pauses: None,
        absence: None,
    };

    fn word(facts: Facts<'_>, now: UnixMs) -> &'static str {
        View::of(facts, now).shown.as_str()
    }

    #[test]
    fn a_plan_excuses_the_absence_and_nothing_else() {
        let plan = Absence {
            from: 200,
            until: 300,
            reason: "moved to another site".into(),
        };
        let off = Facts {
            absence: Some(&plan),
            ..OFF
        };
        assert_eq!(
            [199, 200, 299, 300].map(|now| word(off, now)),
            ["offline", "absent", "absent", "offline"]
        );
        assert_eq!(View::of(off, 250).shown.since(), Some(100));
        let on = Facts { online: true, ..off };
        assert_eq!(word(on, 250), "online", "what is proven counts");
    }

    #[test]
    fn silence_needs_a_link_and_messages_on_it() {
        let mut pauses = Pauses::default();
        for n in 0..5 {
            pauses.sent(1000 + n * 20_000);
        }
        let silent = Facts {
            online: true,
            pauses: Some(&pauses),
            ..OFF
        };
        assert_eq!(word(silent, 81_000 + 59_999), "online");
        let view = View::of(silent, 81_000 + 60_000);
        assert_eq!(
            (view.shown.as_str(), view.shown.since()),
            ("silent", Some(81_000))
        );
        let again = Facts {
            changed: Some(100_000),
            ..silent
        };
        assert_eq!(word(again, 500_000), "online", "connected after the last message");
        let off = Facts {
            online: false,
            ..silent
        };
        assert_eq!(word(off, 500_000), "offline");
    }
}
