//! Clocks that step: the date is an argument, and only a maintenance window depends on it.

use iottly_protocol::release::{Ending, Reason, Refusal, Step, UpdateState, Window};
use iottly_protocol::tuf::Vouched;
use iottly_update::{Event, MAX_DEFERRED_MS, Memory, MetaError, Now};

use super::device::{Behaviour, boot, feed, now, offer, planned, seasoned};
use super::disk::MemDisk;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 86_400;
/// Steps of a clock: NTP, an operator, a board without a battery.
const STEPS: [i64; 6] = [
    3 * HOUR,
    -3 * HOUR,
    10 * YEAR,
    -10 * YEAR,
    69 * YEAR,
    -1_800_000_000,
];

type Device = iottly_update::Updater<MemDisk, super::device::Device>;

fn stepped(mono_ms: u64, step: i64) -> Now {
    let now = now(mono_ms);
    Now {
        unix: now.unix.saturating_add_signed(step),
        ..now
    }
}

/// Runs an update to its end. From the first moment at which it is in the given step (and about to leave it)
/// the clock is wrong; returns the ending, the milliseconds until then, and the length of the trial.
fn run(behaviour: Behaviour, at: Step, step: i64, told: bool) -> (Ending, u64, u64) {
    let disk = seasoned();
    let mut updater = boot(&disk, behaviour, 0).expect("start");
    updater.host().silent = true;
    let mut off = 0;
    let mut at_ms = 0;
    let mut trial_ms = (None, 0);
    let clock = |at_ms: u64, off: i64| Now {
        clock_trusted: told,
        ..stepped(at_ms, off)
    };
    let mut event = Some(Event::Offer(offer(2)));
    for _ in 0..10_000 {
        let state = updater.memory().attempt.as_ref().map(|attempt| attempt.state);
        if state == Some(at) || (at == Step::Offered && state.is_none()) {
            off = step;
        }
        if let Some(event) = event.take() {
            feed(&mut updater, event, clock(at_ms, off)).expect("handled");
        }
        match updater.memory().attempt.as_ref().map(|attempt| attempt.state) {
            None => {
                let last = updater.memory().last.clone().expect("over");
                return (last.ending, at_ms, trial_ms.1);
            }
            Some(Step::Trial) => {
                let since = *trial_ms.0.get_or_insert(at_ms);
                trial_ms.1 = at_ms - since;
            }
            _ => {}
        }
        event = updater.host().events.pop_front();
        if event.is_none() {
            answer(&mut updater, clock(at_ms, off));
            if updater.memory().attempt.is_some() {
                at_ms = updater
                    .wake_at()
                    .unwrap_or(at_ms + 100)
                    .clamp(at_ms + 1, at_ms + 100);
                event = Some(Event::Tick);
            }
        }
    }
    panic!("never ends: {:?}", updater.memory());
}

/// Answers the outstanding requests to the repository.
fn answer(updater: &mut Device, at: Now) {
    updater.host().now = at;
    let Some(attempt) = updater.memory().attempt.clone() else {
        return;
    };
    match attempt.state {
        Step::VerifyingMeta => updater
            .planned(attempt.offer.counter, Ok(planned()))
            .expect("handled"),
        Step::Downloading => {
            let sha256 = planned().sha256;
            let content = super::device::new_firmware();
            let list = iottly_protocol::release::ChunkList::of(&content, 1024).encode();
            updater.chunk_list(&sha256, Ok(list)).expect("handled");
            for (number, part) in content.chunks(1024).enumerate() {
                updater
                    .part(&sha256, number as u64 * 1024, Ok(part.to_vec()))
                    .expect("handled");
            }
        }
        _ => {}
    }
}

#[test]
fn a_step_in_any_phase_neither_ends_an_update_nor_changes_how_long_its_trial_takes() {
    use Step::*;
    for at in [Offered, VerifyingMeta, Downloading, Trial, Committing] {
        for (behaviour, ending) in [
            (Behaviour::Good, Ending::Committed),
            (Behaviour::Traps, Ending::RolledBack),
            (Behaviour::NeverWell, Ending::RolledBack),
        ] {
            let steady = run(behaviour, at, 0, true);
            assert_eq!(steady.0, ending, "{at:?}");
            for step in STEPS {
                for told in [true, false] {
                    assert_eq!(
                        run(behaviour, at, step, told),
                        steady,
                        "{at:?}, {behaviour:?}, {step} s, told: {told}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_deadline_is_counted_on_the_growing_clock_whatever_the_date_does() {
    for step in STEPS {
        let disk = seasoned();
        let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
        updater.host().silent = true;
        feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
        feed(&mut updater, Event::Tick, stepped(599_000, step)).expect("tick");
        assert!(updater.memory().attempt.is_some(), "{step}: it has a second left");
        assert!(
            updater.wake_at().is_some(),
            "the deadline holds although no answer comes"
        );
        feed(&mut updater, Event::Tick, stepped(600_000, step)).expect("tick");
        let last = updater.memory().last.clone().expect("over");
        assert_eq!(
            (last.ending, last.why.expect("why").reason.as_str()),
            (Ending::Failed, "timeout"),
            "{step}"
        );
    }
}

#[test]
fn the_time_before_a_restart_counts_as_far_as_it_was_written() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    updater.host().silent = true;
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    updater.host().now = now(400_000);
    updater.planned(2, Ok(planned())).expect("planned");
    assert_eq!(
        updater.memory().attempt.as_ref().map(|attempt| attempt.state),
        Some(Step::Downloading)
    );
    // The growing clock has a new start.
    let updater = boot(&disk, Behaviour::NeverWell, 7).expect("start");
    let attempt = updater.memory().attempt.clone().expect("on trial");
    assert_eq!((attempt.state, attempt.spent_ms), (Step::Trial, 400_000));
}

#[test]
fn waiting_for_a_window_takes_nothing_of_the_deadline_and_wears_nothing_out() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    // 1_800_000_000 is 08:00 UTC; the window begins at 13:00.
    let mut windowed = offer(2);
    windowed.window = Some(Window {
        start_minute: 13 * 60,
        minutes: 60,
    });
    feed(&mut updater, Event::Offer(windowed), now(0)).expect("offer");
    let writes = updater.memory().attempt.as_ref().expect("under way").writes;
    let mut at_ms = 0;
    while at_ms < 5 * 3_600_000 - 30_000 {
        at_ms = updater.wake_at().expect("it looks again");
        feed(&mut updater, Event::Tick, now(at_ms)).expect("tick");
        let attempt = updater.memory().attempt.as_ref().expect("it waits");
        assert_eq!(
            (attempt.state, attempt.writes, attempt.spent_ms),
            (Step::Deferred, writes, 0),
            "at {at_ms} ms"
        );
    }
    feed(&mut updater, Event::Tick, now(5 * 3_600_000)).expect("tick");
    assert_eq!(
        updater.memory().attempt.as_ref().map(|attempt| attempt.state),
        Some(Step::Trial)
    );
}

#[test]
fn a_wait_for_the_time_ends_when_it_is_told_and_not_by_a_step() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    let mut windowed = offer(2);
    windowed.window = Some(Window {
        start_minute: 8 * 60,
        minutes: 60,
    });
    let untold = |mono_ms, step| Now {
        clock_trusted: false,
        ..stepped(mono_ms, step)
    };
    feed(&mut updater, Event::Offer(windowed), untold(0, -10 * YEAR)).expect("offer");
    for (n, step) in STEPS.into_iter().enumerate() {
        feed(&mut updater, Event::Tick, untold(60_000 * (n as u64 + 1), step)).expect("tick");
        let attempt = updater.memory().attempt.clone().expect("it waits");
        assert_eq!(
            (attempt.state, attempt.why.expect("why").reason.as_str()),
            (Step::Deferred, "clock")
        );
    }
    feed(&mut updater, Event::Tick, now(700_000)).expect("tick");
    assert_eq!(
        updater.memory().attempt.as_ref().map(|attempt| attempt.state),
        Some(Step::Trial)
    );
}

#[test]
fn an_accepted_directive_whose_time_is_not_known_after_a_restart_waits_for_it() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    updater.host().silent = true;
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    let why = Refusal {
        reason: Reason::Clock,
        detail: String::new(),
    };
    let mut at_ms = 0;
    for _ in 0..200 {
        updater.host().now = stepped(at_ms, -10 * YEAR);
        updater
            .planned(2, Err(MetaError::Refused(why.clone())))
            .expect("handled");
        at_ms = updater.wake_at().expect("it tries again");
        feed(&mut updater, Event::Tick, stepped(at_ms, -10 * YEAR)).expect("tick");
    }
    assert!(at_ms > 3 * 600_000, "three times its deadline");
    updater.host().now = now(at_ms);
    updater.planned(2, Ok(planned())).expect("handled");
    assert_eq!(
        updater.memory().attempt.as_ref().map(|attempt| attempt.state),
        Some(Step::Downloading)
    );
}

#[test]
fn no_wait_lasts_for_ever() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    let mut windowed = offer(2);
    windowed.window = Some(Window {
        start_minute: 0,
        minutes: 0,
    });
    feed(&mut updater, Event::Offer(windowed), now(0)).expect("offer");
    feed(&mut updater, Event::Tick, now(MAX_DEFERRED_MS - 1)).expect("tick");
    assert!(updater.memory().attempt.is_some());
    feed(&mut updater, Event::Tick, now(MAX_DEFERRED_MS)).expect("tick");
    assert_eq!(
        updater.memory().last.as_ref().map(|last| last.ending),
        Some(Ending::Failed)
    );
}

#[test]
fn the_bare_clock_raises_no_floor_and_what_is_vouched_for_survives() {
    let disk = seasoned();
    let mut updater = boot(&disk, Behaviour::NeverWell, 0).expect("start");
    feed(&mut updater, Event::Offer(offer(2)), stepped(0, 69 * YEAR)).expect("offer");
    feed(&mut updater, Event::Tick, stepped(1, 69 * YEAR)).expect("tick");
    assert_eq!(
        (updater.memory().clock_floor, updater.memory().vouched),
        (0, None)
    );
    let vouched = Vouched {
        root: 1,
        timestamp: 5,
        unix: 1_800_000_000,
    };
    feed(&mut updater, Event::Vouched(vouched), now(2)).expect("vouched");
    let remembered = |disk: &MemDisk| {
        boot(disk, Behaviour::NeverWell, 0)
            .expect("start")
            .memory()
            .vouched
    };
    assert_eq!(
        remembered(&disk),
        Some(vouched),
        "the first word is written at once"
    );
    // Older versions and earlier dates change nothing.
    for older in [
        Vouched {
            timestamp: 4,
            ..vouched
        },
        Vouched {
            root: 0,
            timestamp: 9,
            ..vouched
        },
        Vouched { unix: 7, ..vouched },
    ] {
        feed(&mut updater, Event::Vouched(older), now(3)).expect("vouched");
        assert_eq!(updater.memory().vouched, Some(vouched));
    }
    // A newer document of the signer counts, also downwards, and is written at once then.
    let corrected = Vouched {
        timestamp: 6,
        unix: 1_700_000_000,
        ..vouched
    };
    feed(&mut updater, Event::Vouched(corrected), now(4)).expect("vouched");
    assert_eq!(remembered(&disk), Some(corrected));
}

#[test]
fn a_journal_from_2095_takes_the_next_update() {
    let mut disk = seasoned();
    let (mut journal, memory, _) = iottly_update::Journal::open(&mut disk).expect("journal");
    journal
        .write(
            &mut disk,
            &Memory {
                clock_floor: 3_955_674_467,
                ..memory
            },
        )
        .expect("write");
    let mut updater = boot(&disk, Behaviour::Good, 0).expect("start");
    let mut at_ms = 0;
    feed(&mut updater, Event::Offer(offer(2)), now(0)).expect("offer");
    super::device::settle(&mut updater, &mut at_ms).expect("settled");
    assert_eq!(
        updater.memory().last.as_ref().map(|last| last.ending),
        Some(Ending::Committed)
    );
    assert!(
        updater
            .host()
            .reports
            .iter()
            .any(|report| report.state == UpdateState::Ended(Ending::Committed))
    );
}
