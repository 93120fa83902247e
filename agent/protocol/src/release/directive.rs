use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Reason;
use super::manifest::Component;
use crate::tuf::{Instant, RoleKeys, Root, Schemes, Signature, TufError, canonical, verify_threshold};
use crate::{DeviceId, GroupId, ProjectId, limits};

/// The key of a root's metadata under which the roles stand that TUF does not have.
pub const ROLES_KEY: &str = "x-iottly-roles";
/// What is written before a directive's canonical form when it is signed, so that no other document's
/// signature fits.
const DOMAIN: &[u8] = b"iottly directive v1\n";
/// Longest directive, bytes.
pub const MAX_DIRECTIVE_BYTES: usize = 16 << 10;

/// Who runs what, from when to when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Directive {
    /// Names it in reports.
    pub id: String,
    /// The project that it belongs to.
    pub project: ProjectId,
    /// Whom it is for.
    pub audience: Audience,
    /// What is to be replaced.
    pub component: Component,
    /// What to do.
    pub action: Action,
    /// The release's path in the targets metadata.
    pub target: String,
    /// The release's sha256, hex.
    pub sha256: String,
    /// The release's number.
    pub release_seq: u64,
    /// Strictly rising for each device.
    pub counter: u64,
    /// Not before.
    pub not_before: Instant,
    /// Not from then on.
    pub expires: Instant,
    /// How long the update may take from its acceptance, seconds.
    pub deadline_s: u64,
    /// Bytes a second to download at most; 0 for no cap.
    #[serde(default)]
    pub max_bps: u64,
    /// When it may be switched on; always when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// A digest that was rolled back may be tried again.
    #[serde(default)]
    pub force_retry: bool,
    /// Capabilities beyond those of the running release that someone has approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<String>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Whom a directive is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// One device.
    Device(DeviceId),
    /// All devices of a group: for updates without a connection.
    Group(GroupId),
}

/// What a directive wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Run the release, which is newer than the running one or the same again.
    Install,
    /// Run the release although it is older; never below the floor.
    Downgrade,
    /// Give an update up that is not switched on yet.
    Cancel,
}

/// A part of every day, UTC. It may pass midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Minute of the day at which it begins, 0 to 1439.
    pub start_minute: u16,
    /// Its length, minutes; 1440 or more is always.
    pub minutes: u16,
}

impl Window {
    /// Says whether a moment lies in it.
    #[must_use]
    pub fn contains(&self, now: Instant) -> bool {
        let minute = now.unix() / 60 % 1440;
        (minute + 1440 - u64::from(self.start_minute) % 1440) % 1440 < u64::from(self.minutes)
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    signed: Value,
    signatures: Vec<Signature>,
}

/// Why a directive is not one.
#[derive(Debug, thiserror::Error)]
pub enum DirectiveError {
    /// Too long, no JSON, or of another shape.
    #[error("directive: malformed: {0}")]
    Malformed(String),
    /// Too few of the keys that may.
    #[error("directive: {0}")]
    Signature(#[from] TufError),
    /// The trusted root names no key for directives.
    #[error("directive: the trusted root names no key for directives")]
    NoRole,
}

impl DirectiveError {
    /// The reason that a device reports for it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::BadSignature,
            Self::Signature(error) => error.reason(),
            Self::NoRole => Reason::UnknownKey,
        }
    }
}

impl Directive {
    /// Reads a directive that the keys of the trusted root have signed.
    ///
    /// # Errors
    /// When it is malformed, too long, or not signed by enough of those keys.
    pub fn verify(bytes: &[u8], root: &Root, schemes: Schemes) -> Result<Self, DirectiveError> {
        let malformed = |e: serde_json::Error| DirectiveError::Malformed(e.to_string());
        if bytes.len() > MAX_DIRECTIVE_BYTES {
            return Err(DirectiveError::Malformed(format!(
                "{} bytes are over the limit of {MAX_DIRECTIVE_BYTES}",
                bytes.len()
            )));
        }
        // Repeated keys and fractions are refused here, for the whole document.
        canonical(bytes).map_err(malformed)?;
        let document: Document = serde_json::from_slice(bytes).map_err(malformed)?;
        let message = Self::message(&document.signed).map_err(malformed)?;
        let role = directive_role(root).ok_or(DirectiveError::NoRole)?;
        verify_threshold(
            "directive",
            &role,
            &root.keys,
            &message,
            &document.signatures,
            schemes,
        )?;
        let directive = Self::deserialize(&document.signed).map_err(malformed)?;
        if directive.id.len() > 64 || directive.target.len() > limits::MAX_TEXT_BYTES {
            return Err(DirectiveError::Malformed(
                "its id or target is too long".to_owned(),
            ));
        }
        Ok(directive)
    }

    fn message(signed: &Value) -> Result<Vec<u8>, serde_json::Error> {
        let mut message = DOMAIN.to_vec();
        message.extend_from_slice(&crate::tuf::canonical_value(signed)?);
        Ok(message)
    }

    /// Signs the directive and writes the document.
    ///
    /// # Errors
    /// When an unknown field has a fraction in it.
    #[cfg(feature = "sign")]
    pub fn sign(&self, keys: &[&crate::tuf::SigningKey]) -> Result<Vec<u8>, serde_json::Error> {
        let signed = serde_json::to_value(self)?;
        let message = Self::message(&signed)?;
        let signatures = keys.iter().map(|key| key.sign(&message)).collect();
        serde_json::to_vec(&Document { signed, signatures })
    }
}

/// Whose signatures a directive needs, by the trusted root.
#[must_use]
pub fn directive_role(root: &Root) -> Option<RoleKeys> {
    RoleKeys::deserialize(root.extra.get(ROLES_KEY)?.get("directive")?).ok()
}
