//! Latest reports of devices about their health.

use iottly_core::health::DeviceHealth;
use iottly_core::model::{Change, Scope};
use iottly_protocol::DeviceId;
use iottly_protocol::health::{FirmwareHealth, HealthReport, StreamHealth};

use super::{Setup, principal};

fn health(waiting: u64, at: i64) -> DeviceHealth {
    let stream = StreamHealth {
        waiting,
        bytes: 4096,
        oldest_ms: (waiting > 0).then_some(9),
        lost: 1,
    };
    DeviceHealth {
        report: HealthReport {
            up_ms: 77,
            queue_budget_bytes: 1 << 20,
            history: stream,
            control: StreamHealth::default(),
            firmware: Some(FirmwareHealth {
                digest: "ab".repeat(32),
                traps: 3,
                ..FirmwareHealth::default()
            }),
        },
        at,
    }
}

pub(crate) async fn the_latest_report_of_a_device_replaces_the_one_before(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let second = Scope {
        device: DeviceId::from_bytes([2; 16]),
        ..*scope
    };
    super::device(store.as_ref(), second).await.expect("created");
    let unknown = Scope {
        device: DeviceId::from_bytes([9; 16]),
        ..*scope
    };
    assert_eq!(store.device_health(*scope).await.expect("reads"), None);
    let reports = [
        (second, health(5, 1_000)),
        (unknown, health(6, 1_000)),
        (*scope, health(412, 1_000)),
    ];
    store.put_health(&reports).await.expect("stores");
    store
        .put_health(&[(*scope, health(0, 2_000))])
        .await
        .expect("stores");
    // Another cloud on the database, or this one after a restart.
    let other = setup.another().await;
    let read = async |scope: Scope| other.device_health(scope).await.expect("reads");
    assert_eq!(read(*scope).await, Some(health(0, 2_000)));
    assert_eq!(read(second).await, Some(health(5, 1_000)));
    assert_eq!(read(unknown).await, None, "a device that does not exist");
}

pub(crate) async fn reports_go_with_their_device_and_its_project(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let second = Scope {
        device: DeviceId::from_bytes([2; 16]),
        ..scope
    };
    super::device(store.as_ref(), second).await.expect("created");
    let reports = [(scope, health(5, 1_000)), (second, health(6, 1_000))];
    store.put_health(&reports).await.expect("stores");
    let by = principal(scope);
    let delete = Change::DeleteDevice(scope.device);
    store
        .change(scope.project, &by, delete, 2_000)
        .await
        .expect("deletes");
    assert_eq!(store.device_health(scope).await.expect("reads"), None);
    // One that was under way when the device was deleted.
    store.put_health(&reports).await.expect("stores");
    assert_eq!(store.device_health(scope).await.expect("reads"), None);
    assert!(store.device_health(second).await.expect("reads").is_some());
    store
        .change(scope.project, &by, Change::DeleteProject, 3_000)
        .await
        .expect("deletes");
    while store.erase_step(3_000, 100).await.expect("erases") {}
    assert_eq!(store.device_health(second).await.expect("reads"), None);
}
