//! The device's settings from the cloud: received over the link, stored on disk, read by the firmware.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use iottly_protocol::{ConfigReport, DeviceConfig, Record, Report, StreamClass, limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::files;
use crate::outbox::Outbox;
use crate::throttle::{LogLimit, cut};
use crate::watchdog;

/// Maximum size of the file that is read, in bytes: the settings and the fields around them.
const MAX_FILE_BYTES: u64 = limits::MAX_CONFIG_BYTES as u64 + 1024;
/// Pause between attempts while the file cannot be written.
const RETRY: Duration = Duration::from_secs(5);
/// Minimum time between two changes: each costs writes to the disk, and the cloud decides on their number. Of
/// the changes in between, the latest is applied.
const APPLY_EVERY: Duration = Duration::from_secs(1);

/// Settings as the firmware reads them; shared by all threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings(Arc<RwLock<Known>>);

#[derive(Debug, Default, Clone, PartialEq)]
struct Known {
    version: Option<u64>,
    values: BTreeMap<String, String>,
}

impl Settings {
    /// Returns the JSON text of a setting.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values
            .get(key)
            .cloned()
    }

    /// Returns the version of the settings; `None` before the first.
    pub(crate) fn version(&self) -> Option<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).version
    }

    fn is(&self, known: &Known) -> bool {
        *self.0.read().unwrap_or_else(PoisonError::into_inner) == *known
    }

    /// Returns `true` if settings are known and have these values.
    fn has(&self, values: &BTreeMap<String, String>) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.version.is_some() && known.values == *values
    }

    fn set(&self, known: Known) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// Task that stores new settings, publishes them to the firmware, then acknowledges them to the cloud, in
/// this order.
pub(crate) struct SettingsTask {
    path: PathBuf,
    settings: Settings,
    outbox: Outbox,
    latest: watch::Receiver<Option<DeviceConfig>>,
}

impl SettingsTask {
    /// Opens the file. An unreadable one counts as none: the cloud repeats the settings after the next
    /// welcome.
    pub(crate) fn open(path: PathBuf, outbox: Outbox, latest: watch::Receiver<Option<DeviceConfig>>) -> Self {
        let settings = Settings::default();
        match read(&path) {
            Ok(known) => settings.set(known.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(settings.path = %path.display(), %error, "failed to read the settings; waiting for the cloud to send them")
            }
        }
        Self {
            path,
            settings,
            outbox,
            latest,
        }
    }

    /// Returns the settings for the firmware.
    pub(crate) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Runs until the link has ended.
    pub(crate) async fn run(mut self) {
        while self.latest.changed().await.is_ok() {
            let Some(config) = self.latest.borrow_and_update().clone() else {
                continue;
            };
            if self.apply(config).await {
                sleep(APPLY_EVERY).await;
            }
        }
    }

    /// Applies settings. Returns `true` if that has cost a write.
    async fn apply(&mut self, config: DeviceConfig) -> bool {
        let known = match known(&config) {
            Ok(known) => known,
            Err(error) => {
                static ODD: LogLimit = LogLimit::new();
                if let Some(more) = ODD.pass() {
                    let version = config.version;
                    let error = error.to_string();
                    tracing::warn!(
                        settings.version = version,
                        error = cut(&error),
                        suppressed = more,
                        "failed to decode settings from the cloud; keeping the last ones"
                    );
                }
                return false;
            }
        };
        // The cloud repeats the settings after each welcome.
        if self.settings.is(&known) {
            return false;
        }
        let version = config.version;
        // The same values under another version do not justify a write; after a restart the cloud repeats
        // them.
        let same = self.settings.has(&known.values);
        while !same && let Err(error) = self.write(config.clone()).await {
            static FAILED: LogLimit = LogLimit::new();
            if let Some(more) = FAILED.pass() {
                let error = error.to_string();
                tracing::error!(settings.path = %self.path.display(), error = cut(&error), suppressed = more, "failed to write the settings; retrying in 5 s");
            }
            sleep(RETRY).await;
            // Newer settings replace these.
            if self.latest.has_changed().unwrap_or(true) {
                return false;
            }
        }
        self.settings.set(known);
        let record = Record::Report(Report::Config(ConfigReport {
            version,
            at_ms: self.outbox.now_ms(),
        }))
        .encode();
        if let Err(error) = self.outbox.try_offer(StreamClass::Control, record) {
            static NOT_TAKEN: LogLimit = LogLimit::new();
            if let Some(more) = NOT_TAKEN.pass() {
                tracing::warn!(
                    error = cut(&error.to_string()),
                    suppressed = more,
                    "failed to queue a report; dropping it"
                );
            }
        }
        true
    }

    async fn write(&self, config: DeviceConfig) -> io::Result<()> {
        let path = self.path.clone();
        let written = spawn_blocking(move || {
            let _step = watchdog::step("writing the settings");
            write(&path, &config)
        });
        written.await.map_err(io::Error::other)?
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
    let values = values
        .into_iter()
        .map(|(key, value)| (key, value.get().to_owned()))
        .collect();
    Ok(Known {
        version: Some(config.version),
        values,
    })
}

fn read(path: &Path) -> io::Result<Option<Known>> {
    let bytes = match iottly_update::read_file(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let Stored { version, values } = serde_json::from_slice(&bytes)?;
    known(&DeviceConfig { version, values }).map(Some)
}

fn write(path: &Path, config: &DeviceConfig) -> io::Result<()> {
    let stored = Stored {
        version: config.version,
        values: config.values.clone(),
    };
    files::replace(path, &serde_json::to_vec(&stored)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::outbox::{Queue, SledQueue};

    fn config(version: u64, values: &str) -> DeviceConfig {
        DeviceConfig {
            version,
            values: RawValue::from_string(values.to_owned()).expect("json"),
        }
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
        fs::write(
            &path,
            vec![b'x'; usize::try_from(MAX_FILE_BYTES).expect("small") + 1],
        )
        .expect("large");
        assert!(read(&path).is_err());
    }

    #[test]
    fn only_objects_within_the_limit_are_settings() {
        assert!(known(&config(1, "[1]")).is_err());
        assert!(known(&config(1, "{}")).is_ok());
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::MAX_CONFIG_BYTES));
        assert!(known(&config(1, &large)).is_err());
    }

    #[test]
    fn an_odd_file_is_none_at_once_and_is_replaced() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("settings.json");
        files::tests::pipe(&path);
        files::tests::pipe(&path.with_extension("new"));
        assert!(read(&path).is_err());
        write(&path, &config(7, r#"{"rate":1}"#)).expect("written");
        assert_eq!(read(&path).expect("readable").expect("there").version, Some(7));
    }

    /// Modification time of a file, as evidence of a write.
    fn stamp(path: &Path) -> std::time::SystemTime {
        fs::metadata(path)
            .and_then(|meta| meta.modified())
            .expect("written")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_flood_of_settings_is_one_write_a_second_and_the_latest_counts() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("settings.json");
        let (queue, _) = SledQueue::open(&dir.path().join("queue")).expect("queue");
        let control = queue.stream(StreamClass::Control).next;
        let (outbox, thread) = Outbox::start(Box::new(queue), "queue-test", ()).expect("thread");
        let (tx, latest) = watch::channel(None);
        let keeper = SettingsTask::open(path.clone(), outbox.clone(), latest);
        let settings = keeper.settings();
        let running = tokio::spawn(keeper.run());
        let began = std::time::Instant::now();
        for version in 1..=20_000u64 {
            tx.send_replace(Some(config(version, &format!(r#"{{"n":{version}}}"#))));
            if version % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        while settings.version() != Some(20_000) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{:?}",
                settings.version()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let written = stamp(&path);
        // The same values under other versions apply at once and are never written.
        let same = tokio::time::Duration::from_secs(60);
        for version in [20_001, 20_002] {
            tx.send_replace(Some(config(version, r#"{"n":20000}"#)));
            let known = async {
                while settings.version() != Some(version) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(same, known).await.expect("in time");
        }
        assert_eq!(stamp(&path), written);
        let seconds = began.elapsed().as_secs() + 2;
        drop(tx);
        running.await.expect("it ends with the link");
        outbox.stop();
        thread.join().expect("ended");
        let (queue, _) = SledQueue::open(&dir.path().join("queue")).expect("queue");
        let reports = queue.stream(StreamClass::Control).next - control;
        assert!(
            (2..=seconds).contains(&reports),
            "{reports} reports in {seconds} s"
        );
    }
}
