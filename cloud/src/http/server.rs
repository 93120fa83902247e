use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::app::{App, router};
use super::listener::{Front, Peer};
use crate::cloud::Services;

/// How long requests may go on after the server was asked to stop.
const GRACE: Duration = Duration::from_millis(1500);

/// A running HTTP server.
#[derive(Debug)]
pub struct Server {
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves REST API, dashboard and repositories on a bound listener.
    #[must_use]
    pub fn start(listener: TcpListener, services: Services) -> Self {
        Self::serve(Front::Plain(listener), services)
    }

    /// As [`start`](Self::start), with TLS.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start_tls(listener: TcpListener, services: Services, tls: Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Self::serve(Front::tls(listener, tls)?, Services { https: true, ..services }))
    }

    fn serve(front: Front, services: Services) -> Self {
        let (closing, closed) = watch::channel(false);
        let app = router(App::new(services, closed.clone())).into_make_service_with_connect_info::<Peer>();
        let task = tokio::spawn(async move {
            let serve = axum::serve(front, app).with_graceful_shutdown(until_true(closed));
            if let Err(error) = serve.await {
                tracing::error!(%error, "http server stopped");
            }
        });
        Self { closing, task }
    }

    /// Stops within two seconds: streams end, requests may finish.
    pub async fn shutdown(self) {
        self.closing.send_replace(true);
        let mut task = self.task;
        if tokio::time::timeout(GRACE, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Resolves when the value is true, or its sender is gone.
pub(crate) async fn until_true(mut value: watch::Receiver<bool>) {
    let _ = value.wait_for(|stop| *stop).await;
}
