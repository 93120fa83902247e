//! A simulated device around the machine: its network, its firmware and the firmware's behaviour in a trial.

use std::collections::VecDeque;
use std::io;

use iottly_protocol::release::{Action, ChunkList, EngineFact, HealthRules, Refusal};
use iottly_protocol::tuf::{encode_hex, sha256_hex};
use iottly_update::{
    Committed, Disk as _, Event, Host, Known, Memory, MetaError, Now, Offer, Planned, PlannedEngine,
    Progress, Running, Slot, Start, StoredEngine, Updater, files,
};

use super::disk::MemDisk;

pub(crate) const OLD: &[u8] = b"the old firmware";
pub(crate) const OLD_STATE: &[u8] = b"state of the old firmware";

pub(crate) fn new_firmware() -> Vec<u8> {
    (0..2500u32).map(|n| (n * 7 % 251) as u8).collect()
}

/// Behaviour of the new firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Good,
    Traps,
    NeverWell,
}

pub(crate) struct Device {
    disk: MemDisk,
    behaviour: Behaviour,
    pub(crate) running: Option<Running>,
    pub(crate) trial: bool,
    pub(crate) reports: Vec<Progress>,
    pub(crate) events: VecDeque<Event>,
    /// Interval of fetches that fail or return wrong bytes.
    pub(crate) flaky: Option<u32>,
    fetches: u32,
    /// True if the new release is a script for an engine that it brings.
    pub(crate) brings: bool,
    /// Digest of the device's own engine, if it runs the old release, a script.
    pub(crate) own_engine: Option<String>,
    /// Engine that the agent carries, of which a copy is kept.
    pub(crate) carries: Option<Vec<u8>>,
    /// Digests of the engines that are offered to scripts.
    pub(crate) offered: Vec<String>,
    /// Start that was asked for last.
    pub(crate) started: Option<Start>,
    /// True if answers come later, or never.
    pub(crate) silent: bool,
    /// Releases in the trusted metadata: digest, number and floor.
    known: Vec<(String, u64, u64)>,
    pub(crate) warnings: Vec<String>,
    pub(crate) now: Now,
}

pub(crate) fn planned() -> Planned {
    let content = new_firmware();
    Planned {
        path: "app/main/2.wasm".into(),
        size: content.len() as u64,
        sha256: sha256_hex(&content),
        release_seq: 2,
        security_floor: 2,
        chunk_size: 1024,
        chunk_root: encode_hex(&ChunkList::of(&content, 1024).root()),
        data_schema: 1,
        health: HealthRules {
            grace_ms: 1000,
            min_ok: 1,
            max_memory: 0,
        },
        engine: None,
    }
}

/// Engine that the new firmware is a script for.
pub(crate) fn engine() -> Vec<u8> {
    (0..1500u32).map(|n| (n * 11 % 241) as u8).collect()
}

/// Engine that the device has of its own.
pub(crate) const OWN_ENGINE: &str = "own";

/// The release as a script whose engine the device has to take with it.
fn planned_with_engine() -> Planned {
    let content = engine();
    Planned {
        engine: Some(PlannedEngine {
            abi: "script 2".into(),
            path: "engine/2.wasm".into(),
            size: content.len() as u64,
            sha256: sha256_hex(&content),
            chunk_size: 1024,
            chunk_root: encode_hex(&ChunkList::of(&content, 1024).root()),
        }),
        ..planned()
    }
}

pub(crate) fn offer(counter: u64) -> Offer {
    Offer {
        id: format!("d-{counter}"),
        document: "{}".into(),
        counter,
        action: Action::Install,
        sha256: planned().sha256,
        deadline_s: 600,
        window: None,
        max_bps: 0,
    }
}

/// Returns what the repository serves as a file.
fn content(file: &Planned) -> Vec<u8> {
    if file.sha256 == planned().sha256 {
        new_firmware()
    } else {
        engine()
    }
}

impl Host for Device {
    fn now(&mut self) -> Now {
        self.now
    }

    fn verify_meta(&mut self, _: &Offer, _: &Memory) -> Option<Result<Planned, MetaError>> {
        let release = if self.brings {
            planned_with_engine()
        } else {
            planned()
        };
        (!self.silent).then_some(Ok(release))
    }

    fn chunk_list(&mut self, file: &Planned) -> Option<Result<Vec<u8>, String>> {
        (!self.silent).then(|| Ok(ChunkList::of(&content(file), 1024).encode()))
    }

    fn part(&mut self, file: &Planned, from: u64, len: u64) -> Option<Result<Vec<u8>, String>> {
        if self.silent {
            return None;
        }
        self.fetches += 1;
        let from = usize::try_from(from).expect("small");
        let mut part = content(file)[from..from + usize::try_from(len).expect("small")].to_vec();
        Some(match self.flaky {
            Some(every) if self.fetches.is_multiple_of(every) => Err("the line broke".into()),
            Some(every) if (self.fetches + 1).is_multiple_of(every) => {
                part[0] ^= 1;
                Ok(part)
            }
            _ => Ok(part),
        })
    }

    fn identify(&mut self, sha256: &str) -> Option<Known> {
        let (release_seq, security_floor) = self
            .known
            .iter()
            .find(|(digest, ..)| digest == sha256)
            .map(|(_, seq, floor)| (*seq, *floor))?;
        Some(Known {
            release_seq,
            security_floor,
            data_schema: 1,
        })
    }

    fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    fn own_engines(&mut self) -> Vec<EngineFact> {
        let of = |content: &Vec<u8>| EngineFact {
            abi: "script 1".to_owned(),
            sha256: sha256_hex(content),
        };
        self.carries.iter().map(of).collect()
    }

    fn own_engine(&mut self, sha256: &str) -> Option<Vec<u8>> {
        self.carries
            .clone()
            .filter(|content| sha256_hex(content) == sha256)
    }

    fn offer_engines(&mut self, engines: &[StoredEngine]) {
        for engine in engines {
            let content = self.disk.content(engine.file()).expect("the engine's file");
            assert_eq!(
                sha256_hex(&content),
                engine.sha256,
                "an unchecked engine is offered"
            );
        }
        self.offered = engines.iter().map(|engine| engine.sha256.clone()).collect();
    }

    fn engine_of(&mut self, file: &str) -> Option<String> {
        let content = self.disk.content(file)?;
        if content == OLD {
            return self.own_engine.clone();
        }
        self.offered.first().filter(|_| self.brings).cloned()
    }

    fn check_image(&mut self, file: &str, _: &Planned) -> Result<Option<String>, Refusal> {
        assert_eq!(
            self.disk.content(file).expect("the slot"),
            new_firmware(),
            "an unchecked image reaches the compiler"
        );
        let engine = self.engine_of(file);
        assert_eq!(
            engine.is_some(),
            self.brings,
            "the engine comes before its script"
        );
        Ok(engine)
    }

    fn start(&mut self, start: &Start) {
        self.running = Some(start.firmware);
        self.started = Some(start.clone());
        self.trial = start.trial.is_some();
        if self.trial {
            // The new firmware writes its state at once.
            if start.firmware != Running::Slot(Slot::A) {
                let mut disk = self.disk.clone();
                let _ = disk
                    .write_at("firmware.state", 0, b"NEW")
                    .and_then(|()| disk.sync("firmware.state"));
            }
            match self.behaviour {
                Behaviour::Good => self.events.push_back(Event::Healthy),
                Behaviour::Traps => self.events.push_back(Event::Trapped("unreachable".into())),
                Behaviour::NeverWell => {}
            }
        }
    }

    fn stop(&mut self) {
        self.running = None;
        self.trial = false;
    }

    fn report(&mut self, progress: Progress) {
        self.reports.push(progress);
    }
}

/// Returns a device that has run the old release for long.
pub(crate) fn seasoned() -> MemDisk {
    let mut disk = MemDisk::default();
    let (mut journal, ..) = iottly_update::Journal::open(&mut disk).expect("empty");
    let committed = Committed {
        slot: Slot::A,
        sha256: sha256_hex(OLD),
        release_seq: 1,
        data_schema: 1,
        engine: None,
        refused_engine: None,
        health: planned().health,
    };
    let memory = Memory {
        counter: 1,
        floor: 1,
        committed: Some(committed),
        ..Memory::default()
    };
    for _ in 0..3 {
        journal.write(&mut disk, &memory).expect("journal");
    }
    disk.write_at(files::slot_file(Slot::A), 0, OLD).expect("slot");
    disk.sync(files::slot_file(Slot::A)).expect("slot");
    disk.write_at("firmware.state", 0, OLD_STATE).expect("state");
    disk.sync("firmware.state").expect("state");
    files::point(&mut disk, Running::Slot(Slot::A)).expect("pointer");
    disk
}

pub(crate) fn now(mono_ms: u64) -> Now {
    Now {
        unix: 1_800_000_000 + mono_ms / 1000,
        clock_trusted: true,
        mono_ms,
    }
}

pub(crate) fn boot(disk: &MemDisk, behaviour: Behaviour, at_ms: u64) -> io::Result<Updater<MemDisk, Device>> {
    boot_with(disk, behaviour, at_ms, |_| {})
}

/// Starts a device after a change of its host.
pub(crate) fn boot_with(
    disk: &MemDisk,
    behaviour: Behaviour,
    at_ms: u64,
    change: impl FnOnce(&mut Device),
) -> io::Result<Updater<MemDisk, Device>> {
    let mut host = Device {
        disk: disk.clone(),
        behaviour,
        running: None,
        trial: false,
        reports: vec![],
        events: VecDeque::new(),
        flaky: None,
        fetches: 0,
        brings: false,
        own_engine: None,
        carries: None,
        offered: vec![],
        started: None,
        silent: false,
        known: vec![(sha256_hex(OLD), 1, 1), (planned().sha256, 2, 2)],
        warnings: vec![],
        now: now(at_ms),
    };
    change(&mut host);
    Updater::boot(disk.clone(), host)
}

/// Handles an event at a time.
pub(crate) fn feed(updater: &mut Updater<MemDisk, Device>, event: Event, at: Now) -> io::Result<()> {
    updater.host().now = at;
    updater.handle(event)
}

/// Lets time pass until no update is under way.
pub(crate) fn settle(updater: &mut Updater<MemDisk, Device>, at_ms: &mut u64) -> io::Result<()> {
    for _ in 0..1000 {
        while let Some(event) = updater.host().events.pop_front() {
            feed(updater, event, now(*at_ms))?;
        }
        if updater.memory().attempt.is_none() {
            return Ok(());
        }
        *at_ms = updater.wake_at().unwrap_or(*at_ms + 1000).max(*at_ms + 1);
        feed(updater, Event::Tick, now(*at_ms))?;
    }
    panic!("the update never ends: {:?}", updater.memory());
}

/// Returns the content that the device runs.
pub(crate) fn runs(updater: &mut Updater<MemDisk, Device>) -> Option<Vec<u8>> {
    match updater.host().running? {
        Running::Factory => Some(b"factory".to_vec()),
        Running::Slot(slot) => updater.disk().content(files::slot_file(slot)),
    }
}
