//! The loss oracle: a real cloud, real agents, faults between and around them, and a final audit.
//!
//! Each message carries the name of its run and a counter. The audit compares the history with what the devices
//! report as sent: every number of every stream is one entry or part of one gap, and every counter is there or a
//! gap is in its place.

mod account;
mod faults;
mod fleet;
mod host;
mod proxy;
mod restore;
mod site;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use account::notices_what_is_wrong;
use account::{Account, Sent, Totals};
use faults::Schedule;
use fleet::{Board, Host};
use host::Load;
pub use host::{AGENTS, run_agents};
use proxy::Proxy;
pub use restore::{older_cloud, older_device, older_device_that_wrote_on};
use serde_json::json;
pub use site::{Device, Site};
use tokio::runtime::Runtime;

use crate::free_port;

/// Longest time without any progress.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Budget of the queue of the device that has to drop messages, and size of the filling of its messages, both
/// in bytes.
const SMALL_QUEUE: (u64, usize) = (4 << 20, 2000);
/// Commands sent before each fault.
const COMMANDS: u64 = 2;

/// Size of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Path of `iottly`.
    pub iottly: PathBuf,
    /// Path of `iottly-agent`.
    pub agent: PathBuf,
    /// Empty folder for all data.
    pub folder: PathBuf,
    /// Messages of all devices together.
    pub messages: u64,
    /// Processes that hold agents.
    pub hosts: usize,
    /// Devices in each process.
    pub devices: usize,
    /// Time over which the messages are sent when no fault delays them.
    pub time: Duration,
    /// Seed of the order of the faults.
    pub seed: u64,
}

/// All processes of a run.
pub(crate) struct World<'s> {
    pub(crate) settings: &'s Settings,
    pub(crate) site: Site,
    pub(crate) hosts: Vec<Host>,
    pub(crate) board: Board,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) schedule: Schedule,
    pub(crate) runtime: Runtime,
    began: Instant,
    commands: Vec<String>,
}

/// Returns ports of this process as [`free_port`] does.
pub fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_port())
}

/// Polls until `check` holds.
///
/// # Panics
/// When `progress` has not changed for [`PATIENCE`].
pub(crate) fn wait_for(what: &str, check: impl FnMut() -> bool, progress: impl Fn() -> u64) {
    assert!(
        comes_true(check, progress),
        "waited {} s for {what}",
        PATIENCE.as_secs()
    );
}

fn comes_true(mut check: impl FnMut() -> bool, progress: impl Fn() -> u64) -> bool {
    let (mut seen, mut since) = (progress(), Instant::now());
    while !check() {
        let now = progress();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        if since.elapsed() >= PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// Runs everything; returns a summary in one line.
///
/// # Panics
/// When a message is lost or repeated, or something does not end.
pub fn run(settings: &Settings) -> String {
    let began = Instant::now();
    let mut world = World::new(settings);
    world.overflow();
    world.misfortune();
    world.settle();
    let totals = world.audit();
    let per_device = settings.messages / (settings.hosts * settings.devices) as u64;
    let expected = per_device * (settings.hosts * settings.devices) as u64;
    assert!(
        totals.messages + totals.lost >= expected,
        "{totals:?} for {expected} messages"
    );
    assert!(
        totals.gaps > 0 && totals.lost > 0,
        "the device with the small queue dropped nothing: {totals:?}"
    );
    assert!(totals.unclean > 0, "no unclean stop was reported");
    let counts: Vec<_> = world
        .schedule
        .counts
        .iter()
        .map(|(fault, count)| format!("{fault:?} {count}"))
        .collect();
    format!(
        "{} messages stored once, {} numbers lost in {} gaps, {} unclean stops reported, {} commands settled, in {} s; seed {}; {}",
        totals.messages,
        totals.lost,
        totals.gaps,
        totals.unclean,
        world.commands.len(),
        began.elapsed().as_secs(),
        settings.seed,
        counts.join(", "),
    )
}

impl<'s> World<'s> {
    fn new(settings: &'s Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let [http, mqtt] = free_ports();
        let mut site = Site::new(&settings.iottly, &settings.folder, [http, mqtt]);
        site.start();
        let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, mqtt));
        let mut proxies = Vec::new();
        let mut device = |name: &str| {
            let proxy = Proxy::start(runtime.handle(), broker);
            let device = site.provision(name, &proxy.address.to_string());
            proxies.push(proxy);
            device
        };
        let count = settings.messages / (settings.hosts * settings.devices) as u64;
        let per_second = (count / settings.time.as_secs().max(1)).max(1);
        let hosts = (0..settings.hosts).map(|host| {
            let devices = (0..settings.devices).map(|index| {
                // The first is the one with the small queue, the second sends a few messages of a megabyte.
                let load = match (host, index) {
                    (0, 0) => Load {
                        count,
                        per_second,
                        bytes: SMALL_QUEUE.1,
                        large_every: 0,
                    },
                    (0, 1) => Load {
                        count,
                        per_second,
                        bytes: 20,
                        large_every: (count / 20).max(1),
                    },
                    _ => Load {
                        count,
                        per_second,
                        bytes: 20 * (index % 8),
                        large_every: 0,
                    },
                };
                (device(&format!("device-{host}-{index}")), load)
            });
            Host::new(&format!("host-{host}"), devices.collect())
        });
        let hosts: Vec<_> = hosts.collect();
        let board = Board::new(device("board"));
        let first = hosts[0]
            .devices()
            .next()
            .expect("a device")
            .folder
            .join("agent.toml");
        let config = std::fs::read_to_string(&first).expect("a configuration");
        std::fs::write(
            &first,
            format!("{config}\n[queue]\ndisk_bytes = {}\n", SMALL_QUEUE.0),
        )
        .expect("written");
        let schedule = Schedule::new(settings.seed);
        let mut world = Self {
            settings,
            site,
            hosts,
            board,
            proxies,
            schedule,
            runtime,
            began: Instant::now(),
            commands: Vec::new(),
        };
        world.hosts.iter_mut().for_each(Host::start);
        world.board.start(&settings.agent);
        world
    }

    /// Describes what is in the queues, for a failure's message.
    fn queues(&self) -> String {
        let devices = self.hosts.iter().flat_map(Host::devices);
        let report = |device: &site::Device| {
            let mut command = std::process::Command::new(&self.settings.agent);
            let output = command
                .args(["queue", "--output", "json", "--data"])
                .arg(&device.folder)
                .output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            format!("{}: {}\n", device.folder.display(), text.unwrap_or_default())
        };
        devices.map(report).collect()
    }

    /// Keeps the first device offline until it has made more messages than its queue can hold.
    fn overflow(&mut self) {
        self.proxies[0].close(true);
        let enough = 2 * SMALL_QUEUE.0 / SMALL_QUEUE.1 as u64;
        let host = &self.hosts[0];
        let made = || host.told().sent[0].runs[0].1;
        wait_for("a queue to overflow", || made() > enough, made);
        self.proxies[0].close(false);
    }

    /// Injects one fault after the other until everything is sent and every kind of fault has happened.
    fn misfortune(&mut self) {
        let mut sent = 0;
        while !(self.schedule.had_all() && self.hosts.iter().all(Host::has_produced)) {
            for _ in 0..COMMANDS {
                let body = json!({"cmd_type": "echo", "values": {"echo.content": format!("command {sent}")}});
                sent += 1;
                if let Some((200, answer)) = self.site.post(&self.board.device, "command", &body) {
                    self.commands
                        .push(answer["id"].as_str().expect("an id").to_owned());
                }
            }
            let fault = self.schedule.next();
            eprintln!("{:>6} ms: {fault:?}", self.began.elapsed().as_millis());
            self.perform(fault);
            let pause = 300 + self.schedule.below(700) as u64;
            std::thread::sleep(Duration::from_millis(pause));
            let hosts = &self.hosts;
            wait_for("agents to start", || hosts.iter().all(Host::is_ready), || 0);
        }
    }

    /// Waits, without faults, until everything has arrived.
    fn settle(&mut self) {
        self.hosts.iter_mut().for_each(Host::finish);
        // No short-circuit: asking a host is what advances it.
        let done = || {
            self.hosts
                .iter_mut()
                .map(|host| usize::from(!host.is_done()))
                .sum::<usize>()
                == 0
        };
        assert!(
            comes_true(done, || 0),
            "the queues do not empty, seed {}:\n{}",
            self.settings.seed,
            self.queues()
        );
        for id in &self.commands {
            let path = format!("commands/{id}");
            let state = || {
                self.site
                    .get(&self.board.device, &path)
                    .map(|(_, command)| command["state"].clone())
            };
            let settled = || {
                state()
                    .is_some_and(|state| state == "answered" || state == "failed" || state == "interrupted")
            };
            wait_for(
                &format!("command {id} to be settled, it is {:?}", state()),
                settled,
                || 0,
            );
        }
        self.board.kill();
    }

    fn audit(&self) -> Totals {
        let mut sum = Totals::default();
        let unknown = Sent::default();
        let told: Vec<_> = self
            .hosts
            .iter()
            .flat_map(|host| host.devices().cloned().zip(host.sent()))
            .collect();
        let devices = told
            .iter()
            .map(|(device, sent)| (device, sent))
            .chain([(&self.board.device, &unknown)]);
        for (device, sent) in devices {
            let mut account = Account::new(sent);
            let closed = account
                .read(self.site.export(device))
                .and_then(|()| account.close());
            let totals = closed.unwrap_or_else(|wrong| {
                panic!(
                    "{}, seed {}: {wrong}",
                    device.folder.display(),
                    self.settings.seed
                )
            });
            sum.messages += totals.messages;
            sum.lost += totals.lost;
            sum.gaps += totals.gaps;
            sum.unclean += totals.unclean;
        }
        sum
    }
}
