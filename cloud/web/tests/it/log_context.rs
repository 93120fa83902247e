//! Log lines carry the context of the work that they belong to.
//!
//! The tests run on one thread, whose subscriber keeps the lines in memory.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::{StreamClass, StreamId, encode_batch};
use serde_json::json;
use sqlx::Connection as _;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::EnvFilter;

use crate::device::Raw;
use crate::support::{TestCloud, eventually, start};
use crate::webhooks;

/// Log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects the lines that `filter` admits, until the guard is dropped.
    fn start(filter: &str) -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        // Places that were reached before, on threads without a subscriber, are asked again.
        tracing::callsite::rebuild_interest_cache();
        (log, guard)
    }

    /// Returns the first line that contains `text`.
    fn line(&self, text: &str) -> Option<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = String::from_utf8_lossy(&bytes);
        all.lines().find(|line| line.contains(text)).map(str::to_owned)
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs SQL on the cloud's database, beside the cloud.
async fn run(cloud: &TestCloud, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(cloud.data().join("cloud.db"));
    let mut connection = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("connects");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closes");
}

/// Reaches the places of a request's lines, so that they are known, and asks them again whether they are wanted: a place that
/// another test reaches for the first time while this one starts its log may have missed it.
async fn reach_requests(cloud: &TestCloud) {
    cloud.request("GET", "/elsewhere", &[], b"").await;
    tracing::callsite::rebuild_interest_cache();
}

fn assert_has(line: &str, fields: &[String]) {
    for field in fields {
        assert!(line.contains(field.as_str()), "{field} is not in: {line}");
    }
}

#[tokio::test]
async fn a_line_of_a_request_carries_its_id_route_and_project() {
    let cloud = start().await;
    // The default of the program.
    let (log, _guard) = Log::start("warn");
    reach_requests(&cloud).await;
    run(&cloud, "ALTER TABLE groups RENAME TO nowhere").await;
    let headers = [&*cloud.bearer(), "X-Request-Id: seen-7"];
    let answer = cloud
        .request(
            "GET",
            "/v1.0/project/<project id>/deploymentgroups",
            &headers,
            b"",
        )
        .await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    let line = log
        .line("failed to handle a request")
        .expect("the failure is logged");
    let project = cloud.tenant.scope.project;
    assert_has(
        &line,
        &[
            "ERROR request{".to_owned(),
            "request.id=seen-7".to_owned(),
            "http.method=GET".to_owned(),
            "http.route=/v1.0/project/{project}/deploymentgroups".to_owned(),
            format!("project.id={project}"),
        ],
    );
    run(&cloud, "ALTER TABLE nowhere RENAME TO groups").await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_line_of_a_refusal_carries_the_context_even_without_a_route() {
    let cloud = start().await;
    let (log, _guard) = Log::start("off,iottly_web=debug");
    reach_requests(&cloud).await;
    let answer = cloud
        .request("GET", "/nowhere", &["X-Request-Id: lost-1"], b"")
        .await;
    assert_eq!(answer.status, 404, "{}", answer.text);
    let line = log.line("http.path=\"/nowhere\"").expect("the refusal is logged");
    assert!(line.contains("refused a request"), "{line}");
    assert_has(
        &line,
        &[
            "request.id=lost-1".to_owned(),
            "http.route=none".to_owned(),
            "http.path=\"/nowhere\"".to_owned(),
        ],
    );
    assert!(!line.contains("project.id"), "{line}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_line_of_an_ingest_group_carries_its_device() {
    let cloud = start().await;
    let (log, _guard) = Log::start("warn");
    let poison = "CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.channel = 'poison' \
                  BEGIN SELECT RAISE(ABORT, 'no'); END";
    run(&cloud, poison).await;
    let id = cloud.tenant.scope.device;
    let mut device = Raw::connect(cloud.mqtt_addr(), id, "device secret").await;
    let stream = StreamId::random();
    device.hello(&[(stream, StreamClass::History, 1, 2)]).await;
    let record = r#"{"message":{"type":"userdefined","at_ms":1,"channel":"poison","payload":{}}}"#;
    device.up(encode_batch(stream, 1, [record.as_bytes()])).await;
    let failed = "failed to commit a write of a device";
    eventually("the failure is logged", async || log.line(failed).is_some()).await;
    let line = log.line(failed).expect("found above");
    assert_has(
        &line,
        &[format!("ingest_group{{commit.events=1 device.id={id}}}")],
    );
    device.kill().await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_line_of_an_attempt_carries_webhook_and_message() {
    let cloud = webhooks::cloud().await;
    let (log, _guard) = Log::start("off,iottly_cloud=debug");
    let receiver = webhooks::receiver::Receiver::start().await;
    let (id, _) = webhooks::hook(&cloud, json!({}), &receiver.url()).await;
    webhooks::say(&cloud, 0..1).await;
    let made = "made an attempt to deliver a message";
    eventually("the attempt is logged", async || log.line(made).is_some()).await;
    let line = log.line(made).expect("found above");
    assert_has(
        &line,
        &[
            format!("webhook_attempt{{webhook.id={id} message.id="),
            "attempt=1}".to_owned(),
            "attempt.result=\"http_200\"".to_owned(),
            "elapsed_ms=".to_owned(),
        ],
    );
    cloud.shutdown().await;
}
