//! Enrolment of this board: makes its keys, asks the cloud for a place, and stores what it gets. Keys are stored before
//! they are sent, so that a lost answer can be asked for again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iottly_protocol::enroll::{BoardFacts, EnrollAnswer, EnrollRequest, Enrolled, Fingerprint, PairCode};
use iottly_protocol::{DeviceId, tuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::{BrokerAddress, CA_FILE, ProxyAddress, ROOT_FILE};
use crate::datadir::{DataDir, DataDirError};
use crate::files;
use crate::identity::{Identity, IdentityError, IdentityStore, Keys, Login};
use crate::link::{Found, Pin, PostError, Route, Trust};
use crate::time::BoardClock;

/// File of the keys of an enrolment that is under way.
pub(crate) const PENDING_FILE: &str = "enrolment.pending";
/// Maximum size of that file, in bytes.
const MAX_PENDING_BYTES: u64 = 4 << 10;
/// Places of a number that is the board's own and stays when its disk is copied, best first.
const SERIALS: [&str; 2] = ["/sys/firmware/devicetree/base/serial-number", "/etc/machine-id"];
/// Folder of the network interfaces.
const INTERFACES: &str = "/sys/class/net";

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

/// Enrolment of a board.
#[derive(Debug, Clone)]
pub struct EnrollOptions {
    /// Host of the cloud, without brackets.
    pub host: String,
    /// Port of the cloud.
    pub port: u16,
    /// Pair code or enrolment key.
    pub code: PairCode,
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
    code: PairCode,
    keys: Keys,
}

/// Enrols the board. Returns the id and the name of its device.
///
/// # Errors
/// See [`EnrollError`]. After an error of the network the same call may be repeated with the same code.
pub async fn enroll(options: EnrollOptions) -> Result<(DeviceId, String), EnrollError> {
    let data = DataDir::open(&options.data)?;
    let configured = options.data.join("agent.toml");
    if is_configured(&configured) {
        return Err(EnrollError::Configured(configured.display().to_string()));
    }
    let (mut store, known) = IdentityStore::open(&options.data)?;
    if let Some(known) = known.as_ref().filter(|_| !options.rekey) {
        return Err(EnrollError::Enrolled(
            options.data.display().to_string(),
            known.device_id,
        ));
    }
    let keys = pending(&data, options.code)?;
    let previous = known.as_ref().map(|known| known.keys.signer());
    let request = EnrollRequest::signed(
        Some(options.code),
        &keys.signer(),
        &keys.sealing(),
        board_facts(options.name.clone()),
        previous.as_ref(),
    );
    let (enrolled, found) = ask(&options, &data, &request).await?;
    if let Some(known) = known.filter(|known| known.device_id != enrolled.device_id) {
        return Err(EnrollError::Other(enrolled.device_id, known.device_id));
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

/// Posts the request. Returns the answer and the authority that the cloud's certificate comes from.
async fn ask(
    options: &EnrollOptions,
    data: &DataDir,
    request: &EnrollRequest,
) -> Result<(Enrolled, Found), EnrollError> {
    let pin = match options.trust {
        EnrollTrust::Public => None,
        EnrollTrust::Fingerprint(fingerprint) => Some(Pin::new(Some(fingerprint))),
        EnrollTrust::FirstUse => Some(Pin::new(None)),
    };
    let trust = pin.as_ref().map_or(Trust::Public, Trust::Pin);
    let broker = BrokerAddress::secure(&options.host, options.port);
    let proxy = ProxyAddress::of_environment();
    let clock = BoardClock::open(data.join("clock"));
    let route = Route::new(&broker, trust, proxy.as_ref(), clock)
        .map_err(|error| EnrollError::Cloud(error.to_string()))?;
    post(&route, "/v1.0/enroll", request, pin.as_ref()).await
}

/// Posts a request for a place. Returns the answer and the authority that the cloud's certificate comes from.
pub(crate) async fn post(
    route: &Route,
    path: &str,
    request: &impl Serialize,
    pin: Option<&Pin>,
) -> Result<(Enrolled, Found), EnrollError> {
    let body = serde_json::to_vec(request).expect("a request has string keys");
    let answer = route.post(path, &body).await?;
    if answer.status != 200 {
        return Err(EnrollError::Refused(answer.status, reason(&answer.body)));
    }
    let found = pin.map_or(Some(Found::Public), Pin::found);
    let found = found.ok_or_else(|| EnrollError::Cloud("the cloud's certificate was not checked".into()))?;
    match serde_json::from_slice(&answer.body) {
        Ok(EnrollAnswer::Enrolled(enrolled)) => Ok((enrolled, found)),
        Ok(EnrollAnswer::Waiting(_)) => Err(EnrollError::Answer(
            "the cloud wants an operator's approval, which this version cannot wait for".into(),
        )),
        Err(error) => Err(EnrollError::Answer(error.to_string())),
    }
}

/// Returns the reason in an error of the cloud.
pub(crate) fn reason(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = body["error"].as_str().unwrap_or("no reason given");
    iottly_protocol::limits::clip(reason, 200).to_owned()
}

/// Returns the keys for a code: those of an earlier attempt with it, or new ones, which are then on the disk.
fn pending(data: &DataDir, code: PairCode) -> Result<Keys, EnrollError> {
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

pub(crate) fn board_facts(name: Option<String>) -> BoardFacts {
    BoardFacts {
        name,
        mac: mac(Path::new(INTERFACES)),
        hardware: hardware(&SERIALS),
        profile: "generic".to_owned(),
        agent: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Returns the MAC address of the first interface that has one, by name.
fn mac(interfaces: &Path) -> Option<String> {
    let mut folders: Vec<PathBuf> = fs::read_dir(interfaces)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    folders.into_iter().find_map(|folder| {
        let text = fs::read_to_string(folder.join("address")).ok()?;
        let mac = text.trim().to_ascii_uppercase();
        let facts = BoardFacts {
            mac: Some(mac.clone()),
            ..BoardFacts::default()
        };
        (facts.check().is_ok() && mac != "00:00:00:00:00:00").then_some(mac)
    })
}

/// Returns the hash of the first of these files that says anything.
fn hardware(files: &[&str]) -> Option<String> {
    let text = files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        let text = text.trim_matches(['\0', '\n', ' ']).to_owned();
        (!text.is_empty()).then_some(text)
    })?;
    let mut hasher = Sha256::new();
    hasher.update(b"iottly hardware v1\0");
    hasher.update(text.as_bytes());
    Some(tuf::encode_hex(&hasher.finalize()))
}

/// Empties a data folder, so that boards with a copy of this disk enrol as devices of their own. The configuration and
/// the cache of compiled firmware stay. Returns the names of what was removed.
///
/// # Errors
/// If the configuration names a device, an agent uses the folder, or the file system fails.
pub fn generalize(path: &Path) -> Result<Vec<String>, EnrollError> {
    let _data = DataDir::open(path)?;
    let configured = path.join("agent.toml");
    if is_configured(&configured) {
        // Its id and secret would be in every copy.
        return Err(EnrollError::Configured(configured.display().to_string()));
    }
    let mut removed = Vec::new();
    let entries = fs::read_dir(path).map_err(|reason| file(path, reason))?;
    for entry in entries {
        let entry = entry.map_err(|reason| file(path, reason))?;
        let (at, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if matches!(name.as_str(), "agent.toml" | "cache" | "lock") {
            continue;
        }
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let done = if is_folder {
            fs::remove_dir_all(&at)
        } else {
            fs::remove_file(&at)
        };
        done.map_err(|reason| file(&at, reason))?;
        removed.push(name);
    }
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|reason| file(path, reason))?;
    removed.sort();
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_for_the_next_attempt_with_the_same_code() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::open(dir.path()).expect("open");
        let (one, two) = (PairCode::from_bytes([1; 16]), PairCode::from_bytes([2; 16]));
        let keys = pending(&data, one).expect("made");
        assert!(pending(&data, one).expect("kept") == keys);
        assert!(pending(&data, two).expect("made") != keys);
    }

    #[test]
    fn a_generalized_folder_has_no_identity_and_keeps_its_cache() {
        let dir = tempfile::tempdir().expect("dir");
        for name in ["identity", "queue", "cache"] {
            fs::create_dir(dir.path().join(name)).expect("folder");
            fs::write(dir.path().join(name).join("0"), "x").expect("file");
        }
        for name in ["agent.toml", "ca.pem", "clock", "enrolment.pending"] {
            fs::write(dir.path().join(name), "x").expect("file");
        }
        let removed = generalize(dir.path()).expect("emptied");
        assert_eq!(
            removed,
            ["ca.pem", "clock", "enrolment.pending", "identity", "queue"]
        );
        assert!(dir.path().join("cache/0").exists() && dir.path().join("agent.toml").exists());
        let data = DataDir::open(dir.path()).expect("open");
        assert!(matches!(
            generalize(dir.path()),
            Err(EnrollError::Data(DataDirError::InUse(_)))
        ));
        drop(data);
    }

    #[test]
    fn what_a_board_says_about_itself_is_well_formed() {
        let dir = tempfile::tempdir().expect("dir");
        for (name, address) in [
            ("lo", "00:00:00:00:00:00"),
            ("can0", "x"),
            ("wlan0", "00:00:5e:00:53:01"),
        ] {
            fs::create_dir(dir.path().join(name)).expect("folder");
            fs::write(dir.path().join(name).join("address"), format!("{address}\n")).expect("file");
        }
        assert_eq!(mac(dir.path()).as_deref(), Some("00:00:5E:00:53:01"));
        let serial = dir.path().join("serial");
        fs::write(&serial, "10000000abcdef\0").expect("file");
        let hash = hardware(&["/nonexistent", serial.to_str().expect("text")]).expect("hashed");
        assert_eq!(hash.len(), 64);
        assert!(!hash.contains("abcdef"));
    }
}
