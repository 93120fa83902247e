//! The place of a device's releases, chosen by its address. Verifies nothing.

use std::io::{self, Read};
use std::path::Path;

use iottly_protocol::release::MAX_DIRECTIVE_BYTES;
use iottly_protocol::tuf::{Fetch, FetchError, Place};
use ureq::tls::{PemItem, RootCerts, parse_pem};

use crate::folder::FolderRepository;
use crate::http::{HttpRepository, Login};
use crate::regular::read_file;

/// Maximum size of a file of certificate authorities, in bytes; that of the public web has 220 KB.
const MAX_CA_BYTES: u64 = 2 << 20;

/// Source of a device's releases: `metadata/`, `targets/` and `directives/` under one address or in one
/// folder.
#[derive(Debug, Clone)]
pub enum Repository {
    /// Repository behind a web server.
    Http(HttpRepository),
    /// Repository in a folder, for instance on a stick.
    Folder(FolderRepository),
}

impl Repository {
    /// Returns the repository at an address that begins with `http://` or `https://`, or else in a folder.
    #[must_use]
    pub fn at(place: &str) -> Self {
        Self::trusting(place, RootCerts::WebPki)
    }

    /// As [`at`](Self::at), where a server's certificate must come from the authorities in a PEM file.
    ///
    /// # Errors
    /// The file cannot be read or has no certificate.
    pub fn with_ca(place: &str, ca: &Path) -> io::Result<Self> {
        let named = |reason: String| io::Error::other(format!("{}: {reason}", ca.display()));
        let text = read_file(ca, MAX_CA_BYTES).map_err(|error| named(error.to_string()))?;
        let certificates = parse_pem(&text).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(named(error.to_string()))),
        });
        let certificates = certificates.collect::<io::Result<Vec<_>>>()?;
        if certificates.is_empty() {
            return Err(named("it holds no certificate".to_owned()));
        }
        Ok(Self::trusting(place, RootCerts::new_with_certs(&certificates)))
    }

    fn trusting(place: &str, roots: RootCerts) -> Self {
        if place.starts_with("http://") || place.starts_with("https://") {
            let base = place.trim_end_matches('/');
            let metadata = format!("{base}/metadata");
            let targets = format!("{base}/targets");
            return Self::Http(HttpRepository::trusting(&metadata, &targets, roots));
        }
        Self::Folder(FolderRepository::new(Path::new(place)))
    }

    /// Returns the repository with a login for its server; a folder needs none.
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        match self {
            Self::Http(http) => Self::Http(http.with_login(login)),
            folder @ Self::Folder(_) => folder,
        }
    }

    /// Begins the next request: its time limits start again.
    pub fn begin(&self) {
        if let Self::Http(http) = self {
            http.watchman().begin();
        }
    }

    /// Ends the running request at its next byte; all later ones fail.
    pub fn stop(&self) {
        if let Self::Http(http) = self {
            http.watchman().stop();
        }
    }

    /// Reads the directive for a device or a group; none if there is none.
    ///
    /// # Errors
    /// The repository cannot be reached, or the document is longer than directives are.
    pub fn directive(&self, id: &str) -> Result<Option<Vec<u8>>, String> {
        let opened: Result<Box<dyn Read>, FetchError> = match self {
            Self::Http(http) => http.beside(&format!("directives/{id}.json")),
            Self::Folder(folder) => folder.beside("directives", &format!("{id}.json")),
        };
        let source = match opened {
            Err(FetchError::NotFound) => return Ok(None),
            other => other.map_err(|e| e.to_string())?,
        };
        let mut bytes = Vec::new();
        source
            .take(MAX_DIRECTIVE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| e.to_string())?;
        if bytes.len() > MAX_DIRECTIVE_BYTES {
            return Err(format!("the directive is over {MAX_DIRECTIVE_BYTES} bytes"));
        }
        Ok(Some(bytes))
    }

    /// Reads some bytes of a target, named by its encoded path.
    ///
    /// # Errors
    /// The bytes cannot be fetched.
    pub fn range(&self, path: &str, from: u64, length: u64) -> Result<Vec<u8>, String> {
        let opened = match self {
            Self::Http(http) => http.range(path, from, length),
            Self::Folder(folder) => folder.range(path, from, length),
        };
        let mut bytes = Vec::new();
        let source = opened.map_err(|e| e.to_string())?;
        source
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(|e| e.to_string())?;
        Ok(bytes)
    }
}

impl Fetch for Repository {
    fn open(&mut self, place: Place<'_>) -> Result<Box<dyn Read + '_>, FetchError> {
        match self {
            Self::Http(http) => http.open(place),
            Self::Folder(folder) => folder.open(place),
        }
    }
}
