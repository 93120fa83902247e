//! Progress of the devices of a rollout in few words: for counts, for cells of a picture and for programs. Devices that are
//! alike are counted together, so that the cost is independent of their number. Pure.

use iottly_protocol::release::{Ending, Step, UpdateState};
use serde::{Deserialize, Serialize};

use crate::model::{RolloutMember, UnixMs};

/// Place of a device on the way to the release of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The device was not notified yet.
    Waiting,
    /// The update waits on the device; its reason names for what.
    Deferred,
    /// The device fetches and checks the release.
    Updating,
    /// The release runs and is watched.
    Trial,
    /// The release runs and is healthy.
    Committed,
    /// The update was withdrawn.
    Cancelled,
    /// The device did not accept the release, or abandoned the update.
    Failed,
    /// The release was tried, and the former one runs again.
    RolledBack,
}

impl Place {
    /// All places, from the first to the worst.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Deferred,
        Self::Updating,
        Self::Trial,
        Self::Committed,
        Self::Cancelled,
        Self::Failed,
        Self::RolledBack,
    ];

    /// Returns the name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Deferred => "deferred",
            Self::Updating => "updating",
            Self::Trial => "trial",
            Self::Committed => "committed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Returns the place with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.as_str() == name)
    }

    /// Returns true if the device has ended the update otherwise than intended.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::RolledBack)
    }

    /// Returns true if the device has not gone as planned: it has ended otherwise than intended, or waits for something.
    #[must_use]
    pub const fn is_exception(self) -> bool {
        self.is_bad() || matches!(self, Self::Deferred)
    }
}

/// Returns the place of a device.
#[must_use]
pub fn place(member: &RolloutMember) -> Place {
    let Some(directive) = &member.directive else {
        return Place::Waiting;
    };
    notified(directive.state, directive.withdrawn)
}

/// Returns all states of an update whose place is an exception.
#[must_use]
pub fn exceptional_states() -> Vec<UpdateState> {
    states()
        .filter(|state| notified(Some(*state), false).is_exception())
        .collect()
}

/// Returns all states of an update that lead to a place.
#[must_use]
pub fn states_at(place: Place) -> Vec<UpdateState> {
    states()
        .filter(|state| notified(Some(*state), false) == place)
        .collect()
}

/// Returns the place of a device that was notified and has reported nothing.
#[must_use]
pub fn unreported(withdrawn: bool) -> Place {
    notified(None, withdrawn)
}

fn states() -> impl Iterator<Item = UpdateState> {
    let steps = Step::ALL.iter().copied().map(UpdateState::Underway);
    steps.chain(Ending::ALL.iter().copied().map(UpdateState::Ended))
}

/// Returns the place of a device that was notified.
fn notified(state: Option<UpdateState>, withdrawn: bool) -> Place {
    match state {
        None if withdrawn => Place::Cancelled,
        None => Place::Updating,
        Some(UpdateState::Underway(step)) => match step {
            Step::Deferred => Place::Deferred,
            Step::Trial | Step::Committing => Place::Trial,
            Step::RollingBack => Place::RolledBack,
            Step::Offered
            | Step::VerifyingMeta
            | Step::Preflight
            | Step::Downloading
            | Step::VerifyingImage
            | Step::Staged
            | Step::Armed
            | Step::Switching => Place::Updating,
        },
        Some(UpdateState::Ended(ending)) => match ending {
            Ending::Committed => Place::Committed,
            Ending::Rejected | Ending::Failed => Place::Failed,
            Ending::Cancelled => Place::Cancelled,
            Ending::RolledBack => Place::RolledBack,
        },
    }
}

/// Devices of a rollout that are alike in all that a summary shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alike {
    /// Number of the devices.
    pub count: u64,
    /// Part of the rollout's devices that they are in, from 0; the parts follow each other in the order of ids.
    pub part: u64,
    /// True if they were notified.
    pub notified: bool,
    /// Reported state of the update.
    pub state: Option<UpdateState>,
    /// True if the directive was withdrawn.
    pub withdrawn: bool,
    /// True if they have reported a reason.
    pub reasoned: bool,
    /// True if they are online.
    pub online: bool,
    /// Number of failures in their trials.
    pub faults: u64,
    /// Time of the latest change of one of their directives.
    pub changed: UnixMs,
    /// Time of the latest change of presence of one of them.
    pub online_since: UnixMs,
}

impl Alike {
    /// Returns the place of each of the devices.
    #[must_use]
    pub fn place(&self) -> Place {
        if self.notified {
            notified(self.state, self.withdrawn)
        } else {
            Place::Waiting
        }
    }

    /// Returns true if the devices have not gone as planned, or have reported a reason.
    #[must_use]
    pub fn is_exception(&self) -> bool {
        self.reasoned || self.place().is_exception()
    }
}

/// Numbers of the devices of a rollout at each place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Places([u64; Place::ALL.len()]);

impl Places {
    /// Counts devices of a rollout.
    #[must_use]
    pub fn of<'a>(devices: impl IntoIterator<Item = &'a Alike>) -> Self {
        let mut counts = Self::default();
        for alike in devices {
            counts.0[alike.place() as usize] += alike.count;
        }
        counts
    }

    /// Returns the number of devices at a place.
    #[must_use]
    pub const fn at(&self, place: Place) -> u64 {
        self.0[place as usize]
    }

    /// Returns the number of all devices.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTOLD: Alike = Alike {
        count: 1,
        part: 0,
        notified: false,
        state: None,
        withdrawn: false,
        reasoned: false,
        online: true,
        faults: 0,
        changed: 0,
        online_since: 0,
    };

    fn told(state: Option<&str>, withdrawn: bool) -> Alike {
        Alike {
            notified: true,
            withdrawn,
            state: state.map(|name| UpdateState::named(name).expect("a state")),
            ..UNTOLD
        }
    }

    #[test]
    fn every_device_has_one_place_and_is_counted_there() {
        let devices = [
            UNTOLD,
            told(None, false),
            told(None, true),
            told(Some("downloading"), false),
            told(Some("deferred"), false),
            told(Some("trial"), false),
            told(Some("rolling_back"), false),
            Alike {
                count: 4,
                ..told(Some("committed"), false)
            },
            told(Some("rejected"), false),
            told(Some("rolled_back"), false),
        ];
        let counts = Places::of(&devices);
        let numbers: Vec<_> = Place::ALL
            .into_iter()
            .map(|place| (place.as_str(), counts.at(place)))
            .collect();
        assert_eq!(
            numbers,
            [
                ("waiting", 1),
                ("deferred", 1),
                ("updating", 2),
                ("trial", 1),
                ("committed", 4),
                ("cancelled", 1),
                ("failed", 1),
                ("rolled_back", 2)
            ]
        );
        assert_eq!(counts.total(), 13);
        let names: Vec<_> = exceptional_states().iter().map(|state| state.as_str()).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        for alike in devices.iter().filter(|alike| alike.state.is_some()) {
            let name = alike.state.map_or("", |state| state.as_str());
            assert_eq!(names.contains(&name), alike.is_exception(), "{name}");
        }
        let reasoned = Alike {
            reasoned: true,
            ..told(Some("committed"), false)
        };
        assert!(reasoned.is_exception());
    }
}
