use std::path::PathBuf;

use iottly_protocol::{GroupId, ProjectId};
use serde::Deserialize;

/// Where a device takes releases from, and which it may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateConfig {
    /// Address (`http://…`) or folder of the repository.
    pub repository: String,
    /// The root metadata that is trusted at the first start; later ones are followed from it.
    pub root: PathBuf,
    /// Certificates (PEM) of the authorities that vouch for the repository's server; those of the public web
    /// unless given.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The device's project.
    pub project: ProjectId,
    /// The device's group, for directives to groups.
    #[serde(default)]
    pub group: Option<GroupId>,
    /// The board profile.
    #[serde(default = "any_board")]
    pub board: String,
    /// What releases may import without approval in their directive.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Keys of the scheme ecdsa-sha2-nistp256 count beside ed25519.
    #[serde(default)]
    pub p256: bool,
    /// How often to look for a directive, seconds, at least 1.
    #[serde(default = "a_minute")]
    pub poll_seconds: u64,
}

fn any_board() -> String {
    "generic".to_owned()
}

fn a_minute() -> u64 {
    60
}
