//! Tables as files, saved plots, plots over two groups, and the list of keys.

use serde_json::{Value, json};

use crate::matrix::{SECRET, furnish};
use crate::pages::{PAGES, with_ids};
use crate::support::{TestCloud, start};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

async fn file(cloud: &TestCloud, cookie: &str, table: &str) -> String {
    let path = cloud.path(&format!("/p/<project id>/csv/{table}"));
    let answer = cloud.request("GET", &path, &[cookie], b"").await;
    assert_eq!(answer.status, 200, "{table}: {}", answer.text);
    let kind = answer.header("content-type").expect("a type");
    assert!(kind.starts_with("text/csv"), "{kind}");
    let kept = answer.header("content-disposition").expect("a name");
    let name = table.split('?').next().expect("a name");
    assert_eq!(kept, format!("attachment; filename=\"{name}.csv\""));
    if answer.header("transfer-encoding").is_some() {
        answer.unchunked()
    } else {
        answer.text
    }
}

#[tokio::test]
async fn every_table_is_a_file() {
    let cloud = start().await;
    let ids = furnish(&cloud, &cloud.tenant).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let id = |name: &str| ids[name].clone();
    for (table, beginning, rows) in [
        ("alerts".to_owned(), "name,condition,", 1),
        (format!("attempts?webhook={}", id("webhook")), "time,message,", 0),
        (
            format!("commands?device={}", id("device")),
            "id,type,values,status",
            1,
        ),
        ("crashes".to_owned(), "function,error,", 0),
        ("groups".to_owned(), "id,name,state", 1),
        (format!("log?device={}", id("device")), "time,level,text", 0),
        ("logs".to_owned(), "time,device,name,level,text", 0),
        ("releases".to_owned(), "release,branch,", 1),
        (
            format!("revisions?branch={}", id("branch")),
            "revision,message,",
            1,
        ),
        (
            format!("rollout?rollout={}", id("rollout")),
            "device,name,online,state",
            2,
        ),
        ("rules".to_owned(), "name,condition,after_ms", 1),
        ("jobs".to_owned(), "id,job,state", 1),
        (format!("rollouts?group={}", id("group")), "id,started,state", 1),
        (format!("running?group={}", id("group")), "digest,devices", 1),
        (format!("failures?job={}", id("job")), "device,name,reason", 0),
        ("waiting".to_owned(), "code,name,profile", 1),
        ("copies".to_owned(), "device,name,address", 0),
        ("mails".to_owned(), "subject,to,state", 1),
        ("webhooks".to_owned(), "id,description,url", 1),
    ] {
        let text = file(&cloud, &cookie, &table).await;
        assert!(text.starts_with(beginning), "{table}: {text}");
        assert_eq!(text.lines().count(), rows + 1, "{table}: {text}");
        assert!(
            rows == 0 || table.starts_with("groups") || table.starts_with("running") || text.contains(SECRET),
            "{table}: {text}"
        );
    }
    for table in [
        "audit",
        "tokens",
        "definitions",
        &format!("messages?device={}", id("device")),
    ] {
        let text = file(&cloud, &cookie, table).await;
        assert!(
            text.lines().count() > 1 && text.contains(SECRET),
            "{table}: {text}"
        );
    }
    let keys = file(&cloud, &cookie, "keys").await;
    assert!(
        keys.starts_with("key,scheme,signs") && keys.contains(",ed25519,"),
        "{keys}"
    );
    assert!(
        !file(&cloud, &cookie, "webhooks").await.contains("X-Key"),
        "no headers"
    );
    for missing in [
        "nothing",
        "attempts?webhook=x",
        "rollout?rollout=x",
        "rollouts?group=x",
        "running?group=x",
        "failures?job=x",
    ] {
        let path = cloud.path(&format!("/p/<project id>/csv/{missing}"));
        assert_eq!(
            cloud.request("GET", &path, &[&cookie], b"").await.status,
            404,
            "{missing}"
        );
    }
    cloud.shutdown().await;
}

/// Pages whose tables are no lists of data: keys of the keyboard, the logins of a person, boards that need a decision, and
/// the fields of a definition.
const NO_FILE: [&str; 4] = ["/keys", "/account", "/devices/add", "/definitions/"];

#[tokio::test]
async fn every_page_with_a_table_offers_a_file() {
    let cloud = start().await;
    let ids = furnish(&cloud, &cloud.tenant).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let mut tables = 0;
    for (_, path, _) in PAGES.iter().filter(|(method, ..)| *method == "GET") {
        let path = with_ids(&path.replace("<project id>", "{project}"), &ids);
        if path.contains("/csv") || path.contains("/events") || path.contains("format=csv") {
            continue;
        }
        let answer = cloud.request("GET", &path, &[&cookie], b"").await;
        // The list of the keyboard's keys stands behind the page's content.
        let content = answer.text.split("</main>").next().unwrap_or_default();
        let listed = content.matches("<table class=\"table\"").count();
        if answer.status != 200 || listed == 0 || NO_FILE.iter().any(|part| path.contains(part)) {
            continue;
        }
        tables += listed;
        assert!(
            content.contains(".csv\""),
            "{path} has {listed} tables and no file"
        );
    }
    assert!(tables > 12, "{tables}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_file_of_many_messages_is_read_in_parts() {
    let cloud = start().await;
    let payloads: Vec<String> = (0..1203).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    let now = iottly_cloud::clock::now();
    for chunk in payloads.chunks(200) {
        cloud.store(cloud.tenant.scope, now, chunk).await;
    }
    let cookie = cloud.login(&cloud.tenant.token).await;
    let device = cloud.tenant.scope.device;
    let text = file(&cloud, &cookie, &format!("messages?device={device}")).await;
    assert_eq!(text.lines().count(), 1204);
    let text = file(
        &cloud,
        &cookie,
        &format!("messages?device={device}&filter=n%3E1000"),
    )
    .await;
    assert_eq!(text.lines().count(), 203);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_plot_is_kept_under_a_name() {
    let cloud = start().await;
    cloud
        .store(
            cloud.tenant.scope,
            iottly_cloud::clock::now(),
            &[r#"{"temperature":21.5}"#],
        )
        .await;
    let plots = "/v1.0/project/<project id>/plots";
    let body = json!({"name": "warm", "plot": {"path": "temperature", "agg": "max", "since": "7d"}});
    let made = cloud.post(plots, &body.to_string()).await.ok();
    assert_eq!(
        made["plot"]["plot"],
        json!({"path": "temperature", "agg": "max", "by": "none", "since": "7d", "devices": [], "groups": []})
    );
    assert_eq!(
        cloud.post(plots, &body.to_string()).await.status,
        409,
        "the name is taken"
    );
    for bad in [
        json!({"name": "x", "plot": {"path": ""}}),
        json!({"name": "x", "plot": {"path": "a", "since": "soon"}}),
        json!({"name": "x", "plot": {"path": "a", "since": "5000d"}}),
        json!({"name": "", "plot": {"path": "a"}}),
        json!({"name": "x", "plot": {"path": "a", "agg": "median"}}),
    ] {
        assert_eq!(cloud.post(plots, &bad.to_string()).await.status, 400, "{bad}");
    }
    let foreign = json!({"name": "x", "plot": {"path": "a", "groups": ["nowhere"]}});
    cloud.post(plots, &foreign.to_string()).await.error(404);

    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = async |query: &str| {
        let path = cloud.path(&format!("/p/<project id>/plots{query}"));
        cloud.request("GET", &path, &[&cookie], b"").await.text
    };
    let shown = page("").await;
    assert!(
        shown.contains(">warm</a>") && shown.contains("Save the plot"),
        "{shown}"
    );
    let shown = page("?path=temperature&agg=max&by=none&since=7d").await;
    assert!(shown.contains("Delete the saved plot"), "it is this one: {shown}");
    let own = cloud.path("/p/<project id>/plots");
    let form = "name=cold&path=temperature&agg=min&by=none&since=24h&device=&group=";
    let saved = cloud
        .request("POST", &own, &[&cookie, FORM], form.as_bytes())
        .await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let all = cloud.get(plots).await.ok();
    let names: Vec<_> = all["plots"]
        .as_array()
        .expect("plots")
        .iter()
        .map(|plot| plot["name"].clone())
        .collect();
    assert_eq!(names, [json!("cold"), json!("warm")]);
    let id = all["plots"][0]["id"].as_str().expect("an id");
    let gone = cloud
        .request("POST", &format!("{own}/{id}/delete"), &[&cookie, FORM], b"")
        .await;
    assert_eq!(gone.status, 303, "{}", gone.text);
    assert_eq!(
        cloud.get(plots).await.ok()["plots"].as_array().map(Vec::len),
        Some(1)
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn saved_plots_are_bounded() {
    let cloud = start().await;
    let plots = "/v1.0/project/<project id>/plots";
    for n in 0..100 {
        let body = json!({"name": format!("plot {n}"), "plot": {"path": "a"}});
        cloud.post(plots, &body.to_string()).await.ok();
    }
    let body = json!({"name": "one more", "plot": {"path": "a"}});
    assert_eq!(cloud.post(plots, &body.to_string()).await.status, 409);
    cloud.shutdown().await;
}

#[tokio::test]
async fn two_groups_are_drawn_in_one_picture() {
    let cloud = start().await;
    let (store, mut scope) = (&cloud.services.store, cloud.tenant.scope);
    let mut names = Vec::new();
    for name in ["north", "south"] {
        let group = iottly_protocol::GroupId::random();
        store
            .create_group(scope.project, group, name, None)
            .await
            .expect("created");
        scope.device = iottly_protocol::DeviceId::random();
        let device = iottly_store::NewDevice {
            scope,
            name: format!("board of {name}"),
            group,
            secret: iottly_web::auth::hash_secret(name.as_bytes()),
        };
        store.create_device(&device).await.expect("created");
        cloud
            .store(scope, iottly_cloud::clock::now(), &[r#"{"t":1}"#, r#"{"t":3}"#])
            .await;
        names.push(name);
    }
    let cookie = cloud.login(&cloud.tenant.token).await;
    let path = cloud.path("/p/<project id>/plots?path=t&group=north&with=south&since=1h");
    let page = cloud.request("GET", &path, &[&cookie], b"").await.text;
    assert!(page.contains("2 lines"), "{page}");
    for name in names {
        assert!(
            page.contains(&format!("<b class=\"break\">{name}</b>")),
            "{name}: {page}"
        );
    }
    let chosen: Vec<_> = page
        .match_indices(" selected>")
        .map(|(at, _)| &page[at..page.len().min(at + 16)])
        .collect();
    assert!(
        chosen.iter().any(|option| option.contains("north"))
            && chosen.iter().any(|option| option.contains("south")),
        "{chosen:?}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_list_of_keys_is_a_page_and_in_every_screen() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = cloud
        .request("GET", &cloud.path("/p/<project id>/keys"), &[&cookie], b"")
        .await;
    assert!(
        page.status == 200 && page.text.contains("<h1>Keyboard shortcuts</h1>"),
        "{}",
        page.text
    );
    let other = cloud
        .request("GET", &cloud.path("/p/<project id>/devices"), &[&cookie], b"")
        .await
        .text;
    assert!(
        other.contains("<dialog") && other.contains("/keys\" data-keys"),
        "{other}"
    );
    let _: Value = cloud.get("/v1.0/project/<project id>").await.json();
    cloud.shutdown().await;
}
