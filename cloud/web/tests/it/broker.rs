//! Requirements on every broker behind the trait: admits devices by secret, keeps them apart, reports
//! presence.

use crate::device;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use device::{Login, Raw, eventually};
use iottly_cloud::broker::{Authenticator, Broker, EmbeddedBroker, EmbeddedConfig, Uplink};
use iottly_cloud::edge::EdgeConfig;
use iottly_core::model::Scope;
use iottly_protocol::{DeviceId, Down, ProjectId, Status, Topic};
use iottly_store::StoreError;
use rumqttc::{Event, Packet, QoS, SubscribeReasonCode};

#[derive(Default)]
struct Seen {
    messages: Vec<(DeviceId, Bytes)>,
    statuses: Vec<(DeviceId, Status)>,
    gone: Vec<DeviceId>,
    boards: Vec<DeviceId>,
    healths: Vec<DeviceId>,
}

#[derive(Default)]
struct Recorder(Mutex<Seen>);

#[async_trait]
impl Uplink for Recorder {
    async fn message(&self, device: DeviceId, payload: Bytes) {
        self.0
            .lock()
            .expect("unpoisoned")
            .messages
            .push((device, payload));
    }

    async fn held(&self, _: DeviceId, _: Option<std::net::IpAddr>, _: Bytes) {}
    async fn status(&self, device: DeviceId, payload: Bytes) {
        let status = Status::decode(&payload).expect("a status");
        self.0.lock().expect("unpoisoned").statuses.push((device, status));
    }

    async fn board(&self, device: DeviceId, _: Bytes) {
        self.0.lock().expect("unpoisoned").boards.push(device);
    }

    async fn health(&self, device: DeviceId, _: Bytes) {
        self.0.lock().expect("unpoisoned").healths.push(device);
    }

    async fn revoked(&self, _: DeviceId) {}

    async fn disconnected(&self, device: DeviceId) {
        self.0.lock().expect("unpoisoned").gone.push(device);
    }
}

struct Known(HashMap<DeviceId, &'static str>);

#[async_trait]
impl Authenticator for Known {
    async fn authenticate(&self, device: DeviceId, secret: &[u8]) -> Result<Option<Scope>, StoreError> {
        let project = ProjectId::from_bytes([1; 12]);
        Ok(self
            .0
            .get(&device)
            .is_some_and(|known| known.as_bytes() == secret)
            .then_some(Scope { project, device }))
    }
}

struct Setup {
    broker: EmbeddedBroker,
    seen: Arc<Recorder>,
    a: DeviceId,
    b: DeviceId,
}

async fn setup() -> Setup {
    let (a, b) = (DeviceId::random(), DeviceId::random());
    let seen = Arc::new(Recorder::default());
    let known = Arc::new(Known(HashMap::from([(a, "secret-a"), (b, "secret-b")])));
    let config = EmbeddedConfig {
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        edge: EdgeConfig::default(),
    };
    let broker = EmbeddedBroker::start(&config, known, Arc::clone(&seen) as _)
        .await
        .expect("starts");
    Setup { broker, seen, a, b }
}

impl Setup {
    fn address(&self) -> SocketAddr {
        self.broker.address().expect("a listener")
    }

    async fn messages(&self, wanted: usize) {
        eventually("messages arrive", || async {
            self.seen.0.lock().expect("unpoisoned").messages.len() >= wanted
        })
        .await;
    }

    async fn refuses(&self, client_id: &str, user: &str, secret: &str) {
        let login = Login {
            client_id,
            user,
            secret,
            will_topic: None,
        };
        assert!(
            Raw::login(self.address(), self.a, &login).await.is_none(),
            "{client_id} {user} must be refused"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused() {
    let setup = setup().await;
    let (a, b) = (setup.a.to_string(), setup.b.to_string());
    setup.refuses(&a, &a, "wrong").await;
    setup.refuses(&a, &a, "").await;
    setup.refuses(&a, &b, "secret-b").await;
    setup.refuses("other-client", &a, "secret-a").await;
    setup.refuses(&format!("cert:{a}"), &a, "secret-a").await;
    setup
        .refuses(&a.to_uppercase(), &a.to_uppercase(), "secret-a")
        .await;
    let stranger = DeviceId::random().to_string();
    setup.refuses(&stranger, &stranger, "secret-a").await;
    Raw::connect(setup.address(), setup.a, "secret-a")
        .await
        .stop()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_of_others_keep_no_device_away() {
    let setup = setup().await;
    let a = setup.a.to_string();
    for _ in 0..120 {
        setup.refuses(&a, &a, "wrong").await;
    }
    // From the same address as the guesses.
    Raw::connect(setup.address(), setup.a, "secret-a")
        .await
        .stop()
        .await;
    Raw::connect(setup.address(), setup.b, "secret-b")
        .await
        .stop()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_publish_to_their_own_topics_only() {
    let setup = setup().await;
    let mut victim = Raw::connect(setup.address(), setup.b, "secret-b").await;
    let attacker = Raw::connect(setup.address(), setup.a, "secret-a").await;
    let forged = Status::new(attacker.conn, false).encode();
    for topic in [
        Topic::Up(setup.b),
        Topic::Down(setup.b),
        Topic::Down(setup.a),
        Topic::Status(setup.b),
        Topic::Board(setup.b),
        Topic::Board(setup.a),
        Topic::Health(setup.b),
        Topic::Health(setup.a),
    ] {
        attacker.publish(&topic.to_string(), forged.clone(), true).await;
    }
    attacker.publish("v1/other", b"x".to_vec(), false).await;
    attacker.publish("$SYS/broker", b"x".to_vec(), false).await;
    attacker.up(b"own".to_vec()).await;
    setup.messages(1).await;
    setup
        .broker
        .publish(
            setup.b,
            Bytes::from(
                Down::Cancel(iottly_protocol::Cancel {
                    id: iottly_protocol::CommandId::random(),
                })
                .encode(),
            ),
        )
        .await
        .expect("sent");
    assert!(
        matches!(victim.down().await, Down::Cancel(_)),
        "the first thing the victim hears is the cloud's"
    );
    let seen = setup.seen.0.lock().expect("unpoisoned");
    assert_eq!(
        seen.messages
            .iter()
            .map(|(device, _)| *device)
            .collect::<Vec<_>>(),
        [setup.a]
    );
    assert!(
        seen.statuses
            .iter()
            .all(|(device, status)| *device != setup.b || status.online),
        "no forged status"
    );
    assert_eq!(seen.boards, [setup.a], "its own board only");
    assert_eq!(seen.healths, [setup.a], "its own health only");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_subscribe_to_their_own_topic_only() {
    let setup = setup().await;
    let mut spy = Raw::connect(setup.address(), setup.a, "secret-a").await;
    let foreign = Topic::Down(setup.b).to_string();
    let filters = [
        foreign.clone(),
        format!("$share/x/{foreign}"),
        format!("$share/x/{}", Topic::Down(setup.a)),
        "v1/+/down".into(),
        "#".into(),
        "v1/#".into(),
        Topic::Up(setup.b).to_string(),
        Topic::Status(setup.b).to_string(),
        Topic::Up(setup.a).to_string(),
        Topic::Board(setup.b).to_string(),
        Topic::Board(setup.a).to_string(),
    ];
    for filter in filters {
        spy.client
            .subscribe(&filter, QoS::AtLeastOnce)
            .await
            .expect("queued");
        let event = spy
            .until(|event| matches!(event, Event::Incoming(Packet::SubAck(_))))
            .await;
        let Event::Incoming(Packet::SubAck(ack)) = event else {
            unreachable!("checked above")
        };
        assert_eq!(ack.return_codes, [SubscribeReasonCode::Failure], "{filter}");
    }
    let mut victim = Raw::connect(setup.address(), setup.b, "secret-b").await;
    let cancel = |byte| {
        Bytes::from(
            Down::Cancel(iottly_protocol::Cancel {
                id: iottly_protocol::CommandId::from_bytes([byte; 16]),
            })
            .encode(),
        )
    };
    setup.broker.publish(setup.b, cancel(1)).await.expect("sent");
    victim.down().await;
    setup.broker.publish(setup.a, cancel(2)).await.expect("sent");
    assert!(
        matches!(spy.down().await, Down::Cancel(c) if c.id.as_bytes() == &[2; 16]),
        "the spy hears its own only"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_will_reaches_nobody() {
    let setup = setup().await;
    let a = setup.a.to_string();
    let login = Login {
        client_id: &a,
        user: &a,
        secret: "secret-a",
        will_topic: Some(Topic::Status(setup.b).to_string()),
    };
    if let Some(attacker) = Raw::login(setup.address(), setup.a, &login).await {
        attacker.kill().await;
        eventually("the end is reported", || async {
            setup.seen.0.lock().expect("unpoisoned").gone.contains(&setup.a)
        })
        .await;
    }
    assert!(setup.seen.0.lock().expect("unpoisoned").statuses.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_leaves_its_will_and_a_stopped_one_does_not() {
    let setup = setup().await;
    let killed = Raw::connect(setup.address(), setup.a, "secret-a").await;
    let conn = killed.conn;
    assert!(setup.broker.is_connected(setup.a).await);
    killed.kill().await;
    eventually("the end is reported", || async {
        setup.seen.0.lock().expect("unpoisoned").gone.contains(&setup.a)
    })
    .await;
    eventually("the will", || async {
        setup
            .seen
            .0
            .lock()
            .expect("unpoisoned")
            .statuses
            .contains(&(setup.a, Status::new(conn, false)))
    })
    .await;
    assert!(!setup.broker.is_connected(setup.a).await);
    assert!(setup.broker.publish(setup.a, Bytes::new()).await.is_err());

    let clean = Raw::connect(setup.address(), setup.b, "secret-b").await;
    eventually("online", || async {
        setup
            .seen
            .0
            .lock()
            .expect("unpoisoned")
            .statuses
            .iter()
            .any(|(device, _)| *device == setup.b)
    })
    .await;
    clean.client.disconnect().await.expect("queued");
    eventually("the end is reported", || async {
        setup.seen.0.lock().expect("unpoisoned").gone.contains(&setup.b)
    })
    .await;
    let seen = setup.seen.0.lock().expect("unpoisoned");
    assert!(
        seen.statuses
            .iter()
            .all(|(device, status)| *device != setup.b || status.online),
        "no will after a clean stop"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_ends_the_old_connection_only() {
    let setup = setup().await;
    let mut old = Raw::connect(setup.address(), setup.a, "secret-a").await;
    let mut new = Raw::connect(setup.address(), setup.a, "secret-a").await;
    old.ended().await;
    new.up(b"still here".to_vec()).await;
    setup.messages(1).await;
    let cancel = Down::Cancel(iottly_protocol::Cancel {
        id: iottly_protocol::CommandId::random(),
    });
    setup
        .broker
        .publish(setup.a, Bytes::from(cancel.encode()))
        .await
        .expect("sent");
    new.down().await;
    assert!(
        setup.seen.0.lock().expect("unpoisoned").gone.is_empty(),
        "the device was never gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_publishes_pass_and_larger_ones_end_the_connection() {
    let setup = setup().await;
    let mut device = Raw::connect(setup.address(), setup.a, "secret-a").await;
    device.up(vec![b'x'; 2 << 20]).await;
    setup.messages(1).await;
    device.up(vec![b'x'; 3 << 20]).await;
    device.ended().await;
    assert_eq!(setup.seen.0.lock().expect("unpoisoned").messages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_connections_and_frees_the_port() {
    let setup = setup().await;
    let mut device = Raw::connect(setup.address(), setup.a, "secret-a").await;
    let address = setup.address();
    setup.broker.shutdown().await;
    device.ended().await;
    eventually("the port is free", || async {
        tokio::net::TcpListener::bind(address).await.is_ok()
    })
    .await;
}
