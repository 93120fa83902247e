//! A tenant's filters, long messages and slow reading do not affect other tenants.

use crate::support;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use support::{TestCloud, start, tenant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// `{"s":{"$regex":"1[01]{200}x"}}`: its automaton has more states than there are atoms.
const EXPENSIVE: &str = "%7B%22s%22%3A%7B%22%24regex%22%3A%221%5B01%5D%7B200%7Dx%22%7D%7D";
/// `{"nothing":1}`.
const NOTHING: &str = "%7B%22nothing%22%3A1%7D";
const MESSAGES: &str = "/v1.0/project/<project id>/messages/<device id>";
const EXPORT: &str = "/v1.0/project/<project id>/device/<device id>/messages/export";
const PAGINATED: &str = "/v1.0/project/<project id>/device/<device id>/messages/paginated";
/// Far longer than any operation takes here, far shorter than it took without limits.
const SOON: Duration = Duration::from_secs(20);

/// Returns a message of a million random digits.
fn digits() -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if state >> 62 & 1 == 1 { '1' } else { '0' }
    };
    format!(r#"{{"s":"{}"}}"#, (0..1_000_000).map(next).collect::<String>())
}

async fn long_messages(cloud: &TestCloud, count: usize) {
    let long = format!(r#"{{"s":"{}"}}"#, "x".repeat(1_040_000));
    let payloads = vec![long.as_str(); count];
    assert!(
        cloud
            .store(cloud.tenant.scope, 1_492_597_597_019, &payloads)
            .await
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expensive_filter_is_refused_and_stops_nobody() {
    let cloud = Arc::new(start().await);
    assert!(
        cloud
            .store(cloud.tenant.scope, 1_492_597_597_019, &[&digits()])
            .await
            .is_empty()
    );
    let other = tenant(&cloud.services, "another").await;
    let attack: Vec<_> = (0..20)
        .map(|n| {
            let cloud = Arc::clone(&cloud);
            let path = if n % 2 == 0 { MESSAGES } else { EXPORT };
            tokio::spawn(async move { cloud.get(&format!("{path}?queryJson={EXPENSIVE}")).await })
        })
        .collect();
    let others = async {
        for at in 0..20 {
            assert!(
                cloud
                    .store(other.scope, 1_492_597_600_000 + at, &["{}"])
                    .await
                    .is_empty()
            );
            assert_eq!(cloud.get("/v1.0/ping").await.status, 200);
        }
        let path = format!(
            "/v1.0/project/{}/messages/{}?queryJson={NOTHING}",
            other.scope.project, other.scope.device
        );
        let answer = cloud
            .request(
                "GET",
                &path,
                &[&format!("Authorization: Bearer {}", other.token)],
                b"",
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    tokio::time::timeout(SOON, others)
        .await
        .expect("others are served meanwhile");
    let (mut expensive, mut refused) = (0, 0);
    for one in attack {
        let answer = one.await.expect("no panic");
        let body = answer.json();
        match (answer.status, body["code"].as_str()) {
            (400, Some("filter_too_expensive")) => {
                assert_eq!(body["path"], "payload.s");
                expensive += 1;
            }
            (429, Some("too_many_requests")) => refused += 1,
            _ => panic!("{} {}", answer.status, answer.text),
        }
    }
    assert!(
        expensive >= 1 && expensive + refused == 20,
        "{expensive} {refused}"
    );
    assert!(refused >= 1, "no more than eight of a project wait");
    Arc::into_inner(cloud)
        .expect("the only reference")
        .shutdown()
        .await;
}

#[tokio::test]
async fn who_goes_away_gives_the_turn_back() {
    let cloud = start().await;
    assert!(
        cloud
            .store(cloud.tenant.scope, 1_492_597_597_019, &[&digits()])
            .await
            .is_empty()
    );
    for _ in 0..30 {
        let mut stream = TcpStream::connect(cloud.address).await.expect("connected");
        let path = cloud.path(&format!("{MESSAGES}?queryJson={EXPENSIVE}"));
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", cloud.bearer());
        stream.write_all(head.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let free = async {
        while cloud.get(&format!("{MESSAGES}?queryJson={NOTHING}")).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, free)
        .await
        .expect("the turns are free again");
    cloud.shutdown().await;
}

#[tokio::test]
async fn long_messages_come_in_pages_of_bounded_length_and_all_of_them() {
    let cloud = start().await;
    long_messages(&cloud, 12).await;
    let (mut seen, mut pages, mut before) = (Vec::new(), 0, String::new());
    loop {
        let answer = cloud.get(&format!("{MESSAGES}?numMessages=100{before}")).await;
        assert!(
            answer.status == 200 && answer.text.len() < 6 << 20,
            "{} bytes",
            answer.text.len()
        );
        let body = answer.json();
        seen.extend(
            body["messages"]
                .as_array()
                .expect("messages")
                .iter()
                .map(|message| message["seq"].clone()),
        );
        pages += 1;
        match body["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    let timestamps = |text: &str| {
        let body: Value = serde_json::from_str(text).expect("JSON");
        body["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|one| one["timestamp"].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    assert!(seen.len() == 12 && pages >= 3, "{} in {pages}", seen.len());
    let page = timestamps(&cloud.get(&format!("{PAGINATED}?l=100")).await.unchunked());
    assert!(page.len() == 12 && page.is_sorted_by(|a, b| a > b), "{page:?}");
    let page = timestamps(&cloud.get(&format!("{PAGINATED}?l=10&p=2&sort=asc")).await.text);
    assert!(page.len() == 2 && page.is_sorted(), "{page:?}");
    let export = cloud.get(EXPORT).await.unchunked();
    assert_eq!(
        export
            .lines()
            .filter(|line| serde_json::from_str::<Value>(line).is_ok())
            .count(),
        12
    );
    let matching = cloud
        .get(&format!(
            "{MESSAGES}?numMessages=100&queryJson=%7B%22type%22%3A%22userdefined%22%7D"
        ))
        .await
        .json();
    assert!(matching["next"].is_string() && !matching["messages"].as_array().expect("messages").is_empty());
    cloud.shutdown().await;
}

#[tokio::test]
async fn who_does_not_read_long_answers_gets_no_more_of_them() {
    let cloud = start().await;
    long_messages(&cloud, 8).await;
    let mut silent = Vec::new();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(cloud.address).await.expect("connected");
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n",
            cloud.path(EXPORT),
            cloud.bearer()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        tokio::time::timeout(SOON, stream.read_exact(&mut status))
            .await
            .expect("in time")
            .expect("a status");
        silent.push((String::from_utf8_lossy(&status).into_owned(), stream));
    }
    let count = |wanted: &str| {
        silent
            .iter()
            .filter(|(status, _)| status.ends_with(wanted))
            .count()
    };
    assert!(
        count("200") >= 4 && count("429") >= 15 && count("200") + count("429") == 30,
        "{} {}",
        count("200"),
        count("429")
    );
    let other = tenant(&cloud.services, "another").await;
    let path = format!(
        "/v1.0/project/{}/device/{}/messages/export",
        other.scope.project, other.scope.device
    );
    assert_eq!(
        cloud
            .request(
                "GET",
                &path,
                &[&format!("Authorization: Bearer {}", other.token)],
                b""
            )
            .await
            .status,
        200
    );
    drop(silent);
    let again = async {
        while cloud.get(EXPORT).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, again)
        .await
        .expect("what is not read any more is not counted");
    cloud.shutdown().await;
}
