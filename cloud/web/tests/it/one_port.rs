//! One listener carries HTTPS, MQTT over TLS and MQTT over WebSocket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iottly_web::http::{Authority, Server, tls};
use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, Event, MqttOptions, Packet, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::support::{TIMEOUT, TestCloud, start};

const SECRET: &str = "device secret";

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

/// Ways of a device to the port.
fn ways(site: &Site) -> Vec<(&'static str, MqttOptions)> {
    let ca = site.folder.path().join("ca.pem");
    let id = site.cloud.tenant.scope.device.to_string();
    let over = |host: &str, transport: Transport| {
        let mut options = MqttOptions::new(&id, host, site.address.port());
        options.set_transport(transport);
        options
    };
    let wss = format!("wss://localhost:{}/mqtt", site.address.port());
    let web = trusting(&ca, &[b"http/1.1"]);
    vec![
        (
            "named in the handshake",
            over(
                "localhost",
                Transport::tls_with_config(trusting(&ca, &[b"mqtt"]).into()),
            ),
        ),
        (
            "not named",
            over("localhost", Transport::tls_with_config(trusting(&ca, &[]).into())),
        ),
        (
            "by address",
            over(
                "127.0.0.1",
                Transport::tls_with_config(trusting(&ca, &[b"mqtt"]).into()),
            ),
        ),
        (
            "in a WebSocket",
            over(&wss, Transport::wss_with_config(web.into())),
        ),
    ]
}

/// Logs in; returns the broker's answer.
async fn log_in(mut options: MqttOptions, secret: &str) -> Result<ConnectReturnCode, ConnectionError> {
    options.set_credentials(options.client_id(), secret);
    let (_client, mut events) = AsyncClient::new(options, 4);
    let answer = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => return Ok(ack.code),
                Ok(_) => {}
                Err(ConnectionError::ConnectionRefused(code)) => return Ok(code),
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(TIMEOUT, answer)
        .await
        .expect("an answer in time")
}

#[tokio::test]
async fn a_device_gets_in_on_every_way_and_a_wrong_secret_on_none() {
    let site = with_tls().await;
    for (way, options) in ways(&site) {
        let code = log_in(options.clone(), "wrong").await;
        assert!(
            matches!(
                code,
                Ok(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized)
            ),
            "{way}: {code:?}"
        );
        let code = log_in(options, SECRET).await;
        assert!(matches!(code, Ok(ConnectReturnCode::Success)), "{way}: {code:?}");
    }
    site.server.shutdown().await;
    site.cloud.shutdown().await;
}

#[tokio::test]
async fn the_same_port_answers_http_with_and_without_a_named_protocol() {
    let site = with_tls().await;
    let ca = site.folder.path().join("ca.pem");
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let stream = TcpStream::connect(site.address).await.expect("connected");
        let name = "localhost".try_into().expect("a name");
        let mut stream = TlsConnector::from(trusting(&ca, alpn))
            .connect(name, stream)
            .await
            .expect("shaken");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        tokio::time::timeout(TIMEOUT, stream.read_to_string(&mut answer))
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
    let mut options = MqttOptions::new("any", "localhost", site.address.port());
    options.set_transport(Transport::tls_with_config(
        trusting(&other.path().join("ca.pem"), &[b"mqtt"]).into(),
    ));
    let error = log_in(options, SECRET).await.expect_err("another authority");
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
    let options = MqttOptions::new(cloud.tenant.scope.device.to_string(), "127.0.0.1", address.port());
    assert!(matches!(
        log_in(options, SECRET).await,
        Ok(ConnectReturnCode::Success)
    ));
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = String::new();
    tokio::time::timeout(TIMEOUT, stream.read_to_string(&mut answer))
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
    tokio::time::timeout(TIMEOUT, stream.read_to_string(&mut answer))
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
    let (_, mut options) = ways(&site).remove(0);
    options.set_credentials(options.client_id(), SECRET);
    options.set_keep_alive(Duration::from_secs(5));
    let (_client, mut events) = AsyncClient::new(options, 4);
    let connected = async {
        while !matches!(
            events.poll().await.expect("connects"),
            Event::Incoming(Packet::ConnAck(_))
        ) {}
    };
    tokio::time::timeout(TIMEOUT, connected).await.expect("in time");
    let names = ["localhost".to_owned()];
    let renewed = Authority::open(site.folder.path(), &names, iottly_cloud::clock::now()).expect("renewed");
    let shown = std::fs::read(renewed.server().0).expect("a file");
    let ping = async {
        while !matches!(
            events.poll().await.expect("stays"),
            Event::Incoming(Packet::PingResp)
        ) {}
    };
    tokio::time::timeout(TIMEOUT, ping).await.expect("in time");
    let ca = site.folder.path().join("ca.pem");
    let leaf = CertificateDer::from_pem_slice(&shown).expect("a certificate");
    let renewed = async {
        loop {
            let stream = TcpStream::connect(site.address).await.expect("connected");
            let name = "localhost".try_into().expect("a name");
            let stream = TlsConnector::from(trusting(&ca, &[]))
                .connect(name, stream)
                .await
                .expect("shaken");
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
    tokio::time::timeout(TIMEOUT, renewed)
        .await
        .expect("the new certificate in time");
    site.server.shutdown().await;
    site.cloud.shutdown().await;
    let left = async { while events.poll().await.is_ok() {} };
    tokio::time::timeout(TIMEOUT, left)
        .await
        .expect("disconnected in time");
}
