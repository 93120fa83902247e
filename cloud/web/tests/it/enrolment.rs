//! Enrolment over the REST API and logins at the broker with what it gives.

use std::sync::Arc;

use iottly_cloud::broker::{Authenticator, StoreLogin};
use iottly_core::model::{Change, Principal, Scope};
use iottly_protocol::enroll::{
    BoardFacts, Challenge, DeviceSigner, EnrollAnswer, EnrollRequest, Enrolled, Fingerprint, LegacyRequest,
    PairCode, SealingSecret, SecretRequest,
};
use iottly_protocol::{DeviceId, Secret};
use iottly_web::Front;
use serde_json::{Value, json};

use crate::support::{Answer, TestCloud, start, tenant};

/// Secret of the tenant's device, as of release 0.1.
const SECRET: &str = "device secret";
/// Text of every refusal of a board.
const REFUSED: &str = "the code or the key is not valid here; get a new code";

fn signer(byte: u8) -> DeviceSigner {
    DeviceSigner::from_secret(&[byte; 32])
}

pub(crate) fn request(code: &str, key: u8) -> EnrollRequest {
    EnrollRequest::signed(
        Some(code.parse().expect("a code")),
        &signer(key),
        &SealingSecret::from_secret([key; 32]),
        BoardFacts {
            mac: Some("00:00:5E:00:53:01".into()),
            ..BoardFacts::default()
        },
        None,
    )
}

pub(crate) async fn post(cloud: &TestCloud, path: &str, body: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("JSON");
    cloud.request("POST", path, &[], &body).await
}

pub(crate) fn enrolled(answer: &Answer) -> Enrolled {
    match serde_json::from_value(answer.ok()).expect("an answer") {
        EnrollAnswer::Enrolled(enrolled) => enrolled,
        other => panic!("{other:?}"),
    }
}

async fn create(cloud: &TestCloud) -> (Value, String) {
    let made = cloud
        .post("/v1.0/project/<project id>/device", r#"{"name": "porch"}"#)
        .await
        .ok();
    let code = made["pair_code"].as_str().expect("a code").to_owned();
    (made, code)
}

/// Returns true if the broker admits the device with this secret.
async fn logs_in(cloud: &TestCloud, device: DeviceId, secret: &str) -> bool {
    let login = StoreLogin::new(Arc::clone(&cloud.services.store) as _, Arc::default());
    let found = login
        .authenticate(device, secret.as_bytes())
        .await
        .expect("checked");
    found.is_some_and(|scope| scope.device == device)
}

async fn renew(cloud: &TestCloud, device: DeviceId, signer: &DeviceSigner) -> Answer {
    let given = post(cloud, "/v1.0/enroll/challenge", &json!({"device_id": device}))
        .await
        .ok();
    let challenge: Challenge = serde_json::from_value(given["challenge"].clone()).expect("a challenge");
    let request = SecretRequest::signed(device, challenge, signer);
    post(cloud, "/v1.0/enroll/secret", &request).await
}

/// Returns the request of a device of release 0.1.
fn legacy(device: DeviceId, secret: &str, key: u8) -> LegacyRequest {
    LegacyRequest {
        device_id: device,
        secret: Secret::new(secret),
        keys: EnrollRequest::signed(
            None,
            &signer(key),
            &SealingSecret::from_secret([key; 32]),
            BoardFacts::default(),
            None,
        ),
    }
}

#[tokio::test]
async fn a_device_of_0_1_gets_a_key_for_its_secret_which_ends_with_the_first_renewal() {
    let cloud = start().await;
    let device = cloud.tenant.scope.device;
    let props = format!("/v1.0/project/<project id>/device/{device}/props");
    assert_eq!(cloud.get(&props).await.ok()["legacy"], true);
    for (device, secret) in [
        (device, "another secret"),
        (device, ""),
        (DeviceId::random(), SECRET),
    ] {
        let refused = post(&cloud, "/v1.0/enroll/legacy", &legacy(device, secret, 1)).await;
        assert_eq!(refused.error(403), REFUSED);
    }
    let mut forged = legacy(device, SECRET, 1);
    forged.keys.device_key = signer(2).key();
    let refused = post(&cloud, "/v1.0/enroll/legacy", &forged).await;
    assert!(refused.error(400).contains("proof"), "{}", refused.text);

    // The answer to the first request was lost with the keys: the board asks again with others.
    enrolled(&post(&cloud, "/v1.0/enroll/legacy", &legacy(device, SECRET, 1)).await);
    let place = enrolled(&post(&cloud, "/v1.0/enroll/legacy", &legacy(device, SECRET, 3)).await);
    assert_eq!(place.device_id, device);
    assert_eq!(cloud.get(&props).await.ok().get("legacy"), None);
    for secret in [place.login.secret.expose(), SECRET] {
        assert!(logs_in(&cloud, device, secret).await);
    }
    renew(&cloud, device, &signer(1)).await.error(403);
    renew(&cloud, device, &signer(3)).await.ok();
    assert!(!logs_in(&cloud, device, SECRET).await, "the old secret has ended");
    let refused = post(&cloud, "/v1.0/enroll/legacy", &legacy(device, SECRET, 4)).await;
    assert_eq!(refused.error(403), REFUSED);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_board_gets_its_place_with_a_pair_code_once() {
    let cloud = start().await;
    let (made, code) = create(&cloud).await;
    assert!(
        made.get("url").is_none(),
        "without TLS there is nothing to print: {made}"
    );
    let place = enrolled(&post(&cloud, "/v1.0/enroll", &request(&code, 1)).await);
    assert_eq!(made["ID"], place.device_id.to_string());
    assert_eq!(
        (place.name.as_str(), place.project_id),
        ("porch", cloud.tenant.scope.project)
    );
    assert!(place.root.contains("\"_type\""), "{}", place.root);
    assert!(logs_in(&cloud, place.device_id, place.login.secret.expose()).await);
    assert!(!logs_in(&cloud, place.device_id, "device secret").await);
    assert!(
        !logs_in(&cloud, cloud.tenant.scope.device, place.login.secret.expose()).await,
        "a secret is for its own client id"
    );
    let licence = cloud
        .get(&format!("/v1.0/project/<project id>/license/{code}"))
        .await
        .ok();
    assert_eq!(licence[&code]["status"], "paired");
    assert_eq!(licence[&code]["board"]["macaddress"], "00:00:5E:00:53:01");

    // Used, unknown, and a code of another project for a key that is taken: one text.
    let (other, wrong) = (tenant(&cloud.services, "other").await, "0".repeat(32));
    let foreign = Change::ReplaceDevice {
        device: other.scope.device,
        code: "f".repeat(32).into(),
        expires: i64::MAX,
    };
    let by = Principal::system(other.scope.project, "test");
    cloud
        .services
        .store
        .change(other.scope.project, &by, foreign, 1)
        .await
        .expect("made");
    for (code, key) in [(code.as_str(), 2), (&wrong, 2), (&"f".repeat(32), 1)] {
        let refused = post(&cloud, "/v1.0/enroll", &request(code, key)).await;
        assert_eq!(refused.error(403), REFUSED);
    }
    let again = enrolled(&post(&cloud, "/v1.0/enroll", &request(&code, 1)).await);
    assert_eq!(again.device_id, place.device_id);
    assert!(logs_in(&cloud, place.device_id, again.login.secret.expose()).await);
    assert!(!logs_in(&cloud, place.device_id, place.login.secret.expose()).await);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_secret_is_renewed_for_a_proof_and_for_nothing_else() {
    let cloud = start().await;
    let (_, code) = create(&cloud).await;
    let place = enrolled(&post(&cloud, "/v1.0/enroll", &request(&code, 1)).await);
    let device = place.device_id;
    let renewed = renew(&cloud, device, &signer(1)).await.ok();
    let secret = renewed["secret"].as_str().expect("a secret");
    assert!(logs_in(&cloud, device, secret).await, "the new one");
    assert!(
        logs_in(&cloud, device, place.login.secret.expose()).await,
        "the former one during the hand-over"
    );
    assert_eq!(renew(&cloud, device, &signer(2)).await.error(403), REFUSED);
    let stranger = DeviceId::random();
    assert_eq!(renew(&cloud, stranger, &signer(1)).await.error(403), REFUSED);
    let provisioned = cloud.tenant.scope.device;
    assert_eq!(renew(&cloud, provisioned, &signer(1)).await.error(403), REFUSED);
    let made_up = SecretRequest::signed(device, Challenge([7; 56]), &signer(1));
    let answer = post(&cloud, "/v1.0/enroll/secret", &made_up).await;
    assert_eq!(answer.error(403), REFUSED);
    assert_eq!(
        renew(&cloud, device, &signer(1)).await.status,
        429,
        "two secrets a minute"
    );

    let path = format!("/v1.0/project/<project id>/device/{device}");
    cloud.request("DELETE", &path, &[&cloud.bearer()], b"").await.ok();
    assert!(!logs_in(&cloud, device, secret).await, "a deleted device");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_replaced_board_cannot_come_back() {
    let cloud = start().await;
    let (_, code) = create(&cloud).await;
    let old = enrolled(&post(&cloud, "/v1.0/enroll", &request(&code, 1)).await);
    let path = format!("/v1.0/project/<project id>/device/{}/replace", old.device_id);
    let made = cloud.post(&path, "{}").await.ok();
    let code = made["pair_code"].as_str().expect("a code");
    let new = enrolled(&post(&cloud, "/v1.0/enroll", &request(code, 2)).await);
    assert_eq!(new.device_id, old.device_id, "history and settings stay");
    assert!(!logs_in(&cloud, old.device_id, old.login.secret.expose()).await);
    assert_eq!(renew(&cloud, old.device_id, &signer(1)).await.error(403), REFUSED);
    assert!(logs_in(&cloud, new.device_id, new.login.secret.expose()).await);
    cloud.shutdown().await;
}

#[tokio::test]
async fn boards_of_an_enrolment_key_outlive_it() {
    let cloud = start().await;
    let made = cloud
        .post(
            "/v1.0/project/<project id>/enrolmentkeys",
            r#"{"name": "line 3", "max_uses": 2, "tags": ["fleet"]}"#,
        )
        .await
        .ok();
    let text = made["enrolment_key"].as_str().expect("a key").to_owned();
    let keys = cloud.get("/v1.0/project/<project id>/enrolmentkeys").await;
    assert!(!keys.text.contains(&text), "the text is shown once");
    let one = enrolled(&post(&cloud, "/v1.0/enroll", &request(&text, 1)).await);
    let two = enrolled(&post(&cloud, "/v1.0/enroll", &request(&text, 2)).await);
    assert_ne!(
        one.device_id, two.device_id,
        "one MAC address, two keys, two devices"
    );
    let full = post(&cloud, "/v1.0/enroll", &request(&text, 3)).await;
    assert_eq!(full.error(403), REFUSED);
    let id = made["id"].as_str().expect("an id");
    let path = format!("/v1.0/project/<project id>/enrolmentkeys/{id}");
    cloud.request("DELETE", &path, &[&cloud.bearer()], b"").await.ok();
    cloud
        .request("DELETE", &path, &[&cloud.bearer()], b"")
        .await
        .error(404);
    let renewed = renew(&cloud, one.device_id, &signer(1)).await.ok();
    let secret = renewed["secret"].as_str().expect("a secret");
    assert!(logs_in(&cloud, one.device_id, secret).await);
    for (body, word) in [
        (json!({"name": "x", "max_uses": 0}), "max_uses"),
        (json!({"name": "x", "max_uses": 1, "expires": 5}), "past"),
        (
            json!({"name": "x", "max_uses": 1, "ephemeral_hours": 0}),
            "ephemeral_hours",
        ),
        (json!({"name": "x", "max_uses": 1, "tags": ["a,b"]}), "tag"),
    ] {
        let answer = cloud
            .post("/v1.0/project/<project id>/enrolmentkeys", &body.to_string())
            .await;
        let error = answer.error(400);
        assert!(error.contains(word), "{body}: {error}");
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn hostile_requests_prove_nothing_and_their_address_has_to_wait() {
    let cloud = start().await;
    let (_, code) = create(&cloud).await;
    let mut stolen = request(&code, 1);
    stolen.board.name = Some("mine".into());
    let answer = post(&cloud, "/v1.0/enroll", &stolen).await;
    assert!(answer.error(400).contains("proof"), "{}", answer.text);
    let huge = format!("{{\"code\": \"{}\"", " ".repeat(9000));
    cloud
        .request("POST", "/v1.0/enroll", &[], huge.as_bytes())
        .await
        .error(413);
    for body in [
        "",
        "[]",
        "{}",
        r#"{"code": 1}"#,
        r#"{"code": "0", "device_key": "0"}"#,
    ] {
        let answer = cloud.request("POST", "/v1.0/enroll", &[], body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
    }
    let wrong = "0".repeat(32);
    let mut refusals = 0;
    loop {
        let answer = post(&cloud, "/v1.0/enroll", &request(&wrong, 2)).await;
        if answer.status == 429 {
            break;
        }
        assert_eq!(answer.error(403), REFUSED);
        refusals += 1;
        assert!(refusals < 100, "an address may fail 30 times a minute");
    }
    assert!(refusals >= 20, "{refusals}");
    let waiting = post(&cloud, "/v1.0/enroll", &request(&code, 1)).await;
    assert!(waiting.error(429).contains("try again"), "{}", waiting.text);
    let wait: u32 = waiting
        .header("retry-after")
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_cloud_with_tls_prints_one_string() {
    let mut cloud = start().await;
    let fingerprint = Fingerprint([0xab; 32]);
    let front = Front {
        port: 8443,
        fingerprint: Some(fingerprint),
    };
    let services = cloud.services.clone().behind(front);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    cloud.address = listener.local_addr().expect("an address");
    let server = iottly_web::http::Server::start(listener, services);
    let (made, code) = create(&cloud).await;
    assert_eq!(
        made["url"],
        format!("iottly://127.0.0.1:8443/{code}#{fingerprint}")
    );
    server.shutdown().await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn codes_and_secrets_are_not_in_the_audit_log() {
    let cloud = start().await;
    let (_, code) = create(&cloud).await;
    let place = enrolled(&post(&cloud, "/v1.0/enroll", &request(&code, 1)).await);
    post(&cloud, "/v1.0/enroll", &request(&code, 2)).await.error(403);
    let Scope { project, .. } = cloud.tenant.scope;
    let log = cloud
        .services
        .store
        .audit(project, None, 100)
        .await
        .expect("reads");
    let text = format!("{log:?}");
    assert!(
        text.contains("device.enrol") && text.contains("used by another board"),
        "{text}"
    );
    assert!(text.contains("127.0.0.1"), "{text}");
    let secret = place.login.secret.expose();
    for hidden in [code.as_str(), secret] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert!(code.parse::<PairCode>().is_ok());
    cloud.shutdown().await;
}
