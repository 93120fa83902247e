//! Listening for HTTP and for the signals that end a run.

use std::net::SocketAddr;

use anyhow::Context;
use iottly_cloud::cloud::Cloud;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where HTTP listens unless told otherwise.
pub(crate) const DEFAULT_HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Binds `wanted`, or the default. Where the default is taken, any free port will do: a newcomer's first start must not fail on it.
pub(crate) async fn http(wanted: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    match wanted {
        Some(addr) => TcpListener::bind(addr).await.with_context(|| format!("cannot listen for http on {addr}")),
        None => match TcpListener::bind(DEFAULT_HTTP).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((DEFAULT_HTTP.ip(), 0)).await.context("cannot listen for http on any local port"),
        },
    }
}

/// SIGINT and SIGTERM, caught from the moment this is made.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Starts catching the signals.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// Resolves at the first signal, or with an error when a part of the cloud has panicked.
    pub(crate) async fn requested_or_broken(&mut self, cloud: &Cloud) -> anyhow::Result<()> {
        tokio::select! {
            () = self.requested() => Ok(()),
            part = cloud.broken() => Err(anyhow::anyhow!("the cloud's {part} has panicked")),
        }
    }

    /// Resolves at the first signal.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
