//! Logins of the dashboard: their start, their rights, and their end.

use crate::support;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use iottly_cloud::clock;
use iottly_core::model::{Scope, Scopes, Token};
use iottly_core::rate::RateLimit;
use iottly_web::auth;
use iottly_web::auth::mint_token;

use iottly_web::STREAMS_PER_SESSION;
use iottly_web::login_link;
use support::{Answer, TestCloud, start, start_config, start_with, tenant};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const PROJECT: &str = "/v1.0/project/<project id>";

/// Creates a token with all scopes of a project that expires in `millis` from now; returns its text.
async fn short_lived(cloud: &TestCloud, millis: i64) -> String {
    let expires = Some(clock::now() + millis);
    let minted = mint_token(
        cloud.tenant.scope.project,
        "short",
        Scopes::PROJECT,
        expires,
        clock::now(),
    )
    .expect("randomness");
    cloud
        .services
        .store
        .create_token(minted.hash, &minted.token)
        .await
        .expect("created");
    minted.text.expose().to_owned()
}

async fn log_in(cloud: &TestCloud, headers: &[&str], body: &str) -> Answer {
    cloud
        .request("POST", "/login", &[&[FORM], headers].concat(), body.as_bytes())
        .await
}

fn key(link: &str) -> String {
    link.split_once('?').expect("a query").1.to_owned()
}

async fn is_logged_in(cloud: &TestCloud, cookie: &str) -> bool {
    let shown = cloud.home(cookie).await.contains("My awesome project");
    let asked = cloud
        .request("GET", &format!("{PROJECT}/inspect"), &[cookie], b"")
        .await;
    assert_eq!(
        asked.status,
        if shown { 200 } else { 401 },
        "dashboard and API agree: {}",
        asked.text
    );
    shown
}

#[tokio::test]
async fn forms_of_our_own_pages_pass_and_those_of_others_do_not() {
    let cloud = start().await;
    let page = cloud.request("GET", "/", &[], b"").await;
    assert_eq!(
        page.header("referrer-policy"),
        Some("same-origin"),
        "with no-referrer browsers hide where a form comes from"
    );
    let token = format!("token={}", cloud.tenant.token);
    let cookie = cloud.login(&cloud.tenant.token).await;
    let own = format!("Origin: http://{}", cloud.address);
    let (same, cross) = ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site");
    let command = "cmd_type=echo&echo.content=hi";
    let forms = ["/login", "/p/<project id>/devices/<device id>/command", "/logout"];
    for path in forms {
        let body = if path == "/login" { &token } else { command };
        for theirs in [
            &["Origin: http://evil.example"][..],
            &["Origin: http://evil.example", cross],
            &["Origin: null"],
            &["Origin: null", cross],
            &[&own, "Sec-Fetch-Site: same-site"],
            &[cross],
        ] {
            let headers = [&[FORM, &cookie], theirs].concat();
            assert_eq!(
                cloud
                    .request("POST", path, &headers, body.as_bytes())
                    .await
                    .status,
                403,
                "{path}: {theirs:?}"
            );
        }
    }
    assert!(
        is_logged_in(&cloud, &cookie).await,
        "another site's form has not logged it out"
    );
    for path in forms {
        let body = if path == "/login" { &token } else { command };
        for ours in [&["Origin: null", same][..], &[&own], &[&own, same], &[]] {
            let cookie = cloud.login(&cloud.tenant.token).await;
            let headers = [&[FORM, &cookie], ours].concat();
            assert_eq!(
                cloud
                    .request("POST", path, &headers, body.as_bytes())
                    .await
                    .status,
                303,
                "{path}: {ours:?}"
            );
        }
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn looking_at_a_link_does_not_use_it_up() {
    let cloud = start().await;
    let link = login_link(&cloud.services, &cloud.tenant.token, "").await;
    for method in ["HEAD", "GET", "HEAD", "GET"] {
        let look = cloud.request(method, &link, &[], b"").await;
        assert_eq!(look.status, 200, "{method}");
        assert_eq!(look.header("set-cookie"), None, "{method}");
    }
    let foreign = log_in(&cloud, &["Origin: http://evil.example"], &key(&link)).await;
    assert_eq!(foreign.status, 403);
    let page = cloud.request("GET", &link, &[], b"").await.text;
    assert!(
        page.contains(r#"action="/login""#) && page.contains("Open the dashboard"),
        "{page}"
    );
    let entered = log_in(&cloud, &[], &key(&link)).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")));
    let cookie = entered.cookie();
    assert!(is_logged_in(&cloud, &cookie).await);
    // A second press of the button finds its visitor logged in.
    assert_eq!(log_in(&cloud, &[&cookie], &key(&link)).await.status, 303);
    let late = log_in(&cloud, &[], &key(&link)).await;
    assert_eq!((late.status, late.header("set-cookie")), (403, None));
    assert_eq!(cloud.request("GET", &link, &[], b"").await.status, 403);
    assert_eq!(cloud.request("HEAD", &link, &[], b"").await.status, 403);
    assert_eq!(log_in(&cloud, &[], "key=guess").await.status, 403);
    cloud.shutdown().await;
}

/// Returns the stored token with this text.
async fn stored(cloud: &TestCloud, text: &str) -> Token {
    let token = cloud
        .services
        .store
        .token(auth::hash_secret(text.as_bytes()))
        .await;
    token.expect("reads").expect("stored")
}

#[tokio::test]
async fn a_link_and_its_login_end_with_their_token() {
    let cloud = start().await;
    let text = short_lived(&cloud, 3_600_000).await;
    let token = stored(&cloud, &text).await.id;
    let (link, unused) = (
        login_link(&cloud.services, &text, "").await,
        login_link(&cloud.services, &text, "").await,
    );
    let cookie = log_in(&cloud, &[], &key(&link)).await.cookie();
    assert!(is_logged_in(&cloud, &cookie).await);
    cloud
        .request(
            "DELETE",
            &format!("{PROJECT}/tokens/{token}"),
            &[&cloud.bearer()],
            b"",
        )
        .await
        .ok();
    assert!(!is_logged_in(&cloud, &cookie).await);
    assert_eq!(log_in(&cloud, &[], &key(&unused)).await.status, 403);
    assert_eq!(
        login_link(&cloud.services, &text, "http://c").await,
        "http://c",
        "a token that is gone gives no link"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_login_ends_when_its_token_does() {
    let cloud = start().await;
    let text = short_lived(&cloud, 1500).await;
    let entered = log_in(&cloud, &[], &format!("token={text}")).await;
    let set = entered.header("set-cookie").expect("a cookie").to_owned();
    assert!(set.contains("Max-Age=0;") || set.contains("Max-Age=1;"), "{set}");
    let cookie = entered.cookie();
    assert!(is_logged_in(&cloud, &cookie).await);
    let mut stream = cloud
        .listen(
            "/p/<project id>/events?devices=<device id>",
            &[&cookie, "Connection: close"],
        )
        .await;
    stream.read_until("event: presence").await;
    tokio::time::sleep(Duration::from_millis(1600)).await;
    assert!(!is_logged_in(&cloud, &cookie).await);
    let body = br#"{"name":"more","scopes":["admin"]}"#;
    cloud
        .request("POST", &format!("{PROJECT}/tokens"), &[&cookie], body)
        .await
        .error(401);
    stream.read_to_end().await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn nothing_made_by_a_token_that_ends_outlives_it() {
    let cloud = start().await;
    let text = short_lived(&cloud, 3_600_000).await;
    let cookie = cloud.login(&text).await;
    let mine = stored(&cloud, &text).await.expires;
    let mine = mine.expect("a date");
    for who in [format!("Authorization: Bearer {text}"), cookie] {
        let make = async |expires: &str| {
            let body = format!(r#"{{"name":"more","scopes":["admin"]{expires}}}"#);
            cloud
                .request("POST", &format!("{PROJECT}/tokens"), &[&who], body.as_bytes())
                .await
        };
        assert!(
            make(&format!(r#","expires":{}"#, mine + 1))
                .await
                .error(403)
                .contains("later")
        );
        assert_eq!(make("").await.ok()["expires"]["$date"], mine);
        assert_eq!(
            make(&format!(r#","expires":{}"#, mine - 1)).await.ok()["expires"]["$date"],
            mine - 1
        );
    }
    let body = br#"{"name":"for ever","scopes":["admin"]}"#;
    let made = cloud
        .request("POST", &format!("{PROJECT}/tokens"), &[&cloud.bearer()], body)
        .await
        .ok();
    assert!(
        made["expires"].is_null(),
        "a token without a date makes others without one"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_revoked_token_takes_logins_streams_and_logins_under_way_along() {
    let cloud = start().await;
    let text = short_lived(&cloud, 3_600_000).await;
    let token = stored(&cloud, &text).await;
    let cookie = cloud.login(&text).await;
    let mut stream = cloud
        .listen(
            "/p/<project id>/events?devices=<device id>",
            &[&cookie, "Connection: close"],
        )
        .await;
    stream.read_until("event: presence").await;
    cloud
        .request(
            "DELETE",
            &format!("{PROJECT}/tokens/{}", token.id),
            &[&cloud.bearer()],
            b"",
        )
        .await
        .ok();
    assert!(!is_logged_in(&cloud, &cookie).await);
    stream.read_to_end().await;
    // A login that looked the token up before it was revoked, and completes afterwards.
    let (secret, _) = cloud
        .services
        .open_login(token.into(), clock::moment())
        .await
        .expect("opened");
    assert!(!is_logged_in(&cloud, &format!("Cookie: iottly-session-id={secret}")).await);
    cloud.shutdown().await;
}

#[tokio::test]
async fn all_logins_of_a_project_can_be_ended() {
    let cloud = start().await;
    let other = tenant(&cloud.services, "other").await;
    let theirs = cloud.login(&other.token).await;
    let link = login_link(&cloud.services, &cloud.tenant.token, "").await;
    let mine = [
        cloud.login(&cloud.tenant.token).await,
        log_in(&cloud, &[], &key(&link)).await.cookie(),
    ];
    let unused = login_link(&cloud.services, &cloud.tenant.token, "").await;
    let reader = mint_token(cloud.tenant.scope.project, "reader", Scopes::READ, None, 0).expect("randomness");
    cloud
        .services
        .store
        .create_token(reader.hash, &reader.token)
        .await
        .expect("created");
    let reader = format!("Authorization: Bearer {}", reader.text.expose());
    cloud
        .request("DELETE", &format!("{PROJECT}/logins"), &[&reader], b"")
        .await
        .error(403);
    assert!(is_logged_in(&cloud, &mine[0]).await);
    let token = cloud
        .services
        .store
        .token(auth::hash_secret(cloud.tenant.token.as_bytes()))
        .await
        .expect("reads");
    cloud
        .request("DELETE", &format!("{PROJECT}/logins"), &[&cloud.bearer()], b"")
        .await
        .ok();
    for cookie in &mine {
        assert!(!is_logged_in(&cloud, cookie).await);
    }
    assert_eq!(log_in(&cloud, &[], &key(&unused)).await.status, 403);
    // A login of another process, or one in progress, has the earlier number.
    let (secret, _) = cloud
        .services
        .open_login(token.expect("stored").into(), clock::moment())
        .await
        .expect("opened");
    assert!(!is_logged_in(&cloud, &format!("Cookie: iottly-session-id={secret}")).await);
    assert!(cloud.home(&theirs).await.contains("other"));
    let again = cloud.login(&cloud.tenant.token).await;
    assert!(is_logged_in(&cloud, &again).await, "the token still works");
    let audit = cloud.get(&format!("{PROJECT}/auditlog")).await.ok();
    assert_eq!(audit["entries"][0]["action"], "project.end_logins");
    cloud.shutdown().await;
}

#[tokio::test]
async fn one_tokens_logins_end_nobody_elses() {
    let cloud = start().await;
    let attacker = tenant(&cloud.services, "attacker").await;
    let victim = cloud.login(&cloud.tenant.token).await;
    let mut answers = Vec::new();
    for _ in 0..70 {
        answers.push(log_in(&cloud, &[], &format!("token={}", attacker.token)).await);
    }
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(
        !refused.is_empty()
            && refused
                .iter()
                .all(|answer| answer.header("retry-after").is_some())
    );
    assert!(is_logged_in(&cloud, &victim).await);
    let first = answers[0].cookie();
    assert!(
        !cloud.home(&first).await.contains("attacker"),
        "its own oldest have made room"
    );
    assert_eq!(
        log_in(&cloud, &[], &format!("token={}", cloud.tenant.token))
            .await
            .status,
        303,
        "others log in as before"
    );
    cloud.shutdown().await;
}

/// Maximum number of event streams of a project.
const PER_PROJECT: usize = 64;

#[tokio::test]
async fn one_login_does_not_take_the_event_streams_of_all() {
    let cloud = start().await;
    let attacker = tenant(&cloud.services, "attacker").await;
    let cookie = cloud.login(&attacker.token).await;
    let Scope { project, device } = attacker.scope;
    let theirs = format!("/p/{project}/events?devices={device}");
    let mut held = Vec::new();
    for _ in 0..STREAMS_PER_SESSION {
        let mut stream = cloud.listen(&theirs, &[&cookie]).await;
        stream.read_until("event: presence").await;
        held.push(stream);
    }
    let refused = cloud.request("GET", &theirs, &[&cookie], b"").await;
    assert!(refused.error(429).contains("pages"));
    assert_eq!(refused.json()["code"], "too_many_streams");
    // Its further logins count against its own limit, within that of the project.
    let mut statuses = Vec::new();
    for _ in 0..PER_PROJECT / STREAMS_PER_SESSION {
        let cookie = cloud.login(&attacker.token).await;
        for _ in 0..STREAMS_PER_SESSION {
            let mut stream = cloud.listen(&theirs, &[&cookie]).await;
            stream.read_until("\r\n").await;
            statuses.push(stream.seen.split(' ').nth(1).expect("a status").to_owned());
            held.push(stream);
        }
    }
    assert_eq!(
        statuses.iter().filter(|status| *status == "200").count(),
        PER_PROJECT - STREAMS_PER_SESSION
    );
    assert_eq!(
        statuses.iter().filter(|status| *status == "429").count(),
        STREAMS_PER_SESSION
    );
    let mine = cloud.login(&cloud.tenant.token).await;
    cloud
        .listen("/p/<project id>/events?devices=<device id>", &[&mine])
        .await
        .read_until("event: presence")
        .await;
    drop(held);
    support::eventually("its places are free again", async || {
        let mut stream = cloud.listen(&theirs, &[&cookie]).await;
        stream.read_until("\r\n").await;
        stream.seen.starts_with("HTTP/1.1 200")
    })
    .await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn pages_and_forms_count_as_requests_of_their_token() {
    let limit = NonZeroU32::new(6).expect("not zero");
    let cloud = start_with(|services| services.rate = Some(Arc::new(RateLimit::per_minute(limit)))).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let device = "/p/<project id>/devices/<device id>";
    assert_eq!(
        cloud
            .request("GET", "/", &[&cookie], b"")
            .await
            .header("ratelimit-remaining"),
        Some("4")
    );
    assert_eq!(cloud.request("GET", device, &[&cookie], b"").await.status, 200);
    let command = format!("{device}/command");
    assert_eq!(
        cloud
            .request(
                "POST",
                &command,
                &[&cookie, FORM],
                b"cmd_type=echo&echo.content=hi"
            )
            .await
            .status,
        303
    );
    cloud
        .listen("/p/<project id>/events?devices=<device id>", &[&cookie])
        .await
        .read_until("event: presence")
        .await;
    cloud.get("/v1.0/ping").await.ok();
    for (method, path) in [
        ("GET", "/"),
        ("GET", device),
        ("POST", &command),
        ("GET", "/p/<project id>/events?devices=<device id>"),
        ("POST", "/login"),
    ] {
        let body = format!("token={}", cloud.tenant.token);
        let refused = cloud
            .request(method, path, &[&cookie, FORM], body.as_bytes())
            .await;
        assert_eq!(refused.status, 429, "{method} {path}: {}", refused.text);
        assert!(refused.header("retry-after").is_some(), "{method} {path}");
    }
    assert_eq!(
        cloud
            .services
            .store
            .open_commands(cloud.tenant.scope)
            .await
            .expect("reads")
            .len(),
        1
    );
    let other = tenant(&cloud.services, "other").await;
    cloud.login(&other.token).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn behind_https_logins_stay_there() {
    let cloud = start_config(|config| config.https = true).await;
    let entered = log_in(&cloud, &[], &format!("token={}", cloud.tenant.token)).await;
    let set = entered.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        set.starts_with("__Host-iottly-session-id=") && set.contains("; Secure") && set.contains("; Path=/;"),
        "{set}"
    );
    assert!(!set.to_ascii_lowercase().contains("domain"), "{set}");
    let cookie = entered.cookie();
    assert!(is_logged_in(&cloud, &cookie).await);
    assert!(
        !is_logged_in(&cloud, &cookie.replace("__Host-", "")).await,
        "what plain HTTP could set is not looked at"
    );
    for path in ["/", "/v1.0/ping", "/healthz", "/docs/", "/nothing"] {
        let answer = cloud.request("GET", path, &[], b"").await;
        assert!(
            answer
                .header("strict-transport-security")
                .is_some_and(|value| value.starts_with("max-age=")),
            "{path}"
        );
    }
    let out = cloud.request("POST", "/logout", &[&cookie], b"").await;
    assert!(
        out.header("set-cookie")
            .is_some_and(|set| set.starts_with("__Host-iottly-session-id=; ") && set.contains("Secure"))
    );
    assert!(!is_logged_in(&cloud, &cookie).await);
    cloud.shutdown().await;

    let plain = start().await;
    let entered = log_in(&plain, &[], &format!("token={}", plain.tenant.token)).await;
    assert!(
        entered
            .header("set-cookie")
            .is_some_and(|set| !set.contains("Secure")),
        "plain HTTP would never see it again"
    );
    let answer = plain.request("GET", "/v1.0/ping", &[], b"").await;
    assert_eq!(
        (
            answer.header("strict-transport-security"),
            answer.header("x-content-type-options")
        ),
        (None, Some("nosniff"))
    );
    plain.shutdown().await;
}
