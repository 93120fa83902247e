//! Faults, their random order, and how often each happened.

use std::collections::BTreeMap;
use std::time::Duration;

use iottly_protocol::{ConnId, Status, Topic};
use rumqttc::{AsyncClient, LastWill, MqttOptions, QoS};
use tokio::runtime::Handle;

use super::World;
use super::site::Device;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Ends one device's connection in the middle of a packet.
    Cut,
    /// Ends every connection in the middle of a packet.
    CutAll,
    /// Delays all traffic of one device.
    Delay,
    /// Holds all traffic of one device, then ends its connection.
    Freeze,
    /// Ends the cloud's side of one device's connection without a notice to the device.
    Abandon,
    KillCloud,
    KillAgents,
    KillBoard,
    LockDatabase,
    FillCloudDisk,
    FillDeviceDisk,
    /// Connects another client with the id and secret of a device.
    Impostor,
}

/// All kinds; a schedule uses each of them before it repeats one.
const ALL: [Fault; 12] = [
    Fault::Cut,
    Fault::CutAll,
    Fault::Delay,
    Fault::Freeze,
    Fault::Abandon,
    Fault::KillCloud,
    Fault::KillAgents,
    Fault::KillBoard,
    Fault::LockDatabase,
    Fault::FillCloudDisk,
    Fault::FillDeviceDisk,
    Fault::Impostor,
];

/// Faults in a random order.
pub(crate) struct Schedule {
    random: u64,
    bag: Vec<Fault>,
    pub(crate) counts: BTreeMap<Fault, u64>,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            bag: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % bound as u64).expect("below a usize")
    }

    fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }

    pub(crate) fn next(&mut self) -> Fault {
        if self.bag.is_empty() {
            self.bag = ALL.to_vec();
        }
        let at = self.below(self.bag.len());
        let fault = self.bag.swap_remove(at);
        *self.counts.entry(fault).or_default() += 1;
        fault
    }

    /// Returns whether every kind of fault has happened.
    pub(crate) fn had_all(&self) -> bool {
        self.counts.len() == ALL.len()
    }
}

impl World<'_> {
    /// Injects a fault, and ends those that would not end by themselves.
    pub(crate) fn perform(&mut self, fault: Fault) {
        let one = self.schedule.below(self.proxies.len());
        let host = self.schedule.below(self.hosts.len());
        let (short, long) = (self.schedule.millis(100, 1000), self.schedule.millis(1000, 3000));
        match fault {
            Fault::Cut => self.proxies[one].cut(),
            Fault::CutAll => self.proxies.iter().for_each(super::proxy::Proxy::cut),
            Fault::Delay => {
                self.proxies[one].delay(short / 5);
                std::thread::sleep(long);
                self.proxies[one].delay(Duration::ZERO);
            }
            Fault::Freeze => {
                self.proxies[one].freeze(true);
                std::thread::sleep(long);
                self.proxies[one].cut();
                self.proxies[one].freeze(false);
            }
            Fault::Abandon => self.proxies[one].abandon(),
            Fault::KillCloud => {
                self.site.kill();
                std::thread::sleep(short);
                self.site.start();
            }
            Fault::KillAgents => {
                self.hosts[host].kill();
                self.hosts[host].start();
            }
            Fault::KillBoard => {
                self.board.kill();
                self.board.start(&self.settings.agent);
            }
            Fault::LockDatabase => self.site.lock_database(self.runtime.handle(), long),
            Fault::FillCloudDisk => self.site.fill_disk(long),
            Fault::FillDeviceDisk => self.hosts[host].fill_disk(short),
            Fault::Impostor => {
                let device = self.hosts[host]
                    .devices()
                    .next()
                    .expect("a host has devices")
                    .clone();
                impostor(self.runtime.handle(), self.site.mqtt, &device, short);
            }
        }
    }
}

/// Connects with a device's own id and secret for `time`; the broker then disconnects the device.
fn impostor(runtime: &Handle, mqtt: u16, device: &Device, time: Duration) {
    let config = iottly_agent::AgentConfig::read(&device.folder.join("agent.toml")).expect("a configuration");
    let secret = std::fs::read_to_string(device.folder.join("agent.toml")).expect("a configuration");
    let secret = secret
        .lines()
        .find_map(|line| line.strip_prefix("secret = "))
        .expect("a secret")
        .trim_matches('"')
        .to_owned();
    let id = config.device_id;
    let mut options = MqttOptions::new(id.to_string(), "127.0.0.1", mqtt);
    options
        .set_credentials(id.to_string(), secret)
        .set_keep_alive(Duration::from_secs(5));
    let will = Status::new(ConnId::random(), false).encode();
    options.set_last_will(LastWill::new(
        Topic::Status(id).to_string(),
        will,
        QoS::AtLeastOnce,
        true,
    ));
    runtime.block_on(async {
        let (client, mut events) = AsyncClient::new(options, 8);
        client
            .try_subscribe(Topic::Down(id).to_string(), QoS::AtLeastOnce)
            .expect("room");
        // Until the time is over or the device has reconnected.
        let poll = async { while events.poll().await.is_ok() {} };
        let _ = tokio::time::timeout(time, poll).await;
    });
}
