//! One listener carries HTTPS, MQTT over TLS and MQTT over WebSocket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use iottly_protocol::DeviceId;
use iottly_web::http::{Authority, Server, tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::board::group;
use crate::support::{TIMEOUT, TestCloud, start};

const SECRET: &str = "device secret";

/// WebSocket of a device.
type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Cloud with a second HTTP server on one port.
struct Site {
    cloud: TestCloud,
    server: Server,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

async fn with_tls() -> Site {
    let (cloud, folder) = (start().await, tempfile::tempdir().expect("a folder"));
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let authority = Authority::open(folder.path(), &names, iottly_cloud::clock::now()).expect("an authority");
    let (cert, key) = authority.server();
    let (listener, address) = bind().await;
    let certificate = tls(&cert, &key).expect("a certificate");
    let server = Server::start_tls(listener, cloud.services.clone(), certificate).expect("serves");
    Site {
        cloud,
        server,
        address,
        folder,
    }
}

fn trusting(ca: &Path, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).expect("a certificate"))
        .expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Codes of a CONNACK (MQTT 3.1.1, section 3.2.2.3).
const ACCEPTED: u8 = 0;
const WRONG_PASSWORD: u8 = 4;
const NOT_AUTHORIZED: u8 = 5;
const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];

/// Returns the CONNECT of a device, as any client sends it.
fn connect_packet(id: &str, secret: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04\xc2\0\x3c".to_vec();
    for text in [id, id, secret] {
        body.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
        body.extend(text.as_bytes());
    }
    let mut packet = vec![0x10, u8::try_from(body.len()).expect("short")];
    packet.append(&mut body);
    packet
}

/// Returns a SUBSCRIBE for a filter.
fn subscribe_packet(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(u16::try_from(filter.len()).expect("short").to_be_bytes());
    body.extend(filter.as_bytes());
    body.push(1);
    let mut packet = vec![0x82, u8::try_from(body.len()).expect("short")];
    packet.append(&mut body);
    packet
}

/// Returns the code of the broker's answer.
fn code_of(answer: &[u8]) -> u8 {
    assert_eq!(answer[..3], [0x20, 2, 0], "no CONNACK: {answer:?}");
    answer[3]
}

/// Logs in on a stream; returns the broker's answer.
async fn log_in(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), id: &str, secret: &str) -> u8 {
    stream.write_all(&connect_packet(id, secret)).await.expect("sent");
    let mut answer = [0; 4];
    timeout(TIMEOUT, stream.read_exact(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    code_of(&answer)
}

impl Site {
    fn device(&self) -> String {
        self.cloud.tenant.scope.device.to_string()
    }

    async fn shaken(&self, host: &'static str, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        TlsConnector::from(trusting(&self.folder.path().join("ca.pem"), alpn))
            .connect(host.try_into().expect("a name"), stream)
            .await
            .expect("shaken")
    }

    /// Logs in through a WebSocket; returns the broker's answer.
    async fn log_in_websocket(&self, alpn: &[&[u8]], secret: &str) -> u8 {
        self.websocket(alpn, &self.device(), secret).await.0
    }

    /// Logs a device in through a WebSocket; returns the broker's answer and the WebSocket.
    async fn websocket(&self, alpn: &[&[u8]], device: &str, secret: &str) -> (u8, Socket) {
        let stream = self.shaken("localhost", alpn).await;
        let mut request = format!("wss://localhost:{}/mqtt", self.address.port())
            .into_client_request()
            .expect("a request");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "mqtt".parse().expect("a header"));
        let (mut socket, _) = client_async(request, stream).await.expect("a WebSocket");
        let packet = connect_packet(device, secret);
        // A packet may be in several messages (MQTT 3.1.1, section 6).
        let (one, two) = packet.split_at(7);
        for part in [one, two] {
            socket.send(Message::binary(part.to_vec())).await.expect("sent");
        }
        let message = timeout(TIMEOUT, socket.next()).await.expect("in time");
        let message = message.expect("a message").expect("whole");
        (code_of(&message.into_data()), socket)
    }
}

#[tokio::test]
async fn a_device_gets_in_on_every_way_and_a_wrong_secret_on_none() {
    let site = with_tls().await;
    let device = site.device();
    for (secret, expected) in [
        ("wrong", &[WRONG_PASSWORD, NOT_AUTHORIZED][..]),
        (SECRET, &[ACCEPTED]),
    ] {
        for (host, alpn) in [
            ("localhost", &[&b"mqtt"[..]][..]),
            ("localhost", &[]),
            ("127.0.0.1", &[b"mqtt"]),
            ("127.0.0.1", &[b"mqtt", b"http/1.1"]),
        ] {
            let mut stream = site.shaken(host, alpn).await;
            let code = log_in(&mut stream, &device, secret).await;
            assert!(expected.contains(&code), "{host} {alpn:?}: {code}");
        }
        for alpn in [&[&b"http/1.1"[..]][..], &[]] {
            let code = site.log_in_websocket(alpn, secret).await;
            assert!(expected.contains(&code), "WebSocket {alpn:?}: {code}");
        }
    }
    site.server.shutdown().await;
    site.cloud.shutdown().await;
}

#[tokio::test]
async fn the_same_port_answers_http_with_and_without_a_named_protocol() {
    let site = with_tls().await;
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let mut stream = site.shaken("localhost", alpn).await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        timeout(TIMEOUT, stream.read_to_string(&mut answer))
            .await
            .expect("in time")
            .expect("read");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    site.server.shutdown().await;
    site.cloud.shutdown().await;
}

#[tokio::test]
async fn a_foreign_authority_is_refused_by_the_client() {
    let site = with_tls().await;
    let other = tempfile::tempdir().expect("a folder");
    Authority::open(
        other.path(),
        &["localhost".to_owned()],
        iottly_cloud::clock::now(),
    )
    .expect("an authority");
    let stream = TcpStream::connect(site.address).await.expect("connected");
    let error = TlsConnector::from(trusting(&other.path().join("ca.pem"), &[b"mqtt"]))
        .connect("localhost".try_into().expect("a name"), stream)
        .await
        .expect_err("another authority");
    assert!(
        error.to_string().to_lowercase().contains("certificate"),
        "{error}"
    );
    site.server.shutdown().await;
    site.cloud.shutdown().await;
}

#[tokio::test]
async fn without_tls_one_port_carries_both_as_well() {
    let cloud = start().await;
    let (listener, address) = bind().await;
    let server = Server::start_with_mqtt(listener, cloud.services.clone());
    let device = cloud.tenant.scope.device.to_string();
    let mut stream = TcpStream::connect(address).await.expect("connected");
    assert_eq!(log_in(&mut stream, &device, SECRET).await, ACCEPTED);
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut answer))
        .await
        .expect("in time")
        .expect("read");
    assert!(
        answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200"),
        "{answer}"
    );
    server.shutdown().await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn what_is_no_websocket_of_mqtt_is_told_so() {
    let site = with_tls().await;
    let mut stream = TcpStream::connect(site.cloud.address).await.expect("connected");
    stream
        .write_all(b"GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut answer))
        .await
        .expect("in time")
        .expect("read");
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("websocket"),
        "{answer}"
    );
    site.server.shutdown().await;
    site.cloud.shutdown().await;
}

#[tokio::test]
async fn a_device_stays_connected_while_the_certificate_changes_and_leaves_when_the_server_stops() {
    let site = with_tls().await;
    let mut device = site.shaken("localhost", &[b"mqtt"]).await;
    assert_eq!(log_in(&mut device, &site.device(), SECRET).await, ACCEPTED);
    let names = ["localhost".to_owned()];
    let renewed = Authority::open(site.folder.path(), &names, iottly_cloud::clock::now()).expect("renewed");
    let shown = std::fs::read(renewed.server().0).expect("a file");
    let leaf = CertificateDer::from_pem_slice(&shown).expect("a certificate");
    let renewed = async {
        loop {
            let stream = site.shaken("localhost", &[]).await;
            let served = stream
                .get_ref()
                .1
                .peer_certificates()
                .map(|chain| chain[0].clone());
            if served.as_ref() == Some(&leaf) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(TIMEOUT, renewed)
        .await
        .expect("the new certificate in time");
    let mut answer = [0; 2];
    device.write_all(&PINGREQ).await.expect("stays");
    timeout(TIMEOUT, device.read_exact(&mut answer))
        .await
        .expect("in time")
        .expect("stays");
    assert_eq!(answer, PINGRESP);
    site.server.shutdown().await;
    site.cloud.shutdown().await;
    let mut rest = Vec::new();
    let _ = timeout(TIMEOUT, device.read_to_end(&mut rest))
        .await
        .expect("disconnected in time");
}

#[tokio::test]
async fn a_device_reaches_nothing_of_others_on_any_way_and_is_cut_on_all_when_it_is_deleted() {
    let site = with_tls().await;
    let (_, ids) = group(&site.cloud, 4).await;
    let foreign = format!("v1/{}/down", site.device());
    let refused = [0x90, 3, 0, 1, 0x80];
    let filters = [foreign.clone(), format!("$share/x/{foreign}"), "v1/#".to_owned()];

    let mut streams: Vec<(DeviceId, Box<dyn Line>)> = Vec::new();
    let plain = TcpStream::connect(site.cloud.mqtt_addr())
        .await
        .expect("connected");
    streams.push((ids[0], Box::new(plain)));
    streams.push((ids[1], Box::new(site.shaken("localhost", &[b"mqtt"]).await)));
    streams.push((ids[2], Box::new(site.shaken("localhost", &[]).await)));
    for (device, stream) in &mut streams {
        assert_eq!(log_in(stream, &device.to_string(), SECRET).await, ACCEPTED);
        for filter in &filters {
            stream.write_all(&subscribe_packet(filter)).await.expect("sent");
            let mut answer = [0; 5];
            timeout(TIMEOUT, stream.read_exact(&mut answer))
                .await
                .expect("in time")
                .expect("an answer");
            assert_eq!(answer, refused, "{filter}");
        }
    }
    let (code, mut socket) = site.websocket(&[], &ids[3].to_string(), SECRET).await;
    assert_eq!(code, ACCEPTED);
    for filter in &filters {
        let packet = subscribe_packet(filter);
        socket.send(Message::binary(packet)).await.expect("sent");
        let message = timeout(TIMEOUT, socket.next()).await.expect("in time");
        let answer = message.expect("a message").expect("whole").into_data();
        assert_eq!(*answer, refused, "{filter}");
    }

    for id in &ids {
        let path = format!("/v1.0/project/<project id>/device/{id}");
        let bearer = site.cloud.bearer();
        site.cloud.request("DELETE", &path, &[&bearer], b"").await.ok();
    }
    for (device, stream) in &mut streams {
        let end = timeout(TIMEOUT, stream.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "{device} is still connected");
        assert!(!logs_in(&site, *device).await);
    }
    let end = timeout(TIMEOUT, async { while let Some(Ok(_)) = socket.next().await {} }).await;
    assert!(end.is_ok(), "the WebSocket is still open");
    site.server.shutdown().await;
    site.cloud.shutdown().await;
}

/// Connection without a type of its own.
trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

async fn logs_in(site: &Site, device: DeviceId) -> bool {
    let mut stream = site.shaken("localhost", &[b"mqtt"]).await;
    log_in(&mut stream, &device.to_string(), SECRET).await == ACCEPTED
}
