//! View of a virtual board: asked for while there are viewers, shared by viewers, with inputs that the device confirms.

use std::time::Duration;

use iottly_protocol::board::{
    BoardInput, BoardMessage, BoardOrder, BoardPin, BoardSensor, BoardState, CAN_SHOW_BOARD, PinDirection,
    PinFitting,
};
use iottly_protocol::{Down, Topic};
use rumqttc::QoS;
use serde_json::json;

use crate::device::Raw;
use crate::support::{TestCloud, start};

fn state(applied: u64, lit: bool) -> BoardState {
    let pin = |label: &str, fitting, direction, high| BoardPin {
        label: label.to_owned(),
        fitting,
        direction,
        high,
    };
    BoardState {
        applied,
        header: vec!["GND".to_owned(), "led".to_owned(), "button".to_owned()],
        pins: vec![
            pin("led", PinFitting::Led, PinDirection::Output, lit),
            pin("button", PinFitting::Button, PinDirection::Input, false),
        ],
        pwm: Vec::new(),
        sensors: vec![BoardSensor {
            name: "temperature".to_owned(),
            part: "i2c sensors".to_owned(),
            unit: "°C".to_owned(),
            value: 21.5,
            min: -40.0,
            max: 85.0,
        }],
    }
}

async fn device(cloud: &TestCloud, capabilities: &[&str]) -> Raw {
    let mut device = Raw::connect(cloud.mqtt_addr(), cloud.tenant.scope.device, "device secret").await;
    device.hello_with(capabilities, &[]).await;
    device
}

async fn say(device: &Raw, state: BoardState) {
    let topic = Topic::Board(device.id).to_string();
    let bytes = BoardMessage::State(state).encode();
    device
        .client
        .publish(topic, QoS::AtMostOnce, false, bytes)
        .await
        .expect("queued");
}

async fn order(device: &mut Raw) -> BoardOrder {
    loop {
        if let Down::Board(order) = device.down().await {
            return order;
        }
    }
}

/// Returns the orders of a span of time.
async fn orders_within(device: &mut Raw, span: Duration) -> Vec<BoardOrder> {
    let mut orders = Vec::new();
    let all = async {
        loop {
            orders.push(order(device).await);
        }
    };
    let _: Result<(), _> = tokio::time::timeout(span, all).await;
    orders
}

const BOARD: &str = "/v1.0/project/<project id>/device/<device id>/board";

#[tokio::test]
async fn a_device_is_asked_while_there_are_viewers_and_once_for_all_viewers() {
    let cloud = start().await;
    let mut device = device(&cloud, &[CAN_SHOW_BOARD]).await;
    assert_eq!(orders_within(&mut device, Duration::from_millis(1500)).await, []);
    let path = format!("{BOARD}/events");
    let mut first = cloud.listen(&path, &[&cloud.bearer()]).await;
    let asked = order(&mut device).await;
    assert!(asked.watch_ms >= 5000 && asked.inputs.is_empty());
    say(&device, state(0, true)).await;
    first.read_until(r#""state":"live""#).await;
    first.read_until(r#""direction":"output","high":true"#).await;
    let mut second = cloud.listen(&path, &[&cloud.bearer()]).await;
    second.read_until(r#""label":"led""#).await;
    let more = orders_within(&mut device, Duration::from_secs(2)).await;
    assert!(more.len() <= 1, "two viewers share one lease: {more:?}");
    say(&device, state(0, false)).await;
    for viewer in [&mut first, &mut second] {
        viewer.read_until(r#""direction":"output","high":false"#).await;
    }
    drop(first);
    drop(second);
    let ended = async {
        while order(&mut device).await.watch_ms > 0 {
            // A stream whose reader is gone is noticed at the next write.
            say(&device, state(0, true)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .expect("the device is told that there is no viewer any more");
    let rest = orders_within(&mut device, Duration::from_secs(6)).await;
    assert_eq!(rest, [], "without viewers nothing is asked");
    cloud.shutdown().await;
}

#[tokio::test]
async fn an_input_is_confirmed_by_the_device_or_refused_with_the_reason() {
    let cloud = start().await;
    let mut device = device(&cloud, &[CAN_SHOW_BOARD]).await;
    let press = json!({"inputs": [{"kind": "press", "button": "button"}]}).to_string();
    let inputs = format!("{BOARD}/inputs");
    // Without it the device would have to answer each time again.
    let mut viewer = cloud.listen(&format!("{BOARD}/events"), &[&cloud.bearer()]).await;
    order(&mut device).await;
    say(&device, state(0, false)).await;
    viewer.read_until(r#""state":"live""#).await;
    let answering = async {
        let pressed = loop {
            let order = order(&mut device).await;
            if !order.inputs.is_empty() {
                break order;
            }
        };
        say(&device, state(pressed.number, true)).await;
        pressed.inputs
    };
    let (answer, pressed) = tokio::join!(cloud.post(&inputs, &press), answering);
    let board = answer.ok();
    assert_eq!(board["board"]["pins"][0]["high"], json!(true), "{board}");
    let button = "button".to_owned();
    assert_eq!(pressed, [BoardInput::Press { button, hold_ms: 200 }]);
    for (input, reason) in [
        (json!({"kind": "press", "button": "led"}), "has no button"),
        (
            json!({"kind": "press", "button": "button", "hold_ms": 60000}),
            "hold_ms is 60000",
        ),
        (
            json!({"kind": "sensor", "name": "temperature", "value": 99}),
            "goes from -40 to 85",
        ),
    ] {
        say(&device, state(1, true)).await;
        let answer = cloud.post(&inputs, &json!({"inputs": [input]}).to_string()).await;
        let error = answer.error(400);
        assert!(answer.text.contains(reason), "{error}: {}", answer.text);
    }
    let unknown = cloud.post(&inputs, r#"{"inputs":[{"kind":"shake"}]}"#).await;
    unknown.error(400);
    let audit = cloud
        .get("/v1.0/project/<project id>/auditlog")
        .await
        .ok()
        .to_string();
    assert_eq!(audit.matches("device.board").count(), 1, "{audit}");
    say(&device, state(1, true)).await;
    let lost = cloud.post(&inputs, &press).await;
    lost.error(409);
    assert!(lost.text.contains("board_unanswered"), "{}", lost.text);
    cloud.shutdown().await;
}

#[tokio::test]
async fn an_agent_that_does_not_show_its_board_is_never_asked_and_the_page_has_no_tab() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = "/p/<project id>/devices/<device id>";
    let tab = format!(r#"href="{}/board""#, cloud.path(page));
    let fresh = cloud.get(BOARD).await.ok();
    assert_eq!(fresh["state"], "unknown", "no hello yet: {fresh}");
    let own = cloud
        .request("GET", &format!("{page}/board"), &[&cookie], b"")
        .await;
    assert!(
        own.text.contains("Not known yet") && own.text.contains(&tab),
        "{}",
        own.text
    );
    let mut old = device(&cloud, &["later"]).await;
    let shown = cloud.get(BOARD).await.ok();
    assert_eq!(shown["state"], "hidden");
    assert!(shown["board"].is_null());
    assert_eq!(orders_within(&mut old, Duration::from_secs(2)).await, []);
    let live = cloud.request("GET", page, &[&cookie], b"").await;
    assert!(!live.text.contains(&tab), "no tab");
    let own = cloud
        .request("GET", &format!("{page}/board"), &[&cookie], b"")
        .await;
    assert_eq!(own.status, 200);
    assert!(own.text.contains("The device shows no board"), "{}", own.text);
    drop(old);
    // The same device with a new agent, after a power cut: it is asked at once.
    let path = format!("{BOARD}/events");
    let mut viewer = cloud.listen(&path, &[&cloud.bearer()]).await;
    let mut new = device(&cloud, &[CAN_SHOW_BOARD]).await;
    order(&mut new).await;
    say(&new, state(0, true)).await;
    viewer.read_until(r#""state":"live""#).await;
    let live = cloud.request("GET", page, &[&cookie], b"").await;
    assert!(live.text.contains(&tab), "a tab");
    let own = cloud
        .request("GET", &format!("{page}/board"), &[&cookie], b"")
        .await;
    assert!(own.text.contains("led · pin 2") && own.text.contains("board.js"));
    assert!(!own.text.contains("style="), "nothing inline");
    drop(new);
    viewer.read_until(r#""state":"away""#).await;
    let mut again = device(&cloud, &[CAN_SHOW_BOARD]).await;
    order(&mut again).await;
    viewer.seen.clear();
    say(&again, state(0, false)).await;
    viewer.read_until(r#""state":"live""#).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_flood_of_states_and_what_is_no_state_do_no_harm() {
    let cloud = start().await;
    let mut device = device(&cloud, &[CAN_SHOW_BOARD]).await;
    let topic = Topic::Board(device.id).to_string();
    let mut viewer = cloud.listen(&format!("{BOARD}/events"), &[&cloud.bearer()]).await;
    order(&mut device).await;
    for bytes in [b"{}".to_vec(), vec![b'['; 20_000], b"\xff".to_vec()] {
        device
            .client
            .publish(&topic, QoS::AtMostOnce, false, bytes)
            .await
            .expect("queued");
    }
    for n in 0..300 {
        say(&device, state(0, n % 2 == 0)).await;
    }
    viewer.read_until(r#""state":"live""#).await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let history = cloud.get("/v1.0/project/<project id>/messages/<device id>").await;
    assert!(!history.text.contains("protocol"), "{}", history.text);
    viewer.seen.clear();
    say(&device, state(7, true)).await;
    viewer.read_until(r#""direction":"output","high":true"#).await;
    let sent = viewer.seen.matches("event: board").count();
    assert!(sent <= 40, "{sent} events for 300 states");
    cloud.shutdown().await;
}
