//! Pages, forms and event streams, asked for by people and tokens that they are not for.

use std::collections::BTreeMap;

use iottly_core::model::{OrganizationId, Role, SecretHash};
use iottly_web::first_login_link;
use serde_json::json;

use crate::matrix::{SECRET, filled, furnish, state};
use crate::support::{Answer, TestCloud, start, tenant};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
/// Pages, forms and streams that name an object of a tenant, with the fields of the form.
pub(crate) const PAGES: &[(&str, &str, &str)] = &[
    (
        "POST",
        "/account/machines/00000000-0000-4000-8000-000000000000/revoke",
        "",
    ),
    ("GET", "/p/{project}/", ""),
    ("GET", "/p/{project}/devices", ""),
    ("GET", "/p/{project}/audit", ""),
    ("GET", "/p/{project}/audit.jsonl", ""),
    (
        "POST",
        "/p/{project}/devices/move",
        "group={group}&device={device}&sure=yes",
    ),
    (
        "POST",
        "/p/<project id>/devices/move",
        "group={group}&device={device}&sure=yes",
    ),
    (
        "POST",
        "/p/{project}/devices/bulk/tag",
        "device={device}&add=x&sure=yes",
    ),
    (
        "POST",
        "/p/<project id>/devices/bulk/delete",
        "device={device}&confirm=1&sure=yes",
    ),
    ("GET", "/p/{project}/jobs", ""),
    ("GET", "/p/<project id>/jobs/{job}", ""),
    ("POST", "/p/<project id>/jobs/{job}/cancel", ""),
    ("GET", "/p/<project id>/jobs/{job}/file", ""),
    ("GET", "/p/{project}/devices/add", ""),
    ("POST", "/p/{project}/devices/add", "name=intruder"),
    (
        "POST",
        "/p/<project id>/devices/add",
        "name=intruder&group={group}",
    ),
    ("GET", "/p/{project}/devices/waiting", ""),
    ("GET", "/p/{project}/definitions", ""),
    ("POST", "/p/{project}/definitions", "type=intruder&key0=a"),
    ("GET", "/p/{project}/definitions/new", ""),
    (
        "POST",
        "/p/{project}/definitions/new",
        "type=intruder&sample=%7B%22a%22%3A1%7D",
    ),
    ("GET", "/p/{project}/definitions/sesame_type", ""),
    ("POST", "/p/{project}/definitions/sesame_type", "do=delete"),
    ("GET", "/p/{project}/stream", ""),
    ("GET", "/p/{project}/logs", ""),
    ("GET", "/p/{project}/plots", ""),
    ("GET", "/p/{project}/plots/data?path=temperature", ""),
    ("GET", "/p/{project}/plots/csv?path=temperature", ""),
    ("GET", "/p/<project id>/devices/{device}/plots", ""),
    (
        "GET",
        "/p/<project id>/plots/data?path=temperature&device={device}",
        "",
    ),
    ("GET", "/p/{project}/crashes", ""),
    ("GET", "/p/{project}/alerts", ""),
    (
        "POST",
        "/p/{project}/alerts/rules",
        "name=intruder&condition=offline&after=5",
    ),
    ("POST", "/p/{project}/alerts/mails", "to=intruder%40example.org"),
    ("POST", "/p/<project id>/alerts/{alert}/mute", "for=1h"),
    ("POST", "/p/<project id>/alerts/rules/{rule}/mute", "for=1h"),
    ("GET", "/p/{project}/webhooks", ""),
    ("POST", "/p/{project}/webhooks", "url=https://example.com/"),
    ("GET", "/p/{project}/webhooks/{webhook}", ""),
    ("GET", "/p/<project id>/webhooks/{webhook}", ""),
    ("POST", "/p/<project id>/webhooks/{webhook}", "do=delete&sure=yes"),
    (
        "POST",
        "/p/<project id>/webhooks/{webhook}",
        "do=close_portal&portal={portal}",
    ),
    ("GET", "/p/{project}/csv/groups", ""),
    ("GET", "/p/{project}/csv/audit", ""),
    ("GET", "/p/<project id>/csv/failures?job={job}", ""),
    ("GET", "/p/<project id>/csv/rollouts?group={group}", ""),
    ("GET", "/p/<project id>/csv/running?group={group}", ""),
    ("GET", "/p/<project id>/csv/attempts?webhook={webhook}", ""),
    ("GET", "/p/<project id>/csv/commands?device={device}", ""),
    ("GET", "/p/<project id>/csv/log?device={device}", ""),
    ("GET", "/p/<project id>/csv/messages?device={device}", ""),
    ("GET", "/p/<project id>/csv/rollout?rollout={rollout}", ""),
    ("GET", "/p/{project}/keys", ""),
    ("POST", "/p/{project}/plots", "name=intruder&path=a&since=24h"),
    ("POST", "/p/<project id>/plots/{plot}/delete", ""),
    ("GET", "/p/<project id>/devices/{device}/timeline", ""),
    ("GET", "/p/<project id>/devices/{device}/timeline?format=csv", ""),
    ("GET", "/p/{project}/tokens", ""),
    ("POST", "/p/{project}/tokens", "name=intruder&scope=read"),
    ("POST", "/p/<project id>/tokens/{token}/revoke", "sure=yes"),
    (
        "POST",
        "/p/<project id>/devices/{device}/settings",
        "do=remove&sure=yes",
    ),
    ("GET", "/p/{project}/events", ""),
    ("GET", "/p/{project}/devices/{device}", ""),
    ("GET", "/p/<project id>/devices/{device}", ""),
    ("GET", "/p/<project id>/devices/{device}/commands", ""),
    (
        "POST",
        "/p/<project id>/devices/{device}/commands/00000000-0000-4000-8000-000000000000/cancel",
        "",
    ),
    ("GET", "/p/{project}/devices/{device}/arrival", ""),
    ("GET", "/p/<project id>/devices/{device}/arrival", ""),
    ("POST", "/p/<project id>/devices/{device}/arrival", ""),
    ("GET", "/p/{project}/enroll?code=7K3M-9PQX", ""),
    ("POST", "/p/{project}/enroll", "code=7K3M-9PQX&do=approve"),
    ("GET", "/p/<project id>/devices/{device}/board", ""),
    (
        "POST",
        "/p/<project id>/devices/{device}/board/inputs",
        "button=button",
    ),
    ("GET", "/p/<project id>/devices/{device}/logs", ""),
    ("GET", "/p/<project id>/devices/{device}/history", ""),
    ("GET", "/p/<project id>/devices/{device}/settings", ""),
    (
        "POST",
        "/p/<project id>/devices/{device}/command",
        "cmd_type=sesame_type",
    ),
    ("POST", "/p/<project id>/devices/{device}/keep", "copy=1"),
    ("GET", "/p/{project}/code", ""),
    ("GET", "/p/{project}/code/{branch}/loop", ""),
    ("POST", "/p/{project}/code/{branch}/loop", "text=x"),
    ("POST", "/p/{project}/code/{branch}/loop/run", "text=x"),
    ("GET", "/p/{project}/pushed/{branch}/1", ""),
    ("POST", "/p/{project}/pushed/{branch}/1", "file=main.js&text=x"),
    ("GET", "/p/{project}/code/{branch}/firmware.toml/delete", ""),
    (
        "POST",
        "/p/{project}/code/{branch}/firmware.toml/delete",
        "sure=yes",
    ),
    ("GET", "/p/{project}/groups", ""),
    ("GET", "/p/{project}/groups/{group}", ""),
    ("GET", "/p/{project}/groups/{group}/flash", ""),
    ("POST", "/p/{project}/groups/{group}/flashfw", "sure=yes"),
    ("POST", "/p/{project}/groups/{group}/delete", "sure=yes"),
    ("GET", "/p/{project}/groups/{group}/pause", ""),
    ("POST", "/p/{project}/groups/{group}/pause", "sure=yes"),
    ("GET", "/p/{project}/groups/{group}/resume", ""),
    ("GET", "/p/{project}/groups/{group}/rollback", ""),
    (
        "GET",
        "/p/{project}/groups/{group}/rollouts/{rollout}/devices?place=waiting",
        "",
    ),
    ("GET", "/p/{project}/releases", ""),
    ("GET", "/p/{project}/releases/keys", ""),
    (
        "POST",
        "/p/{project}/releases/keys/rotate",
        "role=targets&sure=yes",
    ),
    ("POST", "/p/{project}/releases/keys/revoke", "key=sesame&sure=yes"),
    ("POST", "/p/{project}/releases/keys/propose", "role=targets"),
    ("POST", "/p/{project}/releases/keys/publish", "document={}"),
    ("GET", "/p/<project id>/events?device={device}", ""),
    ("POST", "/project", "project={project}"),
    ("GET", "/members/{organization}", ""),
    ("GET", "/members/{organization}/audit", ""),
    ("GET", "/members/{organization}/csv", ""),
    ("GET", "/members/{organization}/audit/csv", ""),
    ("POST", "/members/{organization}/invite", "role=owner"),
    (
        "POST",
        "/members/{organization}/change",
        "user={user}&role=viewer&do=role",
    ),
];
/// Pages and streams that show what belongs to the login.
const OWN: [&str; 5] = [
    "/p/<project id>/",
    "/p/<project id>/devices",
    "/account",
    "/p/<project id>/audit",
    "/p/<project id>/events?devices=<device id>",
];

pub(crate) fn with_ids(text: &str, ids: &BTreeMap<&str, String>) -> String {
    let mut text = text.to_owned();
    for (name, id) in ids {
        text = text.replace(&format!("{{{name}}}"), id);
    }
    text
}

async fn form(cloud: &TestCloud, path: &str, headers: &[&str], body: &str) -> Answer {
    cloud
        .request("POST", path, &[&[FORM], headers].concat(), body.as_bytes())
        .await
}

/// Makes the first person, who owns the default organisation; returns the login cookie.
async fn owner(cloud: &TestCloud) -> String {
    let link = first_login_link(&cloud.services, "")
        .await
        .expect("a store")
        .expect("a link");
    let (path, key) = link.split_once("?key=").expect("a key");
    let body = format!("key={key}&name=ada&password=correct horse&again=correct horse");
    let joined = form(cloud, path, &[], &body).await;
    assert_eq!(joined.status, 303, "{}", joined.text);
    joined.cookie()
}

/// Moves a project to another organisation than the default one.
async fn other_organization(cloud: &TestCloud, ids: &BTreeMap<&str, String>) {
    let id: OrganizationId = ids["organization"].parse().expect("an id");
    let members = cloud.services.store.members(id).await.expect("reads");
    assert_eq!(members[0].role, Role::Owner);
}

#[tokio::test]
async fn no_page_form_or_stream_reaches_another_tenant() {
    let cloud = start().await;
    let person = owner(&cloud).await;
    let other = tenant(&cloud.services, SECRET).await;
    let theirs = furnish(&cloud, &other).await;
    other_organization(&cloud, &theirs).await;
    let login = cloud.login(&cloud.tenant.token).await;
    let before = state(&cloud, other.scope).await;
    for (who, cookie) in [("a login with a token", &login), ("a person", &person)] {
        for (method, path, body) in PAGES {
            // A person of the default organisation owns the other project as well; only its organisation is foreign.
            if who == "a person" && !path.contains("organization") {
                continue;
            }
            let path = with_ids(path, &theirs);
            let body = with_ids(body, &theirs);
            let answer = cloud
                .request(method, &path, &[cookie, FORM], body.as_bytes())
                .await;
            let what = format!("{who}: {method} {path}: {} {}", answer.status, answer.text);
            assert!(matches!(answer.status, 403 | 404), "{what}");
            assert!(!answer.text.contains(SECRET), "{what}");
        }
    }
    for path in OWN {
        let headers = [login.as_str(), "Connection: close"];
        let text = if path.contains("/events") {
            let mut stream = cloud.listen(path, &headers).await;
            stream.read_until("presence").await.to_owned()
        } else {
            cloud.request("GET", path, &headers, b"").await.text
        };
        assert!(
            !text.contains(SECRET) && !text.contains(&other.scope.device.to_string()),
            "{path}: {text}"
        );
    }
    assert_eq!(state(&cloud, other.scope).await, before);
    let id: OrganizationId = theirs["organization"].parse().expect("an id");
    let invited = cloud
        .services
        .store
        .invitation(SecretHash::of(b"x"), 1)
        .await
        .expect("reads");
    assert_eq!(invited, None);
    assert_eq!(cloud.services.store.members(id).await.expect("reads").len(), 1);
    cloud.shutdown().await;
}

#[tokio::test]
async fn without_a_login_no_page_shows_anything() {
    let cloud = start().await;
    let ids = furnish(&cloud, &cloud.tenant).await;
    for (method, path, body) in PAGES {
        let path = with_ids(path, &ids);
        let answer = cloud
            .request(method, &path, &[FORM], with_ids(body, &ids).as_bytes())
            .await;
        assert!(
            matches!(answer.status, 303 | 401),
            "{method} {path}: {}",
            answer.status
        );
        assert!(!answer.text.contains(SECRET), "{path}: {}", answer.text);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn changes_are_shown_to_owners_only() {
    let cloud = start().await;
    let person = owner(&cloud).await;
    let rename = json!({"name": "renamed board"}).to_string();
    let path = "/v1.0/project/<project id>/device/<device id>/props";
    let done = cloud
        .request(
            "PUT",
            path,
            &[&person, "Content-Type: application/json"],
            rename.as_bytes(),
        )
        .await;
    assert_eq!(done.status, 200, "{}", done.text);
    let page = cloud
        .request("GET", "/p/<project id>/audit", &[&person], b"")
        .await;
    for text in ["device.rename", "renamed board", "ada", "127.0.0.1"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let path = format!("/members/{}/audit", OrganizationId::DEFAULT);
    let page = cloud.request("GET", &path, &[&person], b"").await;
    assert!(
        page.text.contains("member.join") && page.text.contains("127.0.0.1"),
        "{}",
        page.text
    );
    let members = format!("/members/{}", OrganizationId::DEFAULT);
    for (page, file, rows) in [
        (members.clone(), format!("{members}/csv"), "id,name,role\r\n"),
        (
            path.clone(),
            format!("{path}/csv"),
            "time,actor,address,action,target,detail\r\n",
        ),
    ] {
        let shown = cloud.request("GET", &page, &[&person], b"").await;
        assert!(
            shown.text.contains(&format!("href=\"{file}\"")),
            "{page}: {}",
            shown.text
        );
        let kept = cloud.request("GET", &file, &[&person], b"").await;
        let text = match kept.header("transfer-encoding") {
            Some(_) => kept.unchunked(),
            None => kept.text.clone(),
        };
        assert!(text.starts_with(rows) && text.contains("ada"), "{file}: {text}");
    }
    let body = json!({"name": "reader", "scopes": ["read"]}).to_string();
    let made = cloud.post("/v1.0/project/<project id>/tokens", &body).await.ok();
    let reader = cloud.login(made["token"].as_str().expect("a token")).await;
    assert_eq!(
        cloud
            .request("GET", "/p/<project id>/audit", &[&reader], b"")
            .await
            .status,
        403
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_event_stream_of_a_lease_ends_with_its_token() {
    let cloud = start().await;
    let body = json!({"name": "reader", "scopes": ["read"]}).to_string();
    let made = cloud.post("/v1.0/project/<project id>/tokens", &body).await.ok();
    let reader = format!(
        "Authorization: Bearer {}",
        made["token"].as_str().expect("a token")
    );
    let ids = furnish(&cloud, &cloud.tenant).await;
    let path = filled("/v1.0/project/{project}/leases/{lease}/events", &ids);
    let mut stream = cloud.listen(&path, &[&reader, "Connection: close"]).await;
    let revoke = format!(
        "/v1.0/project/<project id>/tokens/{}",
        made["id"].as_str().expect("an id")
    );
    let revoked = cloud.request("DELETE", &revoke, &[&cloud.bearer()], b"").await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    // The stream looks at its token every 15 seconds.
    stream.read_to_end().await;
    cloud.shutdown().await;
}
