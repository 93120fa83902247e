//! Boards that wait for a person: codes, lists, approval, and the page.

use iottly_protocol::enroll::{
    BoardFacts, DeviceSigner, EnrollAnswer, EnrollRequest, SealingSecret, ShortCode, Waiting,
};
use serde_json::{Value, json};

use crate::support::{TestCloud, start, tenant};

/// Path of the boards that wait.
const WAITING: &str = "/v1.0/project/<project id>/waiting";

fn request(code: Option<&str>, key: u8) -> Vec<u8> {
    let request = EnrollRequest::signed(
        code.map(|code| code.parse().expect("a code")),
        &DeviceSigner::from_secret(&[key; 32]),
        &SealingSecret::from_secret([key; 32]),
        BoardFacts {
            name: Some(format!("<b>board</b> {key}")),
            ..BoardFacts::default()
        },
        None,
    );
    serde_json::to_vec(&request).expect("JSON")
}

async fn ask(cloud: &TestCloud, code: Option<&str>, key: u8) -> EnrollAnswer {
    let body = request(code, key);
    let answer = cloud.request("POST", "/v1.0/enroll", &[], &body).await;
    serde_json::from_value(answer.ok()).expect("an answer")
}

fn waits(answer: EnrollAnswer) -> Waiting {
    match answer {
        EnrollAnswer::Waiting(waiting) | EnrollAnswer::SlowDown(waiting) => waiting,
        other => panic!("{other:?}"),
    }
}

async fn reject(cloud: &TestCloud, code: ShortCode) -> u16 {
    let path = format!("{WAITING}/{code}");
    cloud
        .request("DELETE", &path, &[&cloud.bearer()], b"")
        .await
        .status
}

#[tokio::test]
async fn a_board_without_a_code_is_approved_by_the_code_on_its_screen() {
    let cloud = start().await;
    let waiting = waits(ask(&cloud, None, 1).await);
    let again = ask(&cloud, None, 1).await;
    assert!(matches!(again, EnrollAnswer::SlowDown(_)), "it asked too early");
    assert_eq!(waits(again).short_code, waiting.short_code);
    assert!(waiting.expires_ms <= 600_000 && waiting.poll_ms >= 1_000);
    // It is in no list, and an operator who knows the code sees it, however it is typed.
    assert_eq!(cloud.get(WAITING).await.ok()["boards"], json!([]));
    let typed = waiting.short_code.to_string().to_lowercase().replace('-', "");
    let shown = cloud.get(&format!("{WAITING}/{typed}")).await.ok();
    assert_eq!(shown["board"]["name"], "<b>board</b> 1");
    assert_eq!(shown["board"]["enrolment_key"], false);
    let body = json!({"name": "porch"}).to_string();
    let made = cloud.post(&format!("{WAITING}/{typed}"), &body).await.ok();
    assert_eq!(made["name"], "porch");
    let EnrollAnswer::Enrolled(place) = ask(&cloud, None, 1).await else {
        panic!("enrolled");
    };
    assert_eq!(made["ID"], place.device_id.to_string());
    assert_eq!(place.project_id, cloud.tenant.scope.project);
    cloud.post(&format!("{WAITING}/{typed}"), "{}").await.error(404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_rejected_board_is_told_so() {
    let cloud = start().await;
    let code = waits(ask(&cloud, None, 1).await).short_code;
    assert_eq!(reject(&cloud, code).await, 200);
    assert_eq!(ask(&cloud, None, 1).await, EnrollAnswer::Denied);
    assert_eq!(reject(&cloud, code).await, 404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn codes_are_not_found_by_guessing() {
    let cloud = start().await;
    let code = waits(ask(&cloud, None, 1).await).short_code;
    for n in 0..5 {
        let wrong = ShortCode::from_bytes([n; 5]);
        cloud.get(&format!("{WAITING}/{wrong}")).await.error(404);
    }
    let right = cloud.get(&format!("{WAITING}/{code}")).await;
    assert!(
        right.error(429).contains("too many wrong codes"),
        "{}",
        right.text
    );
    cloud.get(&format!("{WAITING}/7K3M")).await.error(404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_board_of_a_waiting_key_is_in_the_list_of_its_project_alone() {
    let cloud = start().await;
    let other = tenant(&cloud.services, "other").await;
    let body = json!({"name": "line 3", "max_uses": 5, "waiting": true, "tags": ["fleet"]}).to_string();
    let key = cloud
        .post("/v1.0/project/<project id>/enrolmentkeys", &body)
        .await
        .ok();
    assert_eq!(key["waiting"], true);
    let text = key["enrolment_key"].as_str().expect("a key");
    let code = waits(ask(&cloud, Some(text), 1).await).short_code;
    waits(ask(&cloud, Some(text), 1).await);
    let listed = cloud.get(WAITING).await.ok();
    assert_eq!(listed["boards"][0]["code"], code.to_string());
    assert_eq!(listed["boards"][0]["enrolment_key"], true);
    let bearer = format!("Authorization: Bearer {}", other.token);
    let theirs = format!("/v1.0/project/{}/waiting", other.scope.project);
    let list = cloud.request("GET", &theirs, &[&bearer], b"").await.ok();
    assert_eq!(list["boards"], json!([]));
    let path = format!("{theirs}/{code}");
    cloud.request("GET", &path, &[&bearer], b"").await.error(404);
    cloud.request("POST", &path, &[&bearer], b"{}").await.error(404);
    let made = cloud.post(&format!("{WAITING}/{code}"), "{}").await.ok();
    assert_eq!(made["tags"], json!(["fleet"]));
    let enrolled = ask(&cloud, Some(text), 1).await;
    assert!(matches!(enrolled, EnrollAnswer::Enrolled(_)), "{enrolled:?}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn strangers_fill_neither_the_list_nor_the_database() {
    let cloud = start().await;
    for key in 1..=32 {
        waits(ask(&cloud, None, key).await);
    }
    let full = cloud
        .request("POST", "/v1.0/enroll", &[], &request(None, 33))
        .await;
    assert!(full.error(503).contains("too many boards wait"), "{}", full.text);
    let log = cloud
        .services
        .store
        .audit(cloud.tenant.scope.project, None, 100)
        .await;
    let log = log.expect("reads");
    assert!(
        log.iter().all(|entry| !entry.action.starts_with("device.enrol")),
        "{log:?}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_page_approves_a_board_into_a_group() {
    let cloud = start().await;
    let code = waits(ask(&cloud, None, 1).await).short_code;
    let path = format!("/enroll?code={code}");
    // Without a login the code is kept in a cookie until the visitor has logged in.
    let asked = cloud.request("GET", &path, &[], b"").await;
    assert!(asked.text.contains(r#"action="/login""#) && !asked.text.contains("board</b>"));
    let kept = asked.header("set-cookie").expect("a cookie");
    assert!(
        kept.contains(&code.to_string()) && kept.contains("HttpOnly"),
        "{kept}"
    );
    let login = cloud.login(&cloud.tenant.token).await;
    let both = format!("{login}; iottly-enroll={code}");
    let back = cloud.request("GET", "/", &[&both], b"").await;
    assert_eq!((back.status, back.header("location")), (303, Some(path.as_str())));
    assert!(back.header("set-cookie").expect("a cookie").contains("Max-Age=0"));

    let page = cloud.request("GET", &path, &[&login], b"").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("&lt;b&gt;board&lt;/b&gt; 1") && !page.text.contains("<b>board"));
    let form = "Content-Type: application/x-www-form-urlencoded";
    let body = format!("code={code}&name=porch&group={}&do=approve", cloud.tenant.group);
    let foreign = [login.as_str(), form, "Origin: http://evil.example"];
    let refused = cloud.request("POST", "/enroll", &foreign, body.as_bytes()).await;
    assert_eq!(refused.status, 403);
    let done = cloud
        .request("POST", "/enroll", &[&login, form], body.as_bytes())
        .await;
    assert_eq!(done.status, 303);
    let arrival = done.header("location").expect("an address").to_owned();
    assert!(
        arrival.starts_with(&cloud.path("/p/<project id>/devices/")) && arrival.contains("/arrival?since="),
        "{arrival}"
    );
    let page = cloud.request("GET", &arrival, &[&login], b"").await.text;
    assert!(
        page.contains("Add porch") && page.contains("Waiting for its board"),
        "{page}"
    );
    let EnrollAnswer::Enrolled(place) = ask(&cloud, None, 1).await else {
        panic!("enrolled");
    };
    assert_eq!(
        (place.name.as_str(), place.group_id),
        ("porch", cloud.tenant.group)
    );
    let gone = cloud.request("GET", &path, &[&login], b"").await;
    assert_eq!(gone.status, 404);
    assert!(
        gone.text.contains("No board that waits shows this code"),
        "{}",
        gone.text
    );
    let listed: Value = cloud.get("/v1.0/project/<project id>/devices/props").await.ok();
    assert!(listed.to_string().contains("porch"), "{listed}");
    cloud.shutdown().await;
}
