//! The devices' side: processes of agents, what they report, and one agent with real firmware.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::account::Sent;
use super::host::{AGENTS, Load};
use super::site::Device;

/// A process of agents and the devices in it, over all its restarts.
pub(crate) struct Host {
    name: String,
    lives: u32,
    devices: Vec<(Device, Load)>,
    process: Option<(Child, JoinHandle<()>)>,
    told: Arc<Mutex<Told>>,
}

/// Reports of the devices of a host.
#[derive(Debug, Default)]
pub(crate) struct Told {
    ready: bool,
    done: bool,
    pub(crate) sent: Vec<Sent>,
    /// Count of all reports.
    pub(crate) lines: u64,
    produced: Vec<bool>,
}

impl Host {
    pub(crate) fn new(name: &str, devices: Vec<(Device, Load)>) -> Self {
        let told = Told {
            sent: vec![Sent::default(); devices.len()],
            produced: vec![false; devices.len()],
            ..Told::default()
        };
        Self {
            name: name.to_owned(),
            lives: 0,
            devices,
            process: None,
            told: Arc::new(Mutex::new(told)),
        }
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().map(|(device, _)| device)
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.told().sent.clone()
    }

    /// Gives every device `messages` more messages to send.
    pub(crate) fn expect(&mut self, messages: u64) {
        self.devices
            .iter_mut()
            .for_each(|(_, load)| load.count += messages);
    }

    /// Starts the agents; each sends again what its earlier runs have not sent for certain.
    pub(crate) fn start(&mut self) {
        self.lives += 1;
        let run = format!("{}-{:03}", self.name, self.lives);
        // Ignores the signal of the limit of file size, so that the write itself fails.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().expect("a program"));
        command.arg(AGENTS).arg(&run).env("IOTTLY_LOG", "error");
        for (index, (device, load)) in self.devices.iter().enumerate() {
            let mut told = self.told();
            let durable: u64 = told.sent[index].runs.iter().map(|(_, durable)| durable).sum();
            let load = Load {
                count: load.count.saturating_sub(durable).max(1),
                ..*load
            };
            told.sent[index].runs.push((run.clone(), 0));
            (told.produced[index], told.ready, told.done) = (false, false, false);
            command.arg(format!("{load}={}", device.folder.display()));
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("agents start");
        let out = BufReader::new(process.stdout.take().expect("piped"));
        let told = Arc::clone(&self.told);
        let reader = std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                told.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .hear(&line, &run);
            }
        });
        self.process = Some((process, reader));
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.told().ready
    }

    pub(crate) fn has_produced(&self) -> bool {
        self.told().produced.iter().all(|produced| *produced)
    }

    pub(crate) fn kill(&mut self) {
        let (mut process, reader) = self.process.take().expect("agents run");
        process.kill().expect("kill");
        process.wait().expect("wait");
        reader.join().expect("what the agents said was understood");
    }

    /// Stops the growth of every file of these devices for `time`.
    pub(crate) fn fill_disk(&self, time: Duration) {
        let pid = Pid::from_child(&self.process.as_ref().expect("agents run").0);
        let whole = getrlimit(Resource::Fsize);
        prlimit(
            Some(pid),
            Resource::Fsize,
            Rlimit {
                current: Some(1),
                ..whole
            },
        )
        .expect("limit");
        std::thread::sleep(time);
        prlimit(Some(pid), Resource::Fsize, whole).expect("no limit");
    }

    /// Asks the agents to end once the cloud has everything.
    pub(crate) fn finish(&mut self) {
        let stdin = self
            .process
            .as_mut()
            .and_then(|(process, _)| process.stdin.as_mut())
            .expect("agents run");
        writeln!(stdin, "finish").expect("the agents listen");
    }

    /// Returns whether the agents have ended after [`Host::finish`].
    pub(crate) fn is_done(&mut self) -> bool {
        let ended = self
            .process
            .as_mut()
            .is_none_or(|(process, _)| process.try_wait().expect("wait").is_some());
        if ended && let Some((_, reader)) = self.process.take() {
            reader.join().expect("what the agents said was understood");
        }
        let done = self.told().done;
        assert!(
            done || !ended,
            "agents of {} ended before they were done",
            self.name
        );
        done && ended
    }
}

impl Told {
    fn hear(&mut self, line: &str, run: &str) {
        let mut words = line.split(' ');
        let word = words.next().unwrap_or_default();
        let index = words
            .next()
            .and_then(|index| index.parse::<usize>().ok())
            .unwrap_or(0);
        match word {
            "ready" => self.ready = true,
            "done" => self.done = true,
            "produced" => self.produced[index] = true,
            "durable" => {
                let count = words
                    .next()
                    .and_then(|count| count.parse().ok())
                    .expect("a count");
                let known = self.sent[index].runs.iter_mut().find(|(name, _)| name == run);
                known.expect("runs are noted before they start").1 = count;
            }
            "stream" => {
                let (stream, last) = (
                    words.next().expect("a stream"),
                    words.next().and_then(|last| last.parse().ok()),
                );
                self.sent[index].stream = Some((stream.to_owned(), last.expect("a number")));
            }
            other => panic!("the agents said {other:?}"),
        }
        self.lines += 1;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some((process, _)) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The real agent program with a firmware that counts.
pub(crate) struct Board {
    pub(crate) device: Device,
    process: Option<Child>,
}

/// A script that counts up, ten messages at a time, and answers `echo` as every script does. The name of a run is
/// the time of its start.
const COUNTER: &str = r"
let n = 0, run;
function init() { run = 'firmware-' + Date.now(); }
function loop() {
  for (let i = 0; i < 10; i++) { send_msg({ run, n }); n++; }
  return 50;
}
";

impl Board {
    pub(crate) fn new(device: Device) -> Self {
        std::fs::write(device.folder.join("firmware.wasm"), crate::build(COUNTER)).expect("firmware");
        Self {
            device,
            process: None,
        }
    }

    pub(crate) fn start(&mut self, program: &Path) {
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg("--data")
            .arg(&self.device.folder)
            .env("IOTTLY_LOG", "error")
            .stdin(Stdio::null());
        self.process = Some(command.spawn().expect("the agent starts"));
    }

    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("the agent runs");
        process.kill().expect("kill");
        process.wait().expect("wait");
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
