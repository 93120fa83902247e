//! Sockets that speak just enough of a protocol, and measure the time until they are closed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iottly_cloud::CloudConfig;
use iottly_cloud::edge::ConnectionBounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{self, TestCloud};

/// Longer than any operation takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a cloud with few places.
pub(crate) async fn small(configure: impl FnOnce(&mut CloudConfig)) -> TestCloud {
    support::start_config(|config| {
        config.edge.bounds = ConnectionBounds {
            devices: 8,
            devices_per_project: 6,
            logins: 8,
            logins_per_address: 4,
            http: 8,
            http_per_address: 4,
        };
        configure(config);
    })
    .await
}

/// Starts a cloud that trusts proxies on this machine.
pub(crate) async fn behind_proxies() -> TestCloud {
    small(|config| config.edge.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")]).await
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connected")
}

/// Opens connections and keeps them until they are older than the minimum time for which each keeps its
/// place.
pub(crate) async fn idle(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(connect(address).await);
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    all
}

/// Reads to the end of a connection that the other side closes, and returns the bytes with the time that it
/// took.
pub(crate) async fn closed_after(stream: &mut TcpStream) -> (Vec<u8>, Duration) {
    let (mut seen, began) = (Vec::new(), Instant::now());
    // A reset is an end as well.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut seen))
        .await
        .expect("the connection is closed");
    (seen, began.elapsed())
}

/// Returns true while the other side has not closed the connection.
pub(crate) async fn is_open(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(Duration::from_millis(50), stream.read_u8())
        .await
        .is_err()
}

/// Returns a CONNECT of MQTT 3.1.1 with a clean session.
pub(crate) fn mqtt_connect(client_id: &str, user: &str, secret: &str) -> Vec<u8> {
    let text = |text: &str| {
        [
            &u16::try_from(text.len()).expect("short").to_be_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    };
    let body = [
        &text("MQTT")[..],
        &[4, 0xc2, 0, 30],
        &text(client_id),
        &text(user),
        &text(secret),
    ]
    .concat();
    let (mut packet, mut rest) = (vec![0x10], body.len());
    loop {
        let byte = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        packet.push(if rest == 0 { byte } else { byte | 0x80 });
        if rest == 0 {
            break;
        }
    }
    [packet, body].concat()
}

/// Sends bytes and returns the reason in the CONNACK; `None` when the connection is closed instead.
pub(crate) async fn connack(stream: &mut TcpStream, bytes: &[u8]) -> Option<u8> {
    stream.write_all(bytes).await.expect("sent");
    let mut answer = [0; 4];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer))
        .await
        .expect("an answer or an end");
    read.ok().map(|_| {
        assert_eq!(answer[..2], [0x20, 2], "a CONNACK");
        answer[3]
    })
}

/// Logs a device in and returns the reason.
pub(crate) async fn login(cloud: &TestCloud, secret: &str) -> Option<u8> {
    let device = cloud.tenant.scope.device.to_string();
    connack(
        &mut connect(cloud.mqtt_addr().expect("a listener")).await,
        &mqtt_connect(&device, &device, secret),
    )
    .await
}

/// Sends a request on a connection that stays open, and returns the response's status line; `None` when the
/// connection is closed instead.
pub(crate) async fn ask(stream: &mut TcpStream, head: &str) -> Option<String> {
    stream
        .write_all(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{head}\r\n").as_bytes())
        .await
        .ok()?;
    let read = async {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\"}\n") {
            let mut buffer = [0; 1024];
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => seen.extend_from_slice(&buffer[..count]),
                _ => return None,
            }
        }
        Some(
            String::from_utf8_lossy(&seen)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("an answer or an end")
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK";
