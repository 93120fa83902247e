//! A mark of a rollout's progress, by which a caller names what it has seen. Pure.

use super::Alike;
use crate::model::Rollout;

/// Returns a short text that differs as soon as a rollout or a device in it has made progress.
#[must_use]
pub fn mark(rollout: &Rollout, devices: &[Alike]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&rollout.version.to_be_bytes());
    for alike in devices {
        hasher.update(alike.state.map_or("", |state| state.as_str()).as_bytes());
        for flag in [alike.notified, alike.withdrawn, alike.reasoned, alike.online] {
            hasher.update(&[u8::from(flag)]);
        }
        for number in [alike.count, alike.part, alike.faults] {
            hasher.update(&number.to_be_bytes());
        }
        for time in [alike.changed, alike.online_since] {
            hasher.update(&time.to_be_bytes());
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use iottly_protocol::GroupId;
    use iottly_protocol::release::UpdateState;

    use super::*;
    use crate::model::{Policy, RolloutId, RolloutIntent, RolloutKind, RolloutProgress, RolloutStatus};

    #[test]
    fn a_mark_is_the_same_until_something_has_changed() {
        let mut rollout = Rollout {
            id: RolloutId::from_bytes([7; 16]),
            group: GroupId::from_bytes([1; 16]),
            release: 3,
            kind: RolloutKind::Install,
            policy: Policy::default(),
            approved: Vec::new(),
            force: false,
            progress: RolloutProgress {
                intent: RolloutIntent::Run,
                halted: false,
                soaking: None,
            },
            status: RolloutStatus::Deploying,
            evidence: None,
            active: true,
            devices: 1,
            ended: None,
            version: 1,
            author: "me".into(),
            created: 0,
            changed: 0,
        };
        let one = Alike {
            count: 2,
            part: 0,
            notified: true,
            state: None,
            withdrawn: false,
            reasoned: false,
            online: true,
            faults: 0,
            changed: 5,
            online_since: 3,
        };
        let first = mark(&rollout, &[one]);
        assert_eq!(first, mark(&rollout, &[one]));
        let changes = [
            Alike { count: 3, ..one },
            Alike {
                notified: false,
                ..one
            },
            Alike {
                state: UpdateState::named("trial"),
                ..one
            },
            Alike {
                withdrawn: true,
                ..one
            },
            Alike {
                reasoned: true,
                ..one
            },
            Alike { online: false, ..one },
            Alike { faults: 1, ..one },
            Alike { changed: 6, ..one },
            Alike {
                online_since: 4,
                ..one
            },
        ];
        for changed in changes {
            assert_ne!(first, mark(&rollout, &[changed]), "{changed:?}");
        }
        rollout.version = 2;
        assert_ne!(first, mark(&rollout, &[one]));
    }
}
