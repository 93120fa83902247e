use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Where an update is on its device. The names on the wire are never changed or reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum UpdateState {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl UpdateState {
            /// All of them, in the order in which an update goes through them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name on the wire and in the API.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

states! {
    /// The directive is stored.
    Offered = "offered",
    /// Metadata is fetched and checked.
    VerifyingMeta = "verifying_meta",
    /// Room, window and clock are looked at.
    Preflight = "preflight",
    /// It waits; the reason says for what.
    Deferred = "deferred",
    /// Parts are fetched.
    Downloading = "downloading",
    /// The whole is checked, compiled and instantiated.
    VerifyingImage = "verifying_image",
    /// The slot is complete.
    Staged = "staged",
    /// The firmware's state is copied.
    Armed = "armed",
    /// The pointer moves.
    Switching = "switching",
    /// The release runs and is watched.
    Trial = "trial",
    /// It becomes the committed one.
    Committing = "committing",
    /// The old one comes back.
    RollingBack = "rolling_back",
    /// Ended: the release runs and is healthy.
    Committed = "committed",
    /// Ended: not taken.
    Rejected = "rejected",
    /// Ended: given up before it was switched on.
    Failed = "failed",
    /// Ended: withdrawn.
    Cancelled = "cancelled",
    /// Ended: tried, and the old firmware runs again.
    RolledBack = "rolled_back",
}

impl UpdateState {
    /// Whether the update has ended.
    #[must_use]
    pub const fn is_ending(self) -> bool {
        matches!(
            self,
            Self::Committed | Self::Rejected | Self::Failed | Self::Cancelled | Self::RolledBack
        )
    }

    /// Whether a directive can still take it back without a trace.
    #[must_use]
    pub const fn is_cancellable(self) -> bool {
        !self.is_ending()
            && !matches!(
                self,
                Self::Switching | Self::Trial | Self::Committing | Self::RollingBack
            )
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_names_are_these() {
        let names: Vec<_> = UpdateState::ALL.iter().map(|state| state.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "offered verifying_meta preflight deferred downloading verifying_image staged armed switching trial committing \
             rolling_back committed rejected failed cancelled rolled_back"
        );
        for state in UpdateState::ALL {
            assert_eq!(
                serde_json::to_string(state).expect("json"),
                format!("\"{state}\"")
            );
            assert_eq!(UpdateState::named(state.as_str()), Some(*state));
        }
        assert_eq!(
            UpdateState::ALL.iter().filter(|state| state.is_ending()).count(),
            5
        );
        assert_eq!(
            UpdateState::ALL
                .iter()
                .filter(|state| state.is_cancellable())
                .count(),
            8
        );
    }
}
