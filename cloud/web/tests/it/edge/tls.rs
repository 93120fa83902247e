//! TLS: silent clients, and certificates that are renewed while the server runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iottly_web::http::{Certificate, Server};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::wire::{PATIENCE, closed_after, connect};
use crate::device::eventually;
use crate::support::{self, TestCloud};

/// Records the certificate of the server and accepts any.
#[derive(Debug)]
struct Noting(Mutex<Vec<u8>>);

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().expect("unpoisoned") = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Does a handshake and returns the stream and the server's certificate.
async fn shake(address: SocketAddr) -> (TlsStream<TcpStream>, Vec<u8>) {
    let noting = Arc::new(Noting(Mutex::default()));
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous();
    let config = builder
        .with_custom_certificate_verifier(Arc::clone(&noting) as _)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, connect(address).await);
    let stream = tokio::time::timeout(PATIENCE, shaken)
        .await
        .expect("in time")
        .expect("agreed");
    let shown = noting.0.lock().expect("unpoisoned").clone();
    (stream, shown)
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> bool {
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut buffer = [0; 4096];
    let count = tokio::time::timeout(PATIENCE, stream.read(&mut buffer))
        .await
        .expect("in time")
        .expect("readable");
    buffer[..count].starts_with(b"HTTP/1.1 200 OK")
}

/// Creates a certificate with its key, writes both, and returns the certificate.
fn renew(folder: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("c.pem"), made.cert.pem()).expect("written");
    std::fs::write(folder.join("k.pem"), made.signing_key.serialize_pem()).expect("written");
    made.cert.der().to_vec()
}

async fn serve(cloud: &TestCloud, folder: &Path) -> (Server, SocketAddr) {
    let certificate = Certificate::open(&folder.join("c.pem"), &folder.join("k.pem")).expect("a pair");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    (
        Server::start_tls(listener, cloud.services.clone(), certificate).expect("serves"),
        address,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_up_and_a_bad_one_is_not() {
    let (cloud, folder) = (support::start().await, tempfile::tempdir().expect("a folder"));
    let first = renew(folder.path());
    let (server, address) = serve(&cloud, folder.path()).await;
    let (mut kept, shown) = shake(address).await;
    assert!(shown == first && ask(&mut kept).await);
    // A key alone is not a pair; the server continues with the old one.
    std::fs::write(folder.path().join("k.pem"), "no key").expect("written");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(shake(address).await.1, first);
    let second = renew(folder.path());
    eventually("the new certificate is shown", || async {
        shake(address).await.1 == second
    })
    .await;
    assert!(ask(&mut kept).await, "connections continue");
    server.shutdown().await;
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_hold_up_nobody() {
    let (cloud, folder) = (support::start().await, tempfile::tempdir().expect("a folder"));
    renew(folder.path());
    let (server, address) = serve(&cloud, folder.path()).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(connect(address).await);
    }
    let mut begun = Vec::new();
    for _ in 0..40 {
        let mut stream = connect(address).await;
        stream.write_all(&[0x16]).await.expect("sent");
        begun.push(stream);
    }
    for _ in 0..3 {
        assert!(ask(&mut shake(address).await.0).await);
    }
    let (_, took) = closed_after(silent.last_mut().expect("there are some")).await;
    assert!(took < Duration::from_secs(9), "{took:?}");
    server.shutdown().await;
    cloud.shutdown().await;
}
