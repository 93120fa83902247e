//! `iottly serve` on a fresh machine: one port behind TLS with nothing configured, a board that reaches it, and nothing in
//! clear beyond this machine unasked.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use iottly_e2e::{Process, agent_program, beside_others, iottly, program, wait_for};
use serde_json::Value;
use sha2::{Digest, Sha256};

struct Cloud {
    dir: tempfile::TempDir,
    process: Process,
    ready: Value,
}

impl Cloud {
    fn start(dir: tempfile::TempDir, args: &[&str]) -> Self {
        let mut command = Command::new(program());
        command
            .args(["serve", "--json", "--data"])
            .arg(dir.path().join("cloud"))
            .args(args);
        let log = dir.path().join("log");
        let (process, ready) = Process::start_until_ready_with_log("the cloud", &mut command, &log);
        Self { dir, process, ready }
    }

    fn restart(self, args: &[&str]) -> Self {
        let Self { dir, process, .. } = self;
        process.terminate();
        Self::start(dir, args)
    }

    fn text(&self, key: &str) -> String {
        self.ready[key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key}: {}", self.ready))
            .to_owned()
    }

    fn port(&self) -> u16 {
        let https = self.text("https");
        https.rsplit(':').next().expect("a port").parse().expect("a port")
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("a path").to_owned()
    }

    /// Asks with curl, which trusts the authority only.
    fn curl(&self, path: &str) -> String {
        let out = Command::new("curl")
            .args([
                "-sS",
                "--noproxy",
                "*",
                "--cacert",
                &self.file("cloud/tls/ca.pem"),
            ])
            .arg(format!("https://localhost:{}{path}", self.port()))
            .output()
            .expect("curl runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("exists").permissions().mode() & 0o777
}

#[test]
fn a_board_reaches_a_cloud_that_nobody_configured() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("a folder");
    let cloud = Cloud::start(dir, &["--listen", "127.0.0.1:0"]);
    let fingerprint = cloud.text("fingerprint");
    assert!(fingerprint.len() == 64 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(cloud.ready["mqtt"], Value::Null, "nothing listens in clear");
    assert_eq!(cloud.ready["metrics"], Value::Null);
    let data = cloud.dir.path().join("cloud");
    assert_eq!(mode(&data.join("tls")), 0o700);
    for key in ["ca.key", "server.key"] {
        assert_eq!(mode(&data.join("tls").join(key)), 0o600, "{key}");
    }
    assert!(cloud.curl("/metrics").contains("not_found"), "metrics are closed");
    assert!(cloud.curl("/healthz").len() < 100);

    let (out, board) = (cloud.file("board"), format!("mqtts://localhost:{}", cloud.port()));
    let (_, made, error) = iottly(
        &[
            "provision",
            "--data",
            data.to_str().expect("a path"),
            "--project",
            "home",
            "--device",
            "porch",
            "--out",
            &out,
            "--broker",
            &board,
        ],
        "",
    );
    let made: Value = serde_json::from_str(&made).unwrap_or_else(|_| panic!("{error}"));
    let token = made["token"].as_str().expect("a token").to_owned();
    let (project, device) = (
        made["project_id"].as_str().expect("an id"),
        made["device_id"].as_str().expect("an id"),
    );
    // The board has keys of its own from the start, as an enrolled one.
    let config = std::fs::read_to_string(format!("{out}/agent.toml")).expect("a configuration");
    assert_eq!(config, "firmware = \"firmware.wasm\"\n");
    std::fs::write(format!("{out}/agent.toml"), "").expect("written");
    for file in ["identity/0", "ca.pem", "root.json"] {
        assert_eq!(mode(Path::new(&format!("{out}/{file}"))), 0o600, "{file}");
    }
    let mut command = Command::new(agent_program());
    command.args(["run", "--data", &out]);
    let agent = Process::start("the agent", &mut command);
    let connected = || {
        let out = Command::new("curl")
            .args([
                "-sS",
                "--noproxy",
                "*",
                "--cacert",
                &cloud.file("cloud/tls/ca.pem"),
            ])
            .args(["-H", &format!("Authorization: Bearer {token}")])
            .arg(format!(
                "https://localhost:{}/v1.0/project/{project}/device/{device}/props",
                cloud.port()
            ))
            .output()
            .expect("curl runs");
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        out.contains("\"connected\"").then_some(out)
    };
    let shown = wait_for("the board to connect", connected);

    assert!(!shown.contains("legacy"), "{shown}");
    agent.terminate();

    // The authority stays over a restart, so the board still trusts the cloud.
    let cloud = cloud.restart(&[
        "--listen",
        "127.0.0.1:0",
        "--name",
        "cloud.example",
        "--metrics",
        "127.0.0.1:0",
    ]);
    assert_eq!(cloud.text("fingerprint"), fingerprint);
    let metrics = Command::new("curl")
        .args(["-sS", "--noproxy", "*", &cloud.text("metrics")])
        .output()
        .expect("curl runs");
    let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
    let end = metrics
        .lines()
        .find_map(|line| line.strip_prefix("iottly_tls_certificate_end_timestamp_seconds "))
        .unwrap_or_else(|| panic!("no end: {metrics}"));
    assert!(end.parse::<u64>().expect("seconds") > 1_750_000_000, "{end}");
    cloud.process.terminate();
}

#[test]
fn given_certificates_are_used_and_their_end_is_warned_of() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("a folder");
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let now = time::OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (
        now - Duration::from_secs(3600),
        now + Duration::from_secs(3 * 86_400),
    );
    let pair = rcgen::KeyPair::generate().expect("a key");
    let made = params.self_signed(&pair).expect("a certificate");
    std::fs::write(dir.path().join("c.pem"), made.pem()).expect("written");
    std::fs::write(dir.path().join("k.pem"), pair.serialize_pem()).expect("written");
    let shown: String = Sha256::digest(made.der())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let file = |name: &str| dir.path().join(name).to_str().expect("a path").to_owned();
    let (cert, key, log) = (file("c.pem"), file("k.pem"), file("log"));
    let cloud = Cloud::start(
        dir,
        &["--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key],
    );
    assert_eq!(cloud.text("fingerprint"), shown);
    assert!(
        !cloud.dir.path().join("cloud/tls").exists(),
        "no authority of its own"
    );
    wait_for("the warning", || {
        let log = std::fs::read_to_string(&log).expect("a log");
        log.contains("the certificate expires soon").then_some(())
    });
    cloud.process.terminate();
}

#[test]
fn nothing_is_offered_in_clear_to_other_machines_unasked() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("a folder");
    for option in ["--http", "--mqtt"] {
        let out = Command::new(program())
            .args(["serve", option, "0.0.0.0:0", "--data"])
            .arg(dir.path().join("cloud"))
            .output()
            .expect("it runs");
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{error}");
        assert!(
            error.contains("--listen 0.0.0.0:0") && error.contains("--insecure"),
            "{error}"
        );
    }
    let cloud = Cloud::start(dir, &["--http", "0.0.0.0:0", "--insecure"]);
    let log = cloud.file("log");
    wait_for("the warning", || {
        let log = std::fs::read_to_string(&log).expect("a log");
        log.contains("in clear").then_some(())
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(cloud.ready["https"], Value::Null);
    cloud.process.terminate();
}
