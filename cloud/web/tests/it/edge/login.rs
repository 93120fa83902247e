//! MQTT connections before and during the login.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::wire::{closed_after, connack, connect, idle, is_open, login, mqtt_connect, small};
use crate::device::Raw;
use crate::support;

/// Reason "accepted".
const ACCEPTED: Option<u8> = Some(0);
/// Reason "bad user name or password".
const BAD_SECRET: Option<u8> = Some(4);

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_make_room_and_devices_log_in() {
    let cloud = small(|_| {}).await;
    let mut silent = idle(cloud.mqtt_addr().expect("a listener"), 12).await;
    let mut open = 0;
    for stream in &mut silent {
        open += usize::from(is_open(stream).await);
    }
    assert!(open <= 4, "{open} connections without a login of one address");
    for _ in 0..3 {
        assert_eq!(login(&cloud, "device secret").await, ACCEPTED);
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_connect_is_closed_in_time() {
    let cloud = support::start().await;
    let mut dripping = connect(cloud.mqtt_addr().expect("a listener")).await;
    dripping.write_all(&[0x10, 0x7f]).await.expect("sent");
    let mut silent = connect(cloud.mqtt_addr().expect("a listener")).await;
    let (ended, took) = tokio::join!(closed_after(&mut dripping), closed_after(&mut silent));
    assert!(took.0.is_empty() && ended.0.is_empty(), "nothing is said");
    for took in [ended.1, took.1] {
        assert!(
            took > Duration::from_secs(8),
            "{took:?}: slow devices have their time"
        );
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_connect_is_refused_before_it_is_read() {
    let cloud = support::start().await;
    let long = "x".repeat(60_000);
    for start in [
        mqtt_connect(&long, &long, "s"),
        // As long as the largest publish; the rest is never sent.
        vec![0x10, 0xff, 0xff, 0x7f],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0x30, 0x02, 0, 0],
    ] {
        let mut stream = connect(cloud.mqtt_addr().expect("a listener")).await;
        // The connection may be closed while it is written to.
        let _ = stream.write_all(&start).await;
        let (answer, took) = closed_after(&mut stream).await;
        assert!(
            answer.is_empty() && took < Duration::from_secs(8),
            "{took:?} {answer:?}"
        );
    }
    assert_eq!(login(&cloud, "device secret").await, ACCEPTED);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_lock_nobody_out() {
    let cloud = support::start().await;
    for _ in 0..150 {
        assert_eq!(login(&cloud, "a guess").await, BAD_SECRET);
    }
    assert_eq!(login(&cloud, "device secret").await, ACCEPTED);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_project_does_not_take_all_places_of_devices() {
    let cloud = small(|config| config.edge.bounds.logins_per_address = 8).await;
    let other = support::tenant(&cloud.services, "other").await;
    let mut connected = Vec::new();
    for n in 0..7 {
        let scope = iottly_core::model::Scope {
            device: iottly_protocol::DeviceId::random(),
            ..cloud.tenant.scope
        };
        let secret = iottly_web::auth::hash_secret(b"device secret");
        let device = iottly_store::NewDevice {
            scope,
            name: format!("board {n}"),
            group: cloud.tenant.group,
            secret,
        };
        cloud
            .services
            .store
            .create_device(&device)
            .await
            .expect("created");
        let id = scope.device.to_string();
        let mut stream = connect(cloud.mqtt_addr().expect("a listener")).await;
        let reason = connack(&mut stream, &mqtt_connect(&id, &id, "device secret")).await;
        assert_eq!(reason == ACCEPTED, n < 6, "device {n}: {reason:?}");
        connected.push(stream);
    }
    let device = other.scope.device.to_string();
    let mut stream = connect(cloud.mqtt_addr().expect("a listener")).await;
    assert_eq!(
        connack(&mut stream, &mqtt_connect(&device, &device, "device secret")).await,
        ACCEPTED
    );
    // A place is free again when its connection has ended.
    connected.clear();
    crate::device::eventually("a place is free", || async {
        login(&cloud, "device secret").await == ACCEPTED
    })
    .await;
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_has_logged_in_is_not_driven_out() {
    let cloud = small(|_| {}).await;
    let mut device = Raw::connect(
        cloud.mqtt_addr().expect("a listener"),
        cloud.tenant.scope.device,
        "device secret",
    )
    .await;
    let _silent = idle(cloud.mqtt_addr().expect("a listener"), 40).await;
    device.hello(&[]).await;
    device.stop().await;
    cloud.shutdown().await;
}
