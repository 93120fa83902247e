use std::collections::BTreeMap;

use iottly_protocol::release::{DeveloperOrder, LeaseId, OfferedScript, OrderAction, Reason};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, ProjectId};

use super::event::{Effect, Event, Outcome, Site, Verified};
use super::machine::Machine;
use super::memory::{Memory, Open};

const DATE: u64 = 1_800_000_000;
const HOUR_MS: u64 = 3_600_000;

fn device() -> DeviceId {
    "a2792ce8-216f-477c-a5cc-4f7e9f407e29".parse().expect("id")
}

fn lease() -> LeaseId {
    "08c602b1-216f-477c-a5cc-4f7e9f407e29".parse().expect("id")
}

fn site() -> Site {
    Site {
        device: device(),
        project: ProjectId::from_bytes([7; 12]),
        allowed: true,
        capabilities: vec!["gpio".to_owned()],
        engines: vec!["script 1".to_owned()],
        exact: Vec::new(),
        clock_trusted: true,
        on_trial: false,
    }
}

fn order(counter: u64, action: OrderAction) -> DeveloperOrder {
    let runs = action == OrderAction::Run;
    DeveloperOrder {
        id: format!("o-{counter}"),
        lease: lease(),
        project: ProjectId::from_bytes([7; 12]),
        devices: vec![device()],
        action,
        sha256: if runs {
            format!("{counter:064x}")
        } else {
            String::new()
        },
        size: if runs { 3 } else { 0 },
        approved: Vec::new(),
        not_before: Instant::from_unix(DATE),
        expires: Instant::from_unix(DATE + 3600),
        counter,
        extra: BTreeMap::new(),
    }
}

fn event(order: DeveloperOrder, site: Site) -> Event {
    let offered = OfferedScript {
        sha256: order.sha256.clone(),
        size: order.size,
        engine: "script 1".to_owned(),
        exact: None,
        capabilities: vec!["gpio".to_owned()],
    };
    let verified = Verified {
        order,
        script: Ok((offered, b"abc".to_vec())),
        date: Instant::from_unix(DATE),
        received_ms: 10,
    };
    Event::Ordered(Box::new(verified), site)
}

fn run(counter: u64) -> Event {
    event(order(counter, OrderAction::Run), site())
}

fn end(counter: u64) -> Event {
    event(order(counter, OrderAction::End), site())
}

/// Names of the effects, with the states of the reports.
fn names(effects: &[Effect]) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::Journal(memory) => match &memory.open {
            Some(open) => format!("journal {} {}", memory.counter, open.order),
            None => format!("journal {}", memory.counter),
        },
        Effect::Swap { attempt, .. } => format!("swap {attempt}"),
        Effect::GiveBack => "give back".to_owned(),
        Effect::Report(said) => match &said.state {
            Outcome::Running { ms } => format!("{} runs {ms}", said.order),
            Outcome::Failed { detail } => format!("{} failed {detail}", said.order),
            Outcome::Refused(why) => format!("{} refused {}", said.order, why.reason),
            Outcome::Ended { .. } => format!("{} ended", said.order),
        },
    };
    effects.iter().map(name).collect()
}

/// A machine that has followed `run(1)`.
fn running() -> Machine {
    let mut machine = Machine::new(Memory::default());
    assert_eq!(names(&machine.handle(run(1), 20)), ["journal 1 o-1", "swap 1"]);
    assert_eq!(
        names(&machine.handle(Event::Started { attempt: 1 }, 30)),
        ["o-1 runs 20"]
    );
    machine
}

#[test]
fn code_runs_until_its_lease_is_ended_or_its_time_is_over() {
    let mut machine = running();
    assert_eq!(machine.wake_at(), Some(20 + HOUR_MS));
    assert!(machine.handle(Event::Tick, 19 + HOUR_MS).is_empty());
    assert_eq!(
        names(&machine.handle(end(2), 40)),
        ["journal 2 o-1", "give back", "o-1 ended", "journal 2"]
    );
    assert_eq!(machine.wake_at(), None);

    let mut machine = running();
    assert_eq!(
        names(&machine.handle(Event::Tick, 20 + HOUR_MS)),
        ["give back", "o-1 ended", "journal 1"]
    );
}

#[test]
fn code_that_does_not_start_leaves_what_ran_before_with_its_own_end() {
    let mut machine = running();
    machine.handle(run(2), 50);
    let failed = Event::Failed {
        attempt: 2,
        detail: "init: x".to_owned(),
    };
    assert_eq!(
        names(&machine.handle(failed, 60)),
        ["o-2 failed init: x", "journal 2 o-1"]
    );
    assert_eq!(machine.wake_at(), Some(20 + HOUR_MS));
    assert_eq!(names(&machine.handle(run(3), 70)), ["journal 3 o-3", "swap 3"]);
}

#[test]
fn the_newest_of_several_saves_is_run_and_the_ones_between_are_named() {
    let mut machine = running();
    machine.handle(run(2), 50);
    assert_eq!(names(&machine.handle(run(3), 51)), ["journal 3 o-2"]);
    assert_eq!(
        names(&machine.handle(run(4), 52)),
        ["journal 4 o-2", "o-3 refused superseded"]
    );
    let started = machine.handle(Event::Started { attempt: 2 }, 60);
    assert_eq!(names(&started), ["o-2 runs 50", "journal 4 o-4", "swap 3"]);
    // An end counts for all of them.
    machine.handle(run(5), 61);
    assert_eq!(
        names(&machine.handle(end(6), 62)),
        ["journal 6 o-4", "give back", "o-5 ended", "journal 6"]
    );
    assert!(machine.handle(Event::Started { attempt: 3 }, 63).is_empty());
}

#[test]
fn an_order_is_followed_once_and_only_while_it_is_allowed() {
    let mut machine = running();
    assert!(
        machine.handle(run(1), 40).is_empty(),
        "the cloud repeats it after a reconnect"
    );
    let mut replayed = order(1, OrderAction::Run);
    replayed.id = "another".to_owned();
    let refused = |machine: &mut Machine, order, site| names(&machine.handle(event(order, site), 40));
    assert_eq!(
        refused(&mut machine, replayed, site()),
        ["another refused replay"]
    );

    let off = Site {
        allowed: false,
        ..site()
    };
    assert_eq!(
        refused(&mut machine, order(2, OrderAction::Run), off.clone()),
        ["o-2 refused developer_off"]
    );
    let trial = Site {
        on_trial: true,
        ..site()
    };
    assert_eq!(
        refused(&mut machine, order(2, OrderAction::Run), trial),
        ["o-2 refused lock"]
    );
    let bare = Site {
        capabilities: Vec::new(),
        ..site()
    };
    assert_eq!(
        refused(&mut machine, order(2, OrderAction::Run), bare),
        ["o-2 refused incompatible"]
    );
    let elsewhere = Site {
        device: DeviceId::random(),
        ..site()
    };
    assert_eq!(
        refused(&mut machine, order(2, OrderAction::Run), elsewhere),
        ["o-2 refused not_leased"]
    );
    // An owner who has switched leases off is not kept in one.
    assert_eq!(
        names(&machine.handle(event(order(2, OrderAction::End), off), 41)),
        ["journal 2 o-1", "give back", "o-1 ended", "journal 2"]
    );
}

#[test]
fn a_release_ends_the_code_and_starts_nothing() {
    let mut machine = running();
    assert_eq!(
        names(&machine.handle(Event::Released, 40)),
        ["o-1 ended", "journal 1"]
    );
    assert!(machine.handle(Event::Released, 41).is_empty());
    assert_eq!(names(&machine.handle(run(2), 50)), ["journal 2 o-2", "swap 2"]);
}

#[test]
fn after_a_restart_the_end_is_reported_and_the_order_stays_used() {
    let memory = Memory {
        counter: 7,
        last: "o-7".to_owned(),
        open: Some(Open {
            order: "o-7".to_owned(),
            lease: lease(),
            sha256: "ab".to_owned(),
        }),
    };
    let mut machine = Machine::new(memory);
    assert_eq!(names(&machine.handle(Event::Boot, 0)), ["o-7 ended", "journal 7"]);
    assert!(machine.handle(Event::Boot, 0).is_empty());
    assert!(machine.handle(run(7), 1).is_empty());
    assert_eq!(names(&machine.handle(run(6), 1)), ["o-6 refused replay"]);
}

#[test]
fn documents_of_strangers_are_reported_thirty_times_a_minute() {
    let mut machine = Machine::new(Memory::default());
    let refused = || Event::Refused {
        order: "x".to_owned(),
        lease: None,
        why: iottly_protocol::release::Refusal {
            reason: Reason::BadSignature,
            detail: String::new(),
        },
    };
    let reports = (0..1000).filter(|at| !machine.handle(refused(), 60_000 + at).is_empty());
    assert_eq!(reports.count(), 30);
    assert_eq!(machine.handle(refused(), 121_000).len(), 1);
}
