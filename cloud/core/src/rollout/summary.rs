//! Progress of the devices of a rollout in few words: for counts, for cells of a picture and for programs. Pure.

use iottly_protocol::release::{Ending, Step, UpdateState};
use serde::{Deserialize, Serialize};

use crate::model::RolloutMember;

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

    /// Returns true if the device has ended the update otherwise than intended.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::RolledBack)
    }
}

/// Returns the place of a device.
#[must_use]
pub fn place(member: &RolloutMember) -> Place {
    let Some(directive) = &member.directive else {
        return Place::Waiting;
    };
    match directive.state {
        None if directive.withdrawn => Place::Cancelled,
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

/// Numbers of the devices of a rollout at each place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Places([u64; Place::ALL.len()]);

impl Places {
    /// Counts the devices of a rollout.
    #[must_use]
    pub fn of(members: &[RolloutMember]) -> Self {
        let mut counts = Self::default();
        for member in members {
            counts.0[place(member) as usize] += 1;
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
    use iottly_protocol::DeviceId;

    use super::*;
    use crate::model::DirectiveStatus;

    fn member(state: Option<&str>, withdrawn: bool) -> RolloutMember {
        RolloutMember {
            device: DeviceId::from_bytes([1; 16]),
            name: String::new(),
            online: true,
            in_group: true,
            counter: 1,
            directive: Some(DirectiveStatus {
                id: String::new(),
                counter: 1,
                sent: 1,
                withdrawn,
                state: state.map(|name| UpdateState::named(name).expect("a state")),
                reason: None,
                detail: None,
                failures: 0,
                changed: 1,
                heard: None,
                faults: 0,
                fault: None,
                steps: Vec::new(),
            }),
        }
    }

    #[test]
    fn every_device_has_one_place_and_is_counted_there() {
        let untold = RolloutMember {
            directive: None,
            ..member(None, false)
        };
        let members = [
            untold,
            member(None, false),
            member(None, true),
            member(Some("downloading"), false),
            member(Some("deferred"), false),
            member(Some("trial"), false),
            member(Some("rolling_back"), false),
            member(Some("committed"), false),
            member(Some("rejected"), false),
            member(Some("rolled_back"), false),
        ];
        let counts = Places::of(&members);
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
                ("committed", 1),
                ("cancelled", 1),
                ("failed", 1),
                ("rolled_back", 2)
            ]
        );
        assert_eq!(counts.total(), 10);
    }
}
