//! Enrolment of this board: makes its keys, asks the cloud for a place, and stores what it gets. Keys are stored before
//! they are sent, so that a lost answer can be asked for again.

mod ask;
mod board;
mod generalize;
mod made;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iottly_protocol::DeviceId;
use iottly_protocol::enroll::{EnrollRequest, Enrolled, Fingerprint, PairCode, ShortCode};
use serde::{Deserialize, Serialize};

use crate::config::{CA_FILE, ROOT_FILE};
use crate::datadir::{DataDir, DataDirError};
use crate::files;
use crate::identity::{Identity, IdentityError, IdentityStore, Keys, Login};
use crate::link::{Found, PostError};

pub(crate) use ask::post;
pub(crate) use board::{facts as board_facts, of_this_board as hardware};

pub use ask::Screen;
pub use generalize::generalize;
pub use made::MadeIdentity;

/// File of the keys of an enrolment that is under way.
pub(crate) const PENDING_FILE: &str = "enrolment.pending";
/// Maximum size of that file, in bytes.
const MAX_PENDING_BYTES: u64 = 4 << 10;
/// File that is there once another board was kept as the device of this folder.
pub(crate) const COPY_FILE: &str = "copy";

/// Trust in the cloud that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollTrust {
    /// The certificate comes from an authority of the public web.
    Public,
    /// The certificate comes from the authority with this fingerprint.
    Fingerprint(Fingerprint),
    /// The first cloud that answers is believed. An attacker on the network can be that cloud.
    FirstUse,
}

/// Code with which a board enrols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollCode {
    /// Pair code or enrolment key.
    Pair(PairCode),
    /// Short code that stands for a pair code.
    Short(ShortCode),
}

/// Enrolment of a board.
#[derive(Debug, Clone)]
pub struct EnrollOptions {
    /// Host of the cloud, without brackets.
    pub host: String,
    /// Port of the cloud.
    pub port: u16,
    /// Code; none for a board that shows a short code and waits until a person approves it.
    pub code: Option<EnrollCode>,
    /// Trust in the cloud.
    pub trust: EnrollTrust,
    /// Name that the board wants.
    pub name: Option<String>,
    /// Data folder.
    pub data: PathBuf,
    /// Make new keys for a board that is enrolled already.
    pub rekey: bool,
}

/// Error of an enrolment.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The data folder is unusable.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The stored identity is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file cannot be written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Error of the system.
        reason: io::Error,
    },
    /// The board has an identity.
    #[error(
        "{0} holds device {1} already; `iottly-agent generalize` empties it, and --rekey gives this device new keys"
    )]
    Enrolled(String, DeviceId),
    /// The folder has a configuration that names a device.
    #[error("{0} names a device already")]
    Configured(String),
    /// The code belongs to another device than the one that the folder holds.
    #[error("the code is for device {0}, and the folder holds {1}; `iottly-agent generalize` empties it")]
    Other(DeviceId, DeviceId),
    /// The cloud cannot be reached, or is another one.
    #[error("{0}")]
    Cloud(String),
    /// The cloud refused the board.
    #[error("the cloud refused the board (status {0}): {1}")]
    Refused(u16, String),
    /// The cloud's answer is not understood.
    #[error("the cloud's answer is not understood: {0}")]
    Answer(String),
    /// A person has rejected the board.
    #[error("the board was rejected")]
    Denied,
    /// The board was not approved in time.
    #[error("the board was not approved in time; run the command again for a new code")]
    Expired,
    /// The system has no randomness.
    #[error("failed to read random bytes from the system: {0}")]
    Random(#[from] getrandom::Error),
}

impl From<PostError> for EnrollError {
    fn from(error: PostError) -> Self {
        Self::Cloud(error.to_string())
    }
}

/// Keys of an enrolment that is under way.
#[derive(Serialize, Deserialize)]
struct Pending {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<PairCode>,
    keys: Keys,
}

/// Enrols the board. Returns the id and the name of its device. If a person has to approve the board, `show` is called
/// with what the board's screen should show, again for each new code, and the call waits.
///
/// # Errors
/// See [`EnrollError`]. After an error of the network the same call may be repeated with the same code.
pub async fn enroll(
    options: EnrollOptions,
    show: &mut dyn FnMut(&Screen),
) -> Result<(DeviceId, String), EnrollError> {
    let data = DataDir::open(&options.data)?;
    let configured = options.data.join("agent.toml");
    if is_configured(&configured) {
        return Err(EnrollError::Configured(configured.display().to_string()));
    }
    let (mut store, known) = IdentityStore::open(&options.data)?;
    // A copy of a device becomes one of its own, with what waits in its queue.
    let is_copy = data.join(COPY_FILE).exists();
    let known = known.filter(|_| !is_copy);
    if let Some(known) = known.as_ref().filter(|_| !options.rekey) {
        return Err(EnrollError::Enrolled(
            options.data.display().to_string(),
            known.device_id,
        ));
    }
    let (code, trust) = match options.code {
        Some(EnrollCode::Short(code)) => {
            let (code, trust) = ask::pair_code(&options, &data, code).await?;
            (Some(code), trust)
        }
        Some(EnrollCode::Pair(code)) => (Some(code), options.trust),
        None => (None, options.trust),
    };
    let keys = pending(&data, code)?;
    let previous = known.as_ref().map(|known| known.keys.signer());
    let request = EnrollRequest::signed(
        code,
        &keys.signer(),
        &keys.sealing(),
        board_facts(options.name.clone()),
        previous.as_ref(),
    );
    let (enrolled, found) = ask::ask(&options, trust, &data, &request, show).await?;
    if let Some(known) = known.filter(|known| known.device_id != enrolled.device_id) {
        return Err(EnrollError::Other(enrolled.device_id, known.device_id));
    }
    if is_copy {
        generalize::clear_device(&options.data)?;
    }
    let name = enrolled.name.clone();
    let device = enrolled.device_id;
    settle(
        &data,
        &mut store,
        (options.host, options.port),
        keys,
        (enrolled, found),
    )?;
    if is_copy {
        let mark = data.join(COPY_FILE);
        fs::remove_file(&mark).map_err(|reason| file(&mark, reason))?;
    }
    let pending = data.join(PENDING_FILE);
    if let Err(error) = fs::remove_file(&pending) {
        // The identity is stored; the keys in this file are the same.
        tracing::warn!(file.path = %pending.display(), %error, "failed to remove the file of an enrolment under way; continuing");
    }
    Ok((device, name))
}

/// Stores the place that the cloud at this host and port has given to the board, and the authority that its certificate comes
/// from. The identity comes last: without it the board is not enrolled.
pub(crate) fn settle(
    data: &DataDir,
    store: &mut IdentityStore,
    (host, port): (String, u16),
    keys: Keys,
    (enrolled, found): (Enrolled, Found),
) -> Result<(), EnrollError> {
    let own_authority = match &found {
        Found::Authority(der) => {
            put(data, CA_FILE, pem(der).as_bytes())?;
            true
        }
        Found::Public => false,
    };
    put(data, ROOT_FILE, enrolled.root.as_bytes())?;
    store.write(&Identity {
        device_id: enrolled.device_id,
        project_id: enrolled.project_id,
        group_id: enrolled.group_id,
        host,
        port,
        own_authority,
        keys,
        login: Login {
            secret: enrolled.login.secret,
            given: enrolled.login.time,
            valid_ms: enrolled.login.valid_ms,
        },
    })?;
    Ok(())
}

/// Returns true if a configuration names the device. One that cannot be parsed may do so in any line.
fn is_configured(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else {
        return false;
    };
    match text.parse::<toml::Table>() {
        Ok(table) => table.contains_key("device_id"),
        Err(_) => text.contains("device_id"),
    }
}

/// Returns the reason in an error of the cloud.
pub(crate) fn reason(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = body["error"].as_str().unwrap_or("no reason given");
    iottly_protocol::limits::clip(reason, 200).to_owned()
}

/// Returns the keys for a code: those of an earlier attempt with it, or new ones, which are then on the disk.
fn pending(data: &DataDir, code: Option<PairCode>) -> Result<Keys, EnrollError> {
    let path = data.join(PENDING_FILE);
    let known = files::read(&path, MAX_PENDING_BYTES)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Pending>(&bytes).ok());
    if let Some(known) = known.filter(|known| known.code == code) {
        return Ok(known.keys);
    }
    let keys = new_keys()?;
    let pending = Pending {
        code,
        keys: keys.clone(),
    };
    let bytes = serde_json::to_vec(&pending).expect("keys have string keys");
    put(data, PENDING_FILE, &bytes)?;
    Ok(keys)
}

/// Returns the keys of an enrolment that a power cut has interrupted: the cloud may know them already.
pub(crate) fn pending_keys(path: &Path) -> Option<Keys> {
    let bytes = files::read(path, MAX_PENDING_BYTES).ok()?;
    Some(serde_json::from_slice::<Pending>(&bytes).ok()?.keys)
}

/// Returns new keys.
pub(crate) fn new_keys() -> Result<Keys, EnrollError> {
    let (mut device, mut sealing) = ([0; 32], [0; 32]);
    getrandom::fill(&mut device)?;
    getrandom::fill(&mut sealing)?;
    Ok(Keys::new(device, sealing))
}

fn put(data: &DataDir, name: &str, bytes: &[u8]) -> Result<(), EnrollError> {
    let path = data.join(name);
    files::replace(&path, bytes).map_err(|reason| file(&path, reason))
}

fn file(path: &Path, reason: io::Error) -> EnrollError {
    EnrollError::File {
        path: path.display().to_string(),
        reason,
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_for_the_next_attempt_with_the_same_code() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::open(dir.path()).expect("open");
        let code = |byte| Some(PairCode::from_bytes([byte; 16]));
        let (one, two) = (code(1), code(2));
        let keys = pending(&data, one).expect("made");
        assert!(pending(&data, one).expect("kept") == keys);
        assert!(pending(&data, two).expect("made") != keys);
        let without = pending(&data, None).expect("made");
        assert!(pending(&data, None).expect("kept") == without);
    }
}
