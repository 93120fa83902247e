//! A cloud whose one port is behind TLS, and an HTTP proxy in front of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iottly_agent::AgentConfig;
use iottly_cloud::{Cloud, CloudConfig};
use iottly_core::command::seeded_definitions;
use iottly_core::model::{Project, Scope, UnixMs};
use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};
use iottly_store::{NewDevice, ScanBounds};
use iottly_web::http::{Authority, Server, tls};
use iottly_web::{WebServices, auth};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Secret of the device.
pub(crate) const SECRET: &str = "the secret of the device";
/// Name of the cloud in its certificate; only the proxy knows its address.
pub(crate) const NAME: &str = "cloud.example";

/// Running cloud with one device.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    /// Address of plain MQTT.
    pub(crate) plain: SocketAddr,
    pub(crate) scope: Scope,
    pub(crate) folder: tempfile::TempDir,
    services: WebServices,
    cloud: Cloud,
    server: Server,
}

impl Site {
    /// Starts a cloud whose authority and certificate were made at `made_at`.
    pub(crate) async fn start(made_at: UnixMs) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let config = CloudConfig::new(folder.path().join("data"), any);
        let cloud = Cloud::start(config).await.expect("the cloud starts");
        let services = WebServices::new(cloud.services());
        let scope = device(&services).await;
        let (cert, key) = authority(&folder.path().join("tls"), made_at).server();
        let certificate = tls(&cert, &key).expect("a certificate");
        let listener = TcpListener::bind(any).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        Self {
            address,
            plain: cloud.mqtt_addr().expect("a listener"),
            scope,
            folder,
            server: Server::start_tls(listener, services.clone(), certificate).expect("serves"),
            services,
            cloud,
        }
    }

    /// Returns the file of the authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("tls/ca.pem")
    }

    /// Returns the configuration of the device for an address of the broker, with data in `data`.
    pub(crate) fn config(&self, broker: &str, data: PathBuf) -> AgentConfig {
        let broker = broker.to_owned().try_into().expect("an address");
        let mut config = AgentConfig::new(self.scope.device, Secret::new(SECRET), broker, data);
        config.ca = Some(self.ca());
        config
    }

    /// Returns a configuration file of the device for an address of the broker.
    pub(crate) fn config_text(&self, broker: &str) -> String {
        format!(
            "device_id = \"{}\"\nsecret = \"{SECRET}\"\nbroker = \"{broker}\"\nca = \"{}\"\n",
            self.scope.device,
            self.ca().display()
        )
    }

    /// Replaces the server's certificate by a new one of the same authority.
    pub(crate) fn renew(&self, made_at: UnixMs) {
        std::fs::remove_file(self.folder.path().join("tls/server.names")).expect("removed");
        authority(&self.folder.path().join("tls"), made_at);
    }

    /// Returns the payloads of the device's messages, oldest first.
    pub(crate) async fn payloads(&self) -> Vec<String> {
        let scan = self
            .services
            .store
            .scan(self.scope, ScanBounds::default(), 100_000);
        let found = scan.await.expect("reads");
        let messages = found.iter().rev().filter(|message| message.origin.is_some());
        messages.map(|message| message.payload.get().to_owned()).collect()
    }

    pub(crate) async fn shutdown(self) {
        self.server.shutdown().await;
        self.cloud.shutdown().await;
    }
}

/// Opens an authority with names for every way to the cloud.
pub(crate) fn authority(folder: &std::path::Path, made_at: UnixMs) -> Authority {
    let names = [NAME.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    Authority::open(folder, &names, made_at).expect("an authority")
}

async fn device(services: &WebServices) -> Scope {
    let random = *DeviceId::random().as_bytes();
    let id = ProjectId::from_bytes(std::array::from_fn(|index| random[index]));
    let project = Project {
        id,
        name: "a project".to_owned(),
        created: 0,
        retention_days: None,
    };
    let group = GroupId::random();
    let store = services.store.as_ref();
    store
        .create_project(&project, group, &seeded_definitions())
        .await
        .expect("created");
    let scope = Scope {
        project: id,
        device: DeviceId::random(),
    };
    let device = NewDevice {
        scope,
        name: "a board".to_owned(),
        group,
        secret: auth::hash_secret(SECRET.as_bytes()),
    };
    store.create_device(&device).await.expect("created");
    scope
}

/// Behaviour of the test proxy when a tunnel is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Lets everything pass.
    Any,
    /// Ends tunnels in which the handshake names MQTT, as networks do that let only HTTPS pass.
    OnlyHttps,
}

/// HTTP proxy that wants the user `me` with the password `open sesame`, and reaches one server whatever it is asked for.
pub(crate) struct HttpProxy {
    pub(crate) address: SocketAddr,
    /// Number of tunnels that it opened, and of requests that it refused.
    pub(crate) counts: Arc<[AtomicUsize; 2]>,
}

impl HttpProxy {
    pub(crate) async fn start(target: SocketAddr, policy: Policy) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let _ = tunnel(stream, target, policy, &counted).await;
                });
            }
        });
        Self { address, counts }
    }

    pub(crate) fn opened(&self) -> usize {
        self.counts[0].load(Ordering::SeqCst)
    }

    pub(crate) fn refused(&self) -> usize {
        self.counts[1].load(Ordering::SeqCst)
    }
}

async fn tunnel(
    mut stream: TcpStream,
    target: SocketAddr,
    policy: Policy,
    counts: &[AtomicUsize; 2],
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).map_err(std::io::Error::other)?;
    let asked = head.starts_with(&format!("CONNECT {NAME}:")) && head.contains(" HTTP/1.1\r\n");
    // me:open sesame
    if !asked || !head.contains("\r\nProxy-Authorization: Basic bWU6b3BlbiBzZXNhbWU=\r\n") {
        counts[1].fetch_add(1, Ordering::SeqCst);
        let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n";
        return stream.write_all(refused).await;
    }
    let mut far = TcpStream::connect(target).await?;
    counts[0].fetch_add(1, Ordering::SeqCst);
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    if policy == Policy::OnlyHttps {
        let mut hello = vec![0; 4096];
        let count = stream.read(&mut hello).await?;
        let hello = &hello[..count];
        if hello.windows(5).any(|name| name == b"\x04mqtt") {
            return Ok(());
        }
        far.write_all(hello).await?;
    }
    copy_bidirectional(&mut stream, &mut far).await.map(drop)
}
