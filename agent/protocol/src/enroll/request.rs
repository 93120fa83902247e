//! Request of a device for a place in a project, and the verification of its proofs.

use serde::{Deserialize, Serialize};

use super::key::Message;
use super::{
    BoardFacts, DeviceKey, DeviceSigner, FactsError, PairCode, SealingKey, SealingSecret, Signature,
};

const ENROLL: &str = "iottly enrol v1";
const SEALING: &str = "iottly sealing key v1";
const PREVIOUS: &str = "iottly previous key v1";

/// Request to enrol, as it is sent: nothing in it is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// Pair code or enrolment key; without one, an operator has to approve the device by its short code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<PairCode>,
    /// Key of the device.
    pub device_key: DeviceKey,
    /// Key with which values are sealed for the device.
    pub sealing_key: SealingKey,
    /// Signature of the device key over the sealing key.
    pub sealing_proof: Signature,
    /// Properties of the board.
    #[serde(default)]
    pub board: BoardFacts,
    /// Key of the same device before it made new ones; with it the device keeps its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// Signature of the device key over all of the above.
    pub proof: Signature,
}

/// Proof that the sender also holds an earlier key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The earlier key.
    pub device_key: DeviceKey,
    /// Signature of the earlier key over the new key and the code.
    pub proof: Signature,
}

/// Reason why a request proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The device key did not sign the request.
    #[error("proof is not a signature of the device key over this request")]
    Request,
    /// The device key did not sign the sealing key.
    #[error("sealing_proof is not a signature of the device key over the sealing key")]
    Sealing,
    /// The earlier key did not sign the new one.
    #[error("previous.proof is not a signature of the earlier key over the new one")]
    Previous,
    /// A property of the board is malformed.
    #[error("board: {0}")]
    Board(#[from] FactsError),
}

/// Request whose proofs were verified: its sender holds the device key, the device key vouches for the sealing key, and
/// the sender holds the earlier key, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenEnrollment(EnrollRequest);

impl EnrollRequest {
    /// Creates a signed request.
    #[must_use]
    pub fn signed(
        code: Option<PairCode>,
        signer: &DeviceSigner,
        sealing: &SealingSecret,
        board: BoardFacts,
        previous: Option<&DeviceSigner>,
    ) -> Self {
        let (device_key, sealing_key) = (signer.key(), sealing.key());
        let mut request = Self {
            code,
            device_key,
            sealing_key,
            sealing_proof: signer.sign(&sealing_message(&sealing_key)),
            board,
            previous: previous.map(|previous| Previous {
                device_key: previous.key(),
                proof: previous.sign(&previous_message(code, &device_key)),
            }),
            proof: Signature::from_bytes([0; 64]),
        };
        request.proof = signer.sign(&request.message());
        request
    }

    /// Verifies all proofs.
    ///
    /// # Errors
    /// Names the first proof that does not hold.
    pub fn proven(self) -> Result<ProvenEnrollment, ProofError> {
        self.board.check()?;
        let key = &self.device_key;
        if !key.verifies(&sealing_message(&self.sealing_key), &self.sealing_proof) {
            return Err(ProofError::Sealing);
        }
        if !key.verifies(&self.message(), &self.proof) {
            return Err(ProofError::Request);
        }
        if let Some(previous) = &self.previous {
            let message = previous_message(self.code, key);
            if !previous.device_key.verifies(&message, &previous.proof) {
                return Err(ProofError::Previous);
            }
        }
        Ok(ProvenEnrollment(self))
    }

    fn message(&self) -> Vec<u8> {
        let board = &self.board;
        let code = self.code.map(|code| code.to_string());
        let text = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
        Message::new(ENROLL)
            .maybe(code.as_deref().map(str::as_bytes))
            .field(self.device_key.as_bytes())
            .field(self.sealing_key.as_bytes())
            .field(self.sealing_proof.as_bytes())
            .maybe(text(&board.name).as_deref())
            .maybe(text(&board.mac).as_deref())
            .maybe(text(&board.hardware).as_deref())
            .field(board.profile.as_bytes())
            .field(board.agent.as_bytes())
            .maybe(
                self.previous
                    .as_ref()
                    .map(|previous| &previous.device_key.as_bytes()[..]),
            )
            .maybe(
                self.previous
                    .as_ref()
                    .map(|previous| &previous.proof.as_bytes()[..]),
            )
            .bytes()
    }
}

fn sealing_message(key: &SealingKey) -> Vec<u8> {
    Message::new(SEALING).field(key.as_bytes()).bytes()
}

fn previous_message(code: Option<PairCode>, key: &DeviceKey) -> Vec<u8> {
    let code = code.map(|code| code.to_string());
    Message::new(PREVIOUS)
        .maybe(code.as_deref().map(str::as_bytes))
        .field(key.as_bytes())
        .bytes()
}

impl ProvenEnrollment {
    /// Returns the pair code or enrolment key.
    #[must_use]
    pub const fn code(&self) -> Option<PairCode> {
        self.0.code
    }

    /// Returns the key of the device.
    #[must_use]
    pub const fn device_key(&self) -> DeviceKey {
        self.0.device_key
    }

    /// Returns the sealing key and the device key's signature over it.
    #[must_use]
    pub const fn sealing(&self) -> (SealingKey, Signature) {
        (self.0.sealing_key, self.0.sealing_proof)
    }

    /// Returns the earlier key that the sender also holds.
    #[must_use]
    pub fn previous(&self) -> Option<DeviceKey> {
        self.0.previous.as_ref().map(|previous| previous.device_key)
    }

    /// Returns the properties of the board, which are well-formed and unproven.
    #[must_use]
    pub const fn board(&self) -> &BoardFacts {
        &self.0.board
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> EnrollRequest {
        EnrollRequest::signed(
            Some(PairCode::from_bytes([1; 16])),
            &DeviceSigner::from_secret(&[2; 32]),
            &SealingSecret::from_secret([3; 32]),
            BoardFacts {
                name: Some("kitchen".into()),
                mac: Some("00:00:5E:00:53:01".into()),
                hardware: Some("ab".repeat(32)),
                profile: "generic".into(),
                agent: "0.2.0".into(),
            },
            Some(&DeviceSigner::from_secret(&[4; 32])),
        )
    }

    #[test]
    fn a_request_is_what_its_bytes_were() {
        let request = request();
        let text = serde_json::to_vec(&request).expect("JSON");
        assert!(text.len() < super::super::MAX_REQUEST_BYTES / 2);
        let read: EnrollRequest = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(read, request);
        let proven = read.proven().expect("proven");
        assert_eq!(proven.previous(), Some(DeviceSigner::from_secret(&[4; 32]).key()));
    }

    #[test]
    fn whatever_is_changed_proves_nothing() {
        let other = DeviceSigner::from_secret(&[9; 32]);
        for (change, wanted) in [
            ((|r| r.code = None) as fn(&mut EnrollRequest), ProofError::Request),
            (
                |r| r.code = Some(PairCode::from_bytes([7; 16])),
                ProofError::Request,
            ),
            (|r| r.board.name = None, ProofError::Request),
            (|r| r.board.name = Some("hall".into()), ProofError::Request),
            (
                |r| r.board.mac = Some("00:00:5E:00:53:02".into()),
                ProofError::Request,
            ),
            (|r| r.board.hardware = None, ProofError::Request),
            (|r| r.board.profile = "pi".into(), ProofError::Request),
            (|r| r.board.agent = "9".into(), ProofError::Request),
            (|r| r.previous = None, ProofError::Request),
            (
                |r| r.sealing_key = SealingKey::from_bytes([7; 32]),
                ProofError::Sealing,
            ),
            (|r| r.proof = r.sealing_proof, ProofError::Request),
            (|r| r.sealing_proof = r.proof, ProofError::Sealing),
            (
                |r| r.device_key = DeviceKey::from_bytes([0; 32]),
                ProofError::Sealing,
            ),
        ] {
            let mut changed = request();
            change(&mut changed);
            assert_eq!(changed.proven(), Err(wanted));
        }
        let mut stolen = request();
        stolen.device_key = other.key();
        assert_eq!(
            stolen.proven(),
            Err(ProofError::Sealing),
            "another key vouches for nothing"
        );
    }

    #[test]
    fn an_earlier_key_vouches_for_one_new_key_and_one_code() {
        let (old, new) = (
            DeviceSigner::from_secret(&[4; 32]),
            DeviceSigner::from_secret(&[5; 32]),
        );
        let taken = request().previous.expect("there");
        let sealing = SealingSecret::from_secret([3; 32]);
        let mut forged = EnrollRequest::signed(
            Some(PairCode::from_bytes([1; 16])),
            &new,
            &sealing,
            BoardFacts::default(),
            Some(&old),
        );
        forged.previous = Some(taken);
        forged.proof = new.sign(&forged.message());
        assert_eq!(forged.proven(), Err(ProofError::Previous));
    }
}
