//! People: how they become members, what their roles allow, and how their permissions end.

use iottly_core::model::{Actor, OrganizationId, Role};
use iottly_store::{Author, PeopleChange};
use iottly_web::first_login_link;
use serde_json::{Value, json};

use crate::support::{Answer, TestCloud, eventually, start, tenant};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const PASSWORD: &str = "correct horse";
const DEFAULT: &str = "00000000-0000-0000-0000-000000000000";

async fn form(cloud: &TestCloud, path: &str, cookie: &str, body: &str) -> Answer {
    let headers = [FORM, cookie];
    let headers = if cookie.is_empty() {
        &headers[..1]
    } else {
        &headers[..]
    };
    cloud.request("POST", path, headers, body.as_bytes()).await
}

fn key(link: &str) -> &str {
    link.split_once("key=").expect("a key").1
}

/// Uses a link as `name`; returns the login cookie.
async fn join(cloud: &TestCloud, link: &str, name: &str) -> String {
    let body = format!(
        "key={}&name={name}&password={PASSWORD}&again={PASSWORD}",
        key(link)
    );
    let answer = form(cloud, "/join", "", &body).await;
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

async fn api(cloud: &TestCloud, cookie: &str, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    cloud
        .request(
            method,
            path,
            &[cookie, "Content-Type: application/json"],
            body.as_bytes(),
        )
        .await
}

async fn invite(cloud: &TestCloud, owner: &str, body: Value) -> String {
    let path = format!("/v1.0/organization/{DEFAULT}/invitations");
    let answer = api(cloud, owner, "POST", &path, body).await.ok();
    answer["path"].as_str().expect("a path").to_owned()
}

/// Adds a member with a role; returns the member's id and login cookie.
async fn member(cloud: &TestCloud, owner: &str, name: &str, role: Role) -> (String, String) {
    let link = invite(cloud, owner, json!({"role": role.name()})).await;
    let cookie = join(cloud, &link, name).await;
    let path = format!("/v1.0/organization/{DEFAULT}/members");
    let members = api(cloud, owner, "GET", &path, Value::Null).await.ok();
    let members = members["members"].as_array().expect("members");
    let found = members.iter().find(|member| member["name"] == name);
    let id = found.expect("the member")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    (id, cookie)
}

async fn log_in(cloud: &TestCloud, name: &str, password: &str) -> Answer {
    form(cloud, "/login", "", &format!("name={name}&password={password}")).await
}

async fn reads(cloud: &TestCloud, cookie: &str) -> u16 {
    api(
        cloud,
        cookie,
        "GET",
        "/v1.0/project/<project id>/inspect",
        Value::Null,
    )
    .await
    .status
}

#[tokio::test]
async fn the_first_link_makes_one_owner_once() {
    let cloud = start().await;
    let link = first_login_link(&cloud.services, "https://c")
        .await
        .expect("a store")
        .expect("a link");
    let path = link.strip_prefix("https://c").expect("the base");
    for _ in 0..2 {
        let shown = cloud.request("GET", path, &[], b"").await;
        assert!(
            shown.status == 200 && shown.text.contains("You become owner"),
            "looking does not use it up"
        );
    }
    for (name, password, again, problem) in [
        ("", PASSWORD, PASSWORD, "the name is empty"),
        ("a b", PASSWORD, PASSWORD, "not visible"),
        ("ada", PASSWORD, "other", "passwords differ"),
        ("ada", "short", "short", "10 to 512 bytes"),
    ] {
        let body = format!("key={}&name={name}&password={password}&again={again}", key(&link));
        let answer = form(&cloud, "/join", "", &body).await;
        assert!(
            answer.status == 400 && answer.text.contains(problem),
            "{problem}: {}",
            answer.text
        );
    }
    let owner = join(&cloud, &link, "Ada").await;
    assert_eq!(reads(&cloud, &owner).await, 200);
    let body = format!("key={}&name=eve&password={PASSWORD}&again={PASSWORD}", key(&link));
    let again = form(&cloud, "/join", "", &body).await;
    assert_eq!(again.status, 403, "used already");
    assert!(
        first_login_link(&cloud.services, "")
            .await
            .expect("a store")
            .is_none(),
        "a user exists"
    );
    for key in ["", "x", &"k".repeat(200)] {
        assert_eq!(
            cloud
                .request("GET", &format!("/join?key={key}"), &[], b"")
                .await
                .status,
            403
        );
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_name_and_its_password_log_in_and_guessing_is_slowed_down() {
    let (cloud, _) = with_owner().await;
    let entered = log_in(&cloud, "ADA", PASSWORD).await;
    assert_eq!(entered.status, 303, "{}", entered.text);
    let set = entered.header("set-cookie").expect("a cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    assert_eq!(reads(&cloud, &entered.cookie()).await, 200);
    // Unknown names, wrong passwords and names that no user can have are answered alike.
    let mut texts = Vec::new();
    for (name, password) in [("ada", "wrong horse"), ("eve", PASSWORD), ("a b", PASSWORD)] {
        let refused = log_in(&cloud, name, password).await;
        assert_eq!(refused.status, 403);
        texts.push(
            refused
                .text
                .split("\r\n\r\n")
                .last()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
    let mut refused = Vec::new();
    for _ in 0..20 {
        refused.push(log_in(&cloud, "ada", "wrong horse").await.status);
    }
    assert!(refused.contains(&429), "{refused:?}");
    assert_eq!(
        log_in(&cloud, "ada", PASSWORD).await.status,
        429,
        "also with the right password"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn each_role_may_do_what_it_names_and_no_more() {
    let (cloud, owner) = with_owner().await;
    let project = "/v1.0/project/<project id>";
    let command = json!({"cmd_type": "echo", "values": {"echo.content": "hi"}});
    let requests = [
        (
            Role::Viewer,
            "GET",
            format!("{project}/devices/props"),
            Value::Null,
        ),
        (
            Role::Operator,
            "POST",
            format!("{project}/device/<device id>/command"),
            command,
        ),
        (
            Role::Operator,
            "POST",
            format!("{project}/deploymentgroups/none/flashfw"),
            json!({}),
        ),
        (
            Role::Developer,
            "PUT",
            format!("{project}/device/<device id>/props"),
            json!({"name": "pump"}),
        ),
        (Role::Owner, "GET", format!("{project}/tokens"), Value::Null),
    ];
    for role in Role::ALL {
        let (_, cookie) = member(&cloud, &owner, role.name(), role).await;
        for (needed, method, path, body) in &requests {
            let answer = api(&cloud, &cookie, method, path, body.clone()).await;
            let denied = answer.status == 403 && answer.text.contains("lacks the scope");
            assert_eq!(
                denied,
                role < *needed,
                "{role} {method} {path}: {} {}",
                answer.status,
                answer.text
            );
        }
        let sent = form(
            &cloud,
            "/p/<project id>/devices/<device id>/command",
            &cookie,
            "cmd_type=echo&echo.content=hi",
        )
        .await;
        assert_eq!(
            sent.status,
            if role < Role::Operator { 403 } else { 303 },
            "{role}: {}",
            sent.text
        );
        let path = format!("/v1.0/organization/{DEFAULT}");
        let renamed = api(&cloud, &cookie, "PUT", &path, json!({"name": role.name()})).await;
        assert_eq!(
            renamed.status,
            if role < Role::Owner { 403 } else { 200 },
            "{role}: {}",
            renamed.text
        );
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_removed_member_is_out_at_once_with_its_streams() {
    let (cloud, owner) = with_owner().await;
    let (id, cookie) = member(&cloud, &owner, "bob", Role::Developer).await;
    let mut stream = cloud
        .listen(
            "/p/<project id>/events?devices=<device id>",
            &[&cookie, "Connection: close"],
        )
        .await;
    stream.read_until("presence").await;
    let path = format!("/v1.0/organization/{DEFAULT}/members/{id}");
    api(&cloud, &owner, "DELETE", &path, Value::Null).await.ok();
    assert_eq!(reads(&cloud, &cookie).await, 401);
    stream.read_to_end().await;
    assert_eq!(log_in(&cloud, "bob", PASSWORD).await.status, 403);
    api(&cloud, &owner, "DELETE", &path, Value::Null).await.error(404);
    let members = api(
        &cloud,
        &owner,
        "GET",
        &format!("/v1.0/organization/{DEFAULT}/members"),
        Value::Null,
    )
    .await
    .ok();
    let own = members["members"][0]["id"].as_str().expect("an id").to_owned();
    for (method, body) in [("DELETE", Value::Null), ("PUT", json!({"role": "viewer"}))] {
        let path = format!("/v1.0/organization/{DEFAULT}/members/{own}");
        let refused = api(&cloud, &owner, method, &path, body).await;
        assert!(
            refused.status == 409 && refused.text.contains("no owner"),
            "{}",
            refused.text
        );
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_changed_password_ends_the_other_logins() {
    let (cloud, owner) = with_owner().await;
    let (id, first) = member(&cloud, &owner, "bob", Role::Viewer).await;
    let second = log_in(&cloud, "bob", PASSWORD).await.cookie();
    let wrong = form(
        &cloud,
        "/account",
        &second,
        "old=wrong horse&password=another horse",
    )
    .await;
    assert!(
        wrong.status == 400 && wrong.text.contains("another one"),
        "{}",
        wrong.text
    );
    let changed = form(
        &cloud,
        "/account",
        &second,
        "old=correct horse&password=another horse",
    )
    .await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    assert_eq!(
        (reads(&cloud, &first).await, reads(&cloud, &second).await),
        (401, 401)
    );
    assert_eq!(reads(&cloud, &changed.cookie()).await, 200);
    assert_eq!(log_in(&cloud, "bob", PASSWORD).await.status, 403);

    // An owner's link lets a member who has forgotten it choose a new one; it is of no use for a new member.
    let link = invite(&cloud, &owner, json!({"user": id})).await;
    let page = cloud.request("GET", &link, &[], b"").await;
    assert!(page.text.contains("Choose a new password"), "{}", page.text);
    let body = format!("key={}&password=third horse..&again=third horse..", key(&link));
    assert_eq!(form(&cloud, "/join", "", &body).await.status, 303);
    assert_eq!(log_in(&cloud, "bob", "third horse..").await.status, 303);
    let everywhere = log_in(&cloud, "bob", "third horse..").await.cookie();
    assert_eq!(form(&cloud, "/account/logins", &everywhere, "").await.status, 303);
    assert_eq!(reads(&cloud, &everywhere).await, 401);
    cloud.shutdown().await;
}

#[tokio::test]
async fn organisations_do_not_see_each_other() {
    let (cloud, owner) = with_owner().await;
    let made = api(
        &cloud,
        &owner,
        "POST",
        "/v1.0/organizations",
        json!({"name": "other"}),
    )
    .await
    .ok();
    let other = made["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1.0/organization/{other}/invitations");
    let link = api(&cloud, &owner, "POST", &path, json!({"role": "owner"}))
        .await
        .ok();
    let eve = join(&cloud, link["path"].as_str().expect("a path"), "eve").await;
    let page = cloud.request("GET", "/", &[&eve], b"").await;
    assert!(page.text.contains("No project yet"), "{}", page.text);
    assert!(
        page.text.contains(r#"action="/projects""#),
        "owners create one here"
    );
    for (method, path, body) in [
        (
            "GET",
            "/v1.0/project/<project id>/inspect".to_owned(),
            Value::Null,
        ),
        (
            "GET",
            format!("/v1.0/organization/{DEFAULT}/members"),
            Value::Null,
        ),
        (
            "POST",
            format!("/v1.0/organization/{DEFAULT}/invitations"),
            json!({"role": "owner"}),
        ),
        ("POST", "/v1.0/organizations".to_owned(), json!({"name": "third"})),
        (
            "POST",
            "/v1.0/projects".to_owned(),
            json!({"name": "p", "organization": DEFAULT}),
        ),
        ("PUT", "/v1.0/projects/<project id>/limits".to_owned(), json!({})),
    ] {
        let answer = api(&cloud, &eve, method, &path, body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
    }
    for path in [
        "/p/<project id>/devices/<device id>".to_owned(),
        format!("/members/{DEFAULT}"),
    ] {
        let answer = cloud.request("GET", &path, &[&eve], b"").await;
        assert!(
            !answer.text.contains("My awesome project") && answer.status != 200,
            "{path}: {}",
            answer.status
        );
    }
    // What eve creates is eve's, and the other organisation's owner of another name sees it only as a member.
    let own = api(&cloud, &eve, "POST", "/v1.0/projects", json!({"name": "mine"}))
        .await
        .ok();
    let id = own["id"].as_str().expect("an id");
    let inspect = format!("/v1.0/project/{id}/inspect");
    assert_eq!(api(&cloud, &eve, "GET", &inspect, Value::Null).await.status, 200);
    assert_eq!(
        api(&cloud, &owner, "GET", &inspect, Value::Null).await.status,
        200,
        "ada created it: a member"
    );
    let (_, bob) = member(&cloud, &owner, "bob", Role::Owner).await;
    assert_eq!(api(&cloud, &bob, "GET", &inspect, Value::Null).await.status, 403);
    // A foreign tenant's token has no power over people.
    let stranger = tenant(&cloud.services, "stranger").await;
    let bearer = format!("Authorization: Bearer {}", stranger.token);
    for path in [
        "/v1.0/organizations".to_owned(),
        format!("/v1.0/organization/{DEFAULT}/members"),
    ] {
        assert_eq!(
            cloud.request("GET", &path, &[&bearer], b"").await.status,
            403,
            "{path}"
        );
    }
    assert_eq!(OrganizationId::DEFAULT.to_string(), DEFAULT);
    cloud.shutdown().await;
}

#[tokio::test]
async fn an_owner_cannot_take_over_a_user_of_another_organisation() {
    let (cloud, ada) = with_owner().await;
    let made = api(
        &cloud,
        &ada,
        "POST",
        "/v1.0/organizations",
        json!({"name": "other"}),
    )
    .await
    .ok();
    let other = format!("/v1.0/organization/{}", made["id"].as_str().expect("an id"));
    let (members, invitations) = (format!("{other}/members"), format!("{other}/invitations"));
    let link = api(&cloud, &ada, "POST", &invitations, json!({"role": "owner"}))
        .await
        .ok();
    let bob = join(&cloud, link["path"].as_str().expect("a path"), "bob").await;
    let listed = api(&cloud, &bob, "GET", &members, Value::Null).await.ok();
    let listed = listed["members"].as_array().expect("members").clone();
    let id = |name: &str| {
        let found = listed.iter().find(|member| member["name"] == name);
        found.expect("a member")["id"].as_str().expect("an id").to_owned()
    };
    let refused = api(&cloud, &bob, "POST", &invitations, json!({"user": id("ada")})).await;
    assert!(
        refused.status == 409 && refused.text.contains("another organization"),
        "{}",
        refused.text
    );
    // A link from before the user joined the other organisation is refused when it is used.
    let (carol, _) = member(&cloud, &ada, "carol", Role::Viewer).await;
    let early = invite(&cloud, &ada, json!({"user": carol})).await;
    let by = Author {
        actor: Actor::Cloud,
        name: "test".to_owned(),
        address: None,
    };
    let another = PeopleChange::CreateOrganization {
        name: "third".to_owned(),
        owner: Some(carol.parse().expect("an id")),
    };
    cloud
        .services
        .store
        .change_people(OrganizationId::random(), &by, another, 1)
        .await
        .expect("created");
    let body = format!("key={}&password=third horse..&again=third horse..", key(&early));
    assert_eq!(form(&cloud, "/join", "", &body).await.status, 409);
    assert_eq!(
        log_in(&cloud, "carol", PASSWORD).await.status,
        303,
        "the password is the same"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn links_end_with_the_owners_who_made_them() {
    let (cloud, ada) = with_owner().await;
    let member_path = |id: &str| format!("/v1.0/organization/{DEFAULT}/members/{id}");
    for (name, method, body) in [
        ("removed", "DELETE", Value::Null),
        ("demoted", "PUT", json!({"role": "viewer"})),
    ] {
        let (id, mallory) = member(&cloud, &ada, name, Role::Owner).await;
        let link = invite(&cloud, &mallory, json!({"role": "owner"})).await;
        api(&cloud, &ada, method, &member_path(&id), body).await.ok();
        let page = cloud.request("GET", &link, &[], b"").await;
        assert_eq!(page.status, 403, "{name}");
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn changes_of_people_are_in_the_audit_log_without_secrets() {
    let (cloud, owner) = with_owner().await;
    let (id, _) = member(&cloud, &owner, "bob", Role::Viewer).await;
    let path = format!("/v1.0/organization/{DEFAULT}/members/{id}");
    api(&cloud, &owner, "PUT", &path, json!({"role": "operator"}))
        .await
        .ok();
    let command = json!({"cmd_type": "echo", "values": {"echo.content": "hi"}});
    let renamed = api(
        &cloud,
        &owner,
        "PUT",
        "/v1.0/project/<project id>/device/<device id>/props",
        json!({"name": "x"}),
    );
    renamed.await.ok();
    api(
        &cloud,
        &owner,
        "POST",
        "/v1.0/project/<project id>/device/<device id>/command",
        command,
    )
    .await
    .ok();
    let log = api(
        &cloud,
        &owner,
        "GET",
        &format!("/v1.0/organization/{DEFAULT}/auditlog"),
        Value::Null,
    )
    .await
    .ok();
    let entries = log["entries"].as_array().expect("entries");
    let of = |action: &str| {
        entries
            .iter()
            .find(|entry| entry["action"] == action)
            .expect("an entry")
            .clone()
    };
    assert_eq!(of("member.role")["detail"], "viewer to operator");
    assert_eq!(of("member.role")["actor"], "ada");
    assert!(of("member.join")["target"] == "bob" || of("member.join")["target"] == "ada");
    assert!(!log.to_string().contains("argon2"), "{log}");
    let project = api(
        &cloud,
        &owner,
        "GET",
        "/v1.0/project/<project id>/auditlog",
        Value::Null,
    )
    .await
    .ok();
    assert_eq!(project["entries"][0]["actor"], "ada", "{project}");
    eventually("the member's role", async || {
        api(
            &cloud,
            &owner,
            "GET",
            &format!("/v1.0/organization/{DEFAULT}/members"),
            Value::Null,
        )
        .await
        .text
        .contains("operator")
    })
    .await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_person_without_a_project_creates_one() {
    let (cloud, owner) = with_owner().await;
    let other = json!({"name": "other"});
    let made = api(&cloud, &owner, "POST", "/v1.0/organizations", other)
        .await
        .ok();
    let id = made["id"].as_str().expect("an id").to_owned();
    let invitations = format!("/v1.0/organization/{id}/invitations");
    let invite = async |role: &str| {
        let link = api(&cloud, &owner, "POST", &invitations, json!({"role": role}))
            .await
            .ok();
        link["path"].as_str().expect("a path").to_owned()
    };
    let eve = join(&cloud, &invite("owner").await, "eve").await;
    let vic = join(&cloud, &invite("viewer").await, "vic").await;
    let page = cloud.request("GET", "/", &[&vic], b"").await;
    assert!(
        page.text.contains("No project yet") && !page.text.contains(r#"action="/projects""#),
        "a viewer creates none: {}",
        page.text
    );
    assert_eq!(
        form(&cloud, "/projects", &vic, "name=greenhouse").await.status,
        403
    );
    assert_eq!(form(&cloud, "/projects", &eve, "name=").await.status, 400);
    let made = form(&cloud, "/projects", &eve, "name=greenhouse").await;
    assert_eq!(made.status, 303, "{}", made.text);
    let at = made.header("location").expect("a place").to_owned();
    let page = cloud.request("GET", &at, &[&eve], b"").await;
    assert!(
        page.status == 200 && page.text.contains("greenhouse"),
        "{}",
        page.text
    );
    cloud.shutdown().await;
}
