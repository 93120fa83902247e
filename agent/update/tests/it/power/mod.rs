//! Power cuts at every step of an update: whatever the disk kept, the device ends with the old release or the
//! new one.

mod clock;
mod damage;
mod device;
mod disk;
mod engines;

use std::collections::BTreeMap;

use iottly_protocol::release::{Ending, Step, UpdateState};
use iottly_update::{Event, Running, Slot};

use device::{
    Behaviour, OLD, OLD_STATE, boot, boot_with, feed, new_firmware, now, offer, planned, runs, seasoned,
    settle,
};
use disk::{Luck, MemDisk};

/// Content of the journal at a cut, and the result.
type Table = BTreeMap<(String, &'static str), u32>;

/// Checks a device that has come to rest, also the engine that the release brings.
fn check_rest_of(
    disk: &MemDisk,
    behaviour: Behaviour,
    offered: bool,
    brings: bool,
) -> Result<&'static str, String> {
    let mut at_ms = 1_000_000;
    let mut updater = boot_with(disk, behaviour, at_ms, |device| device.brings = brings)
        .map_err(|e| format!("does not start: {e}"))?;
    let first = runs(&mut updater).ok_or("nothing runs at the start")?;
    if first != OLD && first != new_firmware() {
        return Err(format!("starts something else of {} bytes", first.len()));
    }
    settle(&mut updater, &mut at_ms).map_err(|e| format!("does not continue: {e}"))?;
    if offered && updater.memory().counter < 2 {
        // The cut came before the offer was durable: the cloud sends it again.
        feed(&mut updater, Event::Offer(offer(2)), now(at_ms)).map_err(|e| format!("takes no offer: {e}"))?;
        settle(&mut updater, &mut at_ms).map_err(|e| format!("does not continue: {e}"))?;
    }
    // A write that is cut leaves one of two files; any other repair means that the disk did not sync.
    if let Some(warning) = updater
        .host()
        .warnings
        .iter()
        .find(|warning| !warning.starts_with("one of the two files"))
    {
        return Err(format!("had to be mended: {warning}"));
    }
    let content = runs(&mut updater).ok_or("nothing runs in the end")?;
    let state = disk.content("firmware.state").unwrap_or_default();
    let memory = updater.memory().clone();
    let home = memory.home();
    if iottly_update::files::read_pointer(disk).ok().flatten() != Some(home) {
        return Err("the pointer and the journal disagree".into());
    }
    let names: Vec<_> = memory
        .engines
        .iter()
        .map(|engine| engine.sha256.clone())
        .collect();
    let kept = brings && content == new_firmware();
    if (names.len() == 1) != kept || updater.host().offered != names {
        return Err(format!("keeps the wrong engines: {:?}", memory.engines));
    }
    let files = ["update/engine-0.wasm", "update/engine-1.wasm"];
    let stored = files.iter().filter(|file| disk.content(file).is_some()).count();
    if kept != (stored == 1) || stored > 1 {
        return Err(format!("{stored} files of engines, {names:?} in the journal"));
    }
    let ending = memory.last.as_ref().map(|outcome| outcome.ending);
    if content == new_firmware() {
        if behaviour != Behaviour::Good
            || home != Running::Slot(Slot::B)
            || memory.floor != 2
            || ending != Some(Ending::Committed)
        {
            return Err(format!("runs the new release: {memory:?}"));
        }
        return Ok("new");
    }
    if content != OLD || home != Running::Slot(Slot::A) || memory.floor != 1 {
        return Err(format!("runs the old release: {memory:?}"));
    }
    if state != OLD_STATE {
        return Err("the old release has the new one's state".into());
    }
    Ok("old")
}

/// Cuts at every step of an update, with every kind of luck, and a second time during recovery.
fn sweep(behaviour: Behaviour, lies: bool) -> (u32, Table, Vec<String>) {
    sweep_of(behaviour, lies, false)
}

fn sweep_of(behaviour: Behaviour, lies: bool, brings: bool) -> (u32, Table, Vec<String>) {
    let boot =
        |disk: &MemDisk, behaviour, at_ms| boot_with(disk, behaviour, at_ms, |device| device.brings = brings);
    let check_rest = |disk: &MemDisk, behaviour, offered| check_rest_of(disk, behaviour, offered, brings);
    let mut cuts = 0;
    let mut table = Table::new();
    let mut failures = Vec::new();
    for step in 0.. {
        let disk = seasoned();
        if lies {
            disk.lie();
        }
        let mut at_ms = 0;
        let mut updater = boot(&disk, behaviour, at_ms).expect("start");
        disk.cut_at(Some(step));
        let outcome = feed(&mut updater, Event::Offer(offer(2)), now(0))
            .and_then(|()| settle(&mut updater, &mut at_ms));
        if outcome.is_ok() && !disk.is_cut() {
            return (cuts, table, failures);
        }
        for luck in [
            Luck::Nothing,
            Luck::All,
            Luck::Some(step),
            Luck::Some(step * 31 + 7),
            Luck::Some(step * 131 + 3),
        ] {
            cuts += 1;
            let found = disk.after_cut(luck);
            let state = journaled(&found);
            match check_rest(&found, behaviour, true) {
                Ok(end) => *table.entry((state, end)).or_default() += 1,
                Err(error) => failures.push(format!("cut {step}, {luck:?}, in {state}: {error}")),
            }
            for second in [0, 1, 2, 3, 5, 8, 13] {
                let found = disk.after_cut(luck);
                found.cut_at(Some(second));
                let mut at_ms = 500_000;
                if let Ok(mut updater) = boot(&found, behaviour, at_ms) {
                    let _ = settle(&mut updater, &mut at_ms);
                }
                let found = found.after_cut(Luck::Some(step * 17 + second));
                cuts += 1;
                if let Err(error) = check_rest(&found, behaviour, true) {
                    failures.push(format!("cut {step}, {luck:?}, then {second}: {error}"));
                }
            }
        }
    }
    unreachable!("the update has an end")
}

fn journaled(disk: &MemDisk) -> String {
    let mut disk = disk.after_cut(Luck::All);
    let Ok((_, memory, _)) = iottly_update::Journal::open(&mut disk) else {
        return "damaged".into();
    };
    match (&memory.attempt, &memory.last) {
        (Some(attempt), _) => serde_json::to_string(&attempt.state)
            .expect("json")
            .trim_matches('"')
            .to_owned(),
        (None, Some(_)) => "over".into(),
        (None, None) => "idle".into(),
    }
}

fn assert_sweep(behaviour: Behaviour, ends: &[&str]) {
    let (cuts, table, failures) = sweep(behaviour, false);
    assert!(
        failures.is_empty(),
        "{} of {cuts}: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(cuts > 1000, "{cuts} cuts");
    assert!(table.keys().all(|(_, end)| ends.contains(end)), "{table:?}");
}

#[test]
fn a_good_release_survives_a_cut_at_any_step() {
    assert_sweep(Behaviour::Good, &["new"]);
}

#[test]
fn a_release_that_traps_leaves_the_old_one_and_its_state_after_a_cut_at_any_step() {
    assert_sweep(Behaviour::Traps, &["old"]);
}

#[test]
fn a_release_that_is_never_well_leaves_the_old_one_after_a_cut_at_any_step() {
    assert_sweep(Behaviour::NeverWell, &["old"]);
}

#[test]
fn on_a_disk_that_lies_the_same_cuts_do_harm() {
    let (_, _, failures) = sweep(Behaviour::Good, true);
    assert!(!failures.is_empty(), "the tests above have no teeth");
}

#[test]
fn a_flaky_line_only_takes_longer() {
    let disk = seasoned();
    let mut at_ms = 0;
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    updater.host().flaky = Some(3);
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    settle(&mut updater, &mut at_ms).expect("settled");
    assert_eq!(runs(&mut updater), Some(new_firmware()));
}

#[test]
fn bad_copies_of_a_part_end_the_download() {
    let disk = seasoned();
    let mut at_ms = 0;
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    // Each fetch returns wrong bytes or nothing.
    updater.host().flaky = Some(2);
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    settle(&mut updater, &mut at_ms).expect("settled");
    let last = updater.memory().last.clone().expect("over");
    assert_eq!(
        (last.ending, last.why.expect("a reason").reason.as_str()),
        (Ending::Failed, "chunk_corrupt")
    );
    assert_eq!(runs(&mut updater), Some(OLD.to_vec()));
}

#[test]
fn a_board_that_restarts_in_every_trial_goes_back() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::NeverWell, 0).expect("start");
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    assert_eq!(
        updater.memory().attempt.as_ref().map(|attempt| attempt.state),
        Some(Step::Trial)
    );
    for starts in 2..=3 {
        let mut updater = boot(&disk, Behaviour::NeverWell, 0).expect("start");
        assert_eq!(
            updater.memory().attempt.as_ref().map(|attempt| attempt.boots),
            Some(starts)
        );
        assert_eq!(runs(&mut updater), Some(new_firmware()));
    }
    let mut updater = boot(&disk, Behaviour::NeverWell, 0).expect("start");
    let last = updater.memory().last.clone().expect("over");
    assert_eq!(
        (last.ending, last.why.expect("a reason").reason.as_str()),
        (Ending::RolledBack, "crash_loop")
    );
    assert_eq!(runs(&mut updater), Some(OLD.to_vec()));
    assert_eq!(disk.content("firmware.state").expect("state"), OLD_STATE);
    assert_eq!(updater.memory().quarantined, [planned().sha256]);
}

#[test]
fn every_state_is_reported_in_its_order() {
    let disk = seasoned();
    let mut at_ms = 0;
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    settle(&mut updater, &mut at_ms).expect("settled");
    let phases: Vec<_> = updater.host().reports.iter().map(|report| report.state).collect();
    use Step::*;
    let states = [
        Offered,
        VerifyingMeta,
        Preflight,
        Downloading,
        VerifyingImage,
        Staged,
        Armed,
        Switching,
        Trial,
        Committing,
    ];
    let mut expected: Vec<_> = states.map(UpdateState::Underway).to_vec();
    expected.push(UpdateState::Ended(Ending::Committed));
    assert_eq!(phases, expected);
    feed(&mut updater, Event::Reported, now(at_ms)).expect("reported");
    assert_eq!(updater.memory().last, None);
}

#[test]
fn a_cancel_or_a_newer_directive_ends_an_update_before_its_switch_and_not_after() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::NeverWell, 0).expect("start");
    updater.host().flaky = Some(1);
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    let mut cancel = offer(3);
    cancel.action = iottly_protocol::release::Action::Cancel;
    feed(&mut updater, Event::Offer(cancel.clone()), now(1)).expect("cancel");
    let last = updater.memory().last.clone().expect("over");
    assert_eq!(
        (last.ending, last.why.expect("a reason").reason.as_str()),
        (Ending::Cancelled, "cancelled")
    );
    feed(&mut updater, Event::Offer(offer(3)), now(1)).expect("an old counter");
    assert_eq!(updater.memory().attempt, None, "the counter was used");
    updater.host().flaky = None;
    feed(&mut updater, Event::Offer(offer(4)), now(2)).expect("offer");
    cancel.counter = 5;
    feed(&mut updater, Event::Offer(cancel), now(3)).expect("too late");
    assert_eq!(
        updater.memory().attempt.as_ref().map(|attempt| attempt.state),
        Some(Step::Trial)
    );
}

#[test]
fn a_deadline_ends_what_waits() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    updater.host().flaky = Some(1);
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    feed(&mut updater, Event::Tick, now(601_000)).expect("tick");
    let last = updater.memory().last.clone().expect("over");
    let why = last.why.expect("a reason");
    assert_eq!((last.ending, why.reason.as_str()), (Ending::Failed, "timeout"));
    assert!(why.detail.contains("downloading"), "{}", why.detail);
}

#[test]
fn a_window_is_waited_for_and_needs_the_time() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    // 1_800_000_000 is 08:00 UTC: the window begins a minute later.
    let mut windowed = offer(2);
    windowed.window = Some(iottly_protocol::release::Window {
        start_minute: 481,
        minutes: 60,
    });
    let unknown = iottly_update::Now {
        clock_trusted: false,
        ..now(0)
    };
    feed(&mut updater, Event::Offer(windowed), unknown).expect("offer");
    let why = |updater: &iottly_update::Updater<MemDisk, device::Device>| {
        let attempt = updater.memory().attempt.clone().expect("under way");
        (attempt.state, attempt.why.map(|why| why.reason.as_str()))
    };
    assert_eq!(why(&updater), (Step::Deferred, Some("clock")));
    feed(&mut updater, Event::Tick, now(1000)).expect("tick");
    assert_eq!(why(&updater), (Step::Deferred, Some("window")));
    feed(&mut updater, Event::Tick, now(61_000)).expect("tick");
    assert_eq!(why(&updater), (Step::Trial, None));
}

#[test]
fn the_release_that_runs_already_is_committed_at_once() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    let mut same = offer(2);
    same.sha256 = iottly_protocol::tuf::sha256_hex(OLD);
    feed(&mut updater, Event::Offer(same), now(0)).expect("offer");
    let last = updater.memory().last.clone().expect("over");
    assert_eq!(last.ending, Ending::Committed);
    assert_eq!(runs(&mut updater), Some(OLD.to_vec()));
}
