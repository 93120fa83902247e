//! Rows and decisions of rollouts while the wall clock is set at every phase, and while groups, devices and
//! branches are deleted.

use std::collections::HashMap;

use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::Policy;
use iottly_core::model::{
    Change, NewRollout, OutgoingDirective, Rollout, RolloutId, RolloutKind, RolloutStep, Scope,
    StoredRelease, UnixMs,
};
use iottly_core::rollout::{Step, decide};
use iottly_protocol::release::{Ending, Reason, Step as UpdateStep, UpdateState, Window};
use iottly_protocol::{
    DeviceId, FirmwareReport, FirmwareState, GroupId, Level, LogLine, StreamId, UpdateReport,
};
use iottly_store::StoreError;
use serde_json::value::RawValue;

use super::{Setup, device, principal};

const GROUP: [u8; 16] = [1; 16];
const HOUR: UnixMs = 3_600_000;
const YEAR: UnixMs = 365 * 24 * HOUR;
/// Wall clock before it is set, and the steady clock, which is never set.
const WALL: UnixMs = 1_800_000_000_000;
const STEADY: u64 = 1_700_000_000_000;

/// Rollout with both clocks.
struct Desk<'a> {
    setup: &'a Setup,
    id: RolloutId,
    wall: UnixMs,
    steady: u64,
    seqs: HashMap<DeviceId, u64>,
}

impl<'a> Desk<'a> {
    /// Starts the rollout of the `number`th release.
    async fn start(setup: &'a Setup, number: u8, policy: Policy) -> Desk<'a> {
        let desk = Self {
            setup,
            id: RolloutId::from_bytes([number; 16]),
            wall: WALL,
            steady: STEADY,
            seqs: HashMap::new(),
        };
        let release = StoredRelease {
            seq: number.into(),
            path: format!("app/main/{number}.wasm"),
            branch: "main".into(),
            revision: number.into(),
            sha256: format!("digest {number}"),
            size: 60_000,
            source: "source".into(),
            capabilities: Vec::new(),
            grace_ms: policy.grace_ms,
            author: "t".into(),
            created: 1,
        };
        desk.change(Change::AddRelease(Box::new(release)))
            .await
            .expect("adds");
        let (group, note) = (GroupId::from_bytes(GROUP), String::new());
        let (id, kind, approved) = (desk.id, RolloutKind::Install, Vec::new());
        let new = NewRollout {
            id,
            group,
            release: number.into(),
            kind,
            policy,
            approved,
            force: false,
            note,
        };
        desk.change(Change::StartRollout(Box::new(new)))
            .await
            .expect("starts");
        desk
    }

    async fn change(&self, change: Change) -> Result<u64, StoreError> {
        let (scope, store) = (self.setup.scope, &self.setup.store);
        store
            .change(scope.project, &principal(scope), change, self.wall)
            .await
            .map(|changed| changed.affected)
    }

    async fn rollout(&self) -> Rollout {
        self.setup
            .store
            .rollout(self.setup.scope.project, self.id)
            .await
            .expect("reads")
            .expect("exists")
    }

    /// Does one round of the executor; returns the status, and the devices that were notified.
    async fn look(&self) -> (&'static str, Vec<DeviceId>) {
        let (store, project) = (&self.setup.store, self.setup.scope.project);
        let rollout = self.rollout().await;
        let members = store.rollout_members(project, &rollout).await.expect("reads");
        store
            .note_heard(project, self.id, self.steady)
            .await
            .expect("writes");
        let decision = decide(&rollout, &members, 60_000, self.steady / 1000);
        let outgoing = |step: &Step| {
            let (Step::Install(device) | Step::Cancel(device)) = *step;
            let counter = members
                .iter()
                .find(|member| member.device == device)
                .expect("a member")
                .counter
                + 1;
            let document = RawValue::from_string("{}".to_owned()).expect("JSON");
            OutgoingDirective {
                device,
                id: format!("d-{}-{counter}", self.id),
                counter,
                document,
            }
        };
        let (install, cancel): (Vec<_>, Vec<_>) = decision
            .plan
            .steps
            .iter()
            .partition(|step| matches!(step, Step::Install(_)));
        let install: Vec<_> = install.into_iter().map(outgoing).collect();
        let devices = install.iter().map(|directive| directive.device).collect();
        let step = RolloutStep {
            id: self.id,
            group: rollout.group,
            version: rollout.version,
            halts: decision.plan.progress.halted && !rollout.progress.halted,
            progress: decision.plan.progress,
            status: decision.status,
            evidence: decision
                .plan
                .evidence
                .map(|evidence| format!("{:?}", evidence.detail)),
            ended: decision.ended,
            active: decision.active,
            revision: None,
            install,
            cancel: cancel.into_iter().map(outgoing).collect(),
        };
        assert!(
            store
                .save_rollout_step(project, &step, self.wall)
                .await
                .expect("writes")
        );
        (decision.status.as_str(), devices)
    }

    /// Does one round with both clocks advanced by `seconds`.
    async fn after(&mut self, seconds: u64) -> (&'static str, Vec<DeviceId>) {
        self.steady += seconds * 1000;
        self.wall += i64::try_from(seconds).expect("few") * 1000;
        self.look().await
    }

    async fn say(&mut self, device: DeviceId, entry: Entry) {
        let seq = self.seqs.entry(device).or_default();
        *seq += 1;
        let mut stream = *device.as_bytes();
        stream[15] = self.id.as_bytes()[0];
        let body = UploadBody::Records {
            first: *seq,
            records: vec![Ok(entry)],
        };
        let scope = Scope {
            device,
            ..self.setup.scope
        };
        let upload = Upload {
            scope,
            stream: StreamId::from_bytes(stream),
            received: self.wall,
            body,
        };
        self.setup.store.ingest(vec![upload]).await.expect("commits");
    }

    async fn report(&mut self, device: DeviceId, state: UpdateState, reason: Option<Reason>) {
        let members = self
            .setup
            .store
            .rollout_page(self.setup.scope.project, &self.rollout().await, None, None, 1000)
            .await
            .expect("reads");
        let directive = members
            .into_iter()
            .find(|member| member.device == device)
            .and_then(|member| member.directive)
            .expect("was sent one");
        let report = UpdateReport {
            directive: directive.id,
            sha256: "ab".into(),
            state,
            reason,
            detail: None,
            at_ms: 1,
        };
        self.say(device, Entry::Update(report)).await;
    }
}

/// Creates two connected devices in the group.
async fn two_devices(setup: &Setup) -> [DeviceId; 2] {
    let other = Scope {
        device: DeviceId::from_bytes([2; 16]),
        ..setup.scope
    };
    device(setup.store.as_ref(), other).await.expect("created");
    for scope in [setup.scope, other] {
        setup
            .store
            .set_presence(scope, true, None, 1)
            .await
            .expect("writes");
    }
    [setup.scope.device, other.device]
}

pub(crate) async fn a_wall_clock_that_is_set_halts_no_rollout_and_keeps_none_from_ending(setup: Setup) {
    use UpdateStep::{Deferred, Downloading, Offered, Trial};
    two_devices(&setup).await;
    let window = Some(Window {
        start_minute: 0,
        minutes: 600,
    });
    let policy = Policy {
        silence_s: 40,
        grace_ms: 20_000,
        soak_s: 60,
        max_bps: 1_000,
        ..Policy::default()
    };
    let mut number = 0;
    for jump in [3 * HOUR, -3 * HOUR, 10 * YEAR, -10 * YEAR] {
        // States before the clock is set, and the maximum silence in the last of them.
        for (states, late) in [
            (&[][..], 40),
            (&[Offered][..], 40),
            (&[Offered, Downloading][..], 40 + 120),
            (&[Offered, Downloading, Trial][..], 40 + 80),
            (&[Offered, Deferred][..], 40 + 86_400),
        ] {
            number += 1;
            let policy = if states.contains(&Deferred) {
                Policy {
                    window,
                    ..policy.clone()
                }
            } else {
                policy.clone()
            };
            let mut desk = Desk::start(&setup, number, policy).await;
            let (_, sent) = desk.look().await;
            let canary = sent[0];
            for state in states {
                desk.report(
                    canary,
                    (*state).into(),
                    (*state == Deferred).then_some(Reason::Window),
                )
                .await;
                assert_eq!(desk.after(1).await.0, "deploying");
            }
            desk.wall += jump;
            assert_eq!(
                desk.after(1).await.0,
                "deploying",
                "set by {jump} ms in {states:?}"
            );
            assert_eq!(
                desk.after(late - 5).await.0,
                "deploying",
                "set by {jump} ms in {states:?}"
            );
            desk.report(canary, Ending::Committed.into(), None).await;
            let (status, sent) = desk.after(1).await;
            assert_eq!((status, sent.len()), ("deploying", 0), "the first wave soaks");
            desk.wall -= jump;
            assert_eq!(
                desk.after(58).await.1.len(),
                0,
                "a clock that is set back does not end the soaking"
            );
            let (status, sent) = desk.after(2).await;
            assert_eq!(
                (status, sent.len()),
                ("deploying", 1),
                "set by {jump} ms in {states:?}"
            );
            desk.report(sent[0], Ending::Committed.into(), None).await;
            desk.wall += jump;
            assert_eq!(
                desk.after(1).await.0,
                "deployed",
                "set by {jump} ms in {states:?}"
            );
        }
    }
    // Silence is noticed however the clock is set.
    for jump in [10 * YEAR, -10 * YEAR] {
        number += 1;
        let mut desk = Desk::start(&setup, number, policy.clone()).await;
        let (_, sent) = desk.look().await;
        desk.after(1).await;
        desk.wall += jump;
        assert_eq!(desk.after(45).await.0, "halted");
        desk.report(sent[0], Ending::Committed.into(), None).await;
        assert_eq!(desk.after(1).await.0, "halted", "its owner decides");
        let evidence = desk.rollout().await.evidence.expect("says why");
        assert!(evidence.contains("resume"), "{evidence}");
        desk.change(Change::SteerRollout(
            GroupId::from_bytes(GROUP),
            iottly_core::model::RolloutCommand::Resume,
        ))
        .await
        .expect("resumes");
        assert_eq!(desk.after(1).await.0, "deploying", "what committed late counts");
    }
}

pub(crate) async fn the_newest_rollout_is_the_one_that_was_started_last(setup: Setup) {
    let group = Some(GroupId::from_bytes(GROUP));
    let project = setup.scope.project;
    for number in 1..=3 {
        let mut desk = Desk::start(&setup, number, Policy::default()).await;
        desk.wall -= YEAR * i64::from(number);
        desk.change(Change::CancelRollout(desk.id))
            .await
            .expect("cancels");
    }
    setup
        .vandalise("UPDATE rollouts SET created = 1000 - number")
        .await;
    let newest = setup.store.rollouts(project, group, 9).await.expect("reads");
    assert_eq!(
        newest.iter().map(|rollout| rollout.release).collect::<Vec<_>>(),
        [3, 2, 1]
    );
}

pub(crate) async fn the_steady_clock_only_goes_forward(setup: Setup) {
    assert_eq!(setup.store.steady_clock().await.expect("reads"), None);
    for (at, now) in [(500, 500), (400, 500), (600, 600)] {
        assert_eq!(setup.store.advance_clock(at).await.expect("writes"), now);
        assert_eq!(
            setup.another().await.steady_clock().await.expect("reads"),
            Some(now)
        );
    }
}

pub(crate) async fn a_rollout_outlives_its_group_and_counts_whom_it_told(setup: Setup) {
    let devices = two_devices(&setup).await;
    let mut desk = Desk::start(&setup, 1, Policy::default()).await;
    assert_eq!(desk.rollout().await.devices, 2);
    let (_, sent) = desk.look().await;
    let canary = sent[0];
    desk.report(canary, UpdateState::Underway(UpdateStep::Downloading), None)
        .await;
    let branch = desk.change(Change::DeleteBranch("main".into())).await;
    assert!(matches!(branch, Err(StoreError::Refused(_))), "{branch:?}");

    // Moved into another group, which is deleted, and the group as well.
    let other = GroupId::from_bytes([7; 16]);
    desk.change(Change::CreateGroup {
        id: other,
        name: "other".into(),
        branch: None,
    })
    .await
    .expect("adds");
    desk.change(Change::MoveDevices(other, vec![canary]))
        .await
        .expect("moves");
    assert_eq!(
        desk.look().await.0,
        "deploying",
        "it was told, and it is waited for"
    );
    desk.change(Change::MoveDevices(other, devices.to_vec()))
        .await
        .expect("moves");
    assert_eq!(desk.look().await.0, "deploying");
    let named = Desk::start_in(&setup, 2, other).await;
    named.look().await;
    named.change(Change::DeleteGroup(other)).await.expect("deletes");
    let (status, _) = named.look().await;
    let gone = named.rollout().await;
    assert_eq!(
        (status, gone.ended.as_deref()),
        ("cancelled", Some("its deployment group was deleted"))
    );
    let members = setup
        .store
        .rollout_members(setup.scope.project, &gone)
        .await
        .expect("reads");
    assert_eq!(
        members
            .iter()
            .filter(|member| member
                .directive
                .as_ref()
                .is_some_and(|directive| directive.withdrawn))
            .count(),
        1
    );
    assert_eq!(
        (named.look().await.0, named.rollout().await.active),
        ("cancelled", false)
    );

    // Cancelled by its own id, once.
    desk.change(Change::CancelRollout(desk.id))
        .await
        .expect("cancels");
    desk.look().await;
    desk.look().await;
    let again = desk.change(Change::CancelRollout(desk.id)).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    let unknown = desk
        .change(Change::CancelRollout(RolloutId::from_bytes([99; 16])))
        .await;
    assert!(matches!(unknown, Err(StoreError::Missing { .. })), "{unknown:?}");

    // All of its devices are deleted.
    let desk = Desk::start(&setup, 3, Policy::default()).await;
    for device in devices {
        desk.change(Change::DeleteDevice(device)).await.expect("deletes");
    }
    let (status, _) = desk.look().await;
    assert_eq!((status, desk.rollout().await.active), ("cancelled", false));
    assert!(
        desk.rollout()
            .await
            .ended
            .is_some_and(|reason| reason.contains("no device is left"))
    );
}

impl<'a> Desk<'a> {
    /// Starts as [`start`](Self::start) does, in another group.
    async fn start_in(setup: &'a Setup, number: u8, group: GroupId) -> Desk<'a> {
        let desk = Self::start(setup, number, Policy::default()).await;
        desk.change(Change::CancelRollout(desk.id))
            .await
            .expect("cancels");
        let (id, kind, policy) = (
            RolloutId::from_bytes([number + 100; 16]),
            RolloutKind::Install,
            Policy::default(),
        );
        let (approved, note) = (Vec::new(), String::new());
        let new = NewRollout {
            id,
            group,
            release: number.into(),
            kind,
            policy,
            approved,
            force: false,
            note,
        };
        desk.change(Change::StartRollout(Box::new(new)))
            .await
            .expect("starts");
        Self { id, ..desk }
    }
}

pub(crate) async fn failures_of_a_trial_are_counted_and_others_are_not(setup: Setup) {
    let [one, _] = two_devices(&setup).await;
    let mut desk = Desk::start(
        &setup,
        1,
        Policy {
            canary: 0,
            ..Policy::default()
        },
    )
    .await;
    desk.look().await;
    let line = |text: &str, level| {
        Entry::Log(LogLine {
            level,
            text: text.into(),
            at_ms: 1,
            firmware: None,
        })
    };
    let stopped = |state| {
        Entry::Firmware(FirmwareReport {
            state,
            digest: String::new(),
            detail: Some("trap".into()),
            at_ms: 1,
        })
    };
    desk.say(one, line("before", Level::Error)).await;
    desk.report(one, UpdateState::Underway(UpdateStep::Trial), None)
        .await;
    desk.say(one, line("ReferenceError\0", Level::Error)).await;
    desk.say(one, line("fine", Level::Info)).await;
    desk.say(one, stopped(FirmwareState::Running)).await;
    let faults = async |desk: &Desk<'_>| {
        let members = setup
            .store
            .rollout_page(setup.scope.project, &desk.rollout().await, None, None, 1000)
            .await
            .expect("reads");
        let directive = members
            .into_iter()
            .find(|member| member.device == one)
            .and_then(|member| member.directive)
            .expect("was sent one");
        (directive.faults, directive.fault.unwrap_or_default())
    };
    assert_eq!(faults(&desk).await, (1, "ReferenceError\u{fffd}".to_owned()));
    desk.say(one, stopped(FirmwareState::Restarting)).await;
    // The log line of a stop may arrive after the report of it, which names the reason.
    desk.say(one, line("late", Level::Error)).await;
    assert_eq!(faults(&desk).await, (3, "trap".to_owned()));
    desk.report(one, UpdateState::Ended(Ending::Committed), None)
        .await;
    desk.say(one, line("after", Level::Error)).await;
    assert_eq!(faults(&desk).await, (3, "trap".to_owned()));
}

pub(crate) async fn old_rollouts_are_forgotten_and_needed_releases_are_known(setup: Setup) {
    let project = setup.scope.project;
    two_devices(&setup).await;
    for number in 1..=6 {
        let desk = Desk::start(
            &setup,
            number,
            Policy {
                canary: 0,
                ..Policy::default()
            },
        )
        .await;
        let status = if number % 2 == 0 { "cancelled" } else { "deployed" };
        setup
            .vandalise(&format!(
                "UPDATE rollouts SET status = '{status}', active = 0 WHERE number = {number}"
            ))
            .await;
        drop(desk);
    }
    let needed = setup.store.needed_releases(project).await.expect("reads");
    assert_eq!(
        needed.into_iter().collect::<Vec<_>>(),
        [1, 3, 5, 6],
        "what it shows, what it ran, and two steps back"
    );
    assert_eq!(
        setup.store.tidy_rollouts(project, 9).await.expect("deletes"),
        0,
        "a few are kept"
    );
    setup
        .vandalise("UPDATE rollouts SET number = number + 2000 WHERE number > 4")
        .await;
    assert_eq!(setup.store.tidy_rollouts(project, 1).await.expect("deletes"), 1);
    assert_eq!(setup.store.tidy_rollouts(project, 3).await.expect("deletes"), 1);
    let left = setup.store.rollouts(project, None, 9).await.expect("reads");
    assert_eq!(
        left.iter().map(|rollout| rollout.release).collect::<Vec<_>>(),
        [6, 5, 3, 1],
        "a group's successes stay"
    );
}
