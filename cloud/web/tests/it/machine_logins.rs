//! Logins of people on machines: asked for without a token, approved on a page, limited, and ended in every way.

use iottly_core::model::{OrganizationId, Role};
use iottly_web::first_login_link;
use serde_json::{Value, json};

use crate::support::{Answer, TestCloud, start, tenant};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const PASSWORD: &str = "correct horse";

async fn form(cloud: &TestCloud, path: &str, cookie: &str, body: &str) -> Answer {
    cloud
        .request("POST", path, &[FORM, cookie], body.as_bytes())
        .await
}

async fn join(cloud: &TestCloud, link: &str, name: &str) -> String {
    let key = link.split_once("key=").expect("a key").1;
    let body = format!("key={key}&name={name}&password={PASSWORD}&again={PASSWORD}");
    let answer = form(cloud, "/join", "X-None: 1", &body).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.cookie()
}

/// Starts a cloud with an owner; returns the owner's login cookie.
async fn with_owner() -> (TestCloud, String) {
    let cloud = start().await;
    let link = first_login_link(&cloud.services, "").await.expect("a store");
    let owner = join(&cloud, &link.expect("the first person"), "ada").await;
    (cloud, owner)
}

/// Asks for a login; returns the secret and the code.
async fn ask(cloud: &TestCloud, machine: &str) -> (String, String) {
    let body = json!({"machine": machine}).to_string();
    let asked = cloud
        .request("POST", "/v1.0/login", &[], body.as_bytes())
        .await
        .ok();
    assert_eq!(asked["verification_path"], "/login/machine");
    let text = |key: &str| asked[key].as_str().expect("a text").to_owned();
    (text("device_code"), text("user_code"))
}

async fn poll(cloud: &TestCloud, secret: &str) -> Answer {
    let body = json!({"device_code": secret}).to_string();
    cloud
        .request("POST", "/v1.0/login/token", &[], body.as_bytes())
        .await
}

fn code_of(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// Lets a machine act; returns the header of its token.
async fn approved(cloud: &TestCloud, cookie: &str, choice: &str) -> String {
    let (secret, code) = ask(cloud, "laptop").await;
    let body = format!("code={code}&do=approve&{choice}");
    let done = form(cloud, "/login/machine", cookie, &body).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let granted = poll(cloud, &secret).await.ok();
    format!(
        "Authorization: Bearer {}",
        granted["token"].as_str().expect("a token")
    )
}

async fn get(cloud: &TestCloud, bearer: &str, path: &str) -> Answer {
    cloud.request("GET", path, &[bearer], b"").await
}

const READ: &str = "/v1.0/project/<project id>/inspect";

#[tokio::test]
async fn a_machine_acts_once_a_person_has_approved_its_code() {
    let (cloud, ada) = with_owner().await;
    let (secret, code) = ask(&cloud, "ada@<b>laptop").await;
    assert_eq!(
        code_of(&poll(&cloud, &secret).await),
        "slow_down",
        "it was just told to wait"
    );
    let path = format!("/login/machine?code={code}");
    let shown = cloud.request("GET", &path, &[&ada], b"").await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    for text in [
        &code,
        "ada@&lt;b&gt;laptop",
        "127.0.0.1",
        "iottly login",
        "all my projects",
        "read",
    ] {
        assert!(shown.text.contains(text), "{text}: {}", shown.text);
    }
    let nothing = form(&cloud, "/login/machine", &ada, &format!("code={code}&do=approve")).await;
    assert!(
        nothing.status == 400 && nothing.text.contains("choose at least one permission"),
        "{}",
        nothing.text
    );
    let body = format!("code={code}&do=approve&scope=read&scope=command&days=1");
    let done = form(&cloud, "/login/machine", &ada, &body).await;
    assert_eq!(done.header("location"), Some("/login/machine?done=approved"));
    let granted = poll(&cloud, &secret).await.ok();
    assert_eq!(
        (
            &granted["kind"],
            &granted["name"],
            &granted["scopes"],
            &granted["project"]
        ),
        (
            &json!("person"),
            &json!("ada"),
            &json!(["read", "command"]),
            &Value::Null
        )
    );
    assert_eq!(
        code_of(&poll(&cloud, &secret).await),
        "expired_token",
        "it is given once"
    );
    let again = form(&cloud, "/login/machine", &ada, &body).await;
    assert_eq!(again.status, 404, "an approval is given once");

    let token = granted["token"].as_str().expect("a token").to_owned();
    let bearer = format!("Authorization: Bearer {token}");
    let who = get(&cloud, &bearer, "/v1.0/project/<project id>/whoami")
        .await
        .ok();
    assert_eq!(who["name"], "ada (ada@<b>laptop)");
    assert_eq!(who["scopes"], json!(["read", "command"]));
    let expires = who["expires"]["$date"].as_i64().expect("an expiry");
    let left = expires - iottly_cloud::clock::now();
    assert!((86_000_000..=86_400_000).contains(&left), "a day: {left}");
    let projects = get(&cloud, &bearer, "/v1.0/projects").await.ok();
    assert_eq!(projects["projects"].as_array().map(Vec::len), Some(1));
    let refused = cloud
        .request(
            "POST",
            "/v1.0/project/<project id>/device/",
            &[&bearer],
            b"{\"name\":\"x\"}",
        )
        .await;
    assert!(refused.error(403).contains("lacks the scope write"));
    for path in [
        "/v1.0/organizations",
        &format!("/v1.0/organization/{}/members", OrganizationId::DEFAULT),
    ] {
        assert!(
            get(&cloud, &bearer, path)
                .await
                .error(403)
                .contains("projects only"),
            "{path}"
        );
    }
    let page = cloud.request("GET", "/account", &[&bearer], b"").await;
    assert_ne!(page.status, 200, "the dashboard takes no machine login");

    let page = cloud.request("GET", "/account", &[&ada], b"").await;
    assert!(
        page.text.contains("ada@&lt;b&gt;laptop") && !page.text.contains(&token),
        "{}",
        page.text
    );
    let audit = format!("/members/{}/audit", OrganizationId::DEFAULT);
    let audit = cloud.request("GET", &audit, &[&ada], b"").await;
    assert!(audit.text.contains("machine_login.create"), "{}", audit.text);
    cloud.shutdown().await;
}

#[tokio::test]
async fn rejected_and_guessed_codes_give_nothing() {
    let (cloud, ada) = with_owner().await;
    let (secret, code) = ask(&cloud, "laptop").await;
    let done = form(&cloud, "/login/machine", &ada, &format!("code={code}&do=reject")).await;
    assert_eq!(done.header("location"), Some("/login/machine?done=rejected"));
    let answer = poll(&cloud, &secret).await;
    assert_eq!((answer.status, code_of(&answer).as_str()), (403, "access_denied"));
    assert_eq!(code_of(&poll(&cloud, "a guess").await), "expired_token");

    let (secret, code) = ask(&cloud, "laptop").await;
    let stranger = form(
        &cloud,
        "/login/machine",
        "Cookie: iottly-session-id=guess",
        &format!("code={code}&do=approve&scope=read"),
    )
    .await;
    assert_eq!(stranger.status, 303, "to the login");
    let crossed = cloud
        .request(
            "POST",
            "/login/machine",
            &[FORM, &ada, "Origin: http://evil.example"],
            format!("code={code}&do=approve&scope=read").as_bytes(),
        )
        .await;
    assert_eq!(crossed.status, 403, "another site approves nothing");
    for n in 0..5 {
        let guess = cloud
            .request("GET", &format!("/login/machine?code=0000-000{n}"), &[&ada], b"")
            .await;
        assert_eq!(guess.status, 404, "{}", guess.text);
    }
    let path = format!("/login/machine?code={code}");
    let right = cloud.request("GET", &path, &[&ada], b"").await;
    assert_eq!(
        right.status, 429,
        "after five guesses not even the right code is looked up"
    );
    assert_eq!(code_of(&poll(&cloud, &secret).await), "slow_down");
    // Without a login the code is kept until the person has one.
    let kept = cloud.request("GET", &path, &[], b"").await;
    assert!(
        kept.header("set-cookie")
            .is_some_and(|cookie| cookie.contains(&code))
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn an_address_asks_for_few_logins() {
    let cloud = start().await;
    let body = json!({"machine": "m"}).to_string();
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let asked = cloud.request("POST", "/v1.0/login", &[], body.as_bytes()).await;
        statuses.push(asked.status);
    }
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        8,
        "{statuses:?}"
    );
    assert!(statuses.contains(&503) && statuses.contains(&429), "{statuses:?}");
    for bad in [
        json!({}),
        json!({"machine": ""}),
        json!({"machine": "a\u{7}"}),
        json!({"machine": "x".repeat(129)}),
    ] {
        let asked = cloud
            .request("POST", "/v1.0/login", &[], bad.to_string().as_bytes())
            .await;
        assert_eq!(asked.status, 400, "{bad}");
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_machine_login_has_no_more_than_its_person_and_its_project() {
    let (cloud, ada) = with_owner().await;
    let other = tenant(&cloud.services, "other").await;
    let only = format!("project={}&scope=read&scope=write", cloud.tenant.scope.project);
    let bearer = approved(&cloud, &ada, &only).await;
    let elsewhere = format!("/v1.0/project/{}/inspect", other.scope.project);
    assert_eq!(get(&cloud, &bearer, READ).await.status, 200);
    assert!(
        get(&cloud, &bearer, &elsewhere)
            .await
            .error(403)
            .contains("another project")
    );
    let projects = get(&cloud, &bearer, "/v1.0/projects").await.ok();
    assert_eq!(projects["projects"].as_array().map(Vec::len), Some(1));
    let made = cloud
        .request("POST", "/v1.0/projects", &[&bearer], b"{\"name\":\"mine\"}")
        .await;
    assert_eq!(made.status, 403);
    let all = approved(&cloud, &ada, "scope=read").await;
    assert_eq!(get(&cloud, &all, &elsewhere).await.status, 200);

    // A viewer's machine that was given all scopes reads only.
    let path = format!("/v1.0/organization/{}/invitations", OrganizationId::DEFAULT);
    let body = json!({"role": Role::Viewer.name()}).to_string();
    let link = cloud
        .request(
            "POST",
            &path,
            &[&ada, "Content-Type: application/json"],
            body.as_bytes(),
        )
        .await
        .ok();
    let bob = join(&cloud, link["path"].as_str().expect("a path"), "bob").await;
    let bearer = approved(&cloud, &bob, "scope=read&scope=write&scope=admin").await;
    let who = get(&cloud, &bearer, "/v1.0/project/<project id>/whoami")
        .await
        .ok();
    assert_eq!(who["scopes"], json!(["read"]));
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_machine_login_ends_by_itself_by_the_account_and_with_all_logins() {
    let (cloud, ada) = with_owner().await;
    let [one, two, three] = [
        approved(&cloud, &ada, "scope=read").await,
        approved(&cloud, &ada, "scope=read").await,
        approved(&cloud, &ada, "scope=read").await,
    ];
    let ended = cloud.request("DELETE", "/v1.0/login", &[&one], b"").await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert_eq!(get(&cloud, &one, READ).await.status, 401);
    assert_eq!(get(&cloud, &two, READ).await.status, 200);
    let by_cookie = cloud.request("DELETE", "/v1.0/login", &[&ada], b"").await;
    assert_eq!(by_cookie.status, 409);

    let page = cloud.request("GET", "/account", &[&ada], b"").await;
    let (_, rest) = page.text.split_once("/account/machines/").expect("a machine");
    let id = rest.split('/').next().expect("an id");
    let revoked = form(&cloud, &format!("/account/machines/{id}/revoke"), &ada, "").await;
    assert_eq!(revoked.status, 303, "{}", revoked.text);
    assert_eq!(get(&cloud, &two, READ).await.status, 401);
    assert_eq!(get(&cloud, &three, READ).await.status, 200);
    assert_eq!(form(&cloud, "/account/logins", &ada, "").await.status, 303);
    assert_eq!(get(&cloud, &three, READ).await.status, 401, "log out everywhere");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_login_with_a_token_gives_a_token_of_its_project() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let bearer = approved(&cloud, &cookie, "scope=read&days=1").await;
    let who = get(&cloud, &bearer, "/v1.0/login").await.ok();
    assert_eq!(
        (&who["kind"], &who["name"], &who["scopes"]),
        (&json!("token"), &json!("laptop"), &json!(["read"]))
    );
    assert!(who["expires"]["$date"].is_i64(), "{who}");
    let body = json!({"name": "reader", "scopes": ["read"]}).to_string();
    let made = cloud.post("/v1.0/project/<project id>/tokens", &body).await.ok();
    let reader = cloud.login(made["token"].as_str().expect("a token")).await;
    let (secret, code) = ask(&cloud, "laptop").await;
    let body = format!("code={code}&do=approve&scope=read");
    let refused = form(&cloud, "/login/machine", &reader, &body).await;
    assert!(
        refused.status == 403 && refused.text.contains("admin"),
        "{}",
        refused.text
    );
    assert_eq!(code_of(&poll(&cloud, &secret).await), "slow_down");
    assert_eq!(
        cloud
            .request("DELETE", "/v1.0/login", &[&bearer], b"")
            .await
            .status,
        200
    );
    assert_eq!(get(&cloud, &bearer, READ).await.status, 401);
    cloud.shutdown().await;
}
