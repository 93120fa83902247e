//! The date steps at each phase of a command: the command runs once, and its time to live counts elapsed
//! time.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::*;

const NOW: i64 = 1_790_000_000_000;
const HOURS_3: i64 = 3 * 3_600_000;
const YEARS_10: i64 = 10 * 365 * 86_400_000;
const TTL_MS: u64 = 60_000;

/// Device with a journal in memory and a date that may be wrong; can be restarted at any moment.
struct Device {
    machine: Machine,
    journal: Vec<Entry>,
    uptime_ms: u64,
    /// Error of the date, in milliseconds.
    off_ms: i64,
    runs: BTreeMap<String, usize>,
    results: Vec<CommandResult>,
}

impl Device {
    fn new() -> Self {
        let now = Now {
            uptime_ms: 0,
            unix_ms: NOW.unsigned_abs(),
        };
        let (machine, _) = Machine::restore(Vec::new(), "boot".to_owned(), now);
        Self {
            machine,
            journal: Vec::new(),
            uptime_ms: 0,
            off_ms: 0,
            runs: BTreeMap::new(),
            results: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        let unix_ms = NOW + i64::try_from(self.uptime_ms).expect("small") + self.off_ms;
        Now {
            uptime_ms: self.uptime_ms,
            unix_ms: unix_ms.max(0).unsigned_abs(),
        }
    }

    fn event(&mut self, event: Event) {
        let effects = self.machine.handle(event, self.now());
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Journal(entries) => self.journal.extend(entries),
                Effect::Note(entry) => self.journal.push(entry),
                Effect::Run(job) => *self.runs.entry(job.id.to_string()).or_default() += 1,
                Effect::Report(result) => self.results.push(result),
                Effect::Confirm => {}
            }
        }
    }

    fn restart(&mut self) {
        let (machine, effects) = Machine::restore(self.journal.clone(), "boot".to_owned(), self.now());
        self.machine = machine;
        self.perform(effects);
    }

    fn last(&self, id: CommandId) -> Option<&CommandResult> {
        self.results.iter().rev().find(|result| result.id == id)
    }
}

fn command() -> Command {
    let values = RawValue::from_string("{}".to_owned()).expect("json");
    Command {
        id: CommandId::random(),
        cmd_type: "echo".to_owned(),
        values,
        ttl_ms: TTL_MS,
    }
}

/// Life of three commands in phases; the date may step before each phase.
fn live(device: &mut Device, commands: &[Command; 3], phase: usize) {
    let [runs, waits, last] = commands;
    match phase {
        0 => device.event(Event::Arrived(runs.clone())),
        1 => device.event(Event::Guest(GuestState::Ready)),
        2 => {
            device.event(Event::Arrived(waits.clone()));
            device.event(Event::Arrived(last.clone()));
        }
        3 => device.event(Event::Timer),
        4 => device.event(Event::Finished(runs.id, Outcome::Done)),
        5 => device.event(Event::Reported(runs.id)),
        6 => device.event(Event::Finished(waits.id, Outcome::Done)),
        // The cloud repeats commands without a result.
        7 => commands
            .iter()
            .for_each(|command| device.event(Event::Arrived(command.clone()))),
        _ => device.event(Event::Timer),
    }
    device.uptime_ms += 1_000;
}

const PHASES: usize = 9;

#[test]
fn no_step_of_the_date_runs_a_command_twice_or_loses_one() {
    for step_ms in [HOURS_3, -HOURS_3, YEARS_10, -YEARS_10, -NOW] {
        for at in 0..PHASES {
            for back in at..=PHASES {
                let mut device = Device::new();
                let commands = [command(), command(), command()];
                for phase in 0..PHASES {
                    if phase == at {
                        device.off_ms = step_ms;
                    }
                    if phase == back {
                        device.off_ms = 0;
                    }
                    live(&mut device, &commands, phase);
                }
                let what = format!("step of {step_ms} ms before phase {at}, back before {back}");
                for command in &commands {
                    assert_eq!(device.runs.get(&command.id.to_string()), Some(&1), "{what}");
                }
                for command in &commands[..2] {
                    let ends = device
                        .results
                        .iter()
                        .filter(|r| r.id == command.id && r.state.is_final());
                    assert_eq!(
                        ends.map(|r| r.state).collect::<Vec<_>>(),
                        [CommandState::Done],
                        "{what}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_restart_under_a_stepped_date_runs_nothing_twice_and_ends_everything_once() {
    for step_ms in [HOURS_3, -HOURS_3, YEARS_10, -YEARS_10] {
        for at in 1..PHASES {
            let mut device = Device::new();
            let commands = [command(), command(), command()];
            for phase in 0..PHASES {
                if phase == at {
                    device.off_ms = step_ms;
                    device.restart();
                    device.event(Event::Guest(GuestState::Ready));
                }
                live(&mut device, &commands, phase);
            }
            let what = format!("restart with a step of {step_ms} ms before phase {at}");
            for command in &commands {
                assert!(
                    device
                        .runs
                        .get(&command.id.to_string())
                        .is_none_or(|runs| *runs == 1),
                    "{what}"
                );
                assert!(
                    !device.results.iter().any(|r| r.state == CommandState::Expired),
                    "{what}: its time was not over"
                );
                assert!(device.machine.knows(command.id), "{what}: it is forgotten");
            }
            let end = device.last(commands[0].id).map(|result| result.state);
            assert!(
                matches!(end, Some(CommandState::Done | CommandState::Interrupted)),
                "{what}: {end:?}"
            );
        }
    }
}

#[test]
fn the_time_to_live_is_the_time_that_passes() {
    for step_ms in [HOURS_3, -HOURS_3, YEARS_10, -YEARS_10] {
        for restart in [false, true] {
            let mut device = Device::new();
            let command = command();
            device.event(Event::Arrived(command.clone()));
            device.off_ms = step_ms;
            if restart {
                device.restart();
            }
            device.uptime_ms = TTL_MS - 1;
            device.event(Event::Timer);
            assert_eq!(
                device.last(command.id).map(|result| result.state),
                Some(CommandState::Delivered)
            );
            assert_eq!(device.machine.deadline_ms(), Some(TTL_MS));
            device.uptime_ms = TTL_MS;
            device.event(Event::Timer);
            let result = device.last(command.id).expect("a result");
            assert_eq!(
                result.state,
                CommandState::Expired,
                "step {step_ms}, restart {restart}"
            );
            assert_eq!(
                result.at_ms,
                device.now().unix_ms,
                "it is dated by the clock of its end"
            );
        }
    }
}
