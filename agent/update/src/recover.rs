//! Start of a device, also with damaged files: some firmware always runs, and the damage is reported.

use std::io;

use iottly_protocol::release::{HealthRules, Step};

use crate::disk::Disk;
use crate::files;
use crate::host::Host;
use crate::journal::{Condition, Journal};
use crate::memory::{Committed, Memory};
use crate::slot::{Running, Slot};

/// Journal, memory and pointer that an updater begins with.
pub(crate) struct Found {
    pub(crate) journal: Journal,
    pub(crate) memory: Memory,
    pub(crate) pointer: Running,
}

/// Reads journal and pointer, and repairs them if possible. A repair that cannot be written does not prevent
/// the start.
pub(crate) fn open(disk: &mut impl Disk, host: &mut impl Host) -> io::Result<Found> {
    let (mut journal, mut memory, condition) = Journal::open(disk)?;
    let pointer = match files::read_pointer(disk) {
        Ok(pointer) => Some(pointer),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
        Err(error) => return Err(error),
    };
    match condition {
        Condition::Whole if !journal.is_new() || !is_lost(disk)? => {}
        Condition::OneDamaged => {
            let mended = journal.mend(disk, &memory);
            host.warn(&format!(
                "one of the two files of the update's journal was damaged; {}",
                outcome(&mended)
            ));
        }
        Condition::Whole | Condition::Lost => {
            memory = remembered(
                disk,
                host,
                pointer.map(|pointer| pointer.unwrap_or(Running::Factory)),
            )?;
            let mended = journal
                .mend(disk, &memory)
                .and_then(|()| journal.mend(disk, &memory));
            let home = name(memory.home());
            host.warn(&format!(
                "both files of the update's journal are damaged: {home} runs, and earlier directives are forgotten; {}",
                outcome(&mended)
            ));
        }
    }
    let pointer = match pointer {
        Some(pointer) => pointer.unwrap_or(Running::Factory),
        None => {
            let pointer = expected(&memory);
            let mended = files::point(disk, pointer);
            host.warn(&format!(
                "the pointer to the firmware was damaged: {} runs; {}",
                name(pointer),
                outcome(&mended)
            ));
            pointer
        }
    };
    Ok(Found {
        journal,
        memory,
        pointer,
    })
}

/// Returns true if a device without a journal has lost it: it has pointed to a firmware, or filled a slot.
fn is_lost(disk: &impl Disk) -> io::Result<bool> {
    let pointed = !matches!(files::read_pointer(disk), Ok(None));
    Ok(pointed || holds(disk, files::slot_file(Slot::A))? || holds(disk, files::slot_file(Slot::B))?)
}

fn holds(disk: &impl Disk, name: &str) -> io::Result<bool> {
    Ok(!disk.read_at(name, 0, 1)?.is_empty())
}

/// Returns the firmware that an undamaged pointer names.
fn expected(memory: &Memory) -> Running {
    match &memory.attempt {
        Some(attempt) if matches!(attempt.state, Step::Trial | Step::Committing) => {
            Running::Slot(attempt.slot)
        }
        _ => memory.home(),
    }
}

/// Finds out which firmware ran before: a slot whose content the trusted metadata describes, the pointer's
/// slot first. A copy of the state means that a trial was under way, and the other slot is the one known to
/// be good.
fn remembered(disk: &mut impl Disk, host: &mut impl Host, pointer: Option<Running>) -> io::Result<Memory> {
    let on_trial = files::has_copy(disk)?;
    let first = match pointer {
        Some(Running::Slot(slot)) if on_trial => slot.other(),
        Some(Running::Slot(slot)) => slot,
        Some(Running::Factory) if !on_trial => return Ok(Memory::default()),
        _ => Slot::A,
    };
    for slot in [first, first.other()] {
        let Some(sha256) = files::digest(disk, files::slot_file(slot))? else {
            continue;
        };
        let Some(known) = host.identify(&sha256) else {
            continue;
        };
        if on_trial {
            files::restore_state(disk)?;
        }
        let committed = Committed {
            slot,
            sha256,
            release_seq: known.release_seq,
            data_schema: known.data_schema,
            engine: None,
            refused_engine: None,
            health: HealthRules::default(),
        };
        return Ok(Memory {
            floor: known.security_floor,
            committed: Some(committed),
            ..Memory::default()
        });
    }
    Ok(Memory::default())
}

fn outcome(mended: &io::Result<()>) -> String {
    match mended {
        Ok(()) => "it was rewritten".to_owned(),
        Err(error) => format!("it could not be rewritten: {error}"),
    }
}

fn name(firmware: Running) -> &'static str {
    match firmware {
        Running::Factory => "the firmware that the device was set up with",
        Running::Slot(Slot::A) => "the release in slot a",
        Running::Slot(Slot::B) => "the release in slot b",
    }
}
