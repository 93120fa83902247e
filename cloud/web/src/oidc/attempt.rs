//! Attempt of a browser to sign in: one secret in a cookie, from which state, nonce and PKCE verifier are derived.
//!
//! The cookie proves that the answer of the provider belongs to the browser that asked. It is SameSite=Lax, because the
//! provider's redirect comes from another site, and is sent to the callback only. It is good for ten minutes and once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::{CsrfToken, Nonce, PkceCodeVerifier};

use crate::cookies::cookie;
use iottly_cloud::random;

/// Path of the cookie, to which the provider sends the browser back.
pub(crate) const CALLBACK: &str = "/login/provider/callback";
/// Time for which a browser may be at the provider.
const LENGTH: Duration = Duration::from_secs(10 * 60);
/// Maximum number of used attempts that are remembered, 40 bytes each. Of more, the oldest is forgotten: what then holds is
/// that the provider redeems a code once.
const MAX_USED: usize = 4096;
/// Name of the cookie for browsers that connect by plain HTTP.
const PLAIN: &str = "iottly-sign-in";
/// Name of the cookie for browsers that connect by HTTPS. The prefix `__Host-` would allow no path.
const SECURE: &str = "__Secure-iottly-sign-in";

/// Attempt whose cookie was valid.
#[derive(Debug)]
pub(crate) struct Attempt([u8; 32]);

/// Attempts of this process. Its key ends with it, so a restart ends the attempts under way.
pub(crate) struct Attempts {
    key: [u8; 32],
    /// Attempts that were used, with the time on the steady clock at which they would have expired.
    used: Mutex<VecDeque<([u8; 32], Duration)>>,
}

impl Attempt {
    fn derived(&self, purpose: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(purpose.as_bytes());
        URL_SAFE_NO_PAD.encode(hasher.finalize().as_bytes())
    }

    /// Returns the value that comes back with the provider's answer.
    pub(super) fn state(&self) -> CsrfToken {
        CsrfToken::new(self.derived("state"))
    }

    /// Returns the value that the provider signs.
    pub(super) fn nonce(&self) -> Nonce {
        Nonce::new(self.derived("nonce"))
    }

    /// Returns the secret without which a code is worth nothing.
    pub(super) fn verifier(&self) -> PkceCodeVerifier {
        PkceCodeVerifier::new(self.derived("verifier"))
    }

    /// Returns true if a provider's answer is for this attempt.
    pub(super) fn is_answered_by(&self, state: &str) -> bool {
        let (own, other) = (
            blake3::hash(self.derived("state").as_bytes()),
            blake3::hash(state.as_bytes()),
        );
        // The comparison of hashes takes constant time.
        own == other
    }
}

impl Attempts {
    /// # Errors
    /// If the system has no randomness.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self {
            key: random::bytes()?,
            used: Mutex::default(),
        })
    }

    /// Begins an attempt; returns it with the `Set-Cookie` header for the browser.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub(super) fn begin(&self, https: bool, now: Duration) -> Result<(Attempt, String), getrandom::Error> {
        let attempt = Attempt(random::bytes()?);
        let ends = now.saturating_add(LENGTH).as_millis();
        let signed = format!("{ends}.{}", URL_SAFE_NO_PAD.encode(attempt.0));
        let value = format!("{signed}.{}", self.seal(&signed));
        Ok((attempt, set_cookie(&value, LENGTH.as_secs(), https)))
    }

    /// Uses up the attempt of a request's cookie; `None` if there is none, or it is too old or was used.
    pub(super) fn take(&self, headers: &HeaderMap, https: bool, now: Duration) -> Option<Attempt> {
        let value = cookie(headers, if https { SECURE } else { PLAIN })?;
        let (signed, seal) = value.rsplit_once('.')?;
        if blake3::hash(seal.as_bytes()) != blake3::hash(self.seal(signed).as_bytes()) {
            return None;
        }
        let (ends, secret) = signed.split_once('.')?;
        let ends = Duration::from_millis(ends.parse().ok()?);
        let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        if now >= ends {
            return None;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|(_, ends)| now < *ends);
        let mark = *blake3::hash(&secret).as_bytes();
        if used.iter().any(|(other, _)| *other == mark) {
            return None;
        }
        if used.len() >= MAX_USED {
            used.pop_front();
        }
        used.push_back((mark, ends));
        Some(Attempt(secret))
    }

    fn seal(&self, signed: &str) -> String {
        URL_SAFE_NO_PAD.encode(blake3::keyed_hash(&self.key, signed.as_bytes()).as_bytes())
    }
}

/// Returns the `Set-Cookie` header that removes the cookie of an attempt.
pub(crate) fn clearing_cookie(https: bool) -> String {
    set_cookie("", 0, https)
}

fn set_cookie(value: &str, seconds: u64, https: bool) -> String {
    let (name, secure) = if https { (SECURE, "; Secure") } else { (PLAIN, "") };
    format!("{name}={value}; Path={CALLBACK}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn sent(set: &str) -> HeaderMap {
        let pair = set.split(';').next().expect("a pair");
        let mut headers = HeaderMap::new();
        headers.insert("cookie", pair.parse().expect("a value"));
        headers
    }

    #[test]
    fn an_attempt_is_good_once_and_for_ten_minutes() {
        let attempts = Attempts::new().expect("randomness");
        let (attempt, set) = attempts.begin(true, START).expect("randomness");
        assert!(set.starts_with("__Secure-iottly-sign-in="), "{set}");
        assert!(
            set.ends_with("; Path=/login/provider/callback; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
        );
        let headers = sent(&set);
        assert!(
            attempts.take(&headers, false, START).is_none(),
            "a plain cookie does not count"
        );
        let taken = attempts.take(&headers, true, START).expect("valid");
        assert_eq!(taken.verifier().secret(), attempt.verifier().secret());
        assert!(taken.is_answered_by(attempt.state().secret()));
        assert!(!taken.is_answered_by(attempt.nonce().secret()));
        assert!(attempts.take(&headers, true, START).is_none(), "used already");

        let (_, set) = attempts.begin(false, START).expect("randomness");
        let late = START + LENGTH;
        assert!(attempts.take(&sent(&set), false, late).is_none());
    }

    #[test]
    fn a_changed_or_foreign_cookie_is_no_attempt() {
        let (attempts, other) = (
            Attempts::new().expect("randomness"),
            Attempts::new().expect("randomness"),
        );
        let (_, set) = attempts.begin(false, START).expect("randomness");
        assert!(other.take(&sent(&set), false, START).is_none());
        let longer = set.replacen("iottly-sign-in=1", "iottly-sign-in=9", 1);
        assert_ne!(longer, set);
        assert!(attempts.take(&sent(&longer), false, START).is_none());
        for bad in ["", ".", "..", "a.b.c", "1.AA.AA"] {
            let headers = sent(&format!("iottly-sign-in={bad}; Path=/"));
            assert!(attempts.take(&headers, false, START).is_none(), "{bad}");
        }
        assert!(attempts.take(&HeaderMap::new(), false, START).is_none());
    }

    #[test]
    fn used_attempts_are_remembered_up_to_a_bound() {
        let attempts = Attempts::new().expect("randomness");
        for _ in 0..MAX_USED + 10 {
            let (_, set) = attempts.begin(false, START).expect("randomness");
            assert!(attempts.take(&sent(&set), false, START).is_some());
        }
        assert_eq!(attempts.used.lock().expect("no panic").len(), MAX_USED);
        let (_, set) = attempts.begin(false, START + LENGTH).expect("randomness");
        assert!(attempts.take(&sent(&set), false, START + LENGTH).is_some());
        assert_eq!(
            attempts.used.lock().expect("no panic").len(),
            1,
            "the others have expired"
        );
    }
}
