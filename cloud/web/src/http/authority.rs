//! Certificate authority of a cloud that was given no certificate: made at the first start, kept in a folder that
//! only the cloud's user can read. Devices pin the authority, so the server's own certificate may change at any time.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use iottly_core::model::UnixMs;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::validity;

const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const SERVER_CERT: &str = "server.pem";
const SERVER_KEY: &str = "server.key";
/// File with the names in the server's certificate, one a line.
const SERVER_NAMES: &str = "server.names";

const DAY_MS: UnixMs = 86_400_000;
/// Validity of the authority, in days: as long as boards are in use.
const CA_DAYS: UnixMs = 20 * 365;
/// Validity of the server's certificate, in days; some clients refuse more than 398.
const SERVER_DAYS: UnixMs = 90;
/// Time before the end of the server's certificate from which a new one is made, in milliseconds.
const RENEW_BEFORE: UnixMs = SERVER_DAYS * DAY_MS / 3;
/// Time by which validities begin early, for clients whose clocks are behind, in days.
const EARLY_DAYS: UnixMs = 2;
/// Maximum length of a common name (X.520, ub-common-name), in characters.
const MAX_NAME: usize = 64;

/// Authority and server certificate in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    names: Vec<String>,
    fingerprint: String,
}

impl Authority {
    /// Opens the authority in `folder`, which is created with a new one if it is empty. The server's certificate is
    /// made for `names` (host names and addresses), unless there is one that is valid for long enough.
    ///
    /// # Errors
    /// If a file cannot be read or written, is damaged, or a name cannot be in a certificate; names the file.
    pub fn open(folder: &Path, names: &[String], now: UnixMs) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| named(folder, &error))?;
        let ca = folder.join(CA_CERT);
        if !ca.exists() {
            let (cert, key) = new_authority(now).map_err(|error| named(&ca, &error))?;
            // The certificate comes last: without it, both are made again.
            write(&folder.join(CA_KEY), key.as_bytes())?;
            write(&ca, cert.as_bytes())?;
        }
        let authority = Self {
            folder: folder.to_owned(),
            names: names.to_vec(),
            fingerprint: fingerprint(&ca)?,
        };
        authority.renew(now)?;
        Ok(authority)
    }

    /// Returns the sha256 of the authority's certificate, 64 hex digits; devices know the cloud by it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns the file of the authority's certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(CA_CERT)
    }

    /// Returns the files of the server's certificate chain and its key, both PEM.
    #[must_use]
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.folder.join(SERVER_CERT), self.folder.join(SERVER_KEY))
    }

    /// Makes a new certificate for the server if the old one ends soon or is for other names. Returns true if it did.
    ///
    /// # Errors
    /// As [`Authority::open`].
    pub fn renew(&self, now: UnixMs) -> io::Result<bool> {
        let (cert, key) = self.server();
        let names = self.names.join("\n");
        let known = std::fs::read_to_string(self.folder.join(SERVER_NAMES)).unwrap_or_default();
        let lasts = key.exists()
            && first_certificate(&cert)
                .ok()
                .and_then(|der| validity::end(&der))
                .is_some_and(|end| end > now.saturating_add(RENEW_BEFORE));
        if lasts && known == names {
            return Ok(false);
        }
        let (chain, secret) = self.new_server(now)?;
        write(&key, secret.as_bytes())?;
        write(&cert, chain.as_bytes())?;
        write(&self.folder.join(SERVER_NAMES), names.as_bytes())?;
        Ok(true)
    }

    /// Returns a new certificate chain and key, both PEM.
    fn new_server(&self, now: UnixMs) -> io::Result<(String, String)> {
        let (path, key_path) = (self.certificate(), self.folder.join(CA_KEY));
        let text = |path: &Path| std::fs::read_to_string(path).map_err(|error| named(path, &error));
        let (ca, key) = (text(&path)?, text(&key_path)?);
        let key = KeyPair::from_pem(&key).map_err(|error| named(&key_path, &error))?;
        let der = first_certificate(&path)?;
        if !der
            .windows(key.public_key_raw().len())
            .any(|part| part == key.public_key_raw())
        {
            return Err(named(&key_path, &format!("does not belong to {CA_CERT}")));
        }
        let issuer = Issuer::new(authority_of(&key), key);
        let (server, _) = self.server();
        let failed = |error: rcgen::Error| named(&server, &error);
        let mut params = CertificateParams::new(self.names.clone()).map_err(failed)?;
        let name: String = self
            .names
            .first()
            .map_or("iottly", String::as_str)
            .chars()
            .take(MAX_NAME)
            .collect();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity_of(now, SERVER_DAYS)?;
        let key = KeyPair::generate().map_err(failed)?;
        let cert = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok((format!("{}{ca}", cert.pem()), key.serialize_pem()))
    }
}

/// Returns what the authority with this key is called and may do; the same for its own certificate and for those that
/// it signs.
fn authority_of(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = hex(&Sha256::digest(key.public_key_raw()));
    params
        .distinguished_name
        .push(DnType::CommonName, format!("iottly cloud {}", &id[..16]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn new_authority(now: UnixMs) -> io::Result<(String, String)> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = authority_of(&key);
    (params.not_before, params.not_after) = validity_of(now, CA_DAYS)?;
    let cert = params.self_signed(&key).map_err(io::Error::other)?;
    Ok((cert.pem(), key.serialize_pem()))
}

fn validity_of(now: UnixMs, days: UnixMs) -> io::Result<(OffsetDateTime, OffsetDateTime)> {
    let at = |ms: UnixMs| {
        OffsetDateTime::from_unix_timestamp(ms / 1000)
            .ok()
            .ok_or_else(|| io::Error::other("the clock shows a time that no certificate can have"))
    };
    Ok((
        at(now.saturating_sub(EARLY_DAYS * DAY_MS))?,
        at(now.saturating_add(days * DAY_MS))?,
    ))
}

/// Returns the sha256 of the first certificate in a PEM file, hex.
///
/// # Errors
/// If the file cannot be read or holds no certificate.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    Ok(hex(&Sha256::digest(first_certificate(path)?)))
}

fn first_certificate(path: &Path) -> io::Result<CertificateDer<'static>> {
    let text = std::fs::read(path).map_err(|error| named(path, &error))?;
    CertificateDer::from_pem_slice(&text).map_err(|error| named(path, &error))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named(path: &Path, reason: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {reason}", path.display()))
}

/// Writes a file that only its owner can read, at once or not at all.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let replace = || {
        let new = path.with_extension("new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    replace().map_err(|error| named(path, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: UnixMs = 1_790_000_000_000;

    fn names(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_authority_stays_and_the_servers_certificate_is_renewed_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("tls");
        let open = |list: &[&str], now| Authority::open(&folder, &names(list), now).expect("opened");
        let first = open(&["localhost", "127.0.0.1"], NOW);
        let (cert, key) = first.server();
        let served = || std::fs::read(&cert).expect("a file");
        let before = served();
        assert_eq!(
            open(&["localhost", "127.0.0.1"], NOW + DAY_MS).fingerprint(),
            first.fingerprint()
        );
        assert_eq!(served(), before, "it lasts");
        open(&["localhost", "cloud.example"], NOW + DAY_MS);
        assert_ne!(served(), before, "it is for other names");
        let before = served();
        assert!(!first_is_renewed(&folder, NOW + DAY_MS));
        assert!(first_is_renewed(&folder, NOW + (SERVER_DAYS - 10) * DAY_MS));
        assert_ne!(served(), before);
        assert_eq!(open(&["localhost"], NOW).fingerprint(), first.fingerprint());
        for file in [key, folder.join(CA_KEY)] {
            let mode = std::fs::metadata(file).expect("a file").permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    fn first_is_renewed(folder: &Path, now: UnixMs) -> bool {
        let authority = Authority {
            folder: folder.to_owned(),
            names: names(&["localhost", "cloud.example"]),
            fingerprint: String::new(),
        };
        authority.renew(now).expect("renewed")
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        Authority::open(folder.path(), &names(&["localhost"]), NOW).expect("opened");
        std::fs::write(folder.path().join(CA_KEY), "no key").expect("written");
        let error = Authority::open(folder.path(), &names(&["other"]), NOW).expect_err("damaged");
        assert!(error.to_string().contains("ca.key"), "{error}");
        std::fs::write(folder.path().join(CA_CERT), "nothing").expect("written");
        let error = Authority::open(folder.path(), &names(&["other"]), NOW).expect_err("damaged");
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}
