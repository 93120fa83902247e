use serde_json::value::RawValue;

use super::*;

const BOOT: &str = "boot";

fn at(ms: u64) -> Now {
    Now {
        uptime_ms: ms,
        unix_ms: 1_000_000 + ms,
    }
}

fn command(ttl_ms: u64) -> Command {
    let values = RawValue::from_string("{}".to_owned()).expect("json");
    Command {
        id: CommandId::random(),
        cmd_type: "echo".to_owned(),
        values,
        ttl_ms,
    }
}

fn fresh() -> Machine {
    let (machine, effects) = Machine::restore(Vec::new(), BOOT.to_owned(), at(0));
    assert!(effects.is_empty());
    machine
}

fn ready() -> Machine {
    let mut machine = fresh();
    assert!(machine.handle(Event::Guest(GuestState::Ready), at(0)).is_empty());
    machine
}

/// Effects in short form: `J` journal of n entries, `C` confirm, `R` run, `N` note, and the state of reports.
fn shape(effects: &[Effect]) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::Journal(entries) => format!("J{}", entries.len()),
        Effect::Note(_) => "N".to_owned(),
        Effect::Confirm => "C".to_owned(),
        Effect::Run(_) => "R".to_owned(),
        Effect::Report(result) => result.state.as_str().to_owned(),
    };
    effects.iter().map(name).collect()
}

/// Entries of a journal after these effects.
fn journaled<'e>(effects: impl IntoIterator<Item = &'e Effect>) -> Vec<Entry> {
    let entries = |effect: &Effect| match effect {
        Effect::Journal(entries) => entries.clone(),
        Effect::Note(entry) => vec![entry.clone()],
        _ => Vec::new(),
    };
    effects.into_iter().flat_map(entries).collect()
}

#[test]
fn an_idle_device_writes_once_before_it_runs_and_reports_once() {
    let mut machine = ready();
    let command = command(1000);
    let effects = machine.handle(Event::Arrived(command.clone()), at(1));
    assert_eq!(shape(&effects), ["J2", "C", "R"]);
    let effects = machine.handle(Event::Finished(command.id, Outcome::Done), at(2));
    assert_eq!(shape(&effects), ["J1", "done"]);
    assert_eq!(shape(&machine.handle(Event::Reported(command.id), at(3))), ["N"]);
}

#[test]
fn a_busy_device_reports_the_delivery_and_starts_the_next_with_one_write() {
    let mut machine = ready();
    let first = command(1000);
    let second = command(1000);
    machine.handle(Event::Arrived(first.clone()), at(1));
    let effects = machine.handle(Event::Arrived(second.clone()), at(1));
    assert_eq!(shape(&effects), ["J1", "C", "delivered"]);
    let effects = machine.handle(Event::Finished(first.id, Outcome::Failed("no".into())), at(2));
    assert_eq!(shape(&effects), ["J2", "failed", "R"]);
    assert!(matches!(effects.last(), Some(Effect::Run(job)) if job.id == second.id));
}

#[test]
fn a_command_runs_once_however_often_it_arrives() {
    let mut machine = ready();
    let command = command(1000);
    let mut entries = journaled(&machine.handle(Event::Arrived(command.clone()), at(1)));
    for stage in 0..4 {
        let effects = machine.handle(Event::Arrived(command.clone()), at(2));
        assert_eq!(shape(&effects), ["C"], "stage {stage}");
        match stage {
            0 => entries.extend(journaled(
                &machine.handle(Event::Finished(command.id, Outcome::Done), at(2)),
            )),
            1 => entries.extend(journaled(&machine.handle(Event::Reported(command.id), at(2)))),
            _ => machine = Machine::restore(entries.clone(), BOOT.to_owned(), at(3)).0,
        }
    }
}

#[test]
fn a_crash_while_the_handler_runs_is_reported_interrupted_and_never_run_again() {
    let mut machine = ready();
    let command = command(1000);
    let entries = journaled(&machine.handle(Event::Arrived(command.clone()), at(1)));
    let (mut machine, effects) = Machine::restore(entries.clone(), BOOT.to_owned(), at(2));
    assert_eq!(shape(&effects), ["J1", "interrupted"]);
    assert!(machine.handle(Event::Guest(GuestState::Ready), at(3)).is_empty());
    assert_eq!(shape(&machine.handle(Event::Arrived(command), at(4))), ["C"]);

    // The report was journaled and the device crashed again before it was in the queue.
    let entries = entries.into_iter().chain(journaled(&effects)).collect();
    let (_, effects) = Machine::restore(entries, BOOT.to_owned(), at(5));
    assert_eq!(shape(&effects), ["interrupted"]);
}

#[test]
fn a_result_that_did_not_reach_the_queue_is_reported_again() {
    let mut machine = ready();
    let command = command(1000);
    let mut entries = journaled(&machine.handle(Event::Arrived(command.clone()), at(1)));
    entries.extend(journaled(
        &machine.handle(Event::Finished(command.id, Outcome::Failed("why".into())), at(2)),
    ));
    let (_, effects) = Machine::restore(entries, BOOT.to_owned(), at(9));
    let [Effect::Report(result)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (result.state, result.detail.as_deref(), result.at_ms),
        (CommandState::Failed, Some("why"), 1_000_002)
    );
}

#[test]
fn a_command_that_did_not_start_in_time_is_expired() {
    let mut machine = fresh();
    let command = command(1000);
    let effects = machine.handle(Event::Arrived(command), at(5));
    assert_eq!(shape(&effects), ["J1", "C", "delivered"]);
    assert_eq!(machine.deadline_ms(), Some(1005));
    assert!(machine.handle(Event::Timer, at(1004)).is_empty());
    assert_eq!(shape(&machine.handle(Event::Timer, at(1005))), ["J1", "expired"]);
    assert!(
        machine
            .handle(Event::Guest(GuestState::Ready), at(1006))
            .is_empty()
    );
    assert_eq!(machine.deadline_ms(), None);
}

#[test]
fn a_command_without_time_left_never_starts() {
    let mut machine = ready();
    assert_eq!(
        shape(&machine.handle(Event::Arrived(command(0)), at(5))),
        ["J2", "C", "expired"]
    );
}

#[test]
fn waiting_through_an_agent_restart_keeps_the_deadline_and_a_system_restart_ends_it() {
    let mut machine = fresh();
    let command = command(1000);
    let entries = journaled(&machine.handle(Event::Arrived(command), at(5)));
    let (mut same, effects) = Machine::restore(entries.clone(), BOOT.to_owned(), at(900));
    assert!(effects.is_empty());
    assert_eq!(
        shape(&same.handle(Event::Guest(GuestState::Ready), at(950))),
        ["J1", "R"]
    );

    let (_, effects) = Machine::restore(entries.clone(), BOOT.to_owned(), at(1005));
    assert_eq!(shape(&effects), ["J1", "expired"]);
    let (_, effects) = Machine::restore(entries, "another boot".to_owned(), at(6));
    assert_eq!(
        shape(&effects),
        ["J1", "expired"],
        "how long the system was off is unknown"
    );
}

#[test]
fn a_cancel_reaches_what_waits_and_nothing_else() {
    let mut machine = ready();
    let first = command(1000);
    let second = command(1000);
    machine.handle(Event::Arrived(first.clone()), at(1));
    machine.handle(Event::Arrived(second.clone()), at(1));
    assert_eq!(
        shape(&machine.handle(Event::Cancel(second.id), at(2))),
        ["J1", "cancelled", "C"]
    );
    assert_eq!(
        shape(&machine.handle(Event::Cancel(first.id), at(2))),
        ["C"],
        "it runs"
    );
    assert_eq!(
        shape(&machine.handle(Event::Cancel(CommandId::random()), at(2))),
        ["C"]
    );
    assert_eq!(
        shape(&machine.handle(Event::Finished(first.id, Outcome::Done), at(3))),
        ["J1", "done"]
    );
}

#[test]
fn without_a_firmware_commands_fail_at_once() {
    let mut machine = fresh();
    machine.handle(Event::Arrived(command(1000)), at(1));
    let effects = machine.handle(
        Event::Guest(GuestState::Absent("no firmware is configured".into())),
        at(2),
    );
    assert_eq!(shape(&effects), ["J1", "failed"]);
    let effects = machine.handle(Event::Arrived(command(1000)), at(3));
    assert_eq!(shape(&effects), ["J2", "C", "failed"]);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Report(r) if r.detail.as_deref() == Some("no firmware is configured")))
    );
}

#[test]
fn what_waits_is_bounded_and_the_rest_is_told() {
    let mut machine = fresh();
    for _ in 0..MAX_WAITING {
        machine.handle(Event::Arrived(command(1000)), at(1));
    }
    let effects = machine.handle(Event::Arrived(command(1000)), at(1));
    assert_eq!(shape(&effects), ["J1", "failed", "C"]);

    let mut large = command(1000);
    large.values =
        RawValue::from_string(format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_VALUES_BYTES))).expect("json");
    let effects = ready().handle(Event::Arrived(large), at(1));
    assert_eq!(shape(&effects), ["J1", "failed", "C"]);
}

#[test]
fn a_new_journal_holds_all_that_the_old_one_said() {
    let mut machine = ready();
    let running = command(1000);
    let waiting = command(1000);
    let over = command(1000);
    let reported = command(1000);
    for command in [&reported, &over] {
        machine.handle(Event::Arrived(command.clone()), at(1));
        machine.handle(Event::Finished(command.id, Outcome::Done), at(1));
    }
    machine.handle(Event::Reported(reported.id), at(1));
    machine.handle(Event::Arrived(running.clone()), at(1));
    machine.handle(Event::Arrived(waiting.clone()), at(1));
    let (mut machine, effects) = Machine::restore(machine.snapshot(), BOOT.to_owned(), at(2));
    let mut states = shape(&effects);
    states.sort();
    assert_eq!(states, ["J1", "done", "interrupted"]);
    for command in [&running, &over, &reported, &waiting] {
        assert_eq!(
            shape(&machine.handle(Event::Arrived(command.clone()), at(3))),
            ["C"]
        );
    }
    assert_eq!(
        shape(&machine.handle(Event::Guest(GuestState::Ready), at(4))),
        ["J1", "R"]
    );
}

#[test]
fn a_device_that_cannot_report_takes_no_new_commands_and_blocks_nothing() {
    let mut machine = fresh();
    machine.handle(Event::Guest(GuestState::Absent("none".into())), at(0));
    let commands: Vec<_> = (0..MAX_UNREPORTED).map(|_| command(1000)).collect();
    for command in &commands {
        machine.handle(Event::Arrived(command.clone()), at(1));
    }
    let further = command(1000);
    assert_eq!(
        shape(&machine.handle(Event::Arrived(further.clone()), at(2))),
        ["C"]
    );
    machine.handle(Event::Reported(commands[0].id), at(3));
    assert_eq!(
        shape(&machine.handle(Event::Arrived(further), at(4))),
        ["J2", "C", "failed"],
        "it was not taken for known"
    );
}
