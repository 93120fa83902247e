//! Signatures as defined by Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over id, time and the
//! exact body. Pure.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::model::UnixMs;

/// Prefix of a secret's text.
const PREFIX: &str = "whsec_";
/// Length of a new secret, in bytes.
const BYTES: usize = 32;
/// Allowed lengths of a secret, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// Time for which a rotated secret signs in addition to its successor: one day, in milliseconds.
pub const GRACE_MS: UnixMs = 24 * 60 * 60 * 1000;

/// Key with which a webhook's requests are signed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl PartialEq for Secret {
    /// Compares in a time that depends on the length only.
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Creates a new secret from random bytes.
    #[must_use]
    pub fn new(random: [u8; BYTES]) -> Self {
        Self(random.to_vec().into())
    }

    /// Creates a secret of 24 to 64 bytes; `None` for another length.
    #[must_use]
    pub fn from_bytes(key: Vec<u8>) -> Option<Self> {
        LENGTHS.contains(&key.len()).then(|| Self(key.into()))
    }

    /// Parses the text `whsec_…`; `None` when it is not a secret of 24 to 64 bytes.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::from_bytes(STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?)
    }

    /// Returns the secret as its owner gets it: `whsec_` and base64.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// Returns the key itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        for part in [id, ".", &seconds.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// Returns the value of the header `webhook-signature`: one signature for each secret, separated by spaces.
/// `seconds` is the attempt's Unix time.
#[must_use]
pub fn signatures<'a>(
    secrets: impl IntoIterator<Item = &'a Secret>,
    id: &str,
    seconds: i64,
    body: &str,
) -> String {
    secrets
        .into_iter()
        .map(|secret| secret.sign(id, seconds, body))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Secret {
        Secret::from_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret")
    }

    #[test]
    fn the_published_answer() {
        let signed = signatures(
            [&known()],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_form_body_is_signed_as_it_is_sent() {
        let body = "msg=%7B%22payload%22%3A%7B%22t%22%3A21.5%7D%2C%22type%22%3A%22userdefined%22%7D";
        let signed = signatures([&known()], "58f73b5dc3cc4800078010ca", 1_614_265_330, body);
        assert_eq!(signed, "v1,E0jfq31utOOEPoMdGNVNUyRi9TO+VlVfpDyFg2kNI2g=");
    }

    #[test]
    fn two_secrets_sign_while_one_takes_over() {
        let (old, new) = (known(), Secret::new([7; BYTES]));
        let both = signatures([&new, &old], "id", 1, "b");
        assert_eq!(
            both.split(' ').collect::<Vec<_>>(),
            [new.sign("id", 1, "b"), old.sign("id", 1, "b")]
        );
    }

    #[test]
    fn secrets_have_a_form_and_do_not_show() {
        let secret = Secret::new([7; BYTES]);
        assert_eq!(Secret::from_text(&secret.text()), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        for bad in [
            "",
            "whsec_",
            "whsec_AAAA",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        ] {
            assert_eq!(Secret::from_text(bad), None, "{bad}");
        }
        assert!(Secret::from_bytes(vec![1; 65]).is_none());
    }
}
