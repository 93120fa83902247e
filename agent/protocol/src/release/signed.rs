//! Signed documents outside the TUF metadata: parsing, and the one check of their signatures against the roles
//! that a trusted root has besides TUF's. Knows no rules of their contents.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tuf::{
    RoleKeys, Root, Schemes, Signature, TufError, canonical, canonical_value, verify_threshold,
};

/// Key of a root's metadata that holds the roles which TUF does not have.
pub const ROLES_KEY: &str = "x-iottly-roles";

/// Kind of a signed document.
pub(super) struct Kind {
    /// Role whose keys sign the document; also its name in errors.
    pub(super) role: &'static str,
    /// Prefix of the canonical form when it is signed, so that no signature of another document fits.
    pub(super) domain: &'static [u8],
    /// Maximum size of the document, in bytes.
    pub(super) max: usize,
}

/// Reason why bytes are not a document of a kind.
pub(super) enum Fault {
    /// The document is too long, not JSON, or has another shape.
    Malformed(String),
    /// Too few of the role's keys have signed.
    Signature(TufError),
    /// The trusted root does not have the role.
    NoRole,
}

#[derive(Serialize, Deserialize)]
struct Document {
    signed: Value,
    signatures: Vec<Signature>,
}

/// Returns the contents of a document that the keys of the trusted root have signed.
pub(super) fn verify<T: DeserializeOwned>(
    kind: &Kind,
    bytes: &[u8],
    root: &Root,
    schemes: Schemes,
) -> Result<T, Fault> {
    let malformed = |e: serde_json::Error| Fault::Malformed(e.to_string());
    if bytes.len() > kind.max {
        return Err(Fault::Malformed(format!(
            "{} bytes are over the limit of {}",
            bytes.len(),
            kind.max
        )));
    }
    // Repeated keys and fractions are refused here, for the whole document.
    canonical(bytes).map_err(malformed)?;
    let document: Document = serde_json::from_slice(bytes).map_err(malformed)?;
    let message = message(kind, &document.signed).map_err(malformed)?;
    let role = role(root, kind.role).ok_or(Fault::NoRole)?;
    verify_threshold(
        kind.role,
        &role,
        &root.keys,
        &message,
        &document.signatures,
        schemes,
    )
    .map_err(Fault::Signature)?;
    T::deserialize(&document.signed).map_err(malformed)
}

/// Returns keys and threshold of a role that TUF does not have, as the trusted root names them.
pub(super) fn role(root: &Root, name: &str) -> Option<RoleKeys> {
    RoleKeys::deserialize(root.extra.get(ROLES_KEY)?.get(name)?).ok()
}

fn message(kind: &Kind, signed: &Value) -> Result<Vec<u8>, serde_json::Error> {
    let mut message = kind.domain.to_vec();
    message.extend_from_slice(&canonical_value(signed)?);
    Ok(message)
}

/// Returns the signed document.
#[cfg(feature = "sign")]
pub(super) fn sign(
    kind: &Kind,
    contents: &impl Serialize,
    keys: &[&crate::tuf::SigningKey],
) -> Result<Vec<u8>, serde_json::Error> {
    let signed = serde_json::to_value(contents)?;
    let message = message(kind, &signed)?;
    let signatures = keys.iter().map(|key| key.sign(&message)).collect();
    serde_json::to_vec(&Document { signed, signatures })
}
