//! The server's certificate and key, whose files operators replace while the cloud runs. Never writes the
//! files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::server::{ALPN_HTTP, ALPN_MQTT};
use super::validity;
use iottly_cloud::clock;
use iottly_cloud::{CertificateEnd, Metrics};
use iottly_core::model::UnixMs;

/// Interval at which the files are checked.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Time before the end of a certificate at which warnings start, in milliseconds.
const WARN_BEFORE: UnixMs = 14 * 86_400_000;
/// Time between two warnings, in milliseconds.
const WARN_EVERY: UnixMs = 86_400_000;
/// Maximum size of a file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Certificate chain and its key, both PEM, reloaded when their files change.
#[derive(Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    pair: Arc<CertifiedKey>,
    /// Contents of the files at the last check, valid or not.
    seen: (Vec<u8>, Vec<u8>),
    /// End of the certificate's validity.
    ends: Option<UnixMs>,
    warned: Option<UnixMs>,
}

impl Certificate {
    /// Reads a certificate chain and its key.
    ///
    /// # Errors
    /// When a file cannot be read or is invalid, or the two do not belong together; names the file.
    pub fn open(cert: &Path, key: &Path) -> io::Result<Arc<Self>> {
        let seen = (bytes(cert)?, bytes(key)?);
        let pair = pair((cert, &seen.0), (key, &seen.1))?;
        let current = RwLock::new(Current {
            ends: end(&pair),
            pair: Arc::new(pair),
            seen,
            warned: None,
        });
        Ok(Arc::new(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current,
        }))
    }

    /// Returns a TLS configuration that presents the current certificate at each handshake.
    ///
    /// # Errors
    /// When this program's cryptography supports no version of TLS.
    pub(super) fn server(self: &Arc<Self>) -> io::Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = vec![ALPN_MQTT.to_vec(), ALPN_HTTP.to_vec()];
        // A client that returns saves the costly half of the handshake, also after many others.
        config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }

    /// Checks whether the files have changed and loads them. An invalid pair is logged, and the old one stays
    /// in use.
    pub fn look_again(&self) {
        self.look_again_at(clock::now());
    }

    fn look_again_at(&self, now: UnixMs) {
        let found = bytes(&self.cert).and_then(|cert| Ok((cert, bytes(&self.key)?)));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let next = match found {
            Ok(seen) if seen == current.seen => None,
            Ok(seen) => {
                let next = pair((&self.cert, &seen.0), (&self.key, &seen.1));
                current.seen = seen;
                Some(next)
            }
            // Files that are being replaced, or missing, are reported once, until they can be read again.
            Err(_) if current.seen == Default::default() => None,
            Err(error) => {
                current.seen = Default::default();
                Some(Err(error))
            }
        };
        match next {
            Some(Ok(pair)) => {
                tracing::info!(certificate.file = %self.cert.display(), "loaded the renewed certificate; new connections use it");
                (current.ends, current.warned) = (end(&pair), None);
                current.pair = Arc::new(pair);
            }
            Some(Err(error)) => {
                tracing::error!(%error, "failed to load the changed certificate; the old one stays in use");
            }
            None => {}
        }
        current.warn(&self.cert, now);
    }

    /// Returns the end of the current certificate's validity, if it can be read.
    fn ends(&self) -> Option<UnixMs> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).ends
    }

    /// Checks the files every few seconds, and records when the certificate ends.
    pub(super) async fn watch(self: Arc<Self>, metrics: Arc<Metrics>, noted: Arc<CertificateEnd>) {
        let mut rounds = tokio::time::interval(LOOK_EVERY);
        loop {
            if let Some(ends) = self.ends() {
                metrics.certificate_ends(ends);
                noted.set(ends);
            }
            rounds.tick().await;
            let certificate = Arc::clone(&self);
            // The files may be on a disk that hangs.
            if tokio::task::spawn_blocking(move || certificate.look_again())
                .await
                .is_err()
            {
                tracing::error!(
                    "failed to check the certificate files; retrying in {} s",
                    LOOK_EVERY.as_secs()
                );
            }
        }
    }
}

impl Current {
    fn warn(&mut self, cert: &Path, now: UnixMs) {
        let Some(ends) = self.ends.filter(|ends| ends.saturating_sub(now) < WARN_BEFORE) else {
            return;
        };
        // A clock that was set back does not suppress the warning.
        if self
            .warned
            .is_some_and(|warned| (warned..warned.saturating_add(WARN_EVERY)).contains(&now))
        {
            return;
        }
        self.warned = Some(now);
        let cert = cert.display();
        if ends <= now {
            tracing::error!(certificate.file = %cert, "the certificate has expired; clients refuse it until its files are replaced");
        } else {
            let hours = (ends - now) / 3_600_000;
            tracing::warn!(certificate.file = %cert, certificate.expires_in_hours = hours, "the certificate expires soon; replace its files, which are loaded without a restart");
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner).pair,
        ))
    }
}

fn named(path: &Path, reason: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {reason}", path.display()))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let read = || {
        let file = std::fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        let size = io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE + 1), &mut bytes)?;
        if size as u64 > MAX_FILE {
            Err(io::Error::other(format!("larger than {MAX_FILE} bytes")))
        } else {
            Ok(bytes)
        }
    };
    read().map_err(|error| named(path, &error))
}

fn pair((cert, chain): (&Path, &[u8]), (key, secret): (&Path, &[u8])) -> io::Result<CertifiedKey> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| named(cert, &error))?;
    if chain.is_empty() {
        return Err(named(cert, &"contains no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_slice(secret).map_err(|error| named(key, &error))?;
    CertifiedKey::from_der(chain, secret, &ring::default_provider()).map_err(|error| named(cert, &error))
}

fn end(pair: &CertifiedKey) -> Option<UnixMs> {
    let ends = pair.cert.first().and_then(|cert| validity::end(cert));
    if ends.is_none() {
        tracing::warn!("failed to read the certificate's end; no warning will precede it");
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, cert: &str, key: &str) {
        std::fs::write(folder.join("c.pem"), cert).expect("written");
        std::fs::write(folder.join("k.pem"), key).expect("written");
    }

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn shown(certificate: &Certificate) -> Vec<u8> {
        certificate.current.read().expect("unpoisoned").pair.cert[0].to_vec()
    }

    #[test]
    fn a_good_pair_is_taken_up_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((cert_1, key_1), (cert_2, key_2)) = (made(), made());
        write(folder.path(), &cert_1, &key_1);
        let certificate =
            Certificate::open(&folder.path().join("c.pem"), &folder.path().join("k.pem")).expect("a pair");
        let first = shown(&certificate);
        for (cert, key) in [
            (&*cert_2, &*key_1),
            ("", &*key_2),
            ("no pem", "no pem"),
            (&*cert_2, ""),
            (&*key_2, &*cert_2),
        ] {
            write(folder.path(), cert, key);
            certificate.look_again();
            assert_eq!(shown(&certificate), first);
        }
        std::fs::remove_file(folder.path().join("c.pem")).expect("removed");
        certificate.look_again();
        assert_eq!(shown(&certificate), first);
        write(folder.path(), &cert_2, &key_2);
        certificate.look_again();
        assert_ne!(shown(&certificate), first);
        write(folder.path(), &cert_1, &key_1);
        certificate.look_again();
        assert_eq!(shown(&certificate), first);
    }

    #[test]
    fn warnings_come_once_a_day() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = made();
        write(folder.path(), &cert, &key);
        let certificate =
            Certificate::open(&folder.path().join("c.pem"), &folder.path().join("k.pem")).expect("a pair");
        let warned = || certificate.current.read().expect("unpoisoned").warned;
        let ends = certificate
            .current
            .read()
            .expect("unpoisoned")
            .ends
            .expect("an end");
        certificate.look_again_at(ends - WARN_BEFORE - 1);
        assert_eq!(warned(), None);
        let now = ends - WARN_BEFORE + 1;
        certificate.look_again_at(now);
        assert_eq!(warned(), Some(now));
        certificate.look_again_at(now + WARN_EVERY - 1);
        assert_eq!(warned(), Some(now));
        certificate.look_again_at(now + WARN_EVERY);
        assert_eq!(warned(), Some(now + WARN_EVERY));
    }
}
