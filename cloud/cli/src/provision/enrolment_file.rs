//! An enrolment URL in a file, made beside the cloud without a person, for devices that are started with it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use iottly_cloud::{KeyPlaces, clock};
use iottly_core::model::{Change, EnrolmentKey, EnrolmentKeyId, NewEnrolmentKey, Principal};
use iottly_protocol::ProjectId;
use iottly_protocol::enroll::{EnrollUrl, PairCode};
use iottly_store::Store;
use iottly_web::{auth, http};

use super::{CA_FILE, random};

/// Maximum number of devices of a key.
const MAX_DEVICES: u64 = 100_000;
/// Maximum number of hours, as for keys that the API makes.
const MAX_EPHEMERAL_HOURS: i64 = 8_760;
const HOUR_MS: i64 = 3_600_000;
/// Characters of a key that are shown to people.
const PREFIX: usize = 6;

#[derive(Args)]
pub(super) struct Options {
    /// File for the URL of a new enrolment key, with which many devices enrol themselves. If the file exists, nothing is
    /// done at all
    #[arg(long, value_name = "FILE", requires = "address")]
    enrolment_url: Option<PathBuf>,
    /// Address in the URL, at which the devices reach the cloud
    #[arg(long, value_name = "HOST[:PORT]", requires = "enrolment_url")]
    address: Option<String>,
    /// Maximum number of devices that enrol with the key
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MAX_DEVICES))]
    max_uses: u64,
    /// Delete a device of the key when it was without a connection for this number of hours
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(i64).range(1..=MAX_EPHEMERAL_HOURS))]
    ephemeral: Option<i64>,
}

/// File that is asked for, and its key.
pub(super) struct Wanted<'a> {
    path: &'a Path,
    address: &'a str,
    max_uses: u64,
    ephemeral: Option<i64>,
}

impl Options {
    /// Returns the file that is asked for.
    pub(super) fn wanted(&self) -> Option<Wanted<'_>> {
        Some(Wanted {
            path: self.enrolment_url.as_deref()?,
            address: self.address.as_deref()?,
            max_uses: self.max_uses,
            ephemeral: self.ephemeral,
        })
    }
}

impl<'a> Wanted<'a> {
    /// Returns the file if it was made before.
    pub(super) fn made(&self) -> Option<&'a Path> {
        Some(self.path).filter(|path| path.exists())
    }

    /// Makes the key and the file. Returns the file.
    pub(super) async fn make(
        &self,
        store: &dyn Store,
        project: ProjectId,
        keys: &KeyPlaces,
    ) -> anyhow::Result<&'a Path> {
        let code = PairCode::from_bytes(random()?);
        let authority = keys.tls().join(CA_FILE);
        ensure!(
            authority.exists(),
            "{} does not exist: the cloud makes it at its first start with --listen",
            authority.display()
        );
        let url = url(self.address, code, &http::fingerprint(&authority)?)?;
        let text = code.to_string();
        let now = clock::now();
        let new = NewEnrolmentKey {
            hash: auth::hash_secret(text.as_bytes()),
            key: EnrolmentKey {
                id: EnrolmentKeyId::random(),
                name: "provision".to_owned(),
                prefix: text[..PREFIX].to_owned(),
                created: now,
                expires: None,
                uses: 0,
                max_uses: self.max_uses,
                group: None,
                tags: Vec::new(),
                ephemeral_ms: self.ephemeral.map(|hours| hours * HOUR_MS),
                waiting: false,
            },
        };
        let by = Principal::system(project, "provision");
        let change = Change::CreateEnrolmentKey(Box::new(new));
        store.change(project, &by, change, now).await?;
        write(self.path, &url).with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.path)
    }
}

fn url(address: &str, code: PairCode, fingerprint: &str) -> anyhow::Result<String> {
    // The same grammar reads the address.
    match format!("iottly://{address}/{code}#{fingerprint}").parse::<EnrollUrl>() {
        Ok(url) => Ok(url.to_string()),
        Err(error) => bail!("--address {address:?}: {error}"),
    }
}

/// Writes a file that only this user can read, at once or not at all.
fn write(path: &Path, url: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    writeln!(file, "{url}")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_for_devices_has_the_address_and_the_authority() {
        let (code, print) = (PairCode::from_bytes([0xab; 16]), "cd".repeat(32));
        let made = url("cloud:8443", code, &print).expect("made");
        assert_eq!(made, format!("iottly://cloud:8443/{code}#{print}"));
        let error = url("cloud:0", code, &print).expect_err("no port").to_string();
        assert!(
            error.contains("--address") && !error.contains(&code.to_string()),
            "{error}"
        );
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("enrol");
        write(&file, &made).expect("written");
        assert_eq!(fs::read_to_string(&file).expect("read"), made + "\n");
    }
}
