//! Accepts connections on a listener. A failing accept is retried after a pause, and logged at most once a
//! minute.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

/// Pause after a failed accept; its usual cause, a lack of file descriptors, lasts.
const PAUSE: Duration = Duration::from_millis(200);
/// Minimum time between two log lines about failures of one kind.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Time of the last log line about a repeated failure, and the number of failures since.
#[derive(Debug, Default)]
struct FailureLog {
    logged: Option<Instant>,
    left_out: u64,
}

impl FailureLog {
    /// Returns the number of failures that were not logged since the last line, if a line is due.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self
            .logged
            .is_some_and(|logged| now.saturating_duration_since(logged) < LOG_EVERY)
        {
            self.left_out += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Bound listener.
#[derive(Debug)]
pub struct Acceptor {
    name: &'static str,
    listener: TcpListener,
    failures: FailureLog,
}

impl Acceptor {
    /// Creates an acceptor; `name` is its name in log lines.
    pub fn new(name: &'static str, listener: TcpListener) -> Self {
        Self {
            name,
            listener,
            failures: FailureLog::default(),
        }
    }

    /// Resolves with the next connection and its address. The connection sends small responses without
    /// waiting for delayed acknowledgements.
    pub async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "failed to set TCP_NODELAY; small responses on this connection may be delayed");
                    }
                    return (stream, peer);
                }
                Err(error) => {
                    if let Some(left_out) = self.failures.due(Instant::now()) {
                        let (listener, retry_ms) = (self.name, PAUSE.as_millis());
                        tracing::error!(%error, listener.name = listener, suppressed_lines = left_out, retry_ms, "failed to accept a connection; retrying");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_failure_is_logged_once_a_minute() {
        let (mut failures, start) = (FailureLog::default(), Instant::now());
        assert_eq!(failures.due(start), Some(0));
        for ms in 0..1000 {
            assert_eq!(failures.due(start + Duration::from_millis(ms)), None);
        }
        assert_eq!(failures.due(start + LOG_EVERY), Some(1000));
        assert_eq!(failures.due(start + LOG_EVERY + Duration::from_secs(1)), None);
    }
}
