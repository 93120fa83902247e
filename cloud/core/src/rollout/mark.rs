//! A mark of a rollout's progress, by which a caller names what it has seen. Pure.

use crate::model::{Rollout, RolloutMember};

/// Returns a short text that differs as soon as a rollout or a device in it has made progress.
#[must_use]
pub fn mark(rollout: &Rollout, members: &[RolloutMember]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&rollout.version.to_be_bytes());
    for member in members {
        hasher.update(member.device.as_bytes());
        hasher.update(&[u8::from(member.online)]);
        let Some(directive) = &member.directive else {
            continue;
        };
        hasher.update(&directive.counter.to_be_bytes());
        hasher.update(&(directive.steps.len() as u64).to_be_bytes());
        hasher.update(&directive.faults.to_be_bytes());
        hasher.update(directive.state.map_or("", |state| state.as_str()).as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use iottly_protocol::DeviceId;
    use iottly_protocol::GroupId;

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
        let mut members = [RolloutMember {
            device: DeviceId::from_bytes([1; 16]),
            name: String::new(),
            online: true,
            in_group: true,
            counter: 5,
            directive: None,
        }];
        let first = mark(&rollout, &members);
        assert_eq!(first, mark(&rollout, &members));
        members[0].online = false;
        let second = mark(&rollout, &members);
        assert_ne!(first, second);
        rollout.version = 2;
        assert_ne!(second, mark(&rollout, &members));
    }
}
