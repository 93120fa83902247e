//! The certificate of the server: given by its operator, or made by the cloud itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use iottly_cloud::clock;
use iottly_web::http::{self, Authority, Certificate};

/// Interval at which the cloud's own certificate is checked for being due.
const CHECK_EVERY: Duration = Duration::from_secs(3600);
/// File in which the kernel shows this machine's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Address for documentation (RFC 5737). Connecting a UDP socket to it shows which of this machine's addresses reaches other
/// networks; no packet is sent.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// Certificate of the server.
pub(super) struct Served {
    pub(super) certificate: Arc<Certificate>,
    /// sha256 of the certificate that clients pin: the authority's, or the first of the given chain.
    pub(super) fingerprint: String,
    /// True if devices pin the certificate: that of the cloud's own authority. A given one changes with each renewal, and its
    /// authority is a public one or in the device's `ca`.
    pub(super) is_pinned: bool,
    own: Option<Arc<Authority>>,
}

impl Served {
    /// Reads the given certificate and key.
    pub(super) fn given(cert: &Path, key: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            certificate: http::tls(cert, key)?,
            fingerprint: http::fingerprint(cert)?,
            is_pinned: false,
            own: None,
        })
    }

    /// Opens the cloud's own authority in `folder`, which is made at the first start, with a certificate for `names`,
    /// this machine's name and the address that it listens on.
    pub(super) fn own(folder: &Path, names: &[String], listen: SocketAddr) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        let authority = Authority::open(folder, &all_names(names, listen), clock::now())?;
        let (cert, key) = authority.server();
        Ok(Self {
            certificate: http::tls(&cert, &key)?,
            fingerprint: authority.fingerprint().to_owned(),
            is_pinned: true,
            own: Some(Arc::new(authority)),
        })
    }

    /// Makes new certificates as they become due, until it is dropped; never ends. The certificate's watcher loads
    /// them.
    pub(super) async fn keep_valid(&self) {
        let Some(authority) = &self.own else {
            return std::future::pending().await;
        };
        let mut rounds = tokio::time::interval(CHECK_EVERY);
        loop {
            rounds.tick().await;
            let authority = Arc::clone(authority);
            match tokio::task::spawn_blocking(move || authority.renew(clock::now())).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => {
                    tracing::info!("made a new certificate for the server; new connections use it")
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, retry_s = CHECK_EVERY.as_secs(), "failed to make a new certificate; the old one stays in use");
                }
                Err(error) => {
                    tracing::error!(%error, retry_s = CHECK_EVERY.as_secs(), "failed to check the certificate; retrying");
                }
            }
        }
    }
}

/// Returns the names for the certificate: the given ones first, then those under which this machine can be reached.
fn all_names(given: &[String], listen: SocketAddr) -> Vec<String> {
    let mut names = given.to_vec();
    let host = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    let addresses = if listen.ip().is_unspecified() {
        outside()
    } else {
        Some(listen.ip())
    };
    let own = [
        host.trim().to_owned(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    for name in own
        .into_iter()
        .chain(addresses.map(|address| address.to_canonical().to_string()))
    {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns the address of this machine from which it reaches others, if it has a network.
fn outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_names_come_first_and_none_twice() {
        let given = ["cloud.example".to_owned(), "localhost".to_owned()];
        let names = all_names(&given, "127.0.0.1:8443".parse().expect("an address"));
        assert_eq!(names[..2], given);
        assert_eq!(names.iter().filter(|name| *name == "localhost").count(), 1);
        assert_eq!(names.iter().filter(|name| *name == "127.0.0.1").count(), 1);
    }
}
