//! Script engines: one that a release brings survives power cuts, and another one than before is a trial.

use iottly_protocol::release::{Ending, UpdateState};
use iottly_protocol::tuf::sha256_hex;
use iottly_update::{Disk as _, Event, Journal, Memory, Running, Slot, StoredEngine, Updater};

use super::device::{
    Behaviour, Device, OLD, OWN_ENGINE, boot_with, engine, feed, now, offer, planned, runs, seasoned, settle,
};
use super::disk::{Luck, MemDisk};
use super::sweep_of;

const NEW_ENGINE: &str = "new";
const FILE: &str = "update/engine-0.wasm";
const FILES: [&str; 2] = [FILE, "update/engine-1.wasm"];

fn assert_sweep(behaviour: Behaviour, end: &str) {
    let (cuts, table, failures) = sweep_of(behaviour, false, true);
    assert!(
        failures.is_empty(),
        "{} of {cuts}: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(cuts > 1000, "{cuts} cuts");
    assert!(table.keys().all(|(_, found)| *found == end), "{table:?}");
}

#[test]
fn an_engine_that_a_release_brings_survives_a_cut_at_any_step() {
    assert_sweep(Behaviour::Good, "new");
}

#[test]
fn an_engine_goes_with_the_release_that_brought_it_and_failed() {
    assert_sweep(Behaviour::Traps, "old");
}

/// Changes the journal of a device.
fn rewrite(disk: &MemDisk, change: impl FnOnce(&mut Memory)) {
    let mut disk = disk.clone();
    let (mut journal, mut memory, _) = Journal::open(&mut disk).expect("journal");
    change(&mut memory);
    journal.write(&mut disk, &memory).expect("journal");
}

/// Returns a device whose old release is a script that was committed on the device's own engine.
fn scripted() -> MemDisk {
    let disk = seasoned();
    rewrite(&disk, |memory| {
        let committed = memory.committed.as_mut().expect("committed");
        committed.engine = Some(OWN_ENGINE.to_owned());
    });
    disk
}

/// Starts a device whose agent carries this engine.
fn start(disk: &MemDisk, behaviour: Behaviour, own: &str) -> Updater<MemDisk, Device> {
    boot_with(disk, behaviour, 0, |device| {
        device.own_engine = Some(own.to_owned())
    })
    .expect("start")
}

/// Lets the events of the firmware and the grace period pass.
fn rest(updater: &mut Updater<MemDisk, Device>) {
    for at_ms in [500, 1_000, 5_000] {
        while let Some(event) = updater.host().events.pop_front() {
            feed(updater, event, now(at_ms)).expect("event");
        }
        if updater.wake_at().is_some_and(|wake| wake <= at_ms) {
            feed(updater, Event::Tick, now(at_ms)).expect("tick");
        }
    }
}

fn committed_on(updater: &Updater<MemDisk, Device>) -> (Option<String>, Option<String>) {
    let committed = updater.memory().committed.clone().expect("committed");
    (committed.engine, committed.refused_engine)
}

fn named(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn the_same_engine_is_no_trial() {
    let disk = scripted();
    let mut updater = start(&disk, Behaviour::Good, OWN_ENGINE);
    assert!(!updater.host().trial);
    assert_eq!(updater.memory().engine_trial, None);
}

#[test]
fn a_release_of_an_older_journal_gets_its_engine_recorded_without_a_trial() {
    let disk = seasoned();
    let mut updater = start(&disk, Behaviour::Good, OWN_ENGINE);
    assert!(!updater.host().trial);
    assert_eq!(committed_on(&updater), (named(OWN_ENGINE), None));
}

#[test]
fn a_script_passes_its_trial_on_a_new_engine_and_stays_on_it() {
    let disk = scripted();
    let mut updater = start(&disk, Behaviour::Good, NEW_ENGINE);
    let begun = updater.host().started.clone().expect("started");
    assert_eq!(begun.trial, Some(planned().health), "by the release's own rules");
    rest(&mut updater);
    assert_eq!(committed_on(&updater), (named(NEW_ENGINE), None));
    assert_eq!(updater.memory().engine_trial, None);
    assert_eq!(updater.host().reports, []);
    assert!(!start(&disk, Behaviour::Good, NEW_ENGINE).host().trial, "once");
}

#[test]
fn a_script_that_fails_on_a_new_engine_is_reported_once_and_goes_on_without_an_older_one() {
    for behaviour in [Behaviour::Traps, Behaviour::NeverWell] {
        let disk = scripted();
        let mut updater = start(&disk, behaviour, NEW_ENGINE);
        rest(&mut updater);
        let report = updater.host().reports.pop().expect("a report");
        assert_eq!(report.state, UpdateState::Ended(Ending::Failed));
        assert_eq!((report.id.as_str(), report.sha256), ("", sha256_hex(OLD)));
        let detail = report.why.expect("a reason").detail;
        assert!(
            detail.contains("failed on the new engine new") && detail.contains("no older engine"),
            "{detail}"
        );
        assert_eq!(runs(&mut updater), Some(OLD.to_vec()));
        assert!(!updater.host().trial);
        let mut updater = start(&disk, behaviour, NEW_ENGINE);
        rest(&mut updater);
        assert_eq!((updater.host().trial, updater.host().reports.len()), (false, 0));
    }
}

#[test]
fn a_script_that_fails_on_a_new_engine_goes_back_to_the_one_that_is_stored() {
    let disk = scripted();
    let stored = StoredEngine {
        abi: "script 1".to_owned(),
        sha256: sha256_hex(&engine()),
        place: 0,
    };
    rewrite(&disk, |memory| {
        memory.committed.as_mut().expect("committed").engine = Some(stored.sha256.clone());
        memory.engines = vec![stored.clone()];
    });
    let mut files = disk.clone();
    files.write_at(FILE, 0, &engine()).expect("written");
    files.sync(FILE).expect("synced");
    files.sync_names().expect("synced");
    let mut updater = start(&disk, Behaviour::Traps, NEW_ENGINE);
    rest(&mut updater);
    let report = updater.host().reports.pop().expect("a report");
    assert_eq!(report.state, UpdateState::Ended(Ending::RolledBack));
    for mut updater in [updater, start(&disk, Behaviour::Traps, NEW_ENGINE)] {
        let started = updater.host().started.clone().expect("started");
        assert_eq!(
            (started.firmware, started.trial, started.engine),
            (Running::Slot(Slot::A), None, Some(stored.sha256.clone()))
        );
    }
    // Another new engine is tried again, and the stored one goes once it has passed.
    let mut updater = start(&disk, Behaviour::Good, "newer");
    assert!(updater.host().trial);
    rest(&mut updater);
    assert_eq!(committed_on(&updater), (named("newer"), None));
    assert_eq!(updater.memory().engines, []);
    assert_eq!(disk.content(FILE), None);
}

#[test]
fn a_board_that_restarts_in_every_trial_of_an_engine_ends_it() {
    let disk = scripted();
    for boots in 1..=3 {
        let updater = start(&disk, Behaviour::NeverWell, NEW_ENGINE);
        assert_eq!(
            updater.memory().engine_trial.as_ref().map(|trial| trial.boots),
            Some(boots)
        );
    }
    let mut updater = start(&disk, Behaviour::NeverWell, NEW_ENGINE);
    assert_eq!(updater.memory().engine_trial, None);
    let report = updater.host().reports.pop().expect("a report");
    assert!(report.why.expect("a reason").detail.contains("restarted 3 times"));
    assert!(!updater.host().trial);
}

#[test]
fn a_directive_takes_the_place_of_a_trial_on_a_new_engine() {
    let disk = scripted();
    let mut updater = start(&disk, Behaviour::Good, NEW_ENGINE);
    updater.host().events.clear();
    let mut at_ms = 0;
    feed(&mut updater, Event::Offer(offer(2)), now(at_ms)).expect("offer");
    assert_eq!(updater.memory().engine_trial, None);
    settle(&mut updater, &mut at_ms).expect("settled");
    assert_eq!(runs(&mut updater), Some(super::new_firmware()));
}

#[test]
fn a_script_without_an_engine_is_not_run() {
    let disk = scripted();
    let mut updater = boot_with(&disk, Behaviour::Good, 0, |_| {}).expect("start");
    assert_eq!(runs(&mut updater), Some(b"factory".to_vec()));
    assert!(updater.host().warnings[0].contains("no engine of this device runs the script"));
    assert_eq!(
        updater.memory().committed,
        None,
        "the cloud may send the release again, with an engine"
    );
}

#[test]
fn a_damaged_engine_is_not_offered() {
    let disk = seasoned();
    let mut at_ms = 0;
    let mut updater = boot_with(&disk, Behaviour::Good, 0, |device| device.brings = true).expect("start");
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    settle(&mut updater, &mut at_ms).expect("settled");
    assert_eq!(updater.host().offered, [sha256_hex(&engine())]);
    let mut files = disk.clone();
    files.write_at(FILE, 0, b"x").expect("written");
    files.sync(FILE).expect("synced");
    let mut updater = boot_with(&disk, Behaviour::Good, 0, |device| device.brings = true).expect("start");
    assert!(updater.host().offered.is_empty());
    assert_eq!(runs(&mut updater), Some(b"factory".to_vec()));
}

/// Engine that the agent carries, and the next one that it carries after it was replaced.
const CARRIED: [&[u8]; 2] = [b"the engine of this agent", b"the engine of the next agent"];

/// Starts a device whose agent carries one of [`CARRIED`].
fn start_carrying(
    disk: &MemDisk,
    behaviour: Behaviour,
    which: usize,
) -> std::io::Result<Updater<MemDisk, Device>> {
    boot_with(disk, behaviour, 0, |device| {
        device.own_engine = Some(sha256_hex(CARRIED[which]));
        device.carries = Some(CARRIED[which].to_vec());
    })
}

#[test]
fn a_script_goes_back_to_the_former_engine_of_the_agent() {
    let disk = seasoned();
    let mut updater = start_carrying(&disk, Behaviour::Good, 0).expect("start");
    assert_eq!(disk.content(FILE).as_deref(), Some(CARRIED[0]), "a copy is kept");
    assert_eq!(updater.host().warnings, Vec::<String>::new());

    let mut updater = start_carrying(&disk, Behaviour::Traps, 1).expect("start");
    assert!(updater.host().trial);
    rest(&mut updater);
    let report = updater.host().reports.pop().expect("a report");
    assert_eq!(report.state, UpdateState::Ended(Ending::RolledBack));
    for mut updater in [
        updater,
        start_carrying(&disk, Behaviour::Traps, 1).expect("start"),
    ] {
        let started = updater.host().started.clone().expect("started");
        assert_eq!(
            (started.firmware, started.trial, started.engine),
            (Running::Slot(Slot::A), None, Some(sha256_hex(CARRIED[0])))
        );
    }
    assert_eq!(disk.content(FILE).as_deref(), Some(CARRIED[0]));
}

#[test]
fn one_copy_of_the_agents_engine_is_kept() {
    let disk = seasoned();
    start_carrying(&disk, Behaviour::Good, 0).expect("start");
    let mut updater = start_carrying(&disk, Behaviour::Good, 1).expect("start");
    rest(&mut updater);
    assert_eq!(updater.memory().engines.len(), 1);
    let place = usize::from(updater.memory().engines[0].place);
    assert_eq!(disk.content(FILES[place]).as_deref(), Some(CARRIED[1]));
    assert_eq!(disk.content(FILES[1 - place]), None);
    // A release that is no script needs none.
    feed(&mut updater, Event::Offer(offer(2)), now(10_000)).expect("offer");
    settle(&mut updater, &mut 10_000).expect("settled");
    assert_eq!(updater.memory().engines, []);
    assert_eq!(FILES.map(|file| disk.content(file)), [None, None]);
}

#[test]
fn a_cut_at_any_step_leaves_a_whole_copy_or_one_that_is_written_again() {
    for step in 0.. {
        let disk = seasoned();
        disk.cut_at(Some(step));
        let _ = start_carrying(&disk, Behaviour::Good, 0);
        let cut = disk.is_cut();
        for luck in [
            Luck::Nothing,
            Luck::All,
            Luck::Some(step),
            Luck::Some(step * 31 + 7),
        ] {
            let found = disk.after_cut(luck);
            let mut updater = start_carrying(&found, Behaviour::Good, 0).expect("start");
            assert!(!updater.host().trial);
            assert_eq!(
                updater.host().offered,
                [sha256_hex(CARRIED[0])],
                "cut {step}, {luck:?}"
            );
            assert_eq!(
                found.content(FILE).as_deref(),
                Some(CARRIED[0]),
                "cut {step}, {luck:?}"
            );
        }
        if !cut {
            assert!(step > 3, "{step} steps");
            return;
        }
    }
}
