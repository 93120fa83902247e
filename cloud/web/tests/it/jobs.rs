//! Jobs over the REST API and on the pages: each kind, rights, keys, restarts, ten thousand devices.

use std::fmt::Write as _;
use std::io::Read as _;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use iottly_cloud::Cloud;
use iottly_protocol::DeviceId;
use iottly_store::NewDevice;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::{Answer, TestCloud, eventually, start};

const JOBS: &str = "/v1.0/project/<project id>/jobs";

async fn add(cloud: &TestCloud, name: &str) -> DeviceId {
    let mut scope = cloud.tenant.scope;
    scope.device = DeviceId::random();
    let device = NewDevice {
        scope,
        name: name.into(),
        group: cloud.tenant.group,
        secret: iottly_web::auth::hash_secret(name.as_bytes()),
    };
    cloud
        .services
        .store
        .create_device(&device)
        .await
        .expect("created");
    scope.device
}

/// Adds devices with statements of their own: the store would sync each.
async fn many(cloud: &TestCloud, count: u32) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(cloud.data().join("cloud.db"));
    let mut connection = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("connects");
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all");
            text
        })
    };
    let (project, group) = (
        hex(cloud.tenant.scope.project.as_bytes()),
        hex(cloud.tenant.group.as_bytes()),
    );
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO devices (project, id, group_id, name, secret) \
         SELECT x'{project}', randomblob(16), x'{group}', 'many-' || i, randomblob(32) FROM n"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .expect("inserts");
    connection.close().await.expect("closes");
}

async fn begin(cloud: &TestCloud, body: &Value) -> String {
    let answer = cloud.post(JOBS, &body.to_string()).await.ok();
    answer["job"]["id"].as_str().expect("an id").to_owned()
}

async fn show(cloud: &TestCloud, id: &str) -> Value {
    cloud.get(&format!("{JOBS}/{id}")).await.ok()
}

/// Waits for the end of a job; returns it with its failures.
async fn ended(cloud: &TestCloud, id: &str) -> Value {
    eventually("the job has ended", async || {
        !show(cloud, id).await["job"]["ended"].is_null()
    })
    .await;
    show(cloud, id).await
}

async fn finished(cloud: &TestCloud, body: &Value) -> Value {
    let id = begin(cloud, body).await;
    let shown = ended(cloud, &id).await;
    assert_eq!(shown["job"]["state"], "finished", "{shown}");
    shown
}

async fn group(cloud: &TestCloud, name: &str) -> String {
    let path = "/v1.0/project/<project id>/deploymentgroups";
    let made = cloud.post(path, &json!({ "name": name }).to_string()).await.ok();
    made["deployment_group"]["id"].as_str().expect("an id").to_owned()
}

async fn count(cloud: &TestCloud, filter: &str) -> u64 {
    let path = format!("/v1.0/project/<project id>/devices/props?filter={filter}");
    cloud.get(&path).await.ok()["count"].as_u64().expect("a number")
}

async fn bearer(cloud: &TestCloud, body: Value) -> String {
    let made = cloud
        .post("/v1.0/project/<project id>/tokens", &body.to_string())
        .await
        .ok();
    format!(
        "Authorization: Bearer {}",
        made["token"].as_str().expect("a token")
    )
}

async fn with(cloud: &TestCloud, bearer: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    cloud
        .request(method, &format!("{JOBS}{path}"), &[bearer], body.as_bytes())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_does_to_many_devices_what_the_single_action_does_to_one() {
    let cloud = start().await;
    let (one, two) = (add(&cloud, "one").await, add(&cloud, "two").await);
    let field = group(&cloud, "field").await;
    let moved = finished(
        &cloud,
        &json!({"kind": "move", "devices": [one, two], "deployment_group": field}),
    )
    .await;
    assert_eq!(
        (
            &moved["job"]["total"],
            &moved["job"]["done"],
            &moved["job"]["failed"]
        ),
        (&json!(2), &json!(2), &json!(0))
    );
    assert_eq!(count(&cloud, "group:field").await, 2);
    finished(
        &cloud,
        &json!({"kind": "tag", "filter": "group:field", "add": ["b", "a"]}),
    )
    .await;
    finished(
        &cloud,
        &json!({"kind": "tag", "filter": "tag:a", "remove": ["b"]}),
    )
    .await;
    assert_eq!(
        (count(&cloud, "tag:a").await, count(&cloud, "tag:b").await),
        (2, 0)
    );

    let body = json!({"kind": "command", "filter": "", "cmd_type": "echo", "values": {"echo.content": "hi"}});
    finished(&cloud, &body).await;
    for device in [one, two, cloud.tenant.scope.device] {
        let path = format!("/v1.0/project/<project id>/device/{device}/commands");
        let sent = cloud.get(&path).await.ok();
        assert_eq!(sent["commands"].as_array().map(Vec::len), Some(1), "{sent}");
    }
    let wrong = json!({"kind": "command", "filter": "", "cmd_type": "echo", "values": {"echo.what": "hi"}});
    cloud.post(JOBS, &wrong.to_string()).await.error(400);

    // Deleting asks for the number of devices.
    for confirm in [Value::Null, json!(1)] {
        let body = json!({"kind": "delete", "filter": "group:field", "confirm": confirm});
        let error = cloud.post(JOBS, &body.to_string()).await.error(400);
        assert!(error.ends_with("would be deleted, 2"), "{error}");
    }
    assert_eq!(count(&cloud, "group:field").await, 2);
    finished(
        &cloud,
        &json!({"kind": "delete", "filter": "group:field", "confirm": 2}),
    )
    .await;
    assert_eq!(count(&cloud, "").await, 1);

    for (body, reason) in [
        (
            json!({"kind": "dance", "filter": ""}),
            "kind is none of move, delete, command, tag, export",
        ),
        (
            json!({"kind": "tag", "filter": ""}),
            "add and remove are both empty",
        ),
        (
            json!({"kind": "move", "filter": ""}),
            "deployment_group is missing",
        ),
        (
            json!({"kind": "export", "filter": "", "from": 2, "to": 2}),
            "from is not before to",
        ),
        (json!({"kind": "export"}), "body needs either devices or filter"),
        (
            json!({"kind": "export", "filter": "name:none"}),
            "the job has no devices: none is named, or none matches the filter",
        ),
    ] {
        assert_eq!(cloud.post(JOBS, &body.to_string()).await.error(400), reason);
    }
    let many: Vec<_> = (0..5_001).map(|_| DeviceId::random()).collect();
    let body = json!({"kind": "export", "devices": many});
    assert_eq!(
        cloud.post(JOBS, &body.to_string()).await.error(400),
        "devices has more than 5000 entries"
    );
    let audit = cloud.get("/v1.0/project/<project id>/auditlog").await.text;
    assert!(
        audit.contains("job.start") && audit.contains("delete finished: 2 of 2 devices done, 0 failed"),
        "{audit}"
    );
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_the_histories_of_its_devices_in_a_file() {
    let cloud = start().await;
    let mut other = cloud.tenant.scope;
    other.device = add(&cloud, "other").await;
    let at = 1_492_597_597_019;
    let payloads: Vec<String> = (0..1_200).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let texts: Vec<&str> = payloads.iter().map(String::as_str).collect();
    cloud.store(other, at, &[r#"{"other":1}"#]).await;
    cloud.store(cloud.tenant.scope, at, &texts).await;
    let id = begin(&cloud, &json!({"kind": "export", "filter": "", "to": at + 1_100})).await;
    let shown = ended(&cloud, &id).await;
    let file = cloud
        .request(
            "GET",
            &format!("{JOBS}/{id}/file"),
            &[&cloud.bearer(), "Accept-Encoding: gzip"],
            b"",
        )
        .await;
    assert_eq!(
        (file.status, file.header("content-type")),
        (200, Some("application/gzip"))
    );
    // The answer of the test's client is text, so the file is read from the folder.
    let path = cloud
        .data()
        .join("exports")
        .join(cloud.tenant.scope.project.to_string());
    let path = path.join(format!("{id}.jsonl.gz"));
    assert_eq!(file.header("content-encoding"), Some("identity"));
    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(&path).expect("a file"))
        .read_to_string(&mut text)
        .expect("unpacks");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected = String::new();
    for device in [cloud.tenant.scope.device, other.device] {
        let path = format!(
            "/v1.0/project/<project id>/device/{device}/messages/export?to={}",
            at + 1_100
        );
        expected += &cloud.get(&path).await.text;
    }
    // Without the lengths of the pieces in which the answers come.
    let mut expected: Vec<&str> = expected.lines().filter(|line| line.starts_with('{')).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected, "as the export of each device");
    assert!(
        lines.len() > 1_000 && lines.iter().any(|line| line.contains("other")),
        "both devices"
    );
    assert_eq!(shown["job"]["file"]["messages"], lines.len(), "{shown}");
    cloud
        .request(
            "GET",
            &format!("{JOBS}/{id}/file"),
            &[&format!(
                "Authorization: Bearer {}",
                crate::support::tenant(&cloud.services, "x").await.token
            )],
            b"",
        )
        .await
        .error(403);
    let tag = finished(&cloud, &json!({"kind": "tag", "filter": "", "add": ["x"]})).await;
    let tag = tag["job"]["id"].as_str().expect("an id").to_owned();
    cloud.get(&format!("{JOBS}/{tag}/file")).await.error(404);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_with_a_key_is_one_job() {
    let cloud = start().await;
    let headers = [cloud.bearer(), "Idempotency-Key: once".to_owned()];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let body = json!({"kind": "tag", "filter": "", "add": ["a"]}).to_string();
    let send = async |body: &str| cloud.request("POST", JOBS, &headers, body.as_bytes()).await;
    let first = send(&body).await.ok();
    ended(&cloud, first["job"]["id"].as_str().expect("an id")).await;
    assert_eq!(send(&body).await.ok()["job"]["id"], first["job"]["id"]);
    let other = json!({"kind": "tag", "filter": "", "add": ["b"]}).to_string();
    send(&other).await.error(422);
    let listed = cloud.get(JOBS).await.ok();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(1), "{listed}");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_needs_the_scope_of_its_action_and_stays_in_its_group() {
    let cloud = start().await;
    let reader = bearer(&cloud, json!({"name": "r", "scopes": ["read"]})).await;
    let sender = bearer(&cloud, json!({"name": "c", "scopes": ["command"]})).await;
    let export = json!({"kind": "export", "filter": ""});
    let tag = json!({"kind": "tag", "filter": "", "add": ["a"]});
    let device = cloud.tenant.scope.device;
    let command =
        json!({"kind": "command", "devices": [device], "cmd_type": "echo", "values": {"echo.content": "a"}});
    for (who, body, status) in [
        (&reader, &export, 200),
        (&reader, &tag, 403),
        (&reader, &command, 403),
        (&sender, &tag, 403),
        (&sender, &command, 200),
    ] {
        let answer = with(&cloud, who, "POST", "", body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    let field = group(&cloud, "field").await;
    let (inside, outside) = (add(&cloud, "inside").await, add(&cloud, "outside").await);
    finished(
        &cloud,
        &json!({"kind": "move", "devices": [inside], "deployment_group": field}),
    )
    .await;
    let bound = json!({"name": "b", "scopes": ["read", "write", "command"], "deployment_group": field});
    let bound = bearer(&cloud, bound).await;
    let made = with(
        &cloud,
        &bound,
        "POST",
        "",
        &json!({"kind": "tag", "filter": "", "add": ["mine"]}),
    )
    .await
    .ok();
    assert_eq!(made["job"]["total"], 1, "{made}");
    ended(&cloud, made["job"]["id"].as_str().expect("an id")).await;
    assert_eq!(count(&cloud, "tag:mine").await, 1);
    for body in [
        json!({"kind": "tag", "devices": [outside], "add": ["mine"]}),
        json!({"kind": "move", "devices": [inside], "deployment_group": cloud.tenant.group}),
    ] {
        let answer = with(&cloud, &bound, "POST", "", &body).await;
        assert_eq!(answer.status, 403, "{body}: {}", answer.text);
    }
    let listed = with(&cloud, &bound, "GET", "", &Value::Null).await.ok();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(1), "{listed}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_list_follows_jobs_that_start_after_it() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = cloud
        .request("GET", "/p/<project id>/jobs", &[&cookie], b"")
        .await;
    assert!(page.text.contains("events?later&amp;jobs="), "{}", page.text);
    let path = "/p/<project id>/events?later&jobs=";
    let mut events = cloud.listen(path, &[&cookie]).await;
    events.read_until("event: beat").await;
    assert!(
        !events.seen.contains("event: job"),
        "there is none yet: {}",
        events.seen
    );
    for tag in ["first", "second"] {
        let id = begin(&cloud, &json!({"kind": "tag", "filter": "", "add": [tag]})).await;
        events.read_until(&format!("\"id\":\"{id}\"")).await;
        events.read_until(&format!("add {tag}")).await;
        events.read_until("\"state\":\"finished\"").await;
        events.seen.clear();
    }
    // A page that follows given jobs only is not told of others.
    let mut others = cloud.listen("/p/<project id>/events?jobs=", &[&cookie]).await;
    begin(&cloud, &json!({"kind": "tag", "filter": "", "add": ["third"]})).await;
    events.read_until("add third").await;
    others.read_until("event: beat").await;
    assert!(!others.seen.contains("event: job"), "{}", others.seen);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_devices_move_while_the_job_is_followed_and_the_cloud_starts_again() {
    let cloud = start().await;
    many(&cloud, 10_000).await;
    let field = group(&cloud, "field").await;
    let began = Instant::now();
    let id = begin(
        &cloud,
        &json!({"kind": "move", "filter": "name:many-*", "deployment_group": field}),
    )
    .await;
    eprintln!("10,000 devices: accepted in {:?}", began.elapsed());
    let mut events = cloud
        .listen(&format!("{JOBS}/{id}/events"), &[&cloud.bearer()])
        .await;
    events.read_until("event: job").await;
    let steps = async || show(&cloud, &id).await["job"]["done"].as_u64().expect("a number");
    eventually("some devices are done", async || steps().await > 500).await;
    let token = cloud.tenant.token.clone();
    let (config, scope, _data) = cloud.stop().await;
    let cloud = Cloud::start(config).await.expect("starts again");
    let store = &cloud.services().store;
    let waited = async {
        loop {
            let job = store
                .job(scope.project, id.parse().expect("an id"))
                .await
                .expect("reads")
                .expect("a job");
            if job.progress.state.is_final() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let job = tokio::time::timeout(Duration::from_secs(120), waited)
        .await
        .expect("ends");
    let progress = &job.progress;
    eprintln!(
        "10,000 devices: moved in {} ms, a restart included",
        progress.ended.unwrap_or_default() - progress.started.unwrap_or_default()
    );
    assert_eq!(
        (progress.done, progress.failed, progress.total),
        (10_000, 0, 10_000)
    );
    let groups = store.groups(scope.project).await.expect("reads");
    let found = groups
        .iter()
        .find(|known| known.name == "field")
        .expect("the group");
    let size = store.group_size(scope.project, found.id).await;
    assert_eq!(size.expect("counts"), 10_000);
    drop(token);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_leaves_the_rest_alone_and_its_page_says_so() {
    let cloud = start().await;
    many(&cloud, 5_000).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = async |path: &str| {
        let path = format!("/p/<project id>{path}");
        cloud.request("GET", &path, &[&cookie], b"").await
    };
    assert!(page("/jobs").await.text.contains("No jobs yet"));
    let field = group(&cloud, "field").await;
    let id = begin(
        &cloud,
        &json!({"kind": "move", "filter": "name:many-*", "deployment_group": field}),
    )
    .await;
    let running = page(&format!("/jobs/{id}")).await;
    assert!(
        running.text.contains("Cancel the job") && running.text.contains("to field"),
        "{}",
        running.text
    );
    assert!(
        page("/jobs").await.text.contains("1 running"),
        "the mark in the side bar"
    );
    let cancel = format!("/p/<project id>/jobs/{id}/cancel");
    let done = cloud.request("POST", &cancel, &[&cookie], b"").await;
    assert_eq!(done.status, 303, "{}", done.text);
    let shown = ended(&cloud, &id).await;
    assert_eq!(shown["job"]["state"], "cancelled");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let done = show(&cloud, &id).await["job"]["done"].as_u64().expect("a number");
    assert!(done < 5_000);
    assert_eq!(
        count(&cloud, "group:field").await,
        done,
        "the count is what was moved"
    );
    let text = page(&format!("/jobs/{id}")).await.text;
    assert!(
        text.contains(">cancelled<") && !text.contains("Cancel the job"),
        "{text}"
    );
    assert!(page("/jobs?filter=open").await.text.contains("No job matches"));
    cloud.post(&format!("{JOBS}/{id}/cancel"), "").await.error(409);
    // A login that may read sees the job and no way to end one.
    let reader = cloud
        .post(
            "/v1.0/project/<project id>/tokens",
            &json!({"name": "r", "scopes": ["read"]}).to_string(),
        )
        .await
        .ok();
    let reader = cloud.login(reader["token"].as_str().expect("a token")).await;
    let list = cloud
        .request("GET", "/p/<project id>/devices", &[&reader], b"")
        .await;
    assert!(
        list.text.contains("Export…") && !list.text.contains("Delete…"),
        "{}",
        list.text
    );
    let asked = cloud
        .request(
            "POST",
            "/p/<project id>/devices/bulk/delete",
            &[&reader, "Content-Type: application/x-www-form-urlencoded"],
            b"all=yes&filter=&confirm=5001&sure=yes",
        )
        .await;
    assert_eq!(asked.status, 403, "{}", asked.text);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_when_its_token_is_revoked() {
    let cloud = start().await;
    many(&cloud, 5_000).await;
    let made = cloud
        .post(
            "/v1.0/project/<project id>/tokens",
            &json!({"name": "short", "scopes": ["read", "write"]}).to_string(),
        )
        .await
        .ok();
    let header = format!(
        "Authorization: Bearer {}",
        made["token"].as_str().expect("a token")
    );
    let body = json!({"kind": "tag", "filter": "name:many-*", "add": ["x"]});
    let id = with(&cloud, &header, "POST", "", &body).await.ok();
    let id = id["job"]["id"].as_str().expect("an id").to_owned();
    let revoke = format!(
        "/v1.0/project/<project id>/tokens/{}",
        made["id"].as_str().expect("an id")
    );
    cloud
        .request("DELETE", &revoke, &[&cloud.bearer()], b"")
        .await
        .ok();
    let shown = ended(&cloud, &id).await;
    assert_eq!(
        (&shown["job"]["state"], &shown["job"]["reason"]),
        (
            &json!("failed"),
            &json!("short no longer has the permission that the job needs")
        )
    );
    cloud.shutdown().await;
}
