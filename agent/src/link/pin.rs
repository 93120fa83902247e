//! Trust in a cloud by the fingerprint in an enrolment URL: the certificate with it must be the authority of the chain that
//! the server sends. The authority is kept for later connections.

use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::enroll::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use super::verify;
use crate::time::BoardClock;

/// Maximum number of certificates of a chain that are compared.
const MAX_CHAIN: usize = 8;

/// Reason why a chain does not lead to the fingerprint.
#[derive(Debug, thiserror::Error)]
enum Unpinned {
    #[error(
        "no certificate of the cloud has the fingerprint {0}: this is another cloud, or someone is between the board and \
         it"
    )]
    Other(Fingerprint),
    #[error(
        "the fingerprint is that of the server's own certificate, which changes; serve it with its authority in the chain \
         and use that one's fingerprint"
    )]
    Leaf,
    #[error("the server sends no authority with its certificate")]
    Alone,
}

/// Authority that an enrolment has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Certificate of an authority, in DER.
    Authority(Vec<u8>),
    /// The certificate is one that an authority of the public web vouches for.
    Public,
}

/// Fingerprint to find, and the certificate that was found by it. Without a fingerprint, the authorities of the public web
/// are tried, then the last certificate of the first chain is taken.
#[derive(Debug, Clone)]
pub(crate) struct Pin {
    fingerprint: Option<Fingerprint>,
    found: Arc<Mutex<Option<Found>>>,
}

impl Pin {
    /// Creates a pin; without a fingerprint it trusts the first cloud that it meets.
    pub(crate) fn new(fingerprint: Option<Fingerprint>) -> Self {
        Self {
            fingerprint,
            found: Arc::default(),
        }
    }

    /// Returns the authority that was found in a handshake.
    pub(crate) fn found(&self) -> Option<Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn verifier(&self, clock: BoardClock) -> Arc<dyn ServerCertVerifier> {
        Arc::new(PinVerifier {
            pin: self.clone(),
            clock,
        })
    }

    /// Returns the certificate of a chain that the pin leads to.
    fn pick<'a>(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &'a [CertificateDer<'a>],
    ) -> Result<Option<&'a CertificateDer<'a>>, Unpinned> {
        let Some(fingerprint) = self.fingerprint else {
            return chain.last().map(Some).ok_or(Unpinned::Alone);
        };
        let has_fingerprint = |der: &[u8]| <[u8; 32]>::from(Sha256::digest(der)) == fingerprint.0;
        if let Some(authority) = chain.iter().take(MAX_CHAIN).find(|der| has_fingerprint(der)) {
            return Ok(Some(authority));
        }
        if has_fingerprint(leaf) {
            return Ok(None);
        }
        Err(Unpinned::Other(fingerprint))
    }
}

/// Verifier of the first connection to a cloud.
#[derive(Debug)]
struct PinVerifier {
    pin: Pin,
    clock: BoardClock,
}

fn refused(reason: Unpinned) -> Error {
    Error::Other(OtherError(Arc::new(reason)))
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pin.fingerprint.is_none() {
            // An authority of the public web stays when the cloud's certificate and the one above it change.
            let public = verify::by_board_clock(verify::public_web(), self.clock.clone())
                .map_err(|error| Error::General(error.to_string()))?;
            if let Ok(verified) = public.verify_server_cert(certificate, intermediates, server, ocsp, now) {
                *self.pin.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Found::Public);
                return Ok(verified);
            }
        }
        let picked = self.pin.pick(certificate, intermediates).map_err(refused)?;
        let (authorities, found) = match picked {
            Some(authority) => {
                let mut authorities = RootCertStore::empty();
                authorities.add(authority.clone().into_owned())?;
                (authorities, Found::Authority(authority.to_vec()))
            }
            None => (verify::public_web(), Found::Public),
        };
        let checks = verify::by_board_clock(authorities, self.clock.clone())
            .map_err(|error| Error::General(error.to_string()))?;
        let verified = checks.verify_server_cert(certificate, intermediates, server, ocsp, now);
        if verified.is_err() && found == Found::Public {
            return Err(refused(Unpinned::Leaf));
        }
        let verified = verified?;
        *self.pin.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = verify::provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = verify::provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        verify::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_picks_the_authority_and_nothing_else() {
        let der = |byte: u8| CertificateDer::from(vec![byte; 8]);
        let print = |byte: u8| Some(Fingerprint(Sha256::digest([byte; 8]).into()));
        let chain = [der(2), der(3)];
        let pick = |fingerprint| {
            Pin::new(fingerprint)
                .pick(&der(1), &chain)
                .map(|found| found.map(|found| found[0]))
                .map_err(|error| error.to_string())
        };
        assert_eq!(pick(print(2)), Ok(Some(2)));
        assert_eq!(pick(print(3)), Ok(Some(3)));
        assert_eq!(pick(print(1)), Ok(None));
        assert!(pick(print(9)).is_err_and(|error| error.contains("another cloud")));
        assert_eq!(pick(None), Ok(Some(3)));
        assert!(Pin::new(None).pick(&der(1), &[]).is_err());
    }
}
