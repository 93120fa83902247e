//! Signed documents and the one check of their signatures. Knows no expiry and no versions of earlier
//! documents.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::json::Node;
use super::key::{Key, Schemes};
use super::metadata::{Kind, Payload};
use super::{RoleKeys, TufError};

/// Signature of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Id of the key.
    pub keyid: String,
    /// Signature, hex.
    pub sig: String,
}

#[derive(Deserialize)]
struct Envelope {
    signed: Node,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Typed<P> {
    signed: P,
}

/// Metadata of the right shape whose signatures are not checked yet.
pub(super) struct Unverified<P> {
    payload: P,
    message: Vec<u8>,
    signatures: Vec<Signature>,
}

impl<P: Payload> Unverified<P> {
    /// Parses metadata of the given kind.
    pub(super) fn parse(role: &str, bytes: &[u8]) -> Result<Self, TufError> {
        let malformed = |reason: String| TufError::Malformed {
            role: role.to_owned(),
            reason,
        };
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        check_unique(&envelope.signatures).map_err(malformed)?;
        // The type comes first: metadata of another kind fails for its kind, not for a missing field.
        let kind = if let Node::Map(fields) = &envelope.signed {
            fields.get("_type")
        } else {
            None
        };
        if kind != Some(&Node::Text(P::KIND.as_str().to_owned())) {
            return Err(malformed(format!("its _type is not {}", P::KIND.as_str())));
        }
        let payload = serde_json::from_slice::<Typed<P>>(bytes)
            .map_err(|e| malformed(e.to_string()))?
            .signed;
        check_header(&payload).map_err(malformed)?;
        payload.check().map_err(malformed)?;
        Ok(Self {
            payload,
            message: envelope.signed.canonical(),
            signatures: envelope.signatures,
        })
    }

    /// Returns the payload if enough keys of the role have signed it.
    pub(super) fn verify(
        self,
        role: &str,
        delegation: &RoleKeys,
        keys: &BTreeMap<String, Key>,
        schemes: Schemes,
    ) -> Result<P, TufError> {
        verify_threshold(role, delegation, keys, &self.message, &self.signatures, schemes)?;
        Ok(self.payload)
    }

    /// Returns the payload before its signatures are checked, to learn which keys must have signed it.
    pub(super) fn peek(&self) -> &P {
        &self.payload
    }

    /// Checks the signatures and keeps the document: two roots must have signed a root.
    pub(super) fn verified_by(
        &self,
        role: &str,
        delegation: &RoleKeys,
        keys: &BTreeMap<String, Key>,
        schemes: Schemes,
    ) -> Result<(), TufError> {
        verify_threshold(role, delegation, keys, &self.message, &self.signatures, schemes)
    }

    pub(super) fn into_payload(self) -> P {
        self.payload
    }
}

fn check_unique(signatures: &[Signature]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match signatures.iter().find(|signature| !seen.insert(&signature.keyid)) {
        Some(signature) => Err(format!(
            "two signatures have the key id {:?}",
            crate::limits::clip(&signature.keyid, 64)
        )),
        None => Ok(()),
    }
}

fn check_header<P: Payload>(payload: &P) -> Result<(), String> {
    let header = payload.header();
    if header.version == 0 {
        return Err("its version is 0".to_owned());
    }
    let mut parts = header.spec_version.split('.');
    let numbers = parts
        .by_ref()
        .take(3)
        .filter(|part| part.parse::<u32>().is_ok())
        .count();
    if header.spec_version.split('.').next() != Some("1") || numbers < 2 || parts.next().is_some() {
        return Err(format!(
            "specification {:?} is not 1.x",
            crate::limits::clip(&header.spec_version, 32)
        ));
    }
    debug_assert!(matches!(
        header.kind,
        Kind::Root | Kind::Timestamp | Kind::Snapshot | Kind::Targets
    ));
    Ok(())
}

/// Checks that enough distinct keys of a role have signed a message. Every signature check of this crate is
/// this one.
///
/// Signatures by other keys, malformed ones and wrong ones are skipped. One key counts once, whatever ids it
/// has.
///
/// # Errors
/// Fewer distinct keys than the threshold have signed.
///
/// ```
/// # #[cfg(feature = "sign")] {
/// use std::collections::BTreeMap;
/// use iottly_protocol::tuf::{RoleKeys, Schemes, SigningKey, verify_threshold};
///
/// let pair = [SigningKey::from_secret(&[1; 32]), SigningKey::from_secret(&[2; 32])];
/// let keys: BTreeMap<_, _> = pair.iter().map(|key| (key.public().id(), key.public())).collect();
/// let role = RoleKeys::new(keys.keys().cloned().collect(), 2);
/// let [first, second] = [0, 1].map(|n| pair[n].sign(b"message"));
///
/// let check = |signatures: &[_]| {
///     verify_threshold("targets", &role, &keys, b"message", signatures, Schemes::ED25519)
/// };
/// assert!(check(&[first.clone(), second]).is_ok());
/// assert!(check(&[first.clone(), first]).is_err(), "one key counts once");
/// # }
/// ```
pub fn verify_threshold(
    role: &str,
    delegation: &RoleKeys,
    keys: &BTreeMap<String, Key>,
    message: &[u8],
    signatures: &[Signature],
    schemes: Schemes,
) -> Result<(), TufError> {
    let mut counted = BTreeSet::new();
    let mut known = false;
    for signature in signatures {
        if !delegation.keyids.contains(&signature.keyid) {
            continue;
        }
        let Some(verifier) = keys.get(&signature.keyid).and_then(|key| key.verifier(schemes)) else {
            continue;
        };
        known = true;
        let identity = verifier.identity();
        if !counted.contains(&identity) && verifier.verify(message, &signature.sig) {
            counted.insert(identity);
        }
    }
    let need = usize::try_from(delegation.threshold).unwrap_or(usize::MAX);
    if need == 0 || counted.len() < need {
        return Err(TufError::Threshold {
            role: role.to_owned(),
            have: counted.len(),
            need,
            unknown_keys: !known,
        });
    }
    Ok(())
}
