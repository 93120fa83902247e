//! The section `[updates]` of the configuration.

use std::path::PathBuf;

use iottly_protocol::{GroupId, ProjectId};
use serde::Deserialize;

/// Source of releases and the device's rules for them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateConfig {
    /// Address (`http://…`) or folder of the repository.
    pub repository: String,
    /// File of the root metadata that is trusted at the first start; later versions are followed from it.
    pub root: PathBuf,
    /// File of the certificate authorities (PEM) for the repository's server; the default is those of the
    /// public web.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// True if the repository is the cloud's although its host is not the broker's, so that it gets the device's login; by
    /// default the hosts are compared.
    #[serde(default)]
    pub login: bool,
    /// Project of the device.
    pub project: ProjectId,
    /// Group of the device, for directives to groups.
    #[serde(default)]
    pub group: Option<GroupId>,
    /// Board profile.
    #[serde(default = "any_board")]
    pub board: String,
    /// Capabilities that releases may import without approval in their directive.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Accept keys of the scheme ecdsa-sha2-nistp256 beside ed25519.
    #[serde(default)]
    pub p256: bool,
    /// Time between two polls for a directive, in seconds, at least 1.
    #[serde(default = "a_minute")]
    pub poll_seconds: u64,
}

impl UpdateConfig {
    /// Creates a configuration for the generic board without a group and with the default poll interval.
    #[must_use]
    pub fn new(repository: impl Into<String>, root: PathBuf, project: ProjectId) -> Self {
        Self {
            repository: repository.into(),
            root,
            ca: None,
            login: false,
            project,
            group: None,
            board: any_board(),
            capabilities: Vec::new(),
            p256: false,
            poll_seconds: a_minute(),
        }
    }
}

fn any_board() -> String {
    "generic".to_owned()
}

fn a_minute() -> u64 {
    60
}
