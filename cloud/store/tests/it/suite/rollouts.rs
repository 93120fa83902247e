//! Rollouts: their rows, versions and reports.

use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{
    Change, DirectiveStatus, NewRollout, OutgoingDirective, Rollout, RolloutCommand, RolloutId, RolloutKind,
    RolloutMember, RolloutStatus, RolloutStep, Scope, SecretHash, StoredRelease, UnixMs,
};
use iottly_core::model::{
    NewRoot, Policy, Principal, RecordedRoot, RolloutIntent, RolloutProgress, RootAct, RootTrust,
};
use iottly_core::rollout::{BY_OWNER, Place, Places, abandon, place, steer};
use iottly_protocol::release::{DeviceFacts, Ending, Reason, Step, UpdateState};
use iottly_protocol::{DeviceId, GroupId, StreamId, UpdateReport};
use iottly_store::{NewDevice, StoreError};
use serde_json::value::RawValue;

use super::{Setup, principal, stranger};

const GROUP: [u8; 16] = [1; 16];

fn release(seq: u64) -> StoredRelease {
    StoredRelease {
        seq,
        path: format!("app/main/{seq}.wasm"),
        branch: "main".into(),
        revision: seq + 10,
        sha256: format!("digest {seq}"),
        size: 5,
        source: "source".into(),
        capabilities: vec!["gpio".into()],
        grace_ms: 7,
        author: "t".into(),
        created: 1,
    }
}

fn rollout(byte: u8, release: u64) -> Change {
    Change::StartRollout(Box::new(NewRollout {
        id: RolloutId::from_bytes([byte; 16]),
        group: GroupId::from_bytes(GROUP),
        release,
        kind: RolloutKind::Install,
        policy: Policy {
            canary: 3,
            ..Policy::default()
        },
        approved: vec!["gpio".into()],
        force: false,
        note: "a note".into(),
    }))
}

fn outgoing(scope: Scope, counter: u64, document: &str) -> OutgoingDirective {
    let document = RawValue::from_string(document.to_owned()).expect("JSON");
    OutgoingDirective {
        device: scope.device,
        id: format!("d-{counter}"),
        counter,
        document,
    }
}

fn step(rollout: &Rollout, status: RolloutStatus, install: Vec<OutgoingDirective>) -> RolloutStep {
    RolloutStep {
        id: rollout.id,
        group: rollout.group,
        version: rollout.version,
        progress: rollout.progress.clone(),
        status,
        evidence: None,
        halts: false,
        ended: None,
        active: true,
        revision: None,
        install,
        cancel: Vec::new(),
    }
}

async fn say(setup: &Setup, seq: u64, entry: Entry) {
    let body = UploadBody::Records {
        first: seq,
        records: vec![Ok(entry)],
    };
    let upload = Upload {
        scope: setup.scope,
        stream: StreamId::from_bytes([8; 16]),
        received: 50,
        body,
    };
    setup.store.ingest(vec![upload]).await.expect("commits");
}

fn update(directive: &str, state: UpdateState, reason: Option<Reason>) -> Entry {
    let detail = reason.map(|_| "a\0detail".to_owned());
    Entry::Update(UpdateReport {
        directive: directive.into(),
        sha256: "ab".into(),
        state,
        reason,
        detail,
        at_ms: 1,
    })
}

const NOW: UnixMs = 100;

pub(crate) async fn a_rollout_goes_its_way(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (by, project, group) = (principal(*scope), scope.project, GroupId::from_bytes(GROUP));
    let change = async |change: Change| store.change(project, &by, change, NOW).await;
    let one = RolloutId::from_bytes([1; 16]);
    let shown = async |id: RolloutId| store.rollout(project, id).await.expect("reads").expect("exists");
    change(Change::AddRelease(Box::new(release(1))))
        .await
        .expect("adds");
    let twice = change(Change::AddRelease(Box::new(release(1)))).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })), "{twice:?}");
    let none = change(Change::SteerRollout(group, RolloutCommand::Pause)).await;
    assert!(matches!(none, Err(StoreError::Refused(_))), "{none:?}");
    change(rollout(1, 1)).await.expect("starts");
    assert_eq!(store.active_rollouts().await.expect("reads"), [(project, one)]);
    let begun = shown(one).await;
    assert_eq!(
        (begun.policy.canary, begun.approved.clone(), begun.progress.intent),
        (3, vec!["gpio".to_owned()], RolloutIntent::Run)
    );
    assert_eq!(
        store.releases(project, None, 9).await.expect("reads")[0],
        StoredRelease {
            created: NOW,
            ..release(1)
        }
    );
    assert!(
        store.rollout(stranger(), one).await.expect("reads").is_none(),
        "it is the project's own"
    );
    assert!(
        store
            .releases(stranger(), None, 9)
            .await
            .expect("reads")
            .is_empty()
    );

    // Notified once: a decision on the earlier state has to be made again.
    let first = step(
        &begun,
        RolloutStatus::Deploying,
        vec![outgoing(*scope, 7, r#"{"b":1.0}"#)],
    );
    assert!(
        store
            .save_rollout_step(project, &first, NOW)
            .await
            .expect("writes")
    );
    assert!(
        !store
            .save_rollout_step(project, &first, NOW)
            .await
            .expect("writes"),
        "the version has passed"
    );
    let document = async || {
        store
            .open_directive(*scope)
            .await
            .expect("reads")
            .map(|document| document.get().to_owned())
    };
    assert_eq!(document().await.as_deref(), Some(r#"{"b":1.0}"#), "byte for byte");
    let member = async || {
        store
            .rollout_page(project, &shown(one).await, None, None, 100)
            .await
            .expect("reads")
            .remove(0)
    };
    assert_eq!(member().await.counter, 7);

    say(&setup, 1, update("d-7", UpdateState::Underway(Step::Trial), None)).await;
    say(
        &setup,
        2,
        update("d-9", UpdateState::Ended(Ending::Committed), None),
    )
    .await;
    say(
        &setup,
        3,
        update(
            "d-7",
            UpdateState::Ended(Ending::RolledBack),
            Some(Reason::CrashLoop),
        ),
    )
    .await;
    say(
        &setup,
        4,
        update("d-7", UpdateState::Ended(Ending::Committed), None),
    )
    .await;
    let directive = member().await.directive.expect("was sent one");
    assert_eq!(
        (directive.state, directive.reason, directive.failures),
        (
            Some(UpdateState::Ended(Ending::RolledBack)),
            Some(Reason::CrashLoop),
            1
        )
    );
    assert_eq!(directive.detail.as_deref(), Some("a\u{fffd}detail"));
    assert_eq!(
        directive.steps,
        [
            (UpdateState::Underway(Step::Trial), 50),
            (UpdateState::Ended(Ending::RolledBack), 50)
        ],
        "what ended stays ended"
    );
    assert!(document().await.is_none(), "nothing is open");

    // The rollout halts itself; its owner resumes it, and the device's failure is forgiven.
    let halted = RolloutProgress {
        intent: RolloutIntent::Run,
        halted: true,
        soaking: Some((1, 99)),
    };
    let halt = RolloutStep {
        progress: halted.clone(),
        evidence: Some("{}".into()),
        halts: true,
        ..step(&shown(one).await, RolloutStatus::Halted, vec![])
    };
    assert!(
        store
            .save_rollout_step(project, &halt, NOW)
            .await
            .expect("writes")
    );
    assert_eq!(
        (shown(one).await.progress, shown(one).await.evidence.as_deref()),
        (halted, Some("{}"))
    );
    assert_eq!(
        store.groups(project).await.expect("reads")[0].status,
        Some(RolloutStatus::Halted)
    );
    assert_eq!(
        store.audit(project, None, 1).await.expect("reads")[0].action,
        "rollout.halt"
    );
    change(Change::SteerRollout(group, RolloutCommand::Resume))
        .await
        .expect("resumes");
    let resumed = shown(one).await;
    assert!(!resumed.progress.halted && resumed.force && resumed.evidence.is_none());
    assert_eq!(member().await.directive.expect("was sent one").failures, 0);

    // Another rollout replaces it; only the new one shows in the group.
    change(Change::AddRelease(Box::new(release(2))))
        .await
        .expect("adds");
    change(rollout(2, 2)).await.expect("starts");
    let (old, two) = (shown(one).await, RolloutId::from_bytes([2; 16]));
    assert_eq!(old.progress.intent, RolloutIntent::Cancel);
    let gone = RolloutStep {
        active: false,
        ..step(&old, RolloutStatus::Cancelled, vec![])
    };
    assert!(
        store
            .save_rollout_step(project, &gone, NOW)
            .await
            .expect("writes")
    );
    assert_eq!(
        store.groups(project).await.expect("reads")[0].status,
        Some(RolloutStatus::Deploying)
    );
    let through = RolloutStep {
        active: false,
        revision: Some(12),
        ..step(&shown(two).await, RolloutStatus::Deployed, vec![])
    };
    assert!(
        store
            .save_rollout_step(project, &through, NOW)
            .await
            .expect("writes")
    );
    let shown = store.groups(project).await.expect("reads").remove(0);
    assert_eq!(
        (
            shown.status.map(RolloutStatus::as_str),
            shown.current_revision.as_deref()
        ),
        (Some("deployed"), Some("12"))
    );
    let deployed = store.deployed(project, group, 9).await.expect("reads");
    assert_eq!(
        deployed.iter().map(|release| release.seq).collect::<Vec<_>>(),
        [2]
    );
    assert!(store.active_rollouts().await.expect("reads").is_empty());
    // The signed documents are deleted with the rows of their devices.
    let documents = "INSERT INTO counted SELECT count(*) FROM rollout_documents;";
    setup
        .vandalise(&format!(
            "CREATE TABLE counted (n BIGINT CHECK (n > 0)); {documents}"
        ))
        .await;
    change(Change::DeleteDevice(scope.device)).await.expect("deletes");
    while store.erase_step(NOW, 100).await.expect("erases") {}
    setup
        .vandalise(&format!(
            "DROP TABLE counted; CREATE TABLE counted (n BIGINT CHECK (n = 0)); {documents} DROP TABLE counted"
        ))
        .await;
    change(Change::DeleteProject)
        .await
        .expect("everything of it can be deleted");
}

pub(crate) async fn facts_and_counters_are_the_devices_own(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let facts = DeviceFacts {
        device: scope.device,
        project: scope.project,
        group: None,
        board: "virtual".into(),
        abi: "0.1.0".into(),
        root_version: 1,
        counter: 40,
        running_seq: 3,
        running_sha256: "ab".into(),
        floor: 2,
        free: 1000,
        data_schema: 1,
        capabilities: vec!["gpio".into()],
        quarantined: Vec::new(),
        clock_trusted: true,
        engines: Vec::new(),
    };
    let known = async || {
        store
            .device_facts(scope.project, GroupId::from_bytes(GROUP), None, 100)
            .await
            .expect("reads")
            .remove(0)
    };
    assert_eq!(known().await.facts, None);
    say(&setup, 1, Entry::Facts(Box::new(facts.clone()))).await;
    assert_eq!(known().await.facts, Some(facts));
    let by = principal(*scope);
    store
        .change(scope.project, &by, Change::AddRelease(Box::new(release(1))), 1)
        .await
        .expect("adds");
    store
        .change(scope.project, &by, rollout(1, 1), 1)
        .await
        .expect("starts");
    let shown = store
        .rollout(scope.project, RolloutId::from_bytes([1; 16]))
        .await
        .expect("reads")
        .expect("exists");
    let counter = async || store.rollout_members(scope.project, &shown).await.expect("reads")[0].counter;
    assert_eq!(counter().await, 40);
    for (said, kept) in [(39, 40), (41, 41)] {
        store.raise_counter(*scope, said).await.expect("writes");
        assert_eq!(counter().await, kept);
    }
    let policy = Policy {
        grace_ms: 5,
        ..Policy::default()
    };
    let set = Change::SetPolicy(GroupId::from_bytes(GROUP), Box::new(policy.clone()));
    store.change(scope.project, &by, set, 1).await.expect("sets");
    assert_eq!(
        store.groups(scope.project).await.expect("reads")[0].policy,
        policy
    );
}

pub(crate) async fn an_operators_command_does_what_the_rule_says(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (by, project, group) = (principal(*scope), scope.project, GroupId::from_bytes(GROUP));
    let change = async |change: Change| store.change(project, &by, change, NOW).await.expect("applies");
    let id = RolloutId::from_bytes([1; 16]);
    let shown = async || store.rollout(project, id).await.expect("reads").expect("exists");
    change(Change::AddRelease(Box::new(release(1)))).await;
    change(rollout(1, 1)).await;
    let notified = step(
        &shown().await,
        RolloutStatus::Deploying,
        vec![outgoing(*scope, 7, "1")],
    );
    assert!(
        store
            .save_rollout_step(project, &notified, NOW)
            .await
            .expect("saves")
    );
    let commands = [
        Some(RolloutCommand::Pause),
        Some(RolloutCommand::Resume),
        Some(RolloutCommand::Cancel),
        None,
    ];
    let cases = ["run", "pause", "cancel"]
        .into_iter()
        .flat_map(|wish| ["deploying", "paused", "halted", "cancelled"].map(|status| (wish, status)));
    let cases = cases.flat_map(|(wish, status)| [0, 1].map(|halted| (wish, status, halted)));
    for ((wish, status, halted), command) in cases.flat_map(|case| commands.map(|command| (case, command))) {
        setup
            .vandalise(&format!(
                "UPDATE rollouts SET wish = '{wish}', status = '{status}', halted = {halted}, evidence = '{{}}', \
                 forced = 0, ended = NULL, soaked = 2, soaked_at = 7; \
                 UPDATE rollout_devices SET failures = 3, heard = 9"
            ))
            .await;
        let before = shown().await;
        let (expected, request) = match command {
            Some(command) => (
                steer(&before.progress, before.status, command),
                Change::SteerRollout(group, command),
            ),
            None => (abandon(&before.progress, BY_OWNER), Change::CancelRollout(id)),
        };
        let affected = change(request).await.affected;
        let after = shown().await;
        let case = format!("{wish} {status} {halted} {command:?}");
        let Some(expected) = expected else {
            assert_eq!((affected, after), (0, before), "{case}");
            continue;
        };
        let evidence = before.evidence.clone().filter(|_| expected.keeps_evidence);
        let expected_rollout = Rollout {
            progress: expected.progress,
            evidence,
            force: expected.forces,
            ended: expected.ended.map(Into::into),
            version: before.version + 1,
            changed: NOW,
            ..before
        };
        assert_eq!((affected, &after), (1, &expected_rollout), "{case}");
        let members = store.rollout_members(project, &after).await.expect("reads");
        let sent = members[0].directive.as_ref().expect("notified");
        let counted = if expected.forgives {
            (0, None)
        } else {
            (3, Some(9))
        };
        assert_eq!((sent.failures, sent.heard), counted, "{case}");
    }
}

/// Returns a device with what decides on it.
fn deciding(member: &RolloutMember) -> RolloutMember {
    let rejected = Some(UpdateState::Ended(Ending::Rejected));
    let directive = member.directive.clone().map(|sent| DirectiveStatus {
        id: String::new(),
        sent: 0,
        detail: None,
        changed: 0,
        faults: 0,
        fault: None,
        steps: if sent.state == rejected {
            sent.steps
        } else {
            Vec::new()
        },
        ..sent
    });
    RolloutMember {
        name: String::new(),
        directive,
        ..member.clone()
    }
}

/// Pages, exceptions and counts agree with the list of all devices of a rollout.
pub(crate) async fn devices_of_a_rollout_are_paged_and_counted(setup: Setup) {
    let (store, project) = (setup.store.as_ref(), setup.scope.project);
    let elsewhere = GroupId::from_bytes([2; 16]);
    store
        .create_group(project, elsewhere, "elsewhere", None)
        .await
        .expect("creates");
    let states = [
        ("NULL", "NULL", "NULL"),
        ("NULL", "5", "NULL"),
        ("'downloading'", "NULL", "NULL"),
        ("'deferred'", "NULL", "'lock'"),
        ("'trial'", "NULL", "NULL"),
        ("'committed'", "NULL", "NULL"),
        ("'committed'", "NULL", "'lock'"),
        ("'rejected'", "NULL", "NULL"),
        ("'rolled_back'", "NULL", "NULL"),
        ("'cancelled'", "NULL", "NULL"),
    ];
    let mut known = String::new();
    for number in 0..24_u8 {
        let moved = number % 5 == 0;
        let new = NewDevice {
            scope: Scope {
                project,
                device: DeviceId::from_bytes([number + 20; 16]),
            },
            name: format!("n{number}"),
            group: if moved {
                elsewhere
            } else {
                GroupId::from_bytes(GROUP)
            },
            secret: SecretHash::NONE,
        };
        store.create_device(&new).await.expect("created");
        let Some((state, withdrawn, reason)) = states.get(usize::from(number) / 2) else {
            continue;
        };
        known += &format!(
            "INSERT INTO rollout_devices (project, rollout, device, directive, counter, told, withdrawn, state, reason, \
             failures, changed, steps, faults) SELECT d.project, o.id, d.id, 'd-{number}', {number}, 1, {withdrawn}, {state}, \
             {reason}, 0, 100 + {number}, 'offered@7 rejected@9 ', 2 FROM devices d JOIN rollouts o ON o.project = d.project WHERE d.name = 'n{number}'; "
        );
    }
    let by = principal(setup.scope);
    for change in [Change::AddRelease(Box::new(release(1))), rollout(1, 1)] {
        store.change(project, &by, change, 1).await.expect("changes");
    }
    known += "UPDATE devices SET online = true, online_since = 9 WHERE name = 'n4'";
    setup.vandalise(&known).await;
    let id = RolloutId::from_bytes([1; 16]);
    let shown = store.rollout(project, id).await.expect("reads").expect("exists");

    let all = store.rollout_members(project, &shown).await.expect("reads");
    // That of the setup is in the group too; of the moved ones only those that were notified.
    assert_eq!(all.len(), 1 + 24 - 1, "{all:?}");
    assert!(all.is_sorted_by_key(|member| member.device));
    assert!(all.iter().any(|member| !member.in_group));
    let packed = all;
    let all = store
        .rollout_page(project, &shown, None, None, 100)
        .await
        .expect("reads");
    assert_eq!(packed, all.iter().map(deciding).collect::<Vec<_>>());
    for size in [1, 2, 7, 100] {
        let mut seen: Vec<RolloutMember> = Vec::new();
        loop {
            let after = seen.last().map(|member| member.device);
            let page = store
                .rollout_page(project, &shown, None, after, size)
                .await
                .expect("reads");
            assert!(page.len() <= size);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, all, "pages of {size}");
    }

    for at in Place::ALL {
        let expected: Vec<_> = all.iter().filter(|member| place(member) == at).cloned().collect();
        let found = store
            .rollout_page(project, &shown, Some(at), None, 100)
            .await
            .expect("reads");
        assert_eq!(found, expected, "{at:?}");
        assert!(!expected.is_empty(), "{at:?}");
        let rest = store
            .rollout_page(project, &shown, Some(at), Some(found[0].device), 1)
            .await
            .expect("reads");
        assert_eq!(rest, expected[1..expected.len().min(2)], "{at:?}");
    }

    let is_exception = |member: &RolloutMember| {
        let reason = member.directive.as_ref().and_then(|sent| sent.reason);
        reason.is_some() || place(member).is_exception()
    };
    let expected: Vec<_> = all
        .iter()
        .filter(|member| is_exception(member))
        .cloned()
        .collect();
    let found = store
        .rollout_exceptions(project, &shown, 100)
        .await
        .expect("reads");
    assert_eq!(found, expected);
    assert!(found.len() > 4, "{found:?}");
    let first = store.rollout_exceptions(project, &shown, 2).await.expect("reads");
    assert_eq!(first, expected[..2]);

    for part in [None, Some(1), Some(4), Some(100)] {
        let counts = store.rollout_counts(project, &shown, part).await.expect("counts");
        let chunks = all.chunks(usize::try_from(part.unwrap_or(100)).expect("fits"));
        for (number, members) in chunks.enumerate() {
            let own: Vec<_> = counts
                .iter()
                .filter(|alike| alike.part == number as u64)
                .collect();
            let places = Places::of(own.iter().copied());
            for at in Place::ALL {
                let count = members.iter().filter(|member| place(member) == at).count() as u64;
                assert_eq!(places.at(at), count, "{at:?} in part {number} of {part:?}");
            }
            let exceptions = own
                .iter()
                .filter(|alike| alike.is_exception())
                .map(|alike| alike.count);
            let count = members.iter().filter(|member| is_exception(member)).count() as u64;
            assert_eq!(exceptions.sum::<u64>(), count, "part {number} of {part:?}");
        }
        let total: u64 = counts.iter().map(|alike| alike.count).sum();
        assert_eq!(total, all.len() as u64);
        assert_eq!(counts.iter().map(|alike| alike.faults).sum::<u64>(), 2 * 20);
        assert_eq!(counts.iter().map(|alike| alike.changed).max(), Some(119));
        let online: u64 = counts
            .iter()
            .filter(|alike| alike.online)
            .map(|alike| alike.count)
            .sum();
        assert_eq!(
            (online, counts.iter().map(|alike| alike.online_since).max()),
            (1, Some(9))
        );
    }
    let other = stranger();
    assert!(
        store
            .rollout_page(other, &shown, None, None, 9)
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(
        store
            .rollout_exceptions(other, &shown, 9)
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(
        store
            .rollout_counts(other, &shown, None)
            .await
            .expect("reads")
            .is_empty()
    );
}

pub(crate) async fn devices_are_counted_by_the_root_that_they_trust(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let trust = async || store.root_trust(scope.project).await.expect("counts");
    let count = |version| RootTrust { version, devices: 1 };
    assert_eq!(trust().await, [count(None)]);
    assert_eq!(store.root_version(*scope).await.expect("reads"), None);
    let other = Scope {
        device: DeviceId::from_bytes([2; 16]),
        ..*scope
    };
    super::device(store.as_ref(), other).await.expect("created");
    setup
        .vandalise("UPDATE devices SET online = true, root_version = 1 WHERE id = x'02020202020202020202020202020202'")
        .await;
    let both = trust().await;
    assert!(
        both.len() == 2 && both.contains(&count(None)) && both.contains(&count(Some(1))),
        "{both:?}"
    );
    assert_eq!(store.root_version(other).await.expect("reads"), Some(1));
    let below = async |version, after| {
        let found = store
            .connected_below_root(scope.project, version, after, 10)
            .await;
        found.expect("reads")
    };
    assert_eq!(below(2, None).await, [other.device], "the other is off");
    assert_eq!(below(1, None).await, []);
    assert_eq!(below(2, Some(other.device)).await, []);
    let devices = store.devices(scope.project).await.expect("reads");
    let of = |id| {
        devices
            .iter()
            .find(|device| device.scope.device == id)
            .map(|device| device.root_version)
    };
    assert_eq!((of(scope.device), of(other.device)), (Some(None), Some(Some(1))));

    let root = |version, detail: &str| {
        Change::PublishRoot(NewRoot {
            version,
            act: RootAct::Rotate,
            detail: detail.to_owned(),
        })
    };
    let by = Principal::system(scope.project, "ada");
    for (version, at) in [(2, 20), (3, 30), (3, 31)] {
        let done = store
            .change(scope.project, &by, root(version, "added targets ab"), at)
            .await;
        done.expect("recorded");
    }
    let recorded = store.release_roots(scope.project).await.expect("reads");
    let record = |version, published| RecordedRoot {
        version,
        author: by.name.clone(),
        published,
    };
    assert_eq!(recorded, [record(2, 20), record(3, 31)]);
    let log = store.audit(scope.project, None, 1).await.expect("reads");
    assert_eq!(
        (
            log[0].action.as_str(),
            log[0].target.as_str(),
            log[0].detail.as_str()
        ),
        ("key.rotate", "root 3", "added targets ab")
    );
}
