//! Alerts and presence of many devices: all within one look, and pages that keep the presence they show; the page of alerts
//! with its filter, its pages, its mutes and what was typed.

use std::time::Duration;

use iottly_cloud::clock;
use iottly_core::ingest::Write;
use iottly_core::model::{AlertFilter, MAX_OPEN_ALERTS, Proof, Scope};
use iottly_protocol::DeviceId;
use iottly_store::NewDevice;
use serde_json::{Value, json};

use crate::support::{Answer, TestCloud, eventually, start_config};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const ALERTS: &str = "/v1.0/project/<project id>/alerts";

async fn quick() -> TestCloud {
    start_config(|config| config.presence_grace = Duration::from_millis(200)).await
}

/// Adds devices that were connected and are offline since `since`.
async fn offline(cloud: &TestCloud, count: usize, since: i64) -> Vec<Scope> {
    let store = &cloud.services.store;
    let mut scopes = Vec::new();
    let secret = iottly_web::auth::hash_secret(b"device secret");
    for n in 0..count {
        let scope = Scope {
            device: DeviceId::random(),
            ..cloud.tenant.scope
        };
        let device = NewDevice {
            scope,
            name: format!("many {n}"),
            group: cloud.tenant.group,
            secret,
        };
        store.create_device(&device).await.expect("created");
        scopes.push(scope);
    }
    for online in [true, false] {
        for scopes in scopes.chunks(100) {
            store
                .commit(scopes.iter().map(|scope| turned(*scope, online, since)).collect())
                .await
                .expect("stored");
        }
    }
    scopes
}

fn turned(scope: Scope, online: bool, at: i64) -> Write {
    Write::Device {
        scope,
        at,
        online: Some(online),
        proof: None::<Proof>,
        agent_version: None,
    }
}

async fn add(cloud: &TestCloud, rule: &Value) -> String {
    let made = cloud
        .post(&format!("{ALERTS}/rules"), &rule.to_string())
        .await
        .ok();
    made["rule"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_devices_that_go_together_are_raised_within_one_look_and_the_limit_is_said() {
    let cloud = quick().await;
    let store = cloud.services.store.clone();
    let (most, project) = (
        usize::try_from(MAX_OPEN_ALERTS).expect("small"),
        cloud.tenant.scope.project,
    );
    let scopes = offline(&cloud, most + 50, clock::now() - 60_000).await;
    add(
        &cloud,
        &json!({"name": "away", "condition": "offline", "after_ms": 1000}),
    )
    .await;
    eventually("as many as a project has", || async {
        store.raised_count(project).await.expect("reads") >= MAX_OPEN_ALERTS.unsigned_abs()
    })
    .await;
    let alerts = store
        .alerts(project, AlertFilter::default(), 5000)
        .await
        .expect("reads");
    assert_eq!(alerts.len(), most);
    assert!(
        alerts.iter().all(|alert| alert.raised == alerts[0].raised),
        "one look raises all"
    );
    let listed = cloud.get(&format!("{ALERTS}?limit=2")).await.ok();
    assert_eq!(
        (&listed["raised"], &listed["max_raised"]),
        (&json!(1000), &json!(1000))
    );
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = cloud
        .request("GET", &cloud.path("/p/<project id>/alerts"), &[&cookie], b"")
        .await
        .text;
    assert!(
        page.contains("the maximum of a project") && page.contains("Older alerts"),
        "{page}"
    );
    // Pages of the API follow one another although all were raised at the same time.
    let (mut seen, mut before) = (std::collections::BTreeSet::new(), String::new());
    while seen.len() < most {
        let listed = cloud.get(&format!("{ALERTS}?limit=300{before}")).await.ok();
        let alerts = listed["alerts"].as_array().expect("alerts").clone();
        assert!(!alerts.is_empty());
        seen.extend(alerts.iter().map(|alert| alert["id"].to_string()));
        let last = alerts
            .last()
            .and_then(|alert| alert["id"].as_str())
            .expect("an id");
        before = format!("&before={last}");
    }
    // Devices that return make room for those that wait.
    let now = clock::now();
    store
        .commit(scopes.iter().map(|scope| turned(*scope, true, now)).collect())
        .await
        .expect("stored");
    eventually("all clear", || async {
        store.raised_count(project).await.expect("reads") == 0
    })
    .await;
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_shows_no_messages_gets_none_and_keeps_its_presence() {
    let cloud = quick().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let mut list = cloud
        .listen(
            "/p/<project id>/events?messages=none&devices=<device id>",
            &[&cookie],
        )
        .await;
    let mut shown = cloud
        .listen(
            "/p/<project id>/events?messages=shown&devices=<device id>",
            &[&cookie],
        )
        .await;
    list.read_until("event: presence").await;
    let scope = cloud.tenant.scope;
    for path in ["/p/<project id>/", "/p/<project id>/devices"] {
        let page = cloud
            .request("GET", &cloud.path(path), &[&cookie], b"")
            .await
            .text;
        assert!(page.contains("events?messages=none"), "{path}");
    }
    let device = crate::presence::Device::connect(&cloud, 30).await;
    let text = list.read_until(r#""online":true"#).await;
    assert!(!text.contains("event: entry"), "{text}");
    cloud.store(scope, clock::now(), &[r#"{"n":1}"#]).await;
    list.seen.clear();
    drop(device);
    let text = list.read_until(r#""online":false"#).await;
    assert!(!text.contains("event: entry"), "{text}");
    shown.read_until("event: entry").await;
    let refused = cloud
        .request(
            "GET",
            &cloud.path("/p/<project id>/events?messages=all"),
            &[&cookie],
            b"",
        )
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    cloud.shutdown().await;
}

struct Page {
    cloud: TestCloud,
    cookie: String,
}

impl Page {
    async fn get(&self, path: &str) -> Answer {
        let path = self.cloud.path(&format!("/p/<project id>{path}"));
        self.cloud.request("GET", &path, &[&self.cookie], b"").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        let path = self.cloud.path(&format!("/p/<project id>{path}"));
        let headers = [self.cookie.as_str(), FORM];
        self.cloud.request("POST", &path, &headers, body.as_bytes()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_alerts_filters_names_and_keeps_what_was_typed() {
    let cloud = quick().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = Page { cloud, cookie };
    let scope = page.cloud.tenant.scope;
    let groups = page
        .cloud
        .services
        .store
        .groups(scope.project)
        .await
        .expect("reads");
    let group = &groups[0];
    let refused = page
        .post(
            "/alerts/rules",
            &format!(
                "name=hot+spot&condition=value&filter=%7B%22%24nothing%22%3A&group={}",
                group.id
            ),
        )
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for kept in [
        r#"value="hot spot""#,
        r#"value="{&quot;$nothing&quot;:""#,
        r#"<option value="value" selected>"#,
    ] {
        assert!(refused.text.contains(kept), "{kept}: {}", refused.text);
    }
    assert!(
        refused
            .text
            .contains(&format!(r#"<option value="{}" selected>"#, group.id))
    );
    let made = page
        .post(
            "/alerts/rules",
            &format!(
                "name=hot&condition=value&filter=temp%3E30&clear=temp%3C20&group={}",
                group.id
            ),
        )
        .await;
    assert_eq!(made.status, 303, "{}", made.text);
    let shown = page.get("/alerts").await.text;
    assert!(shown.contains(&format!("group {}</a>", group.name)), "{shown}");
    let rules = page.cloud.get(&format!("{ALERTS}/rules")).await.ok();
    let rule = rules["rules"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(rules["rules"][0]["deployment_group"], group.id.to_string());
    let other = add(&page.cloud, &json!({"name": "other", "condition": "gap"})).await;
    // 25 alerts that have ended, and one that is raised.
    let own = page
        .cloud
        .services
        .store
        .device(scope)
        .await
        .expect("reads")
        .expect("a device")
        .group;
    let is_mine = own == group.id;
    let rule = if is_mine {
        rule
    } else {
        add(
            &page.cloud,
            &json!({"name": "hot here", "condition": "value", "filter": "temp>30", "clear": "temp<20"}),
        )
        .await
    };
    for n in 0..25 {
        page.cloud
            .store(scope, clock::now() + n, &[r#"{"temp":31}"#, r#"{"temp":1}"#])
            .await;
    }
    page.cloud
        .store(scope, clock::now() + 30, &[r#"{"temp":31}"#])
        .await;
    let count = |text: &str| text.matches("a message matches: ").count();
    let first = page.get("/alerts").await.text;
    assert_eq!(count(&first), 21, "{first}");
    assert!(
        first.contains(r#"Alerts <span class="count">1</span>"#),
        "{first}"
    );
    let (_, rest) = first.split_once("?cleared=").expect("a next page");
    let id = rest.split(['#', '"']).next().expect("an id");
    let second = page.get(&format!("/alerts?cleared={id}")).await.text;
    assert_eq!(count(&second), 1 + 5, "{second}");
    assert_eq!(
        count(
            &page
                .get(&format!("/alerts?rule={rule}&device={}", scope.device))
                .await
                .text
        ),
        21
    );
    let nothing = page.get(&format!("/alerts?rule={other}")).await.text;
    assert!(
        count(&nothing) == 0 && nothing.contains("No raised alert matches"),
        "{nothing}"
    );
    assert_eq!(page.get("/alerts?device=porch").await.status, 400);
    let listed = page
        .cloud
        .get(&format!("{ALERTS}?state=all&rule={other}"))
        .await
        .ok();
    assert_eq!(listed["alerts"], json!([]));
    // Mutes for an hour and until a time return to the filter.
    let muted = page
        .post(&format!("/alerts/rules/{rule}/mute?rule={rule}"), "for=1h")
        .await;
    assert_eq!(muted.status, 303, "{}", muted.text);
    assert!(
        muted
            .header("location")
            .is_some_and(|to| to.ends_with(&format!("/alerts?rule={rule}")))
    );
    let until = async || {
        let rules = page.cloud.get(&format!("{ALERTS}/rules")).await.ok();
        let rules = rules["rules"].as_array().expect("rules").clone();
        let found = rules
            .iter()
            .find(|known| known["id"] == rule.as_str())
            .expect("the rule");
        found["muted_until"]["$date"].as_i64().expect("a time")
    };
    let hour = until().await - clock::now();
    assert!((3_500_000..=3_600_000).contains(&hour), "{hour}");
    let day = clock::now() / 86_400_000 + 2;
    let text = iottly_filter::date::format(day * 86_400_000);
    let text = text.get(..16).expect("a minute").replace(':', "%3A");
    page.post(
        &format!("/alerts/rules/{rule}/mute"),
        &format!("for=1h&until={text}"),
    )
    .await;
    assert_eq!(until().await, day * 86_400_000);
    let refused = page
        .post(&format!("/alerts/rules/{rule}/mute"), "until=soon")
        .await;
    assert_eq!(refused.status, 400);
    page.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absence_is_planned_and_ended_on_the_settings_of_a_device() {
    let cloud = quick().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = Page { cloud, cookie };
    let path = page.cloud.path("/devices/<device id>/settings");
    let refused = page.post(&path, "do=absence&until=&reason=moved+away").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("needs an end") && refused.text.contains(r#"value="moved away""#),
        "{}",
        refused.text
    );
    let late = page
        .post(&path, "do=absence&until=2001-01-01T00%3A00&reason=moved")
        .await;
    assert_eq!(late.status, 400, "{}", late.text);
    let until = iottly_filter::date::format(clock::now() + 86_400_000);
    let until = until.get(..16).expect("a minute").replace(':', "%3A");
    let planned = page
        .post(
            &path,
            &format!("do=absence&from=&until={until}&reason=%3Cb%3Emoved"),
        )
        .await;
    assert_eq!(planned.status, 303, "{}", planned.text);
    let shown = page.get(&path).await.text;
    assert!(
        shown.contains("&lt;b&gt;moved") && shown.contains("End it now"),
        "{shown}"
    );
    assert!(shown.contains("iottly device absent"));
    let device = page
        .cloud
        .services
        .store
        .device(page.cloud.tenant.scope)
        .await
        .expect("reads")
        .expect("a device");
    assert_eq!(
        device.absence.map(|absence| absence.reason),
        Some("<b>moved".to_owned())
    );
    assert_eq!(page.post(&path, "do=present").await.status, 303);
    assert!(!page.get(&path).await.text.contains("End it now"));
    page.cloud.shutdown().await;
}
