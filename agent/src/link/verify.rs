//! Checks the broker's certificate on a board whose clock may be wrong.
//!
//! Once the cloud has sent the time, it counts. Before that, the time is a guess: the system's clock, or the latest time
//! that the cloud sent before, whichever is later. A guess may be too early. A certificate that begins later proves it,
//! since the authorities issue none for the future: it is then checked at its own beginning. A guess that is too late is
//! never corrected, because an expired certificate looks the same; the error names the clock.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use crate::clock::utc_text;
use crate::time::{BoardClock, Reading};

/// Maximum number of certificates in a chain that may begin after the board's time.
const MAX_STEPS: usize = 4;

/// Error of a certificate whose validity the board cannot judge, or that has ended.
#[derive(Debug, thiserror::Error)]
enum Untimely {
    #[error(
        "the board's clock is wrong or the certificate has expired: it ended at {ended}, and the clock shows {now}, \
         which the cloud has not confirmed"
    )]
    ByGuess { ended: String, now: String },
    #[error("the certificate expired at {ended}; the time is {now}")]
    Expired { ended: String, now: String },
    #[error(
        "the certificate is valid from {begins}, and the time is {now}: the clock of the cloud is or was wrong"
    )]
    Early { begins: String, now: String },
}

/// Returns the cryptography of all connections.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Returns the authorities of the public web.
pub(super) fn public_web() -> RootCertStore {
    RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
}

/// Returns a verifier that trusts `authorities` at the time of `clock`.
///
/// # Errors
/// If there are no authorities.
pub(super) fn by_board_clock(authorities: RootCertStore, clock: BoardClock) -> io::Result<Arc<Verifier>> {
    let checks = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider())
        .build()
        .map_err(io::Error::other)?;
    Ok(Arc::new(Verifier { checks, clock }))
}

/// Verifier of the broker's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    checks: Arc<WebPkiServerVerifier>,
    clock: BoardClock,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        _system: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        at_reading(self.clock.reading(), |unix| {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(unix));
            self.checks
                .verify_server_cert(certificate, intermediates, server, ocsp, at)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.checks
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.checks
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.checks.supported_verify_schemes()
    }
}

/// Does a check at the time of a reading, and later if the reading is a guess that is too early.
fn at_reading<T>(reading: Reading, check: impl Fn(u64) -> Result<T, Error>) -> Result<T, Error> {
    let mut unix = reading.unix;
    for _ in 0..MAX_STEPS {
        let error = match check(unix) {
            Err(Error::InvalidCertificate(error)) => error,
            done => return done,
        };
        let now = utc_text(reading.unix.saturating_mul(1000));
        let date = |time: UnixTime| utc_text(time.as_secs().saturating_mul(1000));
        let reason = match error {
            CertificateError::NotValidYetContext { not_before, .. }
                if !reading.trusted && not_before.as_secs() > unix =>
            {
                unix = not_before.as_secs();
                continue;
            }
            CertificateError::NotValidYetContext { not_before, .. } => Untimely::Early {
                begins: date(not_before),
                now,
            },
            CertificateError::ExpiredContext { not_after, .. } if reading.trusted => Untimely::Expired {
                ended: date(not_after),
                now,
            },
            CertificateError::ExpiredContext { not_after, .. } => Untimely::ByGuess {
                ended: date(not_after),
                now,
            },
            other => return Err(Error::InvalidCertificate(other)),
        };
        return Err(Error::Other(OtherError(Arc::new(reason))));
    }
    Err(Error::InvalidCertificate(CertificateError::NotValidYet))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGINS: u64 = 1_780_000_000;
    const ENDS: u64 = 1_790_000_000;

    /// Checks a chain of two, of which the second begins a day later, as the library does.
    fn verified(unix: u64, trusted: bool) -> Result<u64, String> {
        let reading = Reading {
            unix,
            trusted,
            revision: 0,
        };
        let at = |secs| UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let check = |unix| {
            for begins in [BEGINS, BEGINS + 86_400] {
                if unix < begins {
                    return Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                        time: at(unix),
                        not_before: at(begins),
                    }));
                }
            }
            if unix > ENDS {
                return Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                    time: at(unix),
                    not_after: at(ENDS),
                }));
            }
            Ok(unix)
        };
        at_reading(reading, check).map_err(|error| error.to_string())
    }

    #[test]
    fn a_guess_that_is_too_early_is_raised_to_the_certificates_beginning() {
        assert_eq!(verified(0, false), Ok(BEGINS + 86_400));
        assert_eq!(verified(BEGINS + 90_000, false), Ok(BEGINS + 90_000));
        assert_eq!(verified(BEGINS + 90_000, true), Ok(BEGINS + 90_000));
    }

    #[test]
    fn a_time_from_the_cloud_is_not_raised() {
        let error = verified(BEGINS - 1, true).expect_err("not valid yet");
        assert!(error.contains("the clock of the cloud"), "{error}");
    }

    #[test]
    fn the_error_of_a_guess_that_is_too_late_names_the_clock() {
        let error = verified(4_000_000_000, false).expect_err("expired");
        assert!(error.contains("clock") && error.contains("2096"), "{error}");
        let error = verified(ENDS + 1, true).expect_err("expired");
        assert!(error.contains("expired") && !error.contains("clock"), "{error}");
    }
}
