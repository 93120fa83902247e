//! States of an update on its device: the words that the device reports, the cloud stores and the API
//! returns.
//!
//! Decides nothing: the transitions between steps are in `iottly_update::Machine`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! words {
    ($(#[$type_doc:meta])* $type:ident { $($(#[$doc:meta])* $name:ident = $text:literal,)+ }) => {
        $(#[$type_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl $type {
            /// All values, in the order in which an update reaches them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name on the wire, in the journal and in the API.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Returns the value of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Step of an update under way. The names are never changed or reused.
    Step {
        /// The directive is stored.
        Offered = "offered",
        /// Metadata is fetched and verified.
        VerifyingMeta = "verifying_meta",
        /// Free space, maintenance window and clock are checked.
        Preflight = "preflight",
        /// The update waits; the reason names for what.
        Deferred = "deferred",
        /// Parts are fetched.
        Downloading = "downloading",
        /// The whole file is verified, compiled and instantiated.
        VerifyingImage = "verifying_image",
        /// The slot is complete and on the disk.
        Staged = "staged",
        /// The firmware's state is copied; the last step that can be cancelled.
        Armed = "armed",
        /// The pointer moves to the new release.
        Switching = "switching",
        /// The new release runs and is watched.
        Trial = "trial",
        /// The release becomes the committed one.
        Committing = "committing",
        /// The pointer and the firmware's state go back to the former release.
        RollingBack = "rolling_back",
    }
}

words! {
    /// Final result of an update. The names are never changed or reused.
    Ending {
        /// The release runs and is healthy.
        Committed = "committed",
        /// The device did not accept the release.
        Rejected = "rejected",
        /// The update was abandoned before the release was switched on.
        Failed = "failed",
        /// The update was withdrawn or superseded by a later directive.
        Cancelled = "cancelled",
        /// The release was tried, and the former firmware runs again.
        RolledBack = "rolled_back",
    }
}

impl Step {
    /// Returns true while the update can still be withdrawn without a trace.
    #[must_use]
    pub const fn is_cancellable(self) -> bool {
        !matches!(
            self,
            Self::Switching | Self::Trial | Self::Committing | Self::RollingBack
        )
    }
}

/// State of an update on its device; on the wire the name of its step or ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpdateState {
    /// The update is under way.
    Underway(Step),
    /// The update is over.
    Ended(Ending),
}

impl UpdateState {
    /// Returns the name on the wire and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underway(step) => step.as_str(),
            Self::Ended(ending) => ending.as_str(),
        }
    }

    /// Returns the state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let ending = || Ending::named(name).map(Self::Ended);
        Step::named(name).map(Self::Underway).or_else(ending)
    }

    /// Returns true once the update has ended.
    #[must_use]
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// Returns true while a directive can still withdraw the update without a trace.
    #[must_use]
    pub const fn is_cancellable(self) -> bool {
        match self {
            Self::Underway(step) => step.is_cancellable(),
            Self::Ended(_) => false,
        }
    }
}

impl From<Step> for UpdateState {
    fn from(step: Step) -> Self {
        Self::Underway(step)
    }
}

impl From<Ending> for UpdateState {
    fn from(ending: Ending) -> Self {
        Self::Ended(ending)
    }
}

impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for UpdateState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for UpdateState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| {
            let shown = crate::limits::clip(&name, 64);
            serde::de::Error::custom(format_args!("unknown state of an update: {shown:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_names_are_these() {
        let steps = Step::ALL.iter().copied().map(UpdateState::from);
        let endings = Ending::ALL.iter().copied().map(UpdateState::from);
        let all: Vec<_> = steps.chain(endings).collect();
        let names: Vec<_> = all.iter().map(|state| state.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "offered verifying_meta preflight deferred downloading verifying_image staged armed switching trial committing \
             rolling_back committed rejected failed cancelled rolled_back"
        );
        for state in &all {
            let text = serde_json::to_string(state).expect("json");
            assert_eq!(text, format!("\"{state}\""));
            assert_eq!(
                serde_json::from_str::<UpdateState>(&text).expect("own form"),
                *state
            );
            assert_eq!(UpdateState::named(state.as_str()), Some(*state));
        }
        for step in Step::ALL {
            assert_eq!(serde_json::to_string(step).expect("json"), format!("\"{step}\""));
        }
        for ending in Ending::ALL {
            assert_eq!(
                serde_json::to_string(ending).expect("json"),
                format!("\"{ending}\"")
            );
        }
        assert_eq!(all.iter().filter(|state| state.is_ending()).count(), 5);
        assert_eq!(all.iter().filter(|state| state.is_cancellable()).count(), 8);
        assert!(serde_json::from_str::<UpdateState>("\"paused\"").is_err());
    }
}
