//! Damage to the files of an update: some verified firmware runs, and the damage is reported.

use iottly_protocol::release::{Ending, Step};
use iottly_update::{Disk as _, Event, Running, Slot, files};

use super::device::{
    Behaviour, OLD, OLD_STATE, boot, feed, new_firmware, now, offer, planned, runs, seasoned, settle,
};
use super::disk::MemDisk;

const JOURNALS: [&str; 2] = ["update/journal.0", "update/journal.1"];
const POINTER: &str = "update/pointer";

/// Replaces the bytes of a file.
fn damage(disk: &MemDisk, name: &str, bytes: &[u8]) {
    let mut disk = disk.clone();
    disk.remove(name).expect("removed");
    disk.write_at(name, 0, bytes).expect("written");
    disk.sync(name).expect("synced");
    disk.sync_names().expect("synced");
}

/// Returns a device on which the new release is committed in slot b.
fn updated() -> MemDisk {
    let disk = seasoned();
    let mut at_ms = 0;
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    settle(&mut updater, &mut at_ms).expect("settled");
    disk
}

/// Starts twice; returns the running content, and the number of warnings at each start.
fn start(disk: &MemDisk) -> (Option<Vec<u8>>, [usize; 2]) {
    let mut updater = boot(disk, Behaviour::Good, 0).expect("start");
    let found = runs(&mut updater);
    let said = updater.host().warnings.len();
    drop(updater);
    let mut updater = boot(disk, Behaviour::Good, 0).expect("start");
    assert_eq!(runs(&mut updater), found, "the second start finds the same");
    (found, [said, updater.host().warnings.len()])
}

#[test]
fn a_damaged_pointer_is_written_anew_from_the_journal() {
    for pointer in [&b"c\n"[..], b"", b"a", b"\0\0\0\0", &[b'a'; 100]] {
        let disk = updated();
        damage(&disk, POINTER, pointer);
        assert_eq!(start(&disk), (Some(new_firmware()), [1, 0]), "{pointer:?}");
        assert_eq!(
            files::read_pointer(&disk).expect("whole"),
            Some(Running::Slot(Slot::B))
        );
    }
}

#[test]
fn a_damaged_pointer_in_a_trial_does_not_end_it() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::NeverWell, 0).expect("start");
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    assert_eq!(
        updater.memory().attempt.as_ref().map(|attempt| attempt.state),
        Some(Step::Trial)
    );
    damage(&disk, POINTER, b"?");
    let mut at_ms = 0;
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    assert_eq!(runs(&mut updater), Some(new_firmware()));
    settle(&mut updater, &mut at_ms).expect("settled");
    assert_eq!(
        updater.memory().last.as_ref().map(|last| last.ending),
        Some(Ending::Committed)
    );
    assert_eq!(
        files::read_pointer(&disk).expect("whole"),
        Some(Running::Slot(Slot::B))
    );
}

#[test]
fn one_damaged_file_of_the_journal_is_mended_from_the_other() {
    for name in JOURNALS {
        for bytes in [&b""[..], b"rubbish", &[0; 200_000]] {
            let disk = updated();
            let before = boot(&disk, Behaviour::Good, 0).expect("start").memory().counter;
            damage(&disk, name, bytes);
            let (found, said) = start(&disk);
            assert!(
                found == Some(new_firmware()) && said == [1, 0],
                "{name}, {} bytes: {said:?}",
                bytes.len()
            );
            let updater = boot(&disk, Behaviour::Good, 0).expect("start");
            assert_eq!(updater.memory().counter, before);
        }
    }
}

#[test]
fn without_a_journal_the_slot_with_a_known_digest_runs_and_the_next_update_is_taken() {
    for bytes in [&b""[..], b"rubbish"] {
        let disk = updated();
        for name in JOURNALS {
            damage(&disk, name, bytes);
        }
        assert_eq!(start(&disk), (Some(new_firmware()), [1, 0]));
        let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
        let committed = updater.memory().committed.clone().expect("found again");
        assert_eq!(
            (committed.slot, committed.release_seq, updater.memory().floor),
            (Slot::B, 2, 2)
        );
        feed(&mut updater, Event::Offer(offer(3)), now(0)).expect("offer");
        assert_eq!(
            updater.memory().last.as_ref().map(|last| last.ending),
            Some(Ending::Committed),
            "it runs already"
        );
    }
}

#[test]
fn journal_and_pointer_gone_together_leave_something_verified() {
    let disk = updated();
    for name in [JOURNALS[0], JOURNALS[1], POINTER] {
        damage(&disk, name, b"");
    }
    let (found, _) = start(&disk);
    assert!([OLD.to_vec(), new_firmware()].contains(&found.expect("something runs")));
    // If no slot holds a known release, the factory firmware runs.
    let disk = updated();
    for name in [
        JOURNALS[0],
        JOURNALS[1],
        POINTER,
        files::slot_file(Slot::A),
        files::slot_file(Slot::B),
    ] {
        damage(&disk, name, b"?");
    }
    assert_eq!(start(&disk).0, Some(b"factory".to_vec()));
}

#[test]
fn a_lost_journal_in_a_trial_brings_the_old_release_back_with_its_state() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::NeverWell, 0).expect("start");
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    for name in JOURNALS {
        damage(&disk, name, b"");
    }
    assert_eq!(start(&disk).0, Some(OLD.to_vec()));
    assert_eq!(disk.content("firmware.state").expect("state"), OLD_STATE);
}

#[test]
fn one_flipped_bit_in_a_slot_never_runs() {
    let disk = updated();
    let mut bytes = new_firmware();
    bytes[700] ^= 4;
    damage(&disk, files::slot_file(Slot::B), &bytes);
    let mut at_ms = 0;
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    assert_eq!(runs(&mut updater), Some(b"factory".to_vec()));
    assert_eq!(updater.host().warnings.len(), 1);
    assert_eq!(updater.memory().floor, 2, "what is forbidden stays forbidden");
    // The same release is not taken for the one that runs: it is fetched again.
    feed(&mut updater, Event::Offer(offer(3)), now(0)).expect("offer");
    settle(&mut updater, &mut at_ms).expect("settled");
    assert_eq!(runs(&mut updater), Some(new_firmware()));
}

#[test]
fn one_flipped_bit_in_a_slot_on_trial_goes_back_and_condemns_nothing() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::NeverWell, 0).expect("start");
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    let mut bytes = new_firmware();
    bytes[0] ^= 1;
    damage(&disk, files::slot_file(Slot::B), &bytes);
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    assert_eq!(runs(&mut updater), Some(OLD.to_vec()));
    let last = updater.memory().last.clone().expect("over");
    assert_eq!(
        (last.ending, last.why.expect("why").reason.as_str()),
        (Ending::RolledBack, "digest_mismatch")
    );
    assert!(updater.memory().quarantined.is_empty(), "{:?}", planned().sha256);
    assert_eq!(disk.content("firmware.state").expect("state"), OLD_STATE);
}
