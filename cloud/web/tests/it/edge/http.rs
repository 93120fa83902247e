//! HTTP connections that wait for their client.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::{OK, PATIENCE, ask, closed_after, connect, idle, is_open, small};
use crate::support;

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_room_and_requests_are_answered() {
    let cloud = small(|_| {}).await;
    let mut silent = idle(cloud.address, 12).await;
    let mut open = 0;
    for stream in &mut silent {
        open += usize::from(is_open(stream).await);
    }
    assert!(open <= 4, "{open} connections of one address");
    for _ in 0..3 {
        assert_eq!(
            ask(&mut connect(cloud.address).await, "").await.as_deref(),
            Some(OK)
        );
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_answered_keeps_its_place() {
    let cloud = small(|_| {}).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = cloud
        .request("GET", "/p/<project id>/devices/<device id>", &[&cookie], b"")
        .await
        .text;
    let events = page
        .split("data-events=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a stream");
    let mut stream = cloud.listen(&events.replace("&amp;", "&"), &[&cookie]).await;
    stream.read_until("event: presence").await;
    let silent = idle(cloud.address, 12).await;
    let payload = r#"{"still":"here"}"#;
    cloud
        .store(cloud.tenant.scope, iottly_cloud::clock::now(), &[payload])
        .await;
    stream.read_until("still").await;
    drop(silent);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_is_not_waited_for() {
    let cloud = support::start().await;
    let bearer = cloud.bearer();
    let path = cloud.path("/v1.0/project/<project id>/device/<device id>/command");
    let half_head = "GET /healthz HTTP/1.1\r\nHost: x\r\nX-";
    let half_body = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"cmd"
    );
    let no_body = half_body.trim_end_matches("{\"cmd").to_owned();
    let waits = ["", half_head, &half_body, &no_body].map(|start| {
        let start = start.to_owned();
        let address = cloud.address;
        async move {
            let mut stream = connect(address).await;
            stream.write_all(start.as_bytes()).await.expect("sent");
            let (_, took) = closed_after(&mut stream).await;
            assert!(
                (Duration::from_secs(8)..Duration::from_secs(25)).contains(&took),
                "{start:?}: {took:?}"
            );
        }
    });
    let [a, b, c, d] = waits;
    tokio::join!(a, b, c, d);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_bytes_of_a_head_gain_no_time() {
    let cloud = support::start().await;
    let mut stream = connect(cloud.address).await;
    let (mut reader, mut writer) = stream.split();
    let drip = async {
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
            .iter()
            .chain(std::iter::repeat(&b'x'))
        {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let mut seen = Vec::new();
    tokio::select! {
        () = drip => {}
        _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut seen)) => {}
    }
    assert!(!String::from_utf8_lossy(&seen).contains("200"), "{seen:?}");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_many_requests_with_pauses() {
    let cloud = support::start().await;
    let mut stream = connect(cloud.address).await;
    for pause in [0, 100, 3000] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        assert_eq!(
            ask(&mut stream, "").await.as_deref(),
            Some(OK),
            "after {pause} ms"
        );
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_only_where_they_are_opened() {
    let cloud = support::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let plain = iottly_web::http::Server::start_without_metrics(listener, cloud.services.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let metrics_address = listener.local_addr().expect("an address");
    let metrics = iottly_web::http::Server::start_metrics(listener, cloud.services.clone());
    let get = async |address, path: &str, more: &str| {
        let mut stream = connect(address).await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        String::from_utf8_lossy(&closed_after(&mut stream).await.0).into_owned()
    };
    assert!(get(address, "/metrics", "").await.starts_with("HTTP/1.1 404"));
    assert!(get(address, "/healthz", "").await.starts_with(OK));
    assert!(
        get(metrics_address, "/metrics", "X-Forwarded-For: 192.0.2.1\r\n")
            .await
            .contains("iottly_process_memory_bytes")
    );
    assert!(
        get(metrics_address, "/healthz", "")
            .await
            .starts_with("HTTP/1.1 404")
    );
    plain.shutdown().await;
    metrics.shutdown().await;
    cloud.shutdown().await;
}
