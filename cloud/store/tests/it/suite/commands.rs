//! Commands: their states, their limits, and concurrent processes.

use std::collections::{HashSet, VecDeque};

use iottly_core::command::CloudStep;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Actor, CommandStatus, Idempotency, NewCommand, Scope, TokenId, UnixMs};
use iottly_protocol::{CommandId, CommandResult, CommandState, ProjectId, StreamId};
use iottly_store::{CommandQuery, CommandRoom, Submitted};
use serde_json::value::RawValue;

use super::Setup;

const ROOM: CommandRoom = CommandRoom {
    commands: 1000,
    bytes: 1 << 20,
};

fn command(scope: Scope, byte: u8, created: UnixMs) -> NewCommand {
    let values = RawValue::from_string(r#"{"content":"hi"}"#.to_owned()).expect("JSON");
    NewCommand {
        id: CommandId::from_bytes([byte; 16]),
        scope,
        cmd_type: "echo".into(),
        values,
        created,
        expires: created + 100,
    }
}

async fn report(setup: &Setup, seq: u64, id: CommandId, state: CommandState, detail: Option<&str>) {
    let result = CommandResult {
        id,
        state,
        detail: detail.map(str::to_owned),
        at_ms: 1,
    };
    let body = UploadBody::Records {
        first: seq,
        records: vec![Ok(Entry::Result(result))],
    };
    let upload = Upload {
        scope: setup.scope,
        stream: StreamId::from_bytes([8; 16]),
        received: 50,
        body,
    };
    setup.store.ingest(vec![upload]).await.expect("commits");
}

pub(crate) async fn a_command_goes_its_way(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    for byte in 1..=5 {
        let submitted = store
            .create_command(&command(*scope, byte, i64::from(byte)), None, &ROOM)
            .await
            .expect("stores");
        assert!(matches!(submitted, Submitted::New));
    }
    let id = |byte: u8| CommandId::from_bytes([byte; 16]);
    let status = async |byte: u8| {
        store
            .command(*scope, id(byte))
            .await
            .expect("reads")
            .expect("exists")
            .status
    };
    let open = store.open_commands(*scope).await.expect("reads");
    assert_eq!(
        open.iter().map(|command| command.id).collect::<Vec<_>>(),
        (1..=5).map(id).collect::<Vec<_>>()
    );
    store.mark_sent(*scope, id(1), 10).await.expect("marks");
    report(&setup, 1, id(1), CommandState::Delivered, None).await;
    assert_eq!(status(1).await, CommandStatus::Delivered);
    report(&setup, 2, id(1), CommandState::Failed, Some("not\0found")).await;
    let failed = store
        .command(*scope, id(1))
        .await
        .expect("reads")
        .expect("exists");
    assert_eq!(
        (failed.status, failed.detail.as_deref()),
        (CommandStatus::Failed, Some("not\u{fffd}found"))
    );
    assert_eq!(
        (failed.sent, failed.delivered, failed.values.get()),
        (Some(10), Some(50), r#"{"content":"hi"}"#)
    );
    report(&setup, 3, id(1), CommandState::Done, None).await;
    assert_eq!(status(1).await, CommandStatus::Failed, "what is final stays");
    // Cancelled before it was sent, and after.
    assert_eq!(
        store
            .cancel_command(*scope, id(2), 20)
            .await
            .expect("cancels")
            .expect("exists")
            .status,
        CommandStatus::Cancelled
    );
    store.mark_sent(*scope, id(3), 20).await.expect("marks");
    let cancelling = store
        .cancel_command(*scope, id(3), 20)
        .await
        .expect("cancels")
        .expect("exists");
    assert_eq!(
        (cancelling.status, cancelling.cancelling),
        (CommandStatus::Sent, true)
    );
    store
        .withdraw_command(*scope, id(3), 25)
        .await
        .expect("withdraws");
    assert_eq!(status(3).await, CommandStatus::Cancelled);
    report(&setup, 4, id(3), CommandState::Done, None).await;
    assert_eq!(
        status(3).await,
        CommandStatus::Answered,
        "the device's own word corrects the guess"
    );
    // Expired, and then reported by the device after all.
    assert_eq!(store.expire_commands(104).await.expect("expires"), 1);
    assert_eq!(
        (status(4).await, status(5).await),
        (CommandStatus::Expired, CommandStatus::Queued)
    );
    report(&setup, 5, id(4), CommandState::Interrupted, None).await;
    assert_eq!(status(4).await, CommandStatus::Interrupted);
    let stranger = Scope {
        project: ProjectId::from_bytes([2; 12]),
        ..*scope
    };
    assert!(store.command(stranger, id(1)).await.expect("reads").is_none());
    assert!(
        store
            .cancel_command(stranger, id(5), 30)
            .await
            .expect("reads")
            .is_none()
    );
}

pub(crate) async fn a_key_stands_for_one_request(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let key = |name: &str, request: u8| Idempotency {
        actor: Actor::Token(TokenId::from_bytes([1; 16])),
        key: name.into(),
        request: [request; 32],
    };
    let first = command(*scope, 1, 1);
    assert!(matches!(
        store
            .create_command(&first, Some(&key("a", 1)), &ROOM)
            .await
            .expect("stores"),
        Submitted::New
    ));
    let again = store
        .create_command(&command(*scope, 2, 2), Some(&key("a", 1)), &ROOM)
        .await
        .expect("finds");
    assert!(matches!(again, Submitted::Earlier(earlier) if earlier.id == first.id));
    let other = store
        .create_command(&command(*scope, 3, 3), Some(&key("a", 2)), &ROOM)
        .await
        .expect("finds");
    assert!(matches!(other, Submitted::OtherRequest));
    assert!(
        store
            .command(*scope, CommandId::from_bytes([3; 16]))
            .await
            .expect("reads")
            .is_none()
    );
    // Two processes at once.
    let another = setup.another().await;
    let (four, five, shared) = (command(*scope, 4, 4), command(*scope, 5, 5), key("b", 1));
    let (one, two) = tokio::join!(
        store.create_command(&four, Some(&shared), &ROOM),
        another.create_command(&five, Some(&shared), &ROOM)
    );
    let new = [one.expect("stores"), two.expect("stores")]
        .iter()
        .filter(|submitted| matches!(submitted, Submitted::New))
        .count();
    assert_eq!(new, 1);
    assert_eq!(store.forget_keys(2).await.expect("forgets"), 1);
    assert!(matches!(
        store
            .create_command(&command(*scope, 6, 6), Some(&key("a", 2)), &ROOM)
            .await
            .expect("stores"),
        Submitted::New
    ));
}

pub(crate) async fn lists_page_without_overlap(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    for byte in 1..=9 {
        store
            .create_command(&command(*scope, byte, i64::from(byte / 3)), None, &ROOM)
            .await
            .expect("stores");
    }
    store
        .cancel_command(*scope, CommandId::from_bytes([4; 16]), 20)
        .await
        .expect("cancels");
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = store
            .commands(
                *scope,
                &CommandQuery {
                    status: None,
                    before,
                    limit: 2,
                },
            )
            .await
            .expect("reads");
        let Some(last) = page.last() else { break };
        before = Some((last.created, last.id));
        seen.extend(page.iter().map(|command| command.id.as_bytes()[0]));
    }
    assert_eq!(seen, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    let cancelled = CommandQuery {
        status: Some(CommandStatus::Cancelled),
        before: None,
        limit: 10,
    };
    assert_eq!(store.commands(*scope, &cancelled).await.expect("reads").len(), 1);
}

pub(crate) async fn what_waits_for_a_device_has_a_bound_that_holds_for_requests_at_once(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let another = setup.another().await;
    let few = CommandRoom { commands: 10, ..ROOM };
    let submit = |byte: u8| {
        let (store, scope) = (if byte.is_multiple_of(2) { store } else { &another }, *scope);
        async move {
            store
                .create_command(&command(scope, byte, 1), None, &few)
                .await
                .expect("answers")
        }
    };
    let submitted = futures_util::future::join_all((1..=32).map(submit)).await;
    let new = submitted
        .iter()
        .filter(|submitted| matches!(submitted, Submitted::New))
        .count();
    let full = submitted
        .iter()
        .filter(|submitted| matches!(submitted, Submitted::NoRoom))
        .count();
    assert_eq!(
        (new, full, store.open_commands(*scope).await.expect("reads").len()),
        (10, 22, 10)
    );
    // Bytes are limited as well: each of these commands has 16.
    let small = CommandRoom {
        commands: 1000,
        bytes: 12 * 16,
    };
    for byte in 40..50 {
        let fits = matches!(
            store
                .create_command(&command(*scope, byte, 1), None, &small)
                .await
                .expect("answers"),
            Submitted::New
        );
        assert_eq!(fits, byte < 42, "{byte}");
    }
    let totals = store.open_totals(scope.project).await.expect("counts");
    assert_eq!((totals.commands, totals.bytes), (12, 12 * 16));
    // A refused request does not use up its key, and a command that was stored under a key is found.
    let key = Idempotency {
        actor: Actor::Token(TokenId::from_bytes([1; 16])),
        key: "k".into(),
        request: [1; 32],
    };
    assert!(matches!(
        store
            .create_command(&command(*scope, 60, 1), Some(&key), &few)
            .await
            .expect("answers"),
        Submitted::NoRoom
    ));
    assert!(store.submitted(*scope, &key).await.expect("reads").is_none());
    assert!(matches!(
        store
            .create_command(&command(*scope, 60, 1), Some(&key), &ROOM)
            .await
            .expect("answers"),
        Submitted::New
    ));
    let found = store.submitted(*scope, &key).await.expect("reads");
    assert!(
        matches!(found, Some(Submitted::Earlier(record)) if record.id == CommandId::from_bytes([60; 16]))
    );
    let other = Idempotency {
        request: [2; 32],
        ..key
    };
    assert!(matches!(
        store.submitted(*scope, &other).await.expect("reads"),
        Some(Submitted::OtherRequest)
    ));
}

pub(crate) async fn what_waits_is_read_in_pages_of_bytes(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    for byte in 1..=200 {
        store
            .create_command(&command(*scope, byte, i64::from(byte / 7)), None, &ROOM)
            .await
            .expect("stores");
    }
    for (bytes, pages) in [(1, 200), (16 * 10, 20), (16 * 10 + 15, 20), (1 << 20, 4)] {
        let (mut after, mut seen, mut count) = (None, Vec::new(), 0);
        loop {
            let page = store.open_page(*scope, after, bytes).await.expect("reads");
            let Some(last) = page.last() else { break };
            after = Some((last.created, last.id));
            count += 1;
            seen.extend(page.iter().map(|command| command.id.as_bytes()[0]));
        }
        assert_eq!((count, seen), (pages, (1..=200).collect::<Vec<_>>()), "{bytes}");
    }
}

pub(crate) async fn no_deadline_is_further_away_than_one_may_be(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let years = 10 * 365 * 24 * 60 * 60 * 1000;
    let month = iottly_core::command::MAX_TTL_MS;
    // Sent while the clock was ahead by ten years.
    store
        .create_command(&command(*scope, 1, years), None, &ROOM)
        .await
        .expect("stores");
    assert_eq!(store.expire_commands(1_000).await.expect("looks"), 0);
    assert_eq!(
        store
            .command(*scope, CommandId::from_bytes([1; 16]))
            .await
            .expect("reads")
            .expect("exists")
            .expires,
        1_000 + month
    );
    assert_eq!(store.expire_commands(1_000 + month).await.expect("expires"), 1);
}

/// Event that may change the status of a command.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A step of the cloud. A cancellation of a command that was sent only marks it.
    Step(CloudStep),
    Report(CommandState),
}

const EVENTS: [Event; 10] = [
    Event::Step(CloudStep::Send),
    Event::Step(CloudStep::Cancel),
    Event::Step(CloudStep::Withdraw),
    Event::Step(CloudStep::Expire),
    Event::Report(CommandState::Delivered),
    Event::Report(CommandState::Done),
    Event::Report(CommandState::Failed),
    Event::Report(CommandState::Expired),
    Event::Report(CommandState::Interrupted),
    Event::Report(CommandState::Cancelled),
];

/// State of a command by the table of statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    status: CommandStatus,
    presumed: bool,
    marked: bool,
    detail: Option<&'static str>,
}

impl State {
    const NEW: Self = Self {
        status: CommandStatus::Queued,
        presumed: false,
        marked: false,
        detail: None,
    };

    fn after(mut self, event: Event) -> Self {
        match event {
            Event::Step(step)
                if step.from().contains(&self.status) && (self.marked || !step.needs_mark()) =>
            {
                self.status = step.to();
                self.presumed = step.presumes();
                self.detail = step.detail().or(self.detail);
            }
            Event::Step(CloudStep::Cancel) if CommandStatus::MARKED.contains(&self.status) => {
                self.marked = true;
            }
            Event::Step(_) => {}
            Event::Report(report) => {
                let next = CommandStatus::reported(report);
                if self.presumed || next.predecessors().contains(&self.status) {
                    self = Self {
                        status: next,
                        presumed: false,
                        detail: Some("reported"),
                        ..self
                    };
                }
            }
        }
        self
    }
}

/// Returns every state that a command can reach, each with a shortest way to it.
fn ways() -> Vec<(State, Vec<Event>)> {
    let mut known = HashSet::from([State::NEW]);
    let (mut found, mut open) = (Vec::new(), VecDeque::from([(State::NEW, Vec::new())]));
    while let Some((state, way)) = open.pop_front() {
        for event in EVENTS {
            let next = state.after(event);
            if known.insert(next) {
                open.push_back((next, [way.as_slice(), &[event]].concat()));
            }
        }
        found.push((state, way));
    }
    found
}

pub(crate) async fn every_change_of_a_status_is_as_the_table_says(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (mut number, mut seq) = (0u64, 0);
    for (state, way) in ways() {
        for event in EVENTS {
            number += 1;
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let new = NewCommand {
                id: CommandId::from_bytes(id),
                ..command(*scope, 0, 1)
            };
            store.create_command(&new, None, &ROOM).await.expect("stores");
            for event in way.iter().copied().chain([event]) {
                match event {
                    Event::Step(CloudStep::Send) => store.mark_sent(*scope, new.id, 10).await.expect("marks"),
                    Event::Step(CloudStep::Cancel) => {
                        let found = store.cancel_command(*scope, new.id, 10).await;
                        found.expect("cancels").expect("exists");
                    }
                    Event::Step(CloudStep::Withdraw) => {
                        store
                            .withdraw_command(*scope, new.id, 10)
                            .await
                            .expect("withdraws");
                    }
                    Event::Step(CloudStep::Expire) => {
                        store.expire_commands(1_000).await.expect("expires");
                    }
                    Event::Report(report_state) => {
                        seq += 1;
                        report(&setup, seq, new.id, report_state, Some("reported")).await;
                    }
                }
            }
            let expected = state.after(event);
            let stored = store
                .command(*scope, new.id)
                .await
                .expect("reads")
                .expect("exists");
            assert_eq!(
                (stored.status, stored.cancelling, stored.detail.as_deref()),
                (expected.status, expected.marked, expected.detail),
                "{way:?}, then {event:?}"
            );
        }
    }
    assert!(number > 100, "{number} changes");
}
