//! Jobs: each device once, by one worker at a time, in turn by project, within bounds.

use std::fmt::Write as _;
use std::time::Instant;

use iottly_core::jobs::{Event, JobState};
use iottly_core::model::{
    Change, Idempotency, Job, JobFilter, JobId, JobTask, MAX_OPEN_JOBS, NewJob, Principal, Scope, UnixMs,
};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use iottly_store::webhooks::WorkerId;
use iottly_store::{JobPlace, JobStep, Store, StoreError};

use super::{Setup, device, principal, project, tagged};

const ONE: WorkerId = WorkerId(1);
const TWO: WorkerId = WorkerId(2);
const LEASE: UnixMs = 60_000;

fn group() -> GroupId {
    GroupId::from_bytes([77; 16])
}

async fn with_group(setup: &Setup) -> Principal {
    let store = &setup.store;
    store
        .create_group(setup.scope.project, group(), "field", None)
        .await
        .expect("created");
    principal(setup.scope)
}

fn new(task: JobTask, devices: Vec<DeviceId>) -> NewJob {
    NewJob {
        id: JobId::random(),
        task,
        devices,
        key: None,
    }
}

async fn start(store: &dyn Store, by: &Principal, new: NewJob, now: UnixMs) -> JobId {
    let id = new.id;
    let change = Change::StartJob(Box::new(new));
    store.change(by.project, by, change, now).await.expect("started");
    id
}

async fn job(store: &dyn Store, project: ProjectId, id: JobId) -> Job {
    store.job(project, id).await.expect("reads").expect("a job")
}

/// Adds devices with statements of their own: the store would sync each.
async fn many(setup: &Setup, count: u32) -> Vec<DeviceId> {
    let ids: Vec<DeviceId> = (1..=count)
        .map(|n| {
            let mut id = [9; 16];
            id[12..].copy_from_slice(&n.to_be_bytes());
            DeviceId::from_bytes(id)
        })
        .collect();
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all");
            text
        })
    };
    let (project, group) = (hex(setup.scope.project.as_bytes()), hex(&[1; 16]));
    for chunk in ids.chunks(500) {
        let rows = chunk.iter().map(|id| {
            let id = hex(id.as_bytes());
            format!("(x'{project}', x'{id}', x'{group}', 'd', x'{}')", "07".repeat(32))
        });
        let rows: Vec<String> = rows.collect();
        setup
            .vandalise(&format!(
                "INSERT INTO devices (project, id, group_id, name, secret) VALUES {}",
                rows.join(", ")
            ))
            .await;
    }
    ids
}

async fn members(store: &dyn Store, project: ProjectId) -> usize {
    let size = store.group_size(project, group()).await.expect("counts");
    usize::try_from(size).expect("fits")
}

pub(crate) async fn ten_thousand_devices_move_in_slices(setup: Setup) {
    let (store, by) = (setup.store.as_ref(), with_group(&setup).await);
    let devices = many(&setup, 10_000).await;
    let began = Instant::now();
    let id = start(store, &by, new(JobTask::Move { group: group() }, devices), 10).await;
    let stored = began.elapsed();
    let mut longest = std::time::Duration::ZERO;
    while let Some(claim) = store.claim_job(ONE, 20, 20 + LEASE).await.expect("claims") {
        let step = Instant::now();
        assert!(claim.devices.len() <= 100, "a step is bounded");
        assert!(store.carry_out(&claim, 20).await.expect("carries out"));
        longest = longest.max(step.elapsed());
    }
    eprintln!(
        "10,000 devices: stored in {stored:?}, moved in {:?}, longest step {longest:?}",
        began.elapsed()
    );
    let job = job(store, setup.scope.project, id).await;
    assert_eq!(
        (job.progress.state, job.progress.done, job.progress.failed),
        (JobState::Finished, 10_000, 0)
    );
    assert_eq!(members(store, setup.scope.project).await, 10_000);
    let audit = store.audit(setup.scope.project, None, 10).await.expect("reads");
    let actions: Vec<_> = audit.iter().map(|entry| entry.action.as_str()).collect();
    assert!(actions.starts_with(&["job.end", "job.start"]), "{actions:?}");
}

pub(crate) async fn a_worker_that_lost_its_lease_changes_nothing(setup: Setup) {
    let (store, by, scope) = (setup.store.as_ref(), with_group(&setup).await, setup.scope);
    let other = setup.another().await;
    let devices = many(&setup, 150).await;
    let id = start(store, &by, new(JobTask::Move { group: group() }, devices), 10).await;
    let first = store
        .claim_job(ONE, 20, 20 + LEASE)
        .await
        .expect("claims")
        .expect("a job");
    assert_eq!(first.job.progress.state, JobState::Running);
    let busy = other.claim_job(TWO, 30, 30 + LEASE).await.expect("claims");
    assert!(busy.is_none(), "another process waits for the lease");
    // The first process hangs; the lease ends.
    let now = 20 + LEASE;
    let second = other
        .claim_job(TWO, now, now + LEASE)
        .await
        .expect("claims")
        .expect("a job");
    assert!(!store.carry_out(&first, now).await.expect("refuses"));
    assert_eq!(
        members(store, scope.project).await,
        0,
        "nothing was done without the lease"
    );
    assert!(other.carry_out(&second, now).await.expect("carries out"));
    assert!(
        !other.carry_out(&second, now).await.expect("refuses"),
        "a step is done once"
    );
    assert_eq!(members(store, scope.project).await, 100);
    // A process that starts again continues at once, and the clock may have been ahead.
    let again = other
        .claim_job(TWO, now + 1, now + 1 + LEASE)
        .await
        .expect("claims");
    assert_eq!(again.expect("the same job").devices.len(), 50);
    let back = store.claim_job(ONE, -10 * LEASE, 0).await.expect("claims");
    let back = back.expect("a lease far ahead is void");
    assert!(store.carry_out(&back, 1).await.expect("carries out"));
    let job = job(store, scope.project, id).await;
    assert_eq!((job.progress.state, job.progress.done), (JobState::Finished, 150));
}

pub(crate) async fn devices_fail_one_by_one_and_a_job_as_a_whole(setup: Setup) {
    let (store, by, scope) = (setup.store.as_ref(), with_group(&setup).await, setup.scope);
    let mut devices = many(&setup, 3).await;
    let (gone, full) = (devices[1], devices[2]);
    let tags: Vec<String> = (10..42).map(|n| n.to_string()).collect();
    for change in [
        Change::DeleteDevice(gone),
        Change::UpdateDevice {
            device: full,
            group: None,
            name: None,
            tags: Some(tags),
        },
    ] {
        store
            .change(scope.project, &by, change, 1)
            .await
            .expect("changes");
    }
    devices.push(scope.device);
    let task = JobTask::Tag {
        add: vec!["field".into()],
        remove: vec!["old".into()],
    };
    store
        .change(scope.project, &by, tagged(scope.device, "old"), 1)
        .await
        .expect("changes");
    let id = start(store, &by, new(task, devices), 10).await;
    let claim = store
        .claim_job(ONE, 20, 20 + LEASE)
        .await
        .expect("claims")
        .expect("a job");
    assert!(store.carry_out(&claim, 20).await.expect("carries out"));
    let ended = job(store, scope.project, id).await;
    assert_eq!(
        (ended.progress.state, ended.progress.done, ended.progress.failed),
        (JobState::Finished, 4, 2)
    );
    let failures = store.job_failures(scope.project, id, 10).await.expect("reads");
    let reasons: Vec<_> = failures
        .iter()
        .map(|failure| (failure.device, failure.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (gone, "device is unknown in this project"),
            (full, "device would have more than 32 tags")
        ]
    );
    let own = store.device(scope).await.expect("reads").expect("a device");
    assert_eq!(own.tags, ["field"]);
    // The destination of a job vanishes.
    let id = start(
        store,
        &by,
        new(JobTask::Move { group: group() }, vec![scope.device]),
        30,
    )
    .await;
    store
        .change(scope.project, &by, Change::DeleteGroup(group()), 31)
        .await
        .expect("deleted");
    let claim = store
        .claim_job(ONE, 40, 40 + LEASE)
        .await
        .expect("claims")
        .expect("a job");
    assert!(store.carry_out(&claim, 40).await.expect("stops"));
    let stopped = job(store, scope.project, id).await;
    assert_eq!(stopped.progress.state, JobState::Failed);
    assert_eq!(
        stopped.progress.reason.as_deref(),
        Some("the deployment group was deleted")
    );
}

pub(crate) async fn jobs_are_bounded_fair_and_of_their_project(setup: Setup) {
    let (store, by, scope) = (setup.store.as_ref(), with_group(&setup).await, setup.scope);
    project(store, 2).await;
    let theirs = Scope {
        project: ProjectId::from_bytes([2; 12]),
        device: DeviceId::from_bytes([2; 16]),
    };
    device(store, theirs).await.expect("created");
    let devices = many(&setup, 250).await;
    let moves = || new(JobTask::Move { group: group() }, devices.clone());
    let mut key = moves();
    key.key = Some(Idempotency {
        actor: by.actor,
        key: "k".into(),
        request: [5; 32],
    });
    let keyed = start(store, &by, key.clone(), 10).await;
    let repeated = NewJob {
        id: JobId::random(),
        ..key.clone()
    };
    let change = Change::StartJob(Box::new(repeated));
    let again = store
        .change(scope.project, &by, change, 11)
        .await
        .expect("no error");
    assert_eq!(again.affected, 0, "a key stands for one job");
    let known = store.job_of_key(scope.project, &key.key.expect("a key")).await;
    assert_eq!(known.expect("reads"), Some((keyed, [5; 32])));
    for now in 12..11 + MAX_OPEN_JOBS {
        start(store, &by, moves(), now).await;
    }
    let change = Change::StartJob(Box::new(moves()));
    let full = store.change(scope.project, &by, change, 99).await;
    assert!(
        matches!(
            full,
            Err(StoreError::Full {
                max: MAX_OPEN_JOBS,
                ..
            })
        ),
        "{full:?}"
    );
    // Another project waits for one step at most, however many jobs this one has.
    let other = start(
        store,
        &principal(theirs),
        new(JobTask::Delete, vec![theirs.device]),
        100,
    )
    .await;
    let mut turns = Vec::new();
    for _ in 0..2 {
        let claim = store
            .claim_job(ONE, 200, 200 + LEASE)
            .await
            .expect("claims")
            .expect("a job");
        turns.push(claim.job.id);
        assert!(store.carry_out(&claim, 200).await.expect("carries out"));
    }
    turns.sort_unstable();
    let mut expected = vec![keyed, other];
    expected.sort_unstable();
    assert_eq!(turns, expected);
    assert!(store.device(theirs).await.expect("reads").is_none(), "deleted");
    assert!(store.job(theirs.project, keyed).await.expect("reads").is_none());
    let listed = store
        .jobs(theirs.project, JobFilter::default(), 100)
        .await
        .expect("reads");
    assert_eq!(listed.len(), 1);
    // A cancelled job has no further turn, and the next one of its project follows.
    store
        .change(scope.project, &by, Change::CancelJob(keyed), 300)
        .await
        .expect("cancelled");
    let twice = store
        .change(scope.project, &by, Change::CancelJob(keyed), 301)
        .await;
    assert!(matches!(twice, Err(StoreError::Refused(_))), "{twice:?}");
    let foreign = store
        .change(theirs.project, &principal(theirs), Change::CancelJob(keyed), 301)
        .await;
    assert!(matches!(foreign, Err(StoreError::Missing { .. })), "{foreign:?}");
    let next = store
        .claim_job(ONE, 400, 400 + LEASE)
        .await
        .expect("claims")
        .expect("a job");
    assert_ne!(next.job.id, keyed);
    assert_eq!(
        members(store, scope.project).await,
        100,
        "the rest was left alone"
    );
    let before = job(store, scope.project, keyed).await.progress;
    assert_eq!((before.state, before.done), (JobState::Cancelled, 100));
    // Old ones go, with their devices.
    assert_eq!(store.tidy_jobs(301, 100).await.expect("tidies"), 2);
    assert!(store.job(scope.project, keyed).await.expect("reads").is_none());
}

pub(crate) async fn an_export_keeps_its_place_and_begins_again_elsewhere(setup: Setup) {
    let (store, by, scope) = (setup.store.as_ref(), with_group(&setup).await, setup.scope);
    let task = JobTask::Export { from: None, to: None };
    let id = start(store, &by, new(task, vec![scope.device]), 10).await;
    let claim = store
        .claim_job(ONE, 20, 20 + LEASE)
        .await
        .expect("claims")
        .expect("a job");
    let step = JobStep {
        event: Event::Stepped { done: 0, failed: 0 },
        failures: Vec::new(),
        file: Some(JobPlace {
            place: Some("7-x".into()),
            messages: 3,
            bytes: 44,
        }),
    };
    assert!(store.record_step(&claim, step, 20).await.expect("records"));
    let claim = store
        .claim_job(ONE, 21, 21 + LEASE)
        .await
        .expect("claims")
        .expect("a job");
    assert_eq!(claim.place.as_deref(), Some("7-x"));
    assert_eq!(store.export_bytes(scope.project, 21).await.expect("reads"), 44);
    assert_eq!(
        store.job_files(ONE, 21).await.expect("reads"),
        [(scope.project, id)]
    );
    assert_eq!(store.job_files(TWO, 21).await.expect("reads"), []);
    let mut lost = JobStep::from(Event::Lost);
    lost.file = Some(JobPlace::default());
    let taken = store
        .claim_job(TWO, 90_000, 95_000)
        .await
        .expect("claims")
        .expect("a job");
    assert!(store.record_step(&taken, lost, 90_000).await.expect("records"));
    let again = store
        .claim_job(TWO, 90_001, 95_000)
        .await
        .expect("claims")
        .expect("a job");
    assert_eq!(again.place, None);
    let file = again.job.file.expect("a file");
    assert_eq!((file.host, file.bytes, file.until), (2, 0, None));
    let done = JobStep {
        event: Event::Stepped { done: 1, failed: 0 },
        failures: Vec::new(),
        file: None,
    };
    assert!(store.record_step(&again, done, 90_002).await.expect("records"));
    let ended = job(store, scope.project, id).await;
    let until = ended.file.and_then(|file| file.until).expect("a time");
    assert_eq!(until, 90_002 + 24 * 60 * 60 * 1000);
    assert_eq!(store.job_files(TWO, until - 1).await.expect("reads").len(), 1);
    assert_eq!(
        store.job_files(TWO, until).await.expect("reads").len(),
        0,
        "a day later"
    );
}
