//! Parts of a project that pages show: a set of those that have changed.

use std::ops::BitOr;

/// Parts of a project that have changed, so that a page that shows one of them reads it again. A set: it does not grow with
/// the number of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts(u16);

impl Parts {
    /// Facts about a device: its firmware, its agent, its last refusal.
    pub const DEVICE: Self = Self(1);
    /// Commands of a device.
    pub const COMMAND: Self = Self(1 << 1);
    /// Deployment groups, their rollouts and revisions.
    pub const GROUP: Self = Self(1 << 2);
    /// Alerts and their rules.
    pub const ALERT: Self = Self(1 << 3);
    /// Webhooks and their deliveries.
    pub const WEBHOOK: Self = Self(1 << 4);
    /// Boards that wait for approval.
    pub const WAITING: Self = Self(1 << 5);
    /// Failures of firmware.
    pub const CRASH: Self = Self(1 << 6);

    /// Health of a device: its queue and its sandbox.
    pub const HEALTH: Self = Self(1 << 7);

    /// Names of the parts, as pages know them.
    const NAMES: [(Self, &'static str); 8] = [
        (Self::DEVICE, "device"),
        (Self::COMMAND, "command"),
        (Self::GROUP, "group"),
        (Self::ALERT, "alert"),
        (Self::WEBHOOK, "webhook"),
        (Self::WAITING, "waiting"),
        (Self::CRASH, "crash"),
        (Self::HEALTH, "health"),
    ];

    /// Returns the parts that a change concerns, by the action of its audit entry.
    #[must_use]
    pub fn of_action(action: &str) -> Self {
        match action.split('.').next().unwrap_or_default() {
            "device" => Self::DEVICE | Self::WAITING,
            "deploymentgroup" => Self::GROUP | Self::DEVICE,
            "rollout" | "release" => Self::GROUP,
            "alert" | "alertrule" => Self::ALERT,
            "webhook" | "portal" => Self::WEBHOOK,
            _ => Self::default(),
        }
    }

    /// Returns true for no parts.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the names of the parts.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = Self::NAMES.into_iter();
        named
            .filter(move |(part, _)| self.0 & part.0 != 0)
            .map(|(_, name)| name)
    }
}

impl BitOr for Parts {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_names_what_is_in_it() {
        let both = Parts::DEVICE | Parts::ALERT | Parts::DEVICE;
        assert_eq!(both.names().collect::<Vec<_>>(), ["device", "alert"]);
        assert!(Parts::of_action("token.create").is_empty());
        assert_eq!(Parts::of_action("webhook.update"), Parts::WEBHOOK);
    }
}
