//! Portals: links that show the deliveries of one webhook to people without a login.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{cloud, hook, logged, say};
use crate::support::{Answer, TestCloud};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const HOOKS: &str = "/v1.0/project/<project id>/webhooks";

struct Link {
    portal: String,
    path: String,
    key: String,
}

async fn open(cloud: &TestCloud, hook: &str) -> Link {
    let made = cloud.post(&format!("{HOOKS}/{hook}/portals"), "").await.ok();
    let path = made["path"].as_str().expect("a path").to_owned();
    Link {
        portal: made["portal"]["id"].as_str().expect("an id").to_owned(),
        key: path.split_once("key=").expect("a key").1.to_owned(),
        path,
    }
}

async fn enter(cloud: &TestCloud, key: &str) -> Answer {
    cloud
        .request("POST", "/portal/open", &[FORM], format!("key={key}").as_bytes())
        .await
}

async fn get(cloud: &TestCloud, path: &str, cookie: &str) -> Answer {
    cloud.request("GET", path, &[cookie], b"").await
}

#[tokio::test]
async fn a_link_shows_deliveries_and_sends_them_again() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let settings = json!({"headers": {"X-Key": "s3cret-header", "Content-Type": "application/json"}, "description": "inner name"});
    let url = format!("{}?token=s3cret-query", receiver.url());
    let (id, secret) = hook(&cloud, settings, &url).await;
    say(&cloud, 0..2).await;
    logged(&cloud, &id, 2).await;
    let link = open(&cloud, &id).await;

    let first = cloud.request("GET", &link.path, &[], b"").await;
    assert_eq!(first.status, 200);
    assert_eq!(
        first.header("referrer-policy"),
        Some("strict-origin"),
        "the secret is in no Referer"
    );
    assert!(first.header("set-cookie").is_none(), "looking uses nothing up");
    let entered = enter(&cloud, &link.key).await;
    assert_eq!(entered.status, 303, "{}", entered.text);
    let own = format!("/portal/{}", link.portal);
    assert_eq!(
        entered.header("location"),
        Some(own.as_str()),
        "without the secret"
    );
    let set = entered.header("set-cookie").expect("a cookie").to_owned();
    for part in [&format!("Path={own};"), "HttpOnly", "SameSite=Strict"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains(&link.key), "the cookie is not the link");
    let cookie = entered.cookie();

    let page = get(&cloud, &own, &cookie).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.matches("http_200").count() == 2, "{}", page.text);
    let message = receiver.requests()[1].id().to_owned();
    let one = get(&cloud, &format!("{own}/messages/{message}"), &cookie).await;
    assert_eq!(one.status, 200, "{}", one.text);
    let body = receiver.requests()[1].body.replace('"', "&quot;");
    assert!(one.text.contains(&body), "the body as it was sent: {}", one.text);
    for text in [&page.text, &one.text] {
        for hidden in [
            "s3cret-header",
            "s3cret-query",
            &secret,
            "inner name",
            "My awesome project",
        ] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
    let again = cloud
        .request(
            "POST",
            &format!("{own}/replay"),
            &[&cookie, FORM],
            format!("message={message}").as_bytes(),
        )
        .await;
    assert_eq!(again.status, 303, "{}", again.text);
    assert_eq!(receiver.wait_for(3).await[2].id(), message);
    let audit = cloud.get("/v1.0/project/<project id>/auditlog").await.ok();
    let entries: Vec<_> = audit["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| entry["action"].as_str().unwrap_or_default())
        .collect();
    assert!(
        entries.contains(&"webhook.open_portal") && entries.contains(&"webhook.replay"),
        "{entries:?}"
    );
    assert!(
        audit.to_string().contains(&format!("portal {}", link.portal)),
        "{audit}"
    );
    let list = cloud.get(&format!("{HOOKS}/{id}/portals")).await.ok();
    assert_eq!(list["portals"][0]["author"], "test");
    assert!(list["portals"][0]["used"]["$date"].is_i64(), "{list}");
    assert!(!list.to_string().contains(&link.key), "shown once");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_link_reaches_nothing_else() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, _) = hook(&cloud, json!({"type": "iottly"}), &receiver.url()).await;
    let (other, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..1).await;
    let message = logged(&cloud, &other, 1).await[0]["message"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (link, beside) = (open(&cloud, &id).await, open(&cloud, &other).await);
    let cookie = enter(&cloud, &link.key).await.cookie();
    assert_eq!(
        get(&cloud, &format!("/portal/{}", link.portal), &cookie)
            .await
            .status,
        200
    );

    // The cookie under the name of a login, the secret as a token: neither is one.
    let secret = cookie.split_once('=').expect("a value").1.to_owned();
    let disguises = [
        cookie.clone(),
        format!("Cookie: iottly={secret}"),
        format!("Authorization: Bearer {}", link.key),
        format!("Authorization: Bearer {secret}"),
    ];
    let description = cloud.request("GET", "/openapi.json", &[], b"").await.ok();
    let paths: Vec<String> = description["paths"]
        .as_object()
        .expect("paths")
        .keys()
        .cloned()
        .collect();
    let ids = crate::matrix::furnish(&cloud, &cloud.tenant).await;
    let mut asked = 0;
    for path in paths.iter().filter(|path| path.contains("/project/{project}")) {
        let path = crate::matrix::filled(path, &ids);
        for disguise in &disguises {
            let answer = get(&cloud, &path, disguise).await;
            assert!(
                matches!(answer.status, 401 | 405),
                "{path} with {disguise}: {}",
                answer.status
            );
            asked += 1;
        }
    }
    assert!(asked > 200, "{asked}");
    for page in [
        "/p/<project id>/",
        "/p/<project id>/devices",
        "/p/<project id>/webhooks",
        "/account",
    ] {
        let answer = get(&cloud, &cloud.path(page), &cookie).await;
        assert!(
            matches!(answer.status, 303 | 401 | 403),
            "{page}: {}",
            answer.status
        );
    }
    // Nor another webhook's portal, nor its messages.
    let own = format!("/portal/{}", link.portal);
    assert_eq!(
        get(&cloud, &format!("/portal/{}", beside.portal), &cookie)
            .await
            .status,
        403
    );
    assert_eq!(
        get(&cloud, &format!("{own}/messages/{message}"), &cookie)
            .await
            .status,
        404
    );
    let replay = format!("message={message}");
    let answer = cloud
        .request(
            "POST",
            &format!("{own}/replay"),
            &[&cookie, FORM],
            replay.as_bytes(),
        )
        .await;
    assert_eq!(answer.status, 404, "{}", answer.text);
    let foreign = ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"];
    let answer = cloud
        .request(
            "POST",
            &format!("{own}/replay"),
            &[&cookie, FORM, foreign[0], foreign[1]],
            replay.as_bytes(),
        )
        .await;
    assert_eq!(answer.status, 403);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_link_ends_when_it_is_closed_or_its_webhook_is_gone_or_its_day_is_over() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    let (closed, orphan) = (open(&cloud, &id).await, open(&cloud, &id).await);
    let mut cookies = Vec::new();
    for link in [&closed, &orphan] {
        let cookie = enter(&cloud, &link.key).await.cookie();
        assert_eq!(
            get(&cloud, &format!("/portal/{}", link.portal), &cookie)
                .await
                .status,
            200
        );
        cookies.push(cookie);
    }
    let path = cloud.path(&format!("{HOOKS}/{id}/portals/{}", closed.portal));
    cloud.request("DELETE", &path, &[&cloud.bearer()], b"").await.ok();
    assert_eq!(
        get(&cloud, &format!("/portal/{}", closed.portal), &cookies[0])
            .await
            .status,
        403,
        "at once"
    );
    assert_eq!(enter(&cloud, &closed.key).await.status, 403);
    cloud
        .request("DELETE", &path, &[&cloud.bearer()], b"")
        .await
        .error(404);
    assert_eq!(
        get(&cloud, &format!("/portal/{}", orphan.portal), &cookies[1])
            .await
            .status,
        200
    );

    // A portal whose day is over: made as the API makes it, a day ago.
    use iottly_core::model::{
        Change, NewPortal, PORTAL_MS, Portal, PortalId, Principal, SecretHash, WebhookKey,
    };
    let (project, now) = (cloud.tenant.scope.project, iottly_cloud::clock::now());
    let old = NewPortal {
        portal: Portal {
            id: PortalId::random(),
            key: WebhookKey {
                project,
                hook: id.parse().expect("an id"),
            },
            author: "test".to_owned(),
            created: now - PORTAL_MS,
            expires: now,
            used: None,
        },
        link: SecretHash::of(b"old link"),
        cookie: SecretHash::of(b"old-cookie"),
    };
    let portal = old.portal.id;
    let by = Principal::system(project, "test");
    let change = Change::OpenPortal(Box::new(old));
    cloud
        .services
        .store
        .change(project, &by, change, now - PORTAL_MS)
        .await
        .expect("opened");
    assert_eq!(enter(&cloud, "old+link").await.status, 403);
    assert_eq!(
        get(
            &cloud,
            &format!("/portal/{portal}"),
            "Cookie: iottly-portal=old-cookie"
        )
        .await
        .status,
        403
    );
    let list = cloud.get(&format!("{HOOKS}/{id}/portals")).await.ok();
    assert_eq!(list["portals"].as_array().map(Vec::len), Some(1), "{list}");

    let path = cloud.path(&format!("{HOOKS}/{id}"));
    cloud.request("DELETE", &path, &[&cloud.bearer()], b"").await.ok();
    assert_eq!(
        get(&cloud, &format!("/portal/{}", orphan.portal), &cookies[1])
            .await
            .status,
        403
    );
    assert_eq!(enter(&cloud, &orphan.key).await.status, 403);
    cloud.shutdown().await;
}

#[tokio::test]
async fn links_are_bounded_and_guesses_and_replays_are_limited() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..1).await;
    let message = logged(&cloud, &id, 1).await[0]["message"]
        .as_str()
        .expect("an id")
        .to_owned();
    let link = open(&cloud, &id).await;
    for _ in 1..10 {
        open(&cloud, &id).await;
    }
    assert_eq!(cloud.post(&format!("{HOOKS}/{id}/portals"), "").await.status, 409);
    let (own, cookie) = (
        format!("/portal/{}", link.portal),
        enter(&cloud, &link.key).await.cookie(),
    );
    let mut sent = Vec::new();
    for _ in 0..12 {
        let body = format!("message={message}");
        let answer = cloud
            .request(
                "POST",
                &format!("{own}/replay"),
                &[&cookie, FORM],
                body.as_bytes(),
            )
            .await;
        sent.push(answer.status);
    }
    assert_eq!(
        sent.iter().filter(|status| **status == 303).count(),
        10,
        "{sent:?}"
    );
    assert_eq!(sent.last(), Some(&429));
    let mut guesses = Vec::new();
    for n in 0..25 {
        guesses.push(enter(&cloud, &format!("guess{n}")).await.status);
    }
    assert_eq!(guesses.first(), Some(&403));
    assert_eq!(guesses.last(), Some(&429), "{guesses:?}");
    assert_eq!(
        enter(&cloud, &link.key).await.status,
        429,
        "the right one as well, for a while"
    );
    assert_eq!(
        get(&cloud, &own, &cookie).await.status,
        200,
        "those who are in are not concerned"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_page_of_a_webhook_opens_and_closes_links() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let own = cloud.path(&format!("/p/<project id>/webhooks/{id}"));
    let page = get(&cloud, &own, &cookie).await.text;
    assert!(
        page.contains("No link is open") && page.contains("Make a link"),
        "{page}"
    );
    let made = cloud.request("POST", &own, &[&cookie, FORM], b"do=portal").await;
    assert!(
        made.text.contains("/portal/open?key=") && made.text.contains("http://"),
        "{}",
        made.text
    );
    let list: Value = cloud.get(&format!("{HOOKS}/{id}/portals")).await.ok();
    let portal = list["portals"][0]["id"].as_str().expect("an id");
    let body = format!("do=close_portal&portal={portal}");
    let closed = cloud
        .request("POST", &own, &[&cookie, FORM], body.as_bytes())
        .await;
    assert_eq!(closed.status, 303, "{}", closed.text);
    let target = closed.header("location").expect("a target").to_owned();
    let closed = get(&cloud, &target, &cookie).await;
    assert!(
        closed.text.contains("The link is closed") && closed.text.contains("No link is open"),
        "{}",
        closed.text
    );
    cloud.shutdown().await;
}
