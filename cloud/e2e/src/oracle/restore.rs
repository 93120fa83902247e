//! Restores of one side from a backup that is older than the other side.

use std::fs;
use std::path::Path;

use super::account::{Account, Totals};
use super::fleet::Host;
use super::host::Load;
use super::proxy::Proxy;
use super::site::{Device, Site};
use super::{Settings, free_ports, wait_for};

struct Pair {
    site: Site,
    host: Host,
    device: Device,
    proxy: Proxy,
    _runtime: tokio::runtime::Runtime,
}

impl Pair {
    fn new(settings: &Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut site = Site::new(&settings.iottly, &settings.folder, free_ports());
        site.start();
        let proxy = Proxy::start(runtime.handle(), ([127, 0, 0, 1], site.mqtt).into());
        let device = site.provision("device", &proxy.address.to_string());
        let load = Load {
            count: 0,
            per_second: 1_000_000,
            bytes: 10,
            large_every: 0,
        };
        let host = Host::new("host", vec![(device.clone(), load)]);
        Self {
            site,
            host,
            device,
            proxy,
            _runtime: runtime,
        }
    }

    /// Sends `messages` more messages and waits until the cloud has all of them.
    fn send(&mut self, messages: u64) {
        self.produce(messages);
        self.deliver();
    }

    fn produce(&mut self, messages: u64) {
        self.host.expect(messages);
        self.host.start();
        let host = &self.host;
        wait_for("messages", || host.has_produced(), || host.told().lines);
    }

    fn deliver(&mut self) {
        self.host.finish();
        wait_for("the queue to empty", || self.host.is_done(), || 0);
    }

    fn account(&self, close: impl FnOnce(Account<'_>) -> Result<Totals, String>) -> Totals {
        let sent = self.host.sent().remove(0);
        let mut account = Account::new(&sent);
        let closed = account
            .read(self.site.export(&self.device))
            .and_then(|()| close(account));
        closed.unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    fn last(&self) -> u64 {
        self.host.sent()[0]
            .stream
            .as_ref()
            .expect("told at the end of a run")
            .1
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

fn replace(folder: &Path, backup: &Path) {
    fs::remove_dir_all(folder).expect("removed");
    copy(backup, folder);
}

/// Restores the cloud's database to an earlier state: what it had and the device no longer has becomes a gap.
///
/// # Panics
/// When another message is lost.
pub fn older_cloud(settings: &Settings) {
    let mut pair = Pair::new(settings);
    let backup = settings.folder.join("backup");
    pair.send(2000);
    let kept = pair.last();
    pair.site.stop();
    copy(&pair.site.data(), &backup);
    pair.site.start();
    pair.send(3000);
    let lost = pair.last() - kept;
    pair.site.kill();
    replace(&pair.site.data(), &backup);
    pair.site.start();
    pair.send(1000);
    let totals = pair.account(|account| account.close());
    assert_eq!(
        (totals.messages, totals.lost, totals.gaps),
        (3000, lost, 1),
        "{totals:?}"
    );
}

/// Restores the device to an earlier state, from which it comes online at once.
///
/// # Panics
/// When a message is lost.
pub fn older_device(settings: &Settings) {
    let mut pair = Pair::new(settings);
    let backup = settings.folder.join("backup");
    pair.send(1000);
    copy(&pair.device.folder, &backup);
    pair.send(1500);
    replace(&pair.device.folder, &backup);
    pair.send(200);
    let totals = pair.account(|account| account.close_restored());
    assert_eq!((totals.messages, totals.lost), (2700, 0), "{totals:?}");
}

/// Restores the device to an earlier state, from which it gives more numbers than the cloud has of it before it
/// comes online.
///
/// # Panics
/// When a message is lost.
pub fn older_device_that_wrote_on(settings: &Settings) {
    let mut pair = Pair::new(settings);
    let backup = settings.folder.join("backup");
    pair.send(1000);
    copy(&pair.device.folder, &backup);
    pair.send(500);
    replace(&pair.device.folder, &backup);
    pair.proxy.close(true);
    pair.produce(2000);
    pair.proxy.close(false);
    pair.deliver();
    let totals = pair.account(|account| account.close_restored());
    assert_eq!((totals.messages, totals.lost), (3500, 0), "{totals:?}");
}
