//! Enrolment: how a device proves who it is, gets its id, and later renews the secret of its broker login.
//!
//! A device makes two keys: an ed25519 key, by which the cloud knows it from then on, and an X25519 key for values that
//! only this device can open, which the first one signs. It posts both with a code that gives it a place in a project
//! ([`EnrollRequest`]) and gets its id and a short-lived secret ([`Enrolled`]). For the next secret it signs a challenge
//! of the cloud ([`SecretRequest`]).
//!
//! Every signature is over bytes that begin with the name of their use, so that none counts for another use. A request
//! whose proofs were verified is another type ([`ProvenEnrollment`]); nothing else can be decided upon.

mod answer;
mod code;
mod facts;
mod key;
mod legacy;
mod request;
mod secret;
mod url;

pub use answer::{EnrollAnswer, Enrolled, Waiting};
pub use code::{CodeError, PairCode, ShortCode};
pub use facts::{BoardFacts, FactsError};
pub use key::{DeviceKey, DeviceSigner, KeyError, SealingKey, SealingSecret, Signature};
pub use legacy::{CAN_ENROLL, EnrollOffer, LegacyRequest};
pub use request::{EnrollRequest, Previous, ProofError, ProvenEnrollment};
pub use secret::{Challenge, ChallengeRequest, RenewedSecret, SecretRequest};
pub use url::{EnrollUrl, Fingerprint, UrlError};

/// Maximum size of the body of a request about enrolment, in bytes.
pub const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Decodes lower-case hex digits of exactly `N` bytes; none for any other spelling.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    crate::tuf::decode_hex(text)?.try_into().ok()
}
