//! The HTTP listener, and the signals that end a run.

use std::net::SocketAddr;

use anyhow::Context;
use iottly_cloud::Cloud;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Default address of HTTP.
pub(crate) const DEFAULT_HTTP: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Binds `wanted`, or the default address; any free port when that is taken, so that a first start does not
/// fail.
pub(crate) async fn http(wanted: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    match wanted {
        Some(addr) => TcpListener::bind(addr)
            .await
            .with_context(|| format!("cannot listen for http on {addr}")),
        None => match TcpListener::bind(DEFAULT_HTTP).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((DEFAULT_HTTP.ip(), 0))
                .await
                .context("cannot listen for http on any local port"),
        },
    }
}

/// The caught signals SIGINT, SIGTERM and SIGHUP.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    /// Starts catching the signals.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        let (interrupt, terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
        Ok(Self {
            interrupt,
            terminate,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    /// Resolves at the first signal, or with an error when a part of the cloud has panicked or ended.
    pub(crate) async fn requested_or_broken(&mut self, cloud: &Cloud) -> anyhow::Result<()> {
        tokio::select! {
            () = self.requested() => Ok(()),
            part = cloud.broken() => Err(broken(part)),
        }
    }

    /// Does the same as [`requested_or_broken`](Self::requested_or_broken) for a service: SIGHUP calls
    /// `renew`.
    pub(crate) async fn ended_or_broken(&mut self, cloud: &Cloud, renew: impl Fn()) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.terminate.recv() => return Ok(()),
                _ = self.hangup.recv() => renew(),
                part = cloud.broken() => return Err(broken(part)),
            }
        }
    }

    /// Resolves at the first signal; SIGHUP is the end of the terminal of a program in the foreground.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

fn broken(part: &str) -> anyhow::Error {
    anyhow::anyhow!("the cloud's {part} has failed; restart the cloud")
}
