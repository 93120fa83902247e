//! Presence with its last proof: links that end, links that die without a word, silence and planned absence.

use std::time::{Duration, Instant};

use iottly_cloud::clock;
use iottly_protocol::{ConnId, DeviceId, Status, StreamId, Topic, encode_batch};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::device::message;
use crate::support::{TestCloud, eventually, start};

const PING: [u8; 2] = [0xc0, 0];

fn field(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    [&length.to_be_bytes()[..], text].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    assert!(length < 16_384, "two bytes of length");
    let (low, high) = (length % 128, length / 128);
    let low = u8::try_from(low).expect("seven bits") | 0x80;
    [&[first, low, u8::try_from(high).expect("seven bits")][..], body].concat()
}

/// Connection of a device that speaks MQTT by hand, so that it can fall silent without closing anything.
pub(crate) struct Device {
    stream: TcpStream,
    id: DeviceId,
    conn: ConnId,
}

impl Device {
    pub(crate) async fn connect(cloud: &TestCloud, keep_alive: u8) -> Self {
        let id = cloud.tenant.scope.device;
        let mut stream = TcpStream::connect(cloud.mqtt_addr()).await.expect("connects");
        let name = field(id.to_string().as_bytes());
        let head = [&field(b"MQTT")[..], &[4, 0xc2, 0, keep_alive]].concat();
        let body = [head, name.clone(), name, field(b"device secret")].concat();
        stream.write_all(&packet(0x10, &body)).await.expect("writes");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer, [0x20, 2, 0, 0]);
        let mut device = Self {
            stream,
            id,
            conn: ConnId::random(),
        };
        let online = Status::new(device.conn, true);
        device
            .publish(&Topic::Status(device.id).to_string(), &online.encode())
            .await;
        device
    }

    async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let body = [field(topic.as_bytes()), payload.to_vec()].concat();
        self.stream.write_all(&packet(0x30, &body)).await.expect("writes");
    }

    /// Sends the record with this number.
    pub(crate) async fn send(&mut self, number: u64) {
        let record = message(number);
        let up = encode_batch(StreamId::from_bytes([9; 16]), number, [record.as_bytes()]);
        self.publish(&Topic::Up(self.id).to_string(), &up).await;
    }

    async fn ping(&mut self) {
        self.stream.write_all(&PING).await.expect("writes");
    }
}

async fn presence(cloud: &TestCloud) -> Value {
    let props = cloud
        .get(&format!(
            "/v1.0/project/<project id>/device/{}/props",
            cloud.tenant.scope.device
        ))
        .await;
    props.ok()["presence"].clone()
}

async fn becomes(cloud: &TestCloud, state: &str) -> Value {
    eventually(state, || async { presence(cloud).await["state"] == state }).await;
    presence(cloud).await
}

/// A power cut of the board: no FIN, no last packet; the socket stays open and mute.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_dies_without_a_word_is_offline_after_one_and_a_half_keep_alives() {
    const KEEP_ALIVE: u8 = 2;
    let cloud = start().await;
    assert_eq!(
        presence(&cloud).await,
        json!({"state": "offline", "since": null, "proof": null})
    );
    let mut events = cloud
        .listen("/v1.0/project/<project id>/events", &[&cloud.bearer()])
        .await;
    let mut device = Device::connect(&cloud, KEEP_ALIVE).await;
    let online = becomes(&cloud, "online").await;
    assert_eq!(online["proof"]["packet"], "publish");
    events.read_until("event: presence").await;
    device.ping().await;
    eventually("the ping is the last proof", || async {
        presence(&cloud).await["proof"]["packet"] == "ping"
    })
    .await;
    let cut = Instant::now();
    let offline = becomes(&cloud, "offline").await;
    eprintln!(
        "noticed {:?} after the cut, with a keep-alive of {KEEP_ALIVE} s",
        cut.elapsed()
    );
    assert_eq!(offline["proof"]["packet"], "ping", "{offline}");
    let (since, proof) = (&offline["since"]["$date"], &offline["proof"]["at"]["$date"]);
    let wrong = since.as_i64().expect("a time") - proof.as_i64().expect("a time");
    let most = i64::from(KEEP_ALIVE) * 1500 + 2000;
    assert!(
        (0..=most).contains(&wrong),
        "wrong for {wrong} ms, {most} at most"
    );
    events.read_until(r#""state":"offline""#).await;
    drop(device);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_closes_is_offline_at_once_and_its_proof_survives_a_restart() {
    let cloud = start().await;
    let device = Device::connect(&cloud, 30).await;
    becomes(&cloud, "online").await;
    drop(device);
    let offline = becomes(&cloud, "offline").await;
    assert_eq!(offline["proof"]["packet"], "publish", "{offline}");
    let stored = cloud.services.store.device(cloud.tenant.scope).await;
    let stored = stored.expect("readable").expect("a device");
    assert_eq!(
        stored.proof.map(|proof| proof.packet.as_str()),
        Some("publish"),
        "what the next process reads"
    );
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_absence_excuses_a_device_until_its_end() {
    let cloud = start().await;
    let address = format!(
        "/v1.0/project/<project id>/device/{}/absence",
        cloud.tenant.scope.device
    );
    let put = async |body: Value| {
        cloud
            .request("PUT", &address, &[&cloud.bearer()], body.to_string().as_bytes())
            .await
    };
    let until = clock::now() + 3_600_000;
    let mut events = cloud
        .listen("/v1.0/project/<project id>/events", &[&cloud.bearer()])
        .await;
    let planned = put(json!({"until": until, "reason": " moved to another site "}))
        .await
        .ok();
    assert_eq!(planned["presence"]["state"], "absent");
    assert_eq!(planned["presence"]["planned"]["reason"], "moved to another site");
    assert_eq!(planned["operatingstatus"], "disconnected", "as documented");
    events.read_until(r#""state":"absent""#).await;
    for (bad, reason) in [
        (json!({"until": 5, "reason": "r"}), "not after the start"),
        (json!({"until": until, "reason": ""}), "reason"),
        (json!({"until": i64::MAX, "reason": "r"}), "366 days"),
        (
            json!({"until": i64::MAX, "from": i64::MIN, "reason": "r"}),
            "366 days",
        ),
    ] {
        let refused = put(bad).await.error(400);
        assert!(refused.contains(reason), "{refused}");
    }
    let device = Device::connect(&cloud, 30).await;
    becomes(&cloud, "online").await;
    drop(device);
    becomes(&cloud, "absent").await;
    let ended = cloud.request("DELETE", &address, &[&cloud.bearer()], b"").await;
    assert_eq!(ended.ok()["presence"]["state"], "offline");
    let soon = clock::now() + 1500;
    put(json!({"until": soon, "reason": "a short one"})).await.ok();
    events.read_until("a short one").await;
    events.read_until(r#""state":"offline""#).await;
    becomes(&cloud, "offline").await;
    cloud.shutdown().await;
}

/// The device keeps its link alive, but its firmware sends nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_pings_but_sends_nothing_is_silent() {
    let cloud = start().await;
    let mut device = Device::connect(&cloud, 30).await;
    becomes(&cloud, "online").await;
    let silent = Duration::from_secs(3);
    // Four messages, three seconds apart, of which the last is older than three of these pauses.
    let began = clock::now();
    for n in 1..=4 {
        device.send(n).await;
        tokio::time::sleep(silent).await;
    }
    let view = becomes(&cloud, "silent").await;
    assert!(view["since"]["$date"].as_i64() > Some(began), "{view}");
    device.ping().await;
    assert_eq!(presence(&cloud).await["state"], "silent", "a ping is no message");
    cloud.shutdown().await;
}
