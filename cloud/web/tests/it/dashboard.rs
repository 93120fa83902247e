//! The dashboard as HTML and as an event stream.

use crate::support;
use iottly_protocol::{DeviceId, MessageKind};
use iottly_store::NewDevice;
use iottly_web::login_link;
use support::{TestCloud, start, tenant};

const AT: i64 = 1_492_597_597_019;

async fn page(cloud: &TestCloud, path: &str, cookie: &str) -> String {
    let answer = cloud.request("GET", path, &[cookie], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let csp = answer.header("content-security-policy").expect("a policy");
    assert!(
        csp.contains("default-src 'none'") && csp.contains("require-trusted-types-for 'script'"),
        "{csp}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(
        !answer.text.contains("style=") && !answer.text.contains("<script>"),
        "nothing inline"
    );
    answer.text
}

#[tokio::test]
async fn the_first_page_asks_for_a_login() {
    let cloud = start().await;
    let answer = cloud.request("GET", "/", &[], b"").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains(r#"action="/login""#) && !answer.text.contains("My awesome project"));
    for path in ["/p/<project id>/devices/<device id>", "/p/<project id>/devices/x"] {
        let answer = cloud.request("GET", path, &[], b"").await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some("/")),
            "{path}"
        );
    }
    cloud
        .request("GET", "/p/<project id>/events", &[], b"")
        .await
        .error(401);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_token_or_a_link_logs_in_and_logging_out_ends_it() {
    let cloud = start().await;
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    let wrong = cloud.request("POST", "/login", &form, b"token=iot_nope").await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.text.contains("This token is not known."));
    assert!(
        !wrong.text.contains("iot_nope"),
        "what was typed is not sent back"
    );
    let foreign = [
        "Content-Type: application/x-www-form-urlencoded",
        "Origin: http://evil.example",
    ];
    let body = format!("token={}", cloud.tenant.token);
    assert_eq!(
        cloud
            .request("POST", "/login", &foreign, body.as_bytes())
            .await
            .status,
        403
    );

    let answer = cloud.request("POST", "/login", &form, body.as_bytes()).await;
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(&cloud.tenant.token));
    let cookie = answer.cookie();
    assert!(
        page(&cloud, "/p/<project id>/", &cookie)
            .await
            .contains("My awesome project")
    );

    let link = login_link(&cloud.services, &cloud.tenant.token, "").await;
    let body = link.split_once('?').expect("a key").1;
    let first = cloud.request("POST", "/login", &form, body.as_bytes()).await;
    assert_eq!((first.status, first.header("location")), (303, Some("/")));
    assert!(
        page(&cloud, "/p/<project id>/", &first.cookie())
            .await
            .contains("My awesome project")
    );
    assert_eq!(
        cloud
            .request("POST", "/login", &form, body.as_bytes())
            .await
            .status,
        403,
        "a link works once"
    );

    assert_eq!(
        cloud.request("POST", "/logout", &[&cookie], b"").await.status,
        303
    );
    assert!(
        !cloud
            .request("GET", "/", &[&cookie], b"")
            .await
            .text
            .contains("My awesome project")
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn pages_show_devices_and_what_they_sent_as_text_only() {
    let cloud = start().await;
    let evil = "<img src=x onerror=alert(1)>";
    let mut scope = cloud.tenant.scope;
    scope.device = DeviceId::random();
    let secret = iottly_web::auth::hash_secret(b"secret");
    let device = NewDevice {
        scope,
        name: evil.into(),
        group: cloud.tenant.group,
        secret,
    };
    cloud
        .services
        .store
        .create_device(&device)
        .await
        .expect("created");
    cloud
        .store_as(
            scope,
            AT,
            MessageKind::UserDefined,
            Some(evil),
            &[&format!(r#"{{"x":"{evil}"}}"#)],
        )
        .await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let overview = page(&cloud, "/p/<project id>/", &cookie).await;
    assert!(
        overview.contains(r#"of <span data-live="total">2</span>"#) && overview.contains("_orphaned"),
        "{overview}"
    );
    let list = page(&cloud, "/p/<project id>/devices", &cookie).await;
    assert!(
        list.contains("none reported") && list.contains("&lt;img src=x"),
        "{list}"
    );
    let shown = page(
        &cloud,
        &format!("/p/<project id>/devices/{}", scope.device),
        &cookie,
    )
    .await;
    assert!(
        shown.contains("10:26:37.019") && shown.contains("&lt;img src=x"),
        "{shown}"
    );
    for text in [overview, list, shown] {
        assert!(!text.contains("<img src=x"), "{text}");
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn another_projects_device_has_no_page_and_no_stream() {
    let cloud = start().await;
    let other = tenant(&cloud.services, "other").await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let device = other.scope.device;
    for (method, path) in [
        ("GET", format!("/p/<project id>/devices/{device}")),
        ("POST", format!("/p/<project id>/devices/{device}/command")),
        ("GET", format!("/p/<project id>/events?device={device}")),
    ] {
        let headers = [cookie.as_str(), "Content-Type: application/x-www-form-urlencoded"];
        let answer = cloud.request(method, &path, &headers, b"cmd_type=echo").await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(!answer.text.contains("board of other"));
    }
    assert!(
        cloud
            .services
            .store
            .open_commands(other.scope)
            .await
            .expect("read")
            .is_empty()
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_form_sends_a_command_without_scripts() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let shown = page(&cloud, "/p/<project id>/devices/<device id>/commands", &cookie).await;
    assert!(
        shown.contains(r#"name="echo.content""#) && shown.contains("<option>start</option>"),
        "{shown}"
    );
    let headers = [cookie.as_str(), "Content-Type: application/x-www-form-urlencoded"];
    let path = "/p/<project id>/devices/<device id>/command";
    let answer = cloud
        .request("POST", path, &headers, b"cmd_type=echo&echo.content=hi+there%21")
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let location = answer.header("location").expect("a place to go").to_owned();
    assert!(
        page(&cloud, &location, &cookie)
            .await
            .contains("Accepted as command")
    );
    let open = cloud
        .services
        .store
        .open_commands(cloud.tenant.scope)
        .await
        .expect("read");
    assert_eq!(open[0].values.get(), r#"{"content":"hi there!"}"#);
    let wrong = cloud
        .request(
            "POST",
            path,
            &headers,
            b"cmd_type=examplecommand&examplecommand.status=no",
        )
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains(r#"role="alert""#) && wrong.text.contains("examplecommand.status"),
        "{}",
        wrong.text
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_stream_is_live_resumes_and_ends_with_the_server() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let scope = cloud.tenant.scope;
    cloud.store(scope, AT, &[r#"{"n":"old"}"#]).await;
    let shown = page(&cloud, "/p/<project id>/devices/<device id>", &cookie).await;
    let events = shown
        .split("data-events=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a stream")
        .replace("&amp;", "&");

    let mut stream = cloud.listen(&events, &[&cookie]).await;
    stream.read_until("event: presence").await;
    cloud.store(scope, AT + 10, &[r#"{"n":"one"}"#]).await;
    let seen = stream.read_until(r#"{\"n\":\"one\"}"#).await.to_owned();
    assert!(!seen.contains("old"), "the page shows it already: {seen}");
    let last = stream
        .read_until("\n\n")
        .await
        .split("id: ")
        .last()
        .and_then(|rest| rest.lines().next())
        .expect("an id")
        .to_owned();
    drop(stream);

    cloud.store(scope, AT + 20, &[r#"{"n":"missed"}"#]).await;
    let mut again = cloud
        .listen(&events, &[&cookie, &format!("Last-Event-ID: {last}")])
        .await;
    let seen = again.read_until("missed").await;
    assert!(!seen.contains(r#"\"one\""#), "it came before: {seen}");
    let mut project = cloud
        .listen("/p/<project id>/events?devices=<device id>", &[&cookie])
        .await;
    project.read_until("event: presence").await;

    let began = std::time::Instant::now();
    cloud.shutdown().await;
    project.read_to_end().await;
    assert!(
        began.elapsed() < std::time::Duration::from_secs(20),
        "open streams do not hold the server up"
    );
}

#[tokio::test]
async fn assets_are_cached_for_ever_under_their_hash() {
    let cloud = start().await;
    let login = cloud.request("GET", "/", &[], b"").await.text;
    for (name, kind) in [
        ("components.css", "text/css"),
        ("tokens.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let url = login
            .split('"')
            .find(|part| part.ends_with(name))
            .expect("linked");
        let asset = cloud.request("GET", url, &[], b"").await;
        assert_eq!(asset.status, 200);
        assert!(
            asset
                .header("content-type")
                .is_some_and(|found| found.starts_with(kind))
        );
        assert!(
            asset
                .header("cache-control")
                .is_some_and(|found| found.contains("immutable"))
        );
    }
    cloud
        .request("GET", "/assets/0/tokens.css", &[], b"")
        .await
        .error(404);
    assert_eq!(cloud.request("GET", "/favicon.ico", &[], b"").await.status, 200);
    cloud.shutdown().await;
}
