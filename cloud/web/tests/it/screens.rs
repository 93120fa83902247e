//! Screens of the dashboard as HTML: filters, forms, and what they change. Each acts as the API does.

use iottly_protocol::DeviceId;
use iottly_store::NewDevice;
use serde_json::{Value, json};

use crate::support::{Answer, TestCloud, start};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const BASE: &str = "/p/<project id>";

struct Visit {
    cloud: TestCloud,
    cookie: String,
}

impl Visit {
    async fn begin() -> Self {
        let cloud = start().await;
        let cookie = cloud.login(&cloud.tenant.token).await;
        Self { cloud, cookie }
    }

    async fn get(&self, path: &str) -> Answer {
        self.cloud
            .request("GET", &format!("{BASE}{path}"), &[&self.cookie], b"")
            .await
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(
            !answer.text.contains("style=") && !answer.text.contains("<script>"),
            "nothing inline"
        );
        answer.text
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.cloud
            .request(
                "POST",
                &format!("{BASE}{path}"),
                &[&self.cookie, FORM],
                body.as_bytes(),
            )
            .await
    }

    async fn add_device(&self, name: &str) -> DeviceId {
        let mut scope = self.cloud.tenant.scope;
        scope.device = DeviceId::random();
        let device = NewDevice {
            scope,
            name: name.into(),
            group: self.cloud.tenant.group,
            secret: iottly_web::auth::hash_secret(name.as_bytes()),
        };
        let store = &self.cloud.services.store;
        store.create_device(&device).await.expect("created");
        scope.device
    }

    /// Waits until the job has ended whose page an action led to.
    async fn ended(&self, answer: &Answer) {
        let page = answer.header("location").expect("the page of a job").to_owned();
        crate::support::eventually("the job has ended", async || {
            let shown = self.cloud.request("GET", &page, &[&self.cookie], b"").await;
            shown.text.contains(">finished<")
        })
        .await;
    }

    async fn rest(&self, path: &str) -> Value {
        self.cloud
            .get(&format!("/v1.0/project/<project id>{path}"))
            .await
            .ok()
    }
}

#[tokio::test]
async fn a_filter_of_the_devices_is_the_same_on_the_page_and_in_the_api() {
    let visit = Visit::begin().await;
    visit.add_device("cold-7").await;
    visit.add_device("cold-12").await;
    let found = visit.rest("/devices/props?filter=name:cold-*").await;
    assert_eq!(found["count"], 2);
    let page = visit.page("/devices?filter=name%3Acold-*").await;
    assert!(
        page.contains("2 of 3 devices") && page.contains("cold-12"),
        "{page}"
    );
    assert!(page.contains("{&quot;name&quot;:{&quot;$regex&quot;"), "{page}");
    let none = visit.page("/devices?filter=group%3Anone").await;
    assert!(
        none.contains("No device matches") && none.contains("Show all 3"),
        "{none}"
    );
    let wrong = visit.page("/devices?filter=%24temp%3E30").await;
    assert!(
        wrong.contains("is no field here") && wrong.contains("aria-invalid"),
        "{wrong}"
    );
    let refused = visit
        .cloud
        .get("/v1.0/project/<project id>/devices/props?filter=%24temp%3E30")
        .await;
    assert!(refused.error(400).contains("is no field here"));
    let costly = format!("({}x+)+y", "x+".repeat(20));
    let slow = format!(r#"{{"name":{{"$regex":"{costly}"}}}}"#);
    let answer = visit
        .cloud
        .get(&format!(
            "/v1.0/project/<project id>/devices/props?filter={}",
            slow.replace('"', "%22")
                .replace('{', "%7B")
                .replace('}', "%7D")
                .replace('+', "%2B")
                .replace('$', "%24")
        ))
        .await;
    assert!(matches!(answer.status, 200 | 400), "{}", answer.text);
    let file = visit.get("/devices?format=csv&filter=name%3Acold-*").await;
    assert!(
        file.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/csv")),
        "a file"
    );
    assert_eq!(file.text.lines().count(), 3, "{}", file.text);
    visit.cloud.shutdown().await;
}

/// Returns the names on a page of the list, in their order, and the address of the next page.
fn listed(page: &str) -> (Vec<String>, Option<String>) {
    let names = page
        .split("class=\"row-link\"")
        .skip(1)
        .filter_map(|row| row.split(['>', '<']).nth(1).map(str::to_owned));
    let next = page
        .split("rel=\"next\"")
        .next()
        .filter(|before| before.len() < page.len());
    let next = next.and_then(|before| {
        before
            .rsplit("href=\"")
            .next()?
            .split('"')
            .next()
            .map(str::to_owned)
    });
    (names.collect(), next.map(|href| href.replace("&amp;", "&")))
}

#[tokio::test]
async fn pages_of_the_list_and_of_the_api_have_each_device_once() {
    let visit = Visit::begin().await;
    for number in 0..120 {
        // Many of one name: a page may end between them.
        visit.add_device(&format!("cellar {}", number / 30)).await;
    }
    for filter in ["", "name:cellar*"] {
        let (mut names, mut path) = (Vec::new(), format!("/devices?filter={filter}"));
        let all = if filter.is_empty() { 121 } else { 120 };
        loop {
            let page = visit.page(&path).await;
            let (rows, next) = listed(&page);
            assert!(
                page.contains(&format!(
                    "{} to {} of {all}",
                    names.len() + 1,
                    names.len() + rows.len()
                )),
                "{path}"
            );
            names.extend(rows);
            let Some(next) = next else { break };
            path = next[next.find("/devices").expect("a path")..].to_owned();
        }
        assert_eq!(names.len(), all, "{filter}");
        assert!(names.is_sorted(), "{names:?}");
        let (mut ids, mut after) = (std::collections::HashSet::new(), String::new());
        let filter = if filter.is_empty() {
            String::new()
        } else {
            format!("&filter={filter}")
        };
        loop {
            let page = visit
                .rest(&format!("/devices/props?limit=7{filter}{after}"))
                .await;
            let devices = page["devices"].as_array().expect("devices");
            assert_eq!(page["matching"], all, "on every page: {filter}");
            ids.extend(devices.iter().map(|device| device["ID"].to_string()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={}", next.replace(' ', "%20"));
        }
        assert_eq!(ids.len(), all, "{filter}");
    }
    for wrong in ["limit=0", "limit=1001"] {
        let path = format!("/v1.0/project/<project id>/devices/props?{wrong}");
        visit.cloud.get(&path).await.error(400);
    }
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn devices_are_moved_after_a_question_that_counts_them() {
    let visit = Visit::begin().await;
    let (one, two) = (visit.add_device("one").await, visit.add_device("two").await);
    let body = json!({"name": "field"}).to_string();
    let made = visit
        .cloud
        .post("/v1.0/project/<project id>/deploymentgroups", &body)
        .await
        .ok();
    let group = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
    let form = format!("group={group}&device={one}&device={two}&filter=");
    let asked = visit.post("/devices/move", &form).await;
    assert_eq!(asked.status, 200);
    assert!(asked.text.contains("Move 2 devices to field?"), "{}", asked.text);
    let found = visit.rest("/devices/props?filter=group:field").await;
    assert_eq!(found["count"], 0, "nothing has moved yet");
    let moved = visit.post("/devices/move", &format!("{form}&sure=yes")).await;
    assert_eq!(moved.status, 303, "{}", moved.text);
    visit.ended(&moved).await;
    let found = visit.rest("/devices/props?filter=group:field").await;
    assert_eq!(found["count"], 2);
    let all = visit
        .post(
            "/devices/move",
            &format!("group={group}&all=yes&filter=-group%3Afield&sure=yes"),
        )
        .await;
    assert_eq!(all.status, 303, "{}", all.text);
    visit.ended(&all).await;
    let found = visit.rest("/devices/props?filter=group:field").await;
    assert_eq!(found["count"], 3);
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn a_definition_is_made_changed_and_deleted_with_a_form() {
    let visit = Visit::begin().await;
    let form = "type=set_target&direction=command&description=Sets+it&key0=degrees&kind0=FreeValue&value0=\
                &key1=mode&kind1=MultipleChoice&value1=day%2C+night&optional1=yes";
    let made = visit.post("/definitions", form).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let page = visit.page("/definitions/set_target").await;
    assert!(
        page.contains("degrees") && page.contains(r#"value="day, night""#),
        "{page}"
    );
    let wrong = visit
        .post("/definitions", "type=x&key0=a&kind0=MultipleChoice&value0=")
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains(r#"role="alert""#) && wrong.text.contains(r#"value="x""#),
        "what was typed stays: {}",
        wrong.text
    );
    let device = visit.page("/devices/<device id>/commands").await;
    assert!(device.contains(r#"name="set_target.mode""#), "{device}");
    let gone = visit.post("/definitions/set_target", "do=delete").await;
    assert_eq!(gone.status, 303);
    assert_eq!(visit.get("/definitions/set_target").await.status, 404);
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn a_token_is_shown_once_and_revoked_after_a_question() {
    let visit = Visit::begin().await;
    let made = visit
        .post("/tokens", "name=ci&scope=read&scope=command&days=30")
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
    let text = made
        .text
        .split("<pre>")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let text = text.expect("a token").to_owned();
    assert!(text.starts_with("iot_"), "{text}");
    assert!(!visit.page("/tokens").await.contains(&text));
    let tokens = visit.rest("/tokens").await;
    let token = tokens["tokens"].as_array().expect("a list");
    let token = token.iter().find(|token| token["name"] == "ci").expect("listed");
    assert_eq!(token["scopes"], json!(["read", "command"]));
    let path = format!("/tokens/{}/revoke", token["id"].as_str().expect("an id"));
    let asked = visit.post(&path, "").await;
    assert!(
        asked.text.contains("Revoke the token ci?") && asked.text.contains(r#"data-kind="final""#),
        "{}",
        asked.text
    );
    assert_eq!(visit.post(&path, "sure=yes").await.status, 303);
    let bearer = format!("Authorization: Bearer {text}");
    let refused = visit.cloud.request("GET", "/v1.0/ping", &[&bearer], b"").await;
    assert_eq!(refused.status, 401);
    let none = visit.post("/tokens", "name=nothing").await;
    assert_eq!(none.status, 400);
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn a_webhook_is_made_with_a_short_filter_and_its_headers_stay_hidden() {
    let visit = Visit::begin().await;
    let form = "url=https%3A%2F%2Fexample.com%2Fhook&description=erp&type=user&channel=*&filter=temperature%3E30\
                &header0=Authorization&value0=hush-hush&enabled=yes";
    let made = visit.post("/webhooks", form).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert!(made.text.contains("whsec_"), "the secret is shown: {}", made.text);
    let listed = visit.rest("/webhooks").await;
    let hook = &listed["webhooks"][0];
    assert_eq!(hook["filter"], json!({"temperature": {"$gt": 30}}));
    assert_eq!(hook["enabled"], true);
    let own = format!("/webhooks/{}", hook["id"].as_str().expect("an id"));
    let page = visit.page(&own).await;
    assert!(
        page.contains("Authorization") && !page.contains("hush-hush") && !page.contains("whsec_"),
        "{page}"
    );
    let asked = visit.post(&own, "do=delete").await;
    assert!(asked.text.contains("Delete this webhook?"), "{}", asked.text);
    let wrong = visit
        .post("/webhooks", "url=ftp%3A%2F%2Fexample.com&enabled=yes")
        .await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("ftp://example.com"), "what was typed stays");
    assert_eq!(visit.post(&own, "do=delete&sure=yes").await.status, 303);
    assert_eq!(visit.rest("/webhooks").await["webhooks"], json!([]));
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn a_device_is_added_renamed_and_removed_with_forms() {
    let visit = Visit::begin().await;
    let made = visit.post("/devices/add", "name=porch").await;
    assert_eq!(made.status, 303, "{}", made.text);
    let found = visit.rest("/devices/props?filter=name:porch").await;
    let id = found["devices"][0]["ID"].as_str().expect("an id").to_owned();
    let own = format!("/devices/{id}/settings");
    let saved = visit.post(&own, "do=save&name=attic&tags=up%2C+warm").await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let values = visit.post(&own, "do=values&values=%7B%22a%22%3A1%7D").await;
    assert_eq!(values.status, 303, "{}", values.text);
    let wrong = visit.post(&own, "do=values&values=%5B1%5D").await;
    assert_eq!(wrong.status, 400);
    let props = visit.rest(&format!("/device/{id}/props")).await;
    assert_eq!(
        (&props["name"], &props["tags"]),
        (&json!("attic"), &json!(["up", "warm"]))
    );
    let asked = visit.post(&own, "do=remove").await;
    assert!(asked.text.contains("Remove attic?"), "{}", asked.text);
    assert_eq!(visit.post(&own, "do=remove&sure=yes").await.status, 303);
    assert_eq!(visit.get(&format!("/devices/{id}")).await.status, 403);
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn a_login_that_may_only_read_is_offered_no_action() {
    let visit = Visit::begin().await;
    let body = json!({"name": "reader", "scopes": ["read"]}).to_string();
    let made = visit
        .cloud
        .post("/v1.0/project/<project id>/tokens", &body)
        .await
        .ok();
    let cookie = visit.cloud.login(made["token"].as_str().expect("a token")).await;
    for (path, absent) in [
        ("/devices", "Move…"),
        ("/devices/<device id>/commands", "Send echo"),
        ("/definitions", "Define a message"),
        ("/webhooks", "Add the webhook"),
        ("/devices/<device id>/settings", "Remove…"),
    ] {
        let page = visit
            .cloud
            .request("GET", &format!("{BASE}{path}"), &[&cookie], b"")
            .await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains(absent), "{path}: {}", page.text);
    }
    let tokens = visit
        .cloud
        .request("GET", &format!("{BASE}/tokens"), &[&cookie], b"")
        .await;
    assert!(tokens.text.contains("may not see the tokens"), "{}", tokens.text);
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn the_overview_names_what_needs_a_person() {
    let visit = Visit::begin().await;
    assert!(visit.page("/").await.contains("Nothing needs you."));
    let made = visit
        .post(
            "/alerts/rules",
            "name=hot&condition=value&filter=%7B%22payload.t%22%3A%7B%22%24gt%22%3A30%7D%7D",
        )
        .await;
    assert_eq!(made.status, 303, "{}", made.text);
    let scope = visit.cloud.tenant.scope;
    let now = iottly_cloud::clock::now();
    visit.cloud.store(scope, now, &[r#"{"t":31}"#]).await;
    crate::support::eventually("the alert is on the overview", async || {
        visit.page("/").await.contains("1 alert is raised")
    })
    .await;
    visit.cloud.shutdown().await;
}
