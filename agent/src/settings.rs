//! The settings that people keep in the cloud for this device: received over the link, kept on disk, read by the firmware.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use iottly_protocol::{ConfigReport, DeviceConfig, Record, Report, StreamClass, limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::outbox::Outbox;

/// Largest file that is read: the settings and the fields around them.
const MAX_FILE_BYTES: u64 = limits::MAX_CONFIG_BYTES as u64 + 1024;
/// Pause between attempts while the file cannot be written.
const RETRY: std::time::Duration = std::time::Duration::from_secs(5);

/// What the firmware reads; one for all threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings(Arc<RwLock<Known>>);

#[derive(Debug, Default, Clone, PartialEq)]
struct Known {
    version: Option<u64>,
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The JSON text of one setting.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values.get(key).cloned()
    }

    /// The version of all of them; none before the first came.
    pub(crate) fn version(&self) -> Option<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).version
    }

    fn is(&self, known: &Known) -> bool {
        *self.0.read().unwrap_or_else(PoisonError::into_inner) == *known
    }

    fn set(&self, known: Known) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// The task that keeps what the cloud says: on disk first, then where the firmware reads it, then the cloud hears of it.
pub(crate) struct Keeper {
    path: PathBuf,
    settings: Settings,
    outbox: Outbox,
    latest: watch::Receiver<Option<DeviceConfig>>,
}

impl Keeper {
    /// Opens the file. One that cannot be read counts as none: the cloud sends them again after the next welcome.
    pub(crate) fn open(path: PathBuf, outbox: Outbox, latest: watch::Receiver<Option<DeviceConfig>>) -> Self {
        let settings = Settings::default();
        match read(&path) {
            Ok(known) => settings.set(known.unwrap_or_default()),
            Err(error) => tracing::warn!(settings.path = %path.display(), %error, "the settings wait for the cloud"),
        }
        Self { path, settings, outbox, latest }
    }

    /// Where the firmware reads.
    pub(crate) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Runs until the link is gone.
    pub(crate) async fn run(mut self) {
        while self.latest.changed().await.is_ok() {
            let Some(config) = self.latest.borrow_and_update().clone() else { continue };
            self.take(config).await;
        }
    }

    async fn take(&mut self, config: DeviceConfig) {
        let known = match known(&config) {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(version = config.version, %error, "settings from the cloud were not understood");
                return;
            }
        };
        // They are repeated after each welcome.
        if self.settings.is(&known) {
            return;
        }
        let version = config.version;
        while let Err(error) = self.write(config.clone()).await {
            tracing::error!(settings.path = %self.path.display(), %error, "the settings cannot be written");
            tokio::select! {
                () = sleep(RETRY) => {}
                // Newer ones take their place.
                changed = self.latest.changed() => {
                    self.latest.mark_changed();
                    if changed.is_err() || self.latest.borrow().as_ref() != Some(&config) { return }
                }
            }
        }
        self.settings.set(known);
        let record = Record::Report(Report::Config(ConfigReport { version, at_ms: self.outbox.now_ms() })).encode();
        if let Err(error) = self.outbox.offer(StreamClass::Control, record) {
            tracing::warn!(%error, "a report was not taken by the queue");
        }
    }

    async fn write(&self, config: DeviceConfig) -> io::Result<()> {
        let path = self.path.clone();
        spawn_blocking(move || write(&path, &config)).await.map_err(io::Error::other)?
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u64,
    values: Box<RawValue>,
}

fn known(config: &DeviceConfig) -> io::Result<Known> {
    if config.values.get().len() > limits::MAX_CONFIG_BYTES {
        return Err(io::Error::other(format!(
            "{} bytes are over the limit of {}",
            config.values.get().len(),
            limits::MAX_CONFIG_BYTES
        )));
    }
    let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(config.values.get())?;
    let values = values.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect();
    Ok(Known { version: Some(config.version), values })
}

fn read(path: &Path) -> io::Result<Option<Known>> {
    let bytes = match iottly_update::read_file(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let Stored { version, values } = serde_json::from_slice(&bytes)?;
    known(&DeviceConfig { version, values }).map(Some)
}

/// A new file renamed over the old one: a power cut leaves one or the other.
fn write(path: &Path, config: &DeviceConfig) -> io::Result<()> {
    let stored = Stored { version: config.version, values: config.values.clone() };
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(&stored)?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(version: u64, values: &str) -> DeviceConfig {
        DeviceConfig { version, values: RawValue::from_string(values.to_owned()).expect("json") }
    }

    #[test]
    fn what_is_written_is_read_with_its_text() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("settings.json");
        assert_eq!(read(&path).expect("none yet"), None);
        write(&path, &config(1, "{}")).expect("written");
        write(&path, &config(7, r#"{"rate": 1.50, "deep": {"b":1,"a":2}}"#)).expect("written");
        let known = read(&path).expect("readable").expect("there");
        assert_eq!(known.version, Some(7));
        assert_eq!(known.values["rate"], "1.50");
        assert_eq!(known.values["deep"], r#"{"b":1,"a":2}"#);
    }

    #[test]
    fn damage_is_an_error_and_not_half_read() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("settings.json");
        write(&path, &config(7, r#"{"rate":1}"#)).expect("written");
        let whole = fs::read(&path).expect("read");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("cut");
            assert!(read(&path).is_err(), "{cut}");
        }
        fs::write(&path, vec![b'x'; usize::try_from(MAX_FILE_BYTES).expect("small") + 1]).expect("large");
        assert!(read(&path).is_err());
    }

    #[test]
    fn only_objects_within_the_limit_are_settings() {
        assert!(known(&config(1, "[1]")).is_err());
        assert!(known(&config(1, "{}")).is_ok());
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::MAX_CONFIG_BYTES));
        assert!(known(&config(1, &large)).is_err());
    }
}
