//! Event streams of clients whose network is cut without a word. The test runs again in a network of its own, whose only
//! interface it can take down.

use std::process::Command;
use std::time::{Duration, Instant};

use iottly_web::STREAMS_PER_SESSION;

use crate::support::{self, EventReader, TestCloud};

/// Set for the run that has a network of its own.
const OWN_NETWORK: &str = "IOTTLY_OWN_NETWORK";
/// Cut that no stream is ended for.
const SHORT: Duration = Duration::from_secs(3);
/// Cut after which no client has its place anymore: the limit of 20 s and a little.
const LONG: Duration = Duration::from_secs(22);

#[test]
fn a_cut_stream_gives_its_place_up() {
    if std::env::var_os(OWN_NETWORK).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        return runtime.block_on(in_own_network());
    }
    let own = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", program]);
        command
    };
    let possible = own("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .is_ok_and(|status| status.success());
    if !possible {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI must have unshare, ip and user namespaces"
        );
        eprintln!("left out: no network namespace for this user");
        return;
    }
    let own_program = std::env::current_exe().expect("a path");
    let status = own(own_program.to_str().expect("a path in UTF-8"))
        .args([
            "--exact",
            "edge::cut::a_cut_stream_gives_its_place_up",
            "--nocapture",
        ])
        .env(OWN_NETWORK, "1")
        .status()
        .expect("started");
    assert!(status.success(), "the run in a network of its own failed");
}

async fn in_own_network() {
    network("up");
    let cloud = support::start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let mut held = Vec::new();
    for _ in 0..STREAMS_PER_SESSION {
        held.push(listen(&cloud, &cookie).await.expect("a place"));
    }
    assert!(listen(&cloud, &cookie).await.is_none(), "all places are taken");

    cut(SHORT).await;
    assert!(
        listen(&cloud, &cookie).await.is_none(),
        "a short cut ends no stream"
    );
    let payload = r#"{"still":"here"}"#;
    cloud
        .store(cloud.tenant.scope, iottly_cloud::clock::now(), &[payload])
        .await;
    for stream in &mut held {
        stream.read_until("still").await;
    }

    cut(LONG).await;
    let back = Instant::now();
    let mut new = Vec::new();
    for _ in 0..STREAMS_PER_SESSION {
        new.push(listen(&cloud, &cookie).await.expect("the places are free"));
    }
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "at once: {:?}",
        back.elapsed()
    );
    // The clients of the cut streams have ended nothing, and are there to the end.
    drop(held);
    cloud.shutdown().await;
}

/// Opens a stream; `None` if there is no place.
async fn listen(cloud: &TestCloud, cookie: &str) -> Option<EventReader> {
    let path = "/p/<project id>/events?devices=<device id>";
    let mut stream = cloud.listen(path, &[cookie]).await;
    stream.read_until("\r\n").await;
    if stream.seen.starts_with("HTTP/1.1 429") {
        return None;
    }
    stream.read_until("event: presence").await;
    Some(stream)
}

/// Takes the network away for a time.
async fn cut(time: Duration) {
    network("down");
    tokio::time::sleep(time).await;
    network("up");
}

fn network(state: &str) {
    let status = Command::new("ip").args(["link", "set", "lo", state]).status();
    assert!(status.expect("ip runs").success(), "lo {state}");
}
