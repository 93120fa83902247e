use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::json::Node;
use super::key::{Key, Schemes};
use super::metadata::{Kind, Payload};
use super::{RoleKeys, TufError};

/// One signature of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Id of the key.
    pub keyid: String,
    /// The signature, hex.
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

/// Metadata whose shape is right and whose signatures are not checked yet.
pub(super) struct Unverified<P> {
    payload: P,
    message: Vec<u8>,
    signatures: Vec<Signature>,
}

impl<P: Payload> Unverified<P> {
    /// Reads metadata of the given kind.
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

    /// The payload, when enough keys of the role have signed it.
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

    /// The payload while it is looked at to learn who must have signed it.
    pub(super) fn peek(&self) -> &P {
        &self.payload
    }

    /// Checks the signatures and keeps the document, for root, which two roots must have signed.
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

/// Checks that enough distinct keys of a role have signed a message. This is the only such check there is.
///
/// Signatures by other keys, malformed ones and wrong ones are passed over.
///
/// # Errors
/// When fewer distinct keys than the threshold have signed.
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
