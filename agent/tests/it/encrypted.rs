//! The agent against a cloud behind TLS: ways through networks, certificates that are wrong, and clocks that are.

use std::path::Path;
use std::time::Duration;

use iottly_agent::{Agent, AgentHandle, LinkState, ProxyAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::peer::PATIENCE;
use crate::support::process::Process;
use crate::support::site::{HttpProxy, NAME, Policy, SECRET, Site, authority};
use crate::support::{online, push, unix_ms};

const DAY_MS: i64 = 86_400_000;

fn now() -> i64 {
    unix_ms().cast_signed()
}

fn expected(last: u64) -> Vec<String> {
    (1..=last).map(|n| format!("{{\"n\":{n}}}")).collect()
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let held = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, held).await.is_ok(),
        "never: {what}"
    );
}

/// Sends ten messages and waits until the cloud has them.
async fn deliver(agent: &AgentHandle, site: &Site) {
    push(&agent.outbox().expect("running"), 1..=10);
    eventually("all messages arrive", async || {
        site.payloads().await == expected(10)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_over_tls_and_in_a_websocket() {
    for scheme in ["mqtts", "wss"] {
        for host in ["localhost", "127.0.0.1"] {
            let site = Site::start(now()).await;
            let broker = format!("{scheme}://{host}:{}", site.address.port());
            let agent = Agent::start(site.config(&broker, site.folder.path().join("agent")))
                .await
                .expect("starts");
            online(&agent).await;
            deliver(&agent, &site).await;
            agent.shutdown().await;
            site.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_wants_a_password_is_passed() {
    let site = Site::start(now()).await;
    let proxy = HttpProxy::start(site.address, Policy::Any).await;
    let broker = format!("mqtts://{NAME}:443");
    let mut config = site.config(&broker, site.folder.path().join("agent"));
    let url = format!("http://me:open sesame@{}", proxy.address);
    config.proxy = Some(ProxyAddress::try_from(url).expect("a proxy"));
    let agent = Agent::start(config).await.expect("starts");
    online(&agent).await;
    deliver(&agent, &site).await;
    assert!(proxy.opened() >= 1);
    agent.shutdown().await;
    site.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_for_the_proxy_is_named_and_not_shown() {
    let site = Site::start(now()).await;
    let proxy = HttpProxy::start(site.address, Policy::Any).await;
    let text = site.config_text(&format!("mqtts://{NAME}:443"))
        + &format!("proxy = \"http://me:hunter2@{}\"\n", proxy.address);
    let dir = tempfile::tempdir().expect("a folder");
    let agent = Process::start_with(dir.path(), &dir.path().join("data"), &text);
    eventually("the log names the status", async || agent.log().contains("407")).await;
    assert!(proxy.refused() >= 1 && proxy.opened() == 0);
    assert!(!agent.log().contains("hunter2"), "{}", agent.log());
    site.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_lets_only_https_pass_is_passed_in_a_websocket() {
    let site = Site::start(now()).await;
    let proxy = HttpProxy::start(site.address, Policy::OnlyHttps).await;
    let mut config = site.config(&format!("mqtts://{NAME}:443"), site.folder.path().join("agent"));
    let url = format!("http://me:open sesame@{}", proxy.address);
    config.proxy = Some(ProxyAddress::try_from(url).expect("a proxy"));
    let agent = Agent::start(config).await.expect("starts");
    online(&agent).await;
    deliver(&agent, &site).await;
    assert!(proxy.opened() >= 2, "TLS was tried first");
    agent.shutdown().await;
    site.shutdown().await;
}

/// Runs the agent as a process until its log contains a text; it never comes online.
async fn fails_with(text: &str, config: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let agent = Process::start_with(dir.path(), &dir.path().join("data"), config);
    eventually(text, async || agent.log().contains(text)).await;
    let log = agent.log();
    assert!(!log.contains(SECRET), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_is_refused() {
    let site = Site::start(now()).await;
    let other = tempfile::tempdir().expect("a folder");
    let ca = authority(other.path(), now()).certificate();
    let broker = format!("mqtts://localhost:{}", site.address.port());
    let config = site
        .config_text(&broker)
        .replace(&site.ca().display().to_string(), &ca.display().to_string());
    fails_with("UnknownIssuer", &config).await;
    site.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_is_refused() {
    let site = Site::start(now()).await;
    let broker = format!("mqtts://127.0.0.2:{}", site.address.port());
    let listener = TcpListener::bind(("127.0.0.2", site.address.port()))
        .await
        .expect("a port");
    let target = site.address;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    fails_with("not valid for name", &site.config_text(&broker)).await;
    site.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused_and_the_error_names_the_clock() {
    let site = Site::start(now() - 400 * DAY_MS).await;
    let broker = format!("mqtts://localhost:{}", site.address.port());
    let log = fails_with("the certificate has expired", &site.config_text(&broker)).await;
    assert!(log.contains("the board's clock is wrong"), "{log}");
    site.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_whose_clock_is_behind_by_decades_connects() {
    // For such a board the certificate begins decades from now.
    let site = Site::start(now() + 40 * 365 * DAY_MS).await;
    let broker = format!("mqtts://localhost:{}", site.address.port());
    let agent = Agent::start(site.config(&broker, site.folder.path().join("agent")))
        .await
        .expect("starts");
    online(&agent).await;
    deliver(&agent, &site).await;
    agent.shutdown().await;
    site.shutdown().await;
}

/// Accepts a connection, answers what it hears with `answer`, and returns what it heard.
async fn heard(listener: &TcpListener, answer: &[u8]) -> Vec<u8> {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut bytes = vec![0; 8192];
    let count = stream.read(&mut bytes).await.expect("readable");
    bytes.truncate(count);
    let _ = stream.write_all(answer).await;
    let mut rest = vec![0; 8192];
    let more = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut rest)).await;
    if let Ok(Ok(count)) = more {
        bytes.extend(&rest[..count]);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_in_clear_to_a_server_without_tls() {
    let site = Site::start(now()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let broker = format!(
        "mqtts://127.0.0.1:{}",
        listener.local_addr().expect("an address").port()
    );
    let agent = Agent::start(site.config(&broker, site.folder.path().join("agent")))
        .await
        .expect("starts");
    // What a plain broker answers to a CONNECT, and a plain web server to a request.
    for answer in [
        &b"\x20\x02\x00\x00"[..],
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ] {
        let bytes = tokio::time::timeout(PATIENCE, heard(&listener, answer))
            .await
            .expect("in time");
        assert_eq!(bytes.first(), Some(&0x16), "a TLS handshake: {bytes:?}");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(SECRET) && !text.contains(&site.scope.device.to_string()));
    }
    assert_ne!(agent.status().borrow().link, LinkState::Online);
    agent.shutdown().await;
    // The plain listener of the cloud itself gets nothing either.
    let broker = format!("mqtts://127.0.0.1:{}", site.plain.port());
    let agent = Agent::start(site.config(&broker, site.folder.path().join("agent")))
        .await
        .expect("starts");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_ne!(agent.status().borrow().link, LinkState::Online);
    agent.shutdown().await;
    site.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_under_load_and_nothing_is_cut_or_lost() {
    const LAST: u64 = 3000;
    let site = Site::start(now()).await;
    let broker = format!("mqtts://localhost:{}", site.address.port());
    let agent = Agent::start(site.config(&broker, site.folder.path().join("agent")))
        .await
        .expect("starts");
    online(&agent).await;
    let mut status = agent.status();
    let outbox = agent.outbox().expect("running");
    for part in 0..30 {
        push(&outbox, part * 100 + 1..=(part + 1) * 100);
        if part % 10 == 5 {
            site.renew(now());
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    eventually("all messages arrive", async || {
        site.payloads().await == expected(LAST)
    })
    .await;
    // The link's state changed with no certificate.
    while status.has_changed().expect("the agent lives") {
        assert_eq!(status.borrow_and_update().link, LinkState::Online);
    }
    agent.shutdown().await;
    site.shutdown().await;
}

#[test]
fn the_folder_of_the_authority_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let tls = folder.path().join("tls");
    authority(&tls, now());
    let mode = |path: &Path| std::fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&tls), 0o700);
    for file in ["ca.key", "server.key"] {
        assert_eq!(mode(&tls.join(file)), 0o600, "{file}");
    }
}
