//! Mails about alerts, against a real mail server: delivered once with the right headers, later when the server is down or busy,
//! refused with its reason, never without encryption, and again with the same id after a crash.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use iottly_cloud::mails::MailConfig;
use iottly_cloud::{Cloud, clock};
use iottly_core::mail::MailServer;
use iottly_core::model::{MailState, UnixMs};
use iottly_protocol::Secret;
use iottly_web::http::Authority;
use serde_json::{Value, json};

use crate::presence::Device;
use crate::support::{TestCloud, eventually, start, start_config};

/// Interpreter of Debian, which finds the packages of Debian.
const PYTHON: &str = "/usr/bin/python3";
const ALERTS: &str = "/v1.0/project/<project id>/alerts";

/// Returns true if the mail server is installed. Under CI it must be.
fn is_installed() -> bool {
    let found = Command::new(PYTHON)
        .args(["-c", "import aiosmtpd"])
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(
        found || std::env::var("CI").as_deref() != Ok("true"),
        "python3-aiosmtpd is missing"
    );
    found
}

/// A mail server that does not outlive its test.
struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    security: &'static str,
    certificate: Vec<PathBuf>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(security: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = if security == "plain" {
            Vec::new()
        } else {
            let names = ["localhost".to_owned()];
            let authority = Authority::open(folder.path(), &names, clock::now()).expect("an authority");
            let (cert, key) = authority.server();
            vec![cert, key]
        };
        let (child, port) = Self::run(folder.path(), security, 0, &certificate);
        Self {
            child,
            port,
            folder,
            security,
            certificate,
        }
    }

    fn run(folder: &Path, security: &str, port: u16, certificate: &[PathBuf]) -> (Child, u16) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/smtp_server.py");
        let mut child = Command::new(PYTHON)
            .arg(script)
            .arg(folder)
            .arg(security)
            .arg(port.to_string())
            .args(certificate)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mail server starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("its port");
        (child, line.trim().parse().expect("a port"))
    }

    /// Ends the server; `start_again` brings it back at the same port.
    fn stop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    fn start_again(&mut self) {
        (self.child, _) = Self::run(self.folder.path(), self.security, self.port, &self.certificate);
    }

    fn replies(&self, reply: &str) {
        std::fs::write(self.folder.path().join("reply"), reply).expect("written");
    }

    fn hangs(&self, hangs: bool) {
        let file = self.folder.path().join("hang");
        if hangs {
            std::fs::write(file, "").expect("written");
        } else {
            std::fs::remove_file(file).expect("removed");
        }
    }

    fn taken(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("taken")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn config(&self, scheme: &str, password: &str) -> MailConfig {
        let user = if scheme == "smtp+plain" { "" } else { "iot@" };
        let url = format!("{scheme}://{user}localhost:{}", self.port);
        let server = MailServer::parse(&url, false).expect("a server");
        let password = server.user.is_some().then(|| Secret::new(password));
        let config = MailConfig::new(server, password, "iot@example.org", &[]).expect("settings");
        if self.certificate.is_empty() {
            return config;
        }
        let ca = std::fs::read(self.folder.path().join("ca.pem")).expect("the authority");
        config.with_authority(&ca).expect("a certificate")
    }

    async fn cloud(&self, scheme: &str) -> TestCloud {
        let mails = self.config(scheme, "mail-password");
        start_config(|config| {
            config.presence_grace = Duration::from_millis(200);
            config.mails = Some(mails);
        })
        .await
    }
}

async fn test_mail(cloud: &TestCloud, to: &str) -> crate::support::Answer {
    cloud
        .post(&format!("{ALERTS}/mails"), &json!({"to": to}).to_string())
        .await
}

async fn mails(cloud: &TestCloud) -> Vec<Value> {
    let listed = cloud.get(&format!("{ALERTS}/mails")).await.ok();
    listed["mails"].as_array().expect("mails").clone()
}

async fn becomes(cloud: &TestCloud, state: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} {state}"), || async {
        mails(cloud)
            .await
            .iter()
            .filter(|mail| mail["state"] == state)
            .count()
            == count
    })
    .await;
    mails(cloud).await
}

/// Returns the value of a header, unfolded.
fn header(mail: &Value, name: &str) -> Option<String> {
    let data = mail["data"].as_str().expect("text").replace("\r\n ", " ");
    let (head, _) = data.split_once("\r\n\r\n")?;
    let prefix = format!("{name}: ");
    head.split("\r\n")
        .find_map(|line| line.strip_prefix(&prefix))
        .map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raise_and_its_end_are_delivered_once_over_tls() {
    if !is_installed() {
        return;
    }
    for (security, scheme) in [("tls", "smtps"), ("starttls", "smtp")] {
        let server = Server::start(security);
        let cloud = server.cloud(scheme).await;
        let rule = json!({"name": "away\u{202e}", "condition": "offline", "after_ms": 1000, "mails": ["anne@example.org", "anne@example.org"]});
        cloud
            .post(&format!("{ALERTS}/rules"), &rule.to_string())
            .await
            .ok();
        drop(Device::connect(&cloud, 30).await);
        becomes(&cloud, "sent", 1).await;
        let device = Device::connect(&cloud, 30).await;
        let shown = becomes(&cloud, "sent", 2).await;
        assert_eq!(shown[0]["kind"], "cleared");
        assert_eq!(shown[0]["attempts"], 1);
        let taken = server.taken();
        assert_eq!(taken.len(), 2, "{taken:?}");
        for mail in &taken {
            assert_eq!(mail["encrypted"], true);
            assert_eq!(mail["user"], "iot");
            assert_eq!(
                (&mail["from"], &mail["to"]),
                (&json!("iot@example.org"), &json!(["anne@example.org"]))
            );
            assert_eq!(header(mail, "To").as_deref(), Some("anne@example.org"));
            assert_eq!(header(mail, "Auto-Submitted").as_deref(), Some("auto-generated"));
            assert!(header(mail, "Date").is_some());
        }
        let id = header(&taken[0], "Message-ID").expect("an id");
        assert!(id.starts_with('<') && id.ends_with("@example.org>"), "{id}");
        assert_eq!(header(&taken[1], "In-Reply-To"), Some(id.clone()));
        assert_ne!(header(&taken[1], "Message-ID"), Some(id));
        let subject = header(&taken[0], "Subject").expect("a subject");
        assert!(subject.starts_with("[iottly] raised: away"), "{subject}");
        drop(device);
        cloud.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_or_busy_gets_the_mail_later_and_a_refusal_is_final() {
    if !is_installed() {
        return;
    }
    let mut server = Server::start("plain");
    let cloud = server.cloud("smtp+plain").await;
    server.stop();
    test_mail(&cloud, "anne@example.org").await.ok();
    eventually("an attempt", || async { mails(&cloud).await[0]["attempts"] == 1 }).await;
    let waiting = &mails(&cloud).await[0];
    assert_eq!(waiting["state"], "queued");
    let reason = waiting["reason"].as_str().expect("a reason");
    assert!(reason.contains("connecting to the mail server"), "{reason}");
    assert!(waiting["next"].is_object());
    server.replies("451 busy, try again");
    server.start_again();
    // The pause is ten seconds and up to a quarter more, and twice that after the second attempt.
    let attempts = async |count: u64, patience: u64| {
        for _ in 0..patience * 10 {
            if mails(&cloud).await[0]["attempts"].as_u64() >= Some(count) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no attempt {count}: {:?}", mails(&cloud).await);
    };
    attempts(2, 40).await;
    let busy = mails(&cloud).await;
    assert_eq!(busy[0]["state"], "queued", "{busy:?}");
    assert!(
        busy[0]["reason"].as_str().expect("a reason").contains("451"),
        "{busy:?}"
    );
    assert!(server.taken().is_empty());
    server.replies("");
    attempts(3, 60).await;
    becomes(&cloud, "sent", 1).await;
    assert_eq!(server.taken().len(), 1);
    server.replies("550 no such user here");
    test_mail(&cloud, "ben@example.org").await.ok();
    let shown = becomes(&cloud, "refused", 1).await;
    assert_eq!(shown[0]["to"], "ben@example.org");
    assert!(
        shown[0]["reason"]
            .as_str()
            .expect("a reason")
            .contains("no such user here"),
        "{shown:?}"
    );
    assert_eq!(shown[0]["attempts"], 1);
    let metrics = cloud.services.metrics.text((0, 0), 0).expect("text");
    for line in [
        r#"iottly_mails_total{result="retried"} 2"#,
        r#"iottly_mails_total{result="sent"} 1"#,
        r#"iottly_mails_total{result="refused"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let audit = cloud.get("/v1.0/project/<project id>/auditlog").await;
    assert!(
        audit.text.contains("mail.test") && audit.text.contains("ben@example.org"),
        "{}",
        audit.text
    );
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_without_encryption_to_a_stranger_or_with_a_wrong_password() {
    if !is_installed() {
        return;
    }
    let plain = Server::start("plain");
    let tls = Server::start("tls");
    // Trusts public authorities only.
    let url = format!("smtps://iot@localhost:{}", tls.port);
    let server = MailServer::parse(&url, false).expect("a server");
    let password = Some(Secret::new("mail-password"));
    let stranger = MailConfig::new(server, password, "iot@example.org", &[]).expect("settings");
    for (config, reason) in [
        (plain.config("smtp", "mail-password"), "no STARTTLS"),
        (stranger, "certificate"),
        (tls.config("smtps", "wrong"), "logging in"),
    ] {
        let cloud = start_config(|cloud| cloud.mails = Some(config)).await;
        test_mail(&cloud, "anne@example.org").await.ok();
        eventually("an attempt", || async { mails(&cloud).await[0]["attempts"] == 1 }).await;
        let shown = mails(&cloud).await;
        let found = shown[0]["reason"].as_str().expect("a reason").to_lowercase();
        assert!(found.contains(&reason.to_lowercase()), "{reason}: {found}");
        assert_eq!(shown[0]["state"], "queued");
        cloud.shutdown().await;
    }
    assert!(plain.taken().is_empty() && tls.taken().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_delivery_and_its_record_sends_the_same_mail_again() {
    if !is_installed() {
        return;
    }
    let server = Server::start("plain");
    let cloud = server.cloud("smtp+plain").await;
    server.hangs(true);
    test_mail(&cloud, "anne@example.org").await.ok();
    eventually("a delivery", || async { server.taken().len() == 1 }).await;
    // The server has the mail, and the cloud does not know it.
    let (mut config, scope, folder) = cloud.stop().await;
    server.hangs(false);
    config.mails = Some(server.config("smtp+plain", ""));
    let again = Cloud::start(config).await.expect("starts");
    eventually("another delivery", || async { server.taken().len() == 2 }).await;
    let store = again.services().store;
    eventually("the record", || async {
        let mails = store.alert_mails(scope.project, 10).await.expect("reads");
        mails.len() == 1 && mails[0].state == MailState::Sent
    })
    .await;
    let taken = server.taken();
    assert_eq!(header(&taken[0], "Message-ID"), header(&taken[1], "Message-ID"));
    assert_eq!(taken[0]["data"], taken[1]["data"]);
    again.shutdown().await;
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_decides_who_gets_mails_and_the_page_shows_how_they_end() {
    let cloud = start().await;
    let refused = test_mail(&cloud, "anne@example.org").await.error(400);
    assert!(refused.contains("this cloud sends no mails"), "{refused}");
    let listed = cloud.get(&format!("{ALERTS}/mails")).await.ok();
    assert_eq!((&listed["mails"], &listed["allowed"]), (&json!([]), &Value::Null));
    let cookie = cloud.login(&cloud.tenant.token).await;
    let base = cloud.path("/p/<project id>/alerts");
    let page = cloud.request("GET", &base, &[&cookie], b"").await.text;
    assert!(!page.contains("Send a test mail"), "{page}");
    cloud.shutdown().await;

    if !is_installed() {
        return;
    }
    let server = Server::start("plain");
    let cloud = server.cloud("smtp+plain").await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let base = cloud.path("/p/<project id>/alerts");
    for address in ["anne@other.org", "anne@example.org\r\nBcc: x@example.org", "anne"] {
        test_mail(&cloud, address).await.error(400);
        let rule = json!({"name": "r", "condition": "gap", "mails": [address]});
        let refused = cloud
            .post(&format!("{ALERTS}/rules"), &rule.to_string())
            .await
            .error(400);
        assert!(refused.contains("mail"), "{refused}");
    }
    let many: Vec<_> = (0..11).map(|n| format!("a{n}@example.org")).collect();
    let rule = json!({"name": "r", "condition": "gap", "mails": many});
    cloud
        .post(&format!("{ALERTS}/rules"), &rule.to_string())
        .await
        .error(400);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let post = async |path: &str, body: &str| {
        let path = format!("{base}{path}");
        cloud
            .request("POST", &path, &[&cookie, form], body.as_bytes())
            .await
    };
    assert_eq!(post("/mails", "to=anne%40example.org").await.status, 303);
    let refused = post("/mails", "to=anne%40other.org").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("its operator allows *@example.org"),
        "{}",
        refused.text
    );
    becomes(&cloud, "sent", 1).await;
    let added = post(
        "/rules",
        "name=warm&condition=value&filter=temp%3E30&clear=temp%3C28&mails=anne%40example.org%2C+ben%40example.org",
    );
    assert_eq!(added.await.status, 303);
    let page = cloud.request("GET", &base, &[&cookie], b"").await.text;
    for shown in [
        "Send a test mail",
        "[iottly] test:",
        "mails to anne@example.org, ben@example.org",
        "{&quot;temp&quot;:{&quot;$gt&quot;:30}}",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    // A short form means the same as the JSON that it stands for.
    let rules = cloud.get(&format!("{ALERTS}/rules")).await.ok();
    assert_eq!(rules["rules"][0]["filter"], json!({"temp": {"$gt": 30}}));
    let now: UnixMs = clock::now();
    cloud.store(cloud.tenant.scope, now, &[r#"{"temp":31}"#]).await;
    becomes(&cloud, "sent", 3).await;
    cloud.shutdown().await;
}
