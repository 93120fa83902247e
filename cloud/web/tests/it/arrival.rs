//! The way of a new device: its page, and the refusals of devices that cannot get in, which their own people see alone.

use iottly_protocol::DeviceId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::enrolment::{post, request};
use crate::support::{TestCloud, start, tenant};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

fn field(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    [&length.to_be_bytes()[..], text].concat()
}

/// Logs in at the broker; returns the code of its answer.
async fn log_in(cloud: &TestCloud, device: DeviceId, secret: &str) -> u8 {
    let name = field(device.to_string().as_bytes());
    let head = [&field(b"MQTT")[..], &[4, 0xc2, 0, 30]].concat();
    let body = [head, name.clone(), name, field(secret.as_bytes())].concat();
    let length = u8::try_from(body.len()).expect("short");
    assert!(length >= 128 || body.len() < 128);
    let header = if body.len() < 128 {
        vec![0x10, length]
    } else {
        vec![0x10, length | 0x80, 1]
    };
    let mut stream = TcpStream::connect(cloud.mqtt_addr()).await.expect("connects");
    stream.write_all(&[header, body].concat()).await.expect("writes");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.expect("an answer");
    answer[3]
}

async fn props(cloud: &TestCloud, device: impl std::fmt::Display) -> Value {
    let path = format!("/v1.0/project/<project id>/device/{device}/props");
    cloud.get(&path).await.ok()
}

#[tokio::test]
async fn a_wrong_secret_is_shown_with_its_device_until_it_gets_in() {
    let cloud = start().await;
    let (device, login) = (cloud.tenant.scope.device, cloud.login(&cloud.tenant.token).await);
    assert_eq!(props(&cloud, device).await.get("refusal"), None);
    let stranger = DeviceId::random();
    assert_ne!(log_in(&cloud, stranger, "anything").await, 0);
    let mut live = cloud
        .listen("/p/<project id>/events?device=<device id>", &[&login])
        .await;
    live.read_until("event: beat").await;
    assert_ne!(log_in(&cloud, device, "wrong secret").await, 0);
    live.read_until(r#"data: {"parts":["device"]}"#).await;
    let refusal = &props(&cloud, device).await["refusal"];
    assert_eq!(
        (&refusal["step"], &refusal["from"]),
        (&json!("login"), &json!("127.0.0.1"))
    );
    let reason = refusal["reason"].as_str().expect("a reason");
    assert!(reason.contains("secret is wrong"), "{reason}");
    for page in ["", "/arrival"] {
        let path = format!("/p/<project id>/devices/<device id>{page}");
        let page = cloud.request("GET", &path, &[&login], b"").await.text;
        assert!(page.contains("was refused at its login") && page.contains("127.0.0.1"));
    }
    // A list has no refusals, and another project's people see nothing.
    let all = cloud.get("/v1.0/project/<project id>/devices/props").await.ok();
    assert!(!all.to_string().contains("refusal"));
    let other = tenant(&cloud.services, "other").await;
    let theirs = cloud.login(&other.token).await;
    let path = format!(
        "/p/{}/devices/{}/arrival",
        other.scope.project, other.scope.device
    );
    let page = cloud.request("GET", &path, &[&theirs], b"").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("was refused") && !page.text.contains("wrong"));

    assert_eq!(log_in(&cloud, device, "device secret").await, 0);
    assert_eq!(props(&cloud, device).await.get("refusal"), None);
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_arrival_shows_its_line_once_and_why_a_board_was_refused() {
    let cloud = start().await;
    let login = cloud.login(&cloud.tenant.token).await;
    let made = cloud
        .request(
            "POST",
            "/p/<project id>/devices/add",
            &[&login, FORM],
            b"name=porch",
        )
        .await;
    assert_eq!(made.status, 303, "{}", made.text);
    let arrival = made.header("location").expect("an address").to_owned();
    assert!(arrival.contains("/arrival?since="), "{arrival}");
    let line = made.cookie();
    let code = line.split('.').nth(1).expect("a code").to_owned();
    let both = format!("{login}; {}", line.trim_start_matches("Cookie: "));
    let first = cloud.request("GET", &arrival, &[&both], b"").await;
    assert!(
        first.text.contains("It is shown this one time."),
        "{}",
        first.text
    );
    assert!(first.text.contains("Waiting for its board"));
    assert!(
        first
            .header("set-cookie")
            .expect("a cookie")
            .contains("Max-Age=0")
    );
    let again = cloud.request("GET", &arrival, &[&login], b"").await;
    assert_eq!(again.status, 200);
    assert!(!again.text.contains("It is shown this one time."));
    assert!(again.text.contains("Get a new line"));

    // A code of no board leads to no device: it is shown to those who look from nearby.
    let nothing = format!("{:032x}", 7);
    post(&cloud, "/v1.0/enroll", &request(&nothing, 1))
        .await
        .error(403);
    let page = cloud.request("GET", &arrival, &[&login], b"").await.text;
    assert!(
        page.contains("A board, perhaps this one,") && page.contains("the code is unknown"),
        "{page}"
    );
    // One that was used leads to its device.
    post(&cloud, "/v1.0/enroll", &request(&code, 2)).await.ok();
    post(&cloud, "/v1.0/enroll", &request(&code, 3)).await.error(403);
    let page = cloud.request("GET", &arrival, &[&login], b"").await.text;
    assert!(page.contains("The board was refused at its enrolment"), "{page}");
    assert!(page.contains("used by another board"));

    let path = arrival.split('?').next().expect("a path").to_owned();
    let new = cloud.request("POST", &path, &[&login, FORM], b"").await;
    assert_eq!(new.status, 303, "{}", new.text);
    assert!(!new.cookie().contains(&code));
    cloud.shutdown().await;
}
