//! Developer leases: their rows, orders, reports and ends.

use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{
    Change, Changed, LeaseEnding, LeaseOrder, MAX_OPEN_LEASES, NewLease, OutgoingOrder, Scope, UnixMs,
};
use iottly_protocol::release::{DeveloperReport, DeveloperState, LeaseId, Reason};
use iottly_protocol::{DeviceId, StreamId};
use iottly_store::{Result, StoreError};
use serde_json::value::RawValue;

use super::{Setup, device, principal, project, stranger};

const END: UnixMs = 10_000;

fn id(byte: u8) -> LeaseId {
    LeaseId::from_bytes([byte; 16])
}

fn lease(byte: u8, devices: &[DeviceId]) -> Change {
    Change::OpenLease(Box::new(NewLease {
        id: id(byte),
        devices: devices.to_vec(),
        approved: vec!["uart".into()],
        expires: END,
    }))
}

fn outgoing(byte: u8, counter: u64, script: Option<&[u8]>) -> OutgoingOrder {
    OutgoingOrder {
        lease: id(byte),
        order: LeaseOrder {
            id: format!("o-{counter}"),
            counter,
            sha256: script.map(|_| "ab".repeat(32)).unwrap_or_default(),
            size: script.map_or(0, |script| script.len() as u64),
            sent: 50,
        },
        document: RawValue::from_string(format!("{{\"n\":{counter}}}")).expect("JSON"),
        script: script.map(<[u8]>::to_vec),
    }
}

fn order(byte: u8, counter: u64, script: &[u8]) -> Change {
    Change::OrderLease(Box::new(outgoing(byte, counter, Some(script))))
}

async fn change(setup: &Setup, change: Change, now: UnixMs) -> Result<Changed> {
    let project = setup.scope.project;
    setup
        .store
        .change(project, &principal(setup.scope), change, now)
        .await
}

async fn say(setup: &Setup, scope: Scope, seq: u64, report: DeveloperReport) -> usize {
    let upload = Upload {
        scope,
        stream: StreamId::from_bytes([8; 16]),
        received: 60,
        body: UploadBody::Records {
            first: seq,
            records: vec![Ok(Entry::Developer(Box::new(report)))],
        },
    };
    let outcomes = setup.store.ingest(vec![upload]).await.expect("commits");
    outcomes.iter().map(|outcome| outcome.observed.len()).sum()
}

fn report(byte: u8, state: DeveloperState, reason: Option<Reason>) -> DeveloperReport {
    DeveloperReport {
        order: "o-5".into(),
        lease: Some(id(byte)),
        sha256: "ab".into(),
        state,
        reason,
        detail: Some("a\0detail".into()),
        place: None,
        ms: Some(7),
        at_ms: 1,
    }
}

pub(crate) async fn a_lease_goes_its_way(setup: Setup) {
    let (store, scope) = (&setup.store, setup.scope);
    change(&setup, lease(1, &[scope.device]), 10)
        .await
        .expect("opened");
    let found = store
        .lease(scope.project, id(1))
        .await
        .expect("reads")
        .expect("there");
    assert!(found.is_open(10) && !found.is_open(END) && found.order.is_none());
    assert_eq!(
        (found.approved.as_slice(), found.created, found.expires),
        (&["uart".to_owned()][..], 10, END)
    );
    assert!(store.open_order(scope, 20).await.expect("reads").is_none());
    change(&setup, order(1, 5, b"script"), 20).await.expect("stored");
    let open = store.open_order(scope, 20).await.expect("reads").expect("there");
    assert_eq!(
        (open.script.as_deref(), open.document.get()),
        (Some(&b"script"[..]), "{\"n\":5}")
    );
    // The report is kept, and what is known about other tenants' leases does not change.
    assert_eq!(
        say(&setup, scope, 1, report(1, DeveloperState::Running, None)).await,
        1
    );
    assert_eq!(
        say(&setup, scope, 1, report(1, DeveloperState::Failed, None)).await,
        0,
        "a repeated record"
    );
    let found = store
        .lease(scope.project, id(1))
        .await
        .expect("reads")
        .expect("there");
    let known = found.devices[0].report.as_ref().expect("reported");
    assert_eq!(
        (known.state, known.detail.as_deref()),
        (DeveloperState::Running, Some("a\0detail"))
    );
    let end = Change::EndLease(id(1), Some(Box::new(outgoing(1, 6, None))));
    assert_eq!(change(&setup, end.clone(), 30).await.expect("ends").affected, 1);
    assert!(change(&setup, end, 31).await.is_err());
    let plain = change(&setup, Change::EndLease(id(1), None), 31)
        .await
        .expect("nothing to do");
    assert_eq!(plain.affected, 0);
    let open = store
        .open_order(scope, 40)
        .await
        .expect("reads")
        .expect("still for its devices");
    assert_eq!((open.script, open.document.get()), (None, "{\"n\":6}"));
    assert_eq!(open.lease.ended, Some((30, LeaseEnding::Revoked)));
    say(
        &setup,
        scope,
        2,
        report(1, DeveloperState::Refused, Some(Reason::NotLeased)),
    )
    .await;
    let found = store.leases(scope.project).await.expect("reads").remove(0);
    assert_eq!(
        found.devices[0].report.as_ref().expect("reported").state,
        DeveloperState::Ended
    );
    let audit = store.audit(scope.project, None, 10).await.expect("reads");
    let actions: Vec<_> = audit.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["lease.end", "lease.run", "lease.open"]);
    assert!(store.leases(stranger()).await.expect("reads").is_empty());
    assert!(store.lease(stranger(), id(1)).await.expect("reads").is_none());
}

pub(crate) async fn orders_have_rising_counters_and_are_stored_while_the_lease_is_open(setup: Setup) {
    let (store, scope) = (&setup.store, setup.scope);
    assert_eq!(store.order_counter(scope.project).await.expect("reads"), 0);
    change(&setup, lease(1, &[scope.device]), 10)
        .await
        .expect("opened");
    change(&setup, order(1, 7, b"a"), 10).await.expect("stored");
    for counter in [7, 6] {
        let refused = change(&setup, order(1, counter, b"b"), 10).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    assert_eq!(store.order_counter(scope.project).await.expect("reads"), 7);
    assert!(
        store
            .renew_order(scope.project, 7, &outgoing(1, 9, Some(b"a")))
            .await
            .expect("writes")
    );
    assert!(
        !store
            .renew_order(scope.project, 7, &outgoing(1, 10, Some(b"a")))
            .await
            .expect("nothing")
    );
    let open = store.open_order(scope, 10).await.expect("reads").expect("there");
    let order_now = open.lease.order.expect("there");
    assert_eq!(
        (order_now.counter, order_now.id.as_str(), open.script.as_deref()),
        (9, "o-9", Some(&b"a"[..]))
    );
    assert!(
        change(&setup, order(1, 12, b"late"), END).await.is_err(),
        "the time is over"
    );
    change(&setup, Change::EndLease(id(1), None), 20)
        .await
        .expect("ends");
    assert!(change(&setup, order(1, 12, b"late"), 20).await.is_err());
    assert!(
        !store
            .renew_order(scope.project, 9, &outgoing(1, 13, Some(b"a")))
            .await
            .expect("nothing")
    );
    // Counters rise over the leases of a project.
    change(&setup, lease(2, &[scope.device]), 30)
        .await
        .expect("opened");
    assert!(change(&setup, order(2, 9, b"c"), 30).await.is_err());
    change(&setup, order(2, 10, b"c"), 30).await.expect("stored");
}

pub(crate) async fn leases_are_bounded_and_a_device_is_in_one(setup: Setup) {
    let (store, scope) = (&setup.store, setup.scope);
    let unknown = change(&setup, lease(1, &[DeviceId::from_bytes([99; 16])]), 10).await;
    assert!(matches!(unknown, Err(StoreError::Missing { .. })), "{unknown:?}");
    assert!(
        store.leases(scope.project).await.expect("reads").is_empty(),
        "nothing is left of it"
    );
    project(store.as_ref(), 3).await;
    let foreign = Scope {
        project: iottly_protocol::ProjectId::from_bytes([3; 12]),
        device: DeviceId::from_bytes([77; 16]),
    };
    device(store.as_ref(), foreign).await.expect("created");
    assert!(
        change(&setup, lease(1, &[foreign.device]), 10).await.is_err(),
        "a device of another project"
    );
    let open = u8::try_from(MAX_OPEN_LEASES).expect("few");
    for n in 0..=open {
        let scope = Scope {
            device: DeviceId::from_bytes([100 + n; 16]),
            ..scope
        };
        device(store.as_ref(), scope).await.expect("created");
    }
    let of = |n: u8| DeviceId::from_bytes([100 + n; 16]);
    change(&setup, lease(1, &[of(0)]), 10).await.expect("opened");
    let taken = change(&setup, lease(2, &[of(0), of(1)]), 10).await;
    assert!(matches!(taken, Err(StoreError::Refused(_))), "{taken:?}");
    for n in 1..open {
        change(&setup, lease(n + 1, &[of(n)]), 10).await.expect("opened");
    }
    let full = change(&setup, lease(open + 1, &[of(open)]), 10).await;
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    // Those that are over are forgotten from the oldest on.
    for n in 0..70u8 {
        change(&setup, Change::EndLease(id(open), None), 20)
            .await
            .expect("ends");
        change(&setup, Change::EndLease(id(100 + n), None), 20)
            .await
            .expect("ends");
        change(&setup, lease(101 + n, &[of(open)]), 20)
            .await
            .expect("opened");
    }
    let kept = store.leases(scope.project).await.expect("reads");
    assert!(kept.len() <= 64 + usize::from(open), "{}", kept.len());
    let still = kept.iter().filter(|lease| lease.is_open(30)).count();
    assert_eq!(still, usize::from(open), "open leases stay");
}

pub(crate) async fn leases_end_with_their_time_and_vanish_with_their_devices(setup: Setup) {
    let (store, scope) = (&setup.store, setup.scope);
    change(&setup, lease(1, &[scope.device]), 10)
        .await
        .expect("opened");
    change(&setup, order(1, 7, b"a"), 10).await.expect("stored");
    assert_eq!(store.expire_leases(END - 1).await.expect("reads"), 0);
    assert!(store.open_order(scope, END).await.expect("reads").is_none());
    assert_eq!(store.expire_leases(END).await.expect("writes"), 1);
    assert_eq!(store.expire_leases(END).await.expect("reads"), 0);
    let found = store
        .lease(scope.project, id(1))
        .await
        .expect("reads")
        .expect("there");
    assert_eq!(found.ended, Some((END, LeaseEnding::Expired)));
    assert!(
        store.open_order(scope, 10).await.expect("reads").is_none(),
        "the order is dropped"
    );
    assert_eq!(
        store.order_counter(scope.project).await.expect("reads"),
        7,
        "and its counter is not"
    );
    change(&setup, Change::DeleteDevice(scope.device), 20)
        .await
        .expect("deleted");
    let found = store
        .lease(scope.project, id(1))
        .await
        .expect("reads")
        .expect("there");
    assert!(found.devices.is_empty());
    change(&setup, Change::DeleteProject, 30).await.expect("deleted");
    assert!(store.leases(scope.project).await.expect("reads").is_empty());
}
