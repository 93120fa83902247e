//! The agent's configuration, `agent.toml`. Errors never contain values.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use iottly_protocol::{DeviceId, Secret};
use iottly_update::read_file;
use serde::Deserialize;

use crate::access::POLICY_FILE;
use crate::grants::Grants;
use crate::identity::{IdentityError, IdentityStore};
use crate::outbox::{DEFAULT_DISK_BYTES, Policy, WhenFull};

mod board;
mod broker;
mod enrolled;
mod explain;
mod updates;

pub use board::BoardKind;
pub(crate) use broker::Way;
pub use broker::{BrokerAddress, ProxyAddress};
pub(crate) use enrolled::{CA_FILE, ROOT_FILE};
use explain::explain;
pub use updates::UpdateConfig;

/// Maximum size of a configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Default of [`QueueConfig::firmware_bytes_per_day`].
const DEFAULT_FIRMWARE_BYTES_PER_DAY: u64 = 4 << 30;

/// Configuration of an agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Id of the device.
    pub device_id: DeviceId,
    /// Secret with which the device authenticates to the broker.
    pub secret: Secret,
    /// Address of the broker.
    pub broker: BrokerAddress,
    /// File of the certificate authorities (PEM) that the broker's certificate must come from; the default is those of
    /// the public web.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Proxy for encrypted connections to the broker; the default is the one in the environment (`HTTPS_PROXY`).
    #[serde(default)]
    pub proxy: Option<ProxyAddress>,
    /// File of the component to run; without it the agent only holds the connection.
    #[serde(default)]
    pub firmware: Option<PathBuf>,
    /// Data folder with queue and journals, for one agent at a time. In a file, the default is the file's
    /// folder.
    #[serde(default)]
    pub data_dir: PathBuf,
    /// Folder of compiled firmware, may be shared by several agents. The default is `cache` in the data
    /// folder.
    #[serde(default)]
    pub cache_dir: Option<PathBuf>,
    /// Program that compiles firmware. The default is `iottly-compile` beside this program.
    #[serde(default)]
    pub compiler: Compiler,
    /// Board that the firmware drives; without it there are no pins and buses.
    #[serde(default)]
    pub board: Option<BoardKind>,
    /// Parts of the board that firmware may use; without it, all that its manifest requests.
    #[serde(default)]
    pub grants: Option<Grants>,
    /// File of the owner's policy, which limits the grants; without the file all that is granted is allowed.
    #[serde(default = "policy_file")]
    pub policy: Option<PathBuf>,
    /// Bounds of the queue.
    #[serde(default)]
    pub queue: QueueConfig,
    /// Permission for developers of the project to run scripts here for some hours; `false` refuses them.
    #[serde(default = "allowed")]
    pub developer: bool,
    /// Source of releases; without it only `firmware` runs.
    #[serde(default)]
    pub updates: Option<UpdateConfig>,
    /// True if device, secret and addresses are those of the board's enrolment, which then renews the secret.
    #[serde(skip)]
    pub enrolled: bool,
}

fn allowed() -> bool {
    true
}

fn policy_file() -> Option<PathBuf> {
    Some(POLICY_FILE.into())
}

/// Command that starts the compiler.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compiler {
    /// Program.
    pub program: PathBuf,
    /// Arguments.
    #[serde(deserialize_with = "texts")]
    pub args: Vec<OsString>,
    /// Maximum memory of the compiler, in bytes, where it has a control group of its own.
    pub memory_bytes: u64,
}

/// Memory that the compiler may use unless the configuration says otherwise, in bytes. The script engine needs 56 MiB,
/// large generated code several times that.
const COMPILER_BYTES: u64 = 384 << 20;

impl Default for Compiler {
    fn default() -> Self {
        let name = "iottly-compile";
        let program =
            std::env::current_exe().map_or_else(|_| PathBuf::from(name), |this| this.with_file_name(name));
        Self {
            program,
            args: Vec::new(),
            memory_bytes: COMPILER_BYTES,
        }
    }
}

/// Bounds of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Maximum size on disk over all streams, in bytes; less than 4 MiB counts as 4 MiB.
    pub disk_bytes: u64,
    /// Treatment of messages when the budget is used up: `drop_oldest` or `refuse_new`.
    pub when_full: WhenFull,
    /// Maximum wait of a message for the cloud, counted while the agent runs, in seconds; 0 for no limit.
    pub ttl_seconds: u64,
    /// Bytes per day that the firmware may make the device write: messages, log lines and state.
    pub firmware_bytes_per_day: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            disk_bytes: DEFAULT_DISK_BYTES,
            when_full: WhenFull::default(),
            ttl_seconds: 0,
            firmware_bytes_per_day: DEFAULT_FIRMWARE_BYTES_PER_DAY,
        }
    }
}

impl QueueConfig {
    pub(crate) fn policy(self) -> Policy {
        let ttl_ms = (self.ttl_seconds > 0).then(|| self.ttl_seconds.saturating_mul(1000));
        Policy {
            disk_bytes: self.disk_bytes,
            when_full: self.when_full,
            ttl_ms,
        }
    }
}

/// Error of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// Error of the system.
        reason: std::io::Error,
    },
    /// The board is not enrolled, and there is no configuration.
    #[error("{0} holds neither an identity nor agent.toml; enrol the board with iottly-agent enroll")]
    NotEnrolled(String),
    /// The stored identity is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file is not a configuration.
    #[error("configuration {path}: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// Key and error.
        reason: String,
    },
}

impl AgentConfig {
    /// Creates a configuration without firmware, board and updates, and with default bounds of the queue.
    #[must_use]
    pub fn new(device_id: DeviceId, secret: Secret, broker: BrokerAddress, data_dir: PathBuf) -> Self {
        Self {
            device_id,
            secret,
            broker,
            ca: None,
            proxy: None,
            firmware: None,
            data_dir,
            cache_dir: None,
            compiler: Compiler::default(),
            board: None,
            grants: None,
            policy: None,
            queue: QueueConfig::default(),
            developer: true,
            updates: None,
            enrolled: false,
        }
    }

    /// Reads a TOML file. Relative paths in it start at the file's folder.
    ///
    /// # Errors
    /// If the file cannot be read, has unknown keys, or a value is malformed; the error names file and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = || path.display().to_string();
        let bytes =
            read_file(path, MAX_FILE_BYTES).map_err(|reason| ConfigError::Read { path: name(), reason })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let text = String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned());
        let config = text.and_then(|text| Self::parse(&text, folder));
        config.map_err(|reason| ConfigError::Invalid { path: name(), reason })
    }

    /// Reads the configuration of a board: the file, completed with the identity in the data folder. A file that names
    /// another device counts alone; an enrolled board needs none.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn of_board(path: &Path, data: &Path) -> Result<Self, ConfigError> {
        // The identity's files are named from here; paths of the file start at its folder.
        let data = &std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        let (_, identity) = IdentityStore::open(data)?;
        let Some(identity) = identity else {
            if !path.exists() {
                return Err(ConfigError::NotEnrolled(data.display().to_string()));
            }
            return Self::read(path);
        };
        let text = match read_file(path, MAX_FILE_BYTES) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(reason) => {
                return Err(ConfigError::Read {
                    path: path.display().to_string(),
                    reason,
                });
            }
        };
        let config = text.and_then(|text| {
            let table: toml::Table = toml::from_str(&text).map_err(|error| explain(&text, &error))?;
            let own = table
                .get("device_id")
                .map(|id| id.as_str().unwrap_or_default().to_owned());
            if own
                .as_ref()
                .is_some_and(|id| *id != identity.device_id.to_string())
            {
                return Self::parse(&text, path.parent().unwrap_or(data));
            }
            // A board of release 0.1 that has got a key keeps its file; the identity counts.
            let mut table = table;
            if own.is_some() {
                table.remove("updates");
            }
            let table = enrolled::completed(table, &identity, data);
            let config: Self = table.try_into().map_err(|error| explain("", &error))?;
            let folder = path.parent().unwrap_or(data);
            Ok(Self {
                enrolled: true,
                data_dir: data.to_owned(),
                ..config.resolved(folder)
            })
        });
        config.map_err(|reason| ConfigError::Invalid {
            path: path.display().to_string(),
            reason,
        })
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| explain(text, &error))?;
        Ok(config.resolved(folder))
    }

    /// Returns the configuration with its relative paths below the folder.
    fn resolved(mut self, folder: &Path) -> Self {
        let config = &mut self;
        config.data_dir = folder.join(&config.data_dir);
        config.board = config.board.take().map(|board| board.resolved(folder));
        for path in [
            &mut config.firmware,
            &mut config.ca,
            &mut config.cache_dir,
            &mut config.policy,
        ] {
            *path = path.as_ref().map(|path| folder.join(path));
        }
        if let Some(updates) = &mut config.updates {
            updates.root = folder.join(&updates.root);
            updates.ca = updates.ca.as_ref().map(|ca| folder.join(ca));
            if !updates.repository.contains("://") {
                updates.repository = folder.join(&updates.repository).display().to_string();
            }
        }
        if config.compiler.program.components().count() > 1 {
            config.compiler.program = folder.join(&config.compiler.program);
        }
        self
    }

    /// Returns the folder of compiled firmware.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.cache_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("cache"))
    }
}

/// Reads texts; serde's own form of an `OsString` is a list of bytes.
fn texts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<OsString>, D::Error> {
    Ok(Vec::<String>::deserialize(deserializer)?
        .into_iter()
        .map(OsString::from)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
device_id = "a2792ce8-216f-477c-a5cc-4f7e9f407e29"
secret = "hunter2"
broker = "localhost:1883"
firmware = "echo.wasm"

[compiler]
program = "iottly-compile"
args = ["--quiet"]
"#;

    #[test]
    fn a_file_is_read_with_paths_from_its_folder() {
        let config = AgentConfig::parse(GOOD, Path::new("/etc/iottly")).expect("valid");
        assert_eq!(
            config.firmware.as_deref(),
            Some(Path::new("/etc/iottly/echo.wasm"))
        );
        assert_eq!(config.data_dir, Path::new("/etc/iottly/"));
        assert_eq!(config.cache_dir(), Path::new("/etc/iottly/cache"));
        assert_eq!(
            config.compiler,
            Compiler {
                program: "iottly-compile".into(),
                args: vec!["--quiet".into()],
                memory_bytes: COMPILER_BYTES,
            }
        );
        assert_eq!(
            config.broker,
            BrokerAddress::try_from("localhost:1883".to_owned()).expect("an address")
        );
        assert_eq!(config.queue, QueueConfig::default());
    }

    #[test]
    fn the_secret_is_never_printed() {
        let config = AgentConfig::parse(GOOD, Path::new("")).expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
        let broken = GOOD.replace("secret = \"hunter2\"", "secret = \"hunter2");
        let error = AgentConfig::parse(&broken, Path::new("")).expect_err("open text");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn errors_name_the_key() {
        for (from, to, word) in [
            (
                "secret =",
                "sekret =",
                "line 3: unknown key, expected one of `device_id`, `secret`",
            ),
            (
                "[compiler]",
                "[queue]\nhistory = 1\n[compiler]",
                "line 8: unknown key",
            ),
            ("a2792ce8", "A2792ce8", "line 2: `device_id`: device id … is not"),
            (
                "[compiler]",
                "[grants]\ntelemetry = []\n[compiler]",
                "is not an interface of a board",
            ),
            ("localhost:1883", "localhost", "host:port"),
            ("localhost:1883", "::1:1883", "host:port"),
            ("localhost:1883", "localhost:0", "host:port"),
            ("secret = \"hunter2\"", "", "secret"),
        ] {
            let error = AgentConfig::parse(&GOOD.replace(from, to), Path::new("")).expect_err(to);
            assert!(error.contains(word), "{to}: {error}");
        }
    }

    #[test]
    fn the_compiler_lies_beside_this_program_unless_named() {
        let text = GOOD.split("[compiler]").next().expect("a first part");
        let config = AgentConfig::parse(text, Path::new("/etc/iottly")).expect("valid");
        let beside = std::env::current_exe()
            .expect("a file")
            .with_file_name("iottly-compile");
        assert_eq!(config.compiler.program, beside);
    }
}
