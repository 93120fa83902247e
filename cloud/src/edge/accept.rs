//! Accepting connections where it may fail for a while: never in a busy loop, never with a flood of log
//! lines.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

/// Pause after an accept that failed; most often descriptors are used up, which lasts.
const PAUSE: Duration = Duration::from_millis(200);
/// Shortest time between two log lines about failures of one kind.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Remembers when a repeated failure was logged last.
#[derive(Debug, Default)]
struct Complaint {
    told: Option<Instant>,
    left_out: u64,
}

impl Complaint {
    /// Returns how many failures were not logged since the last line, when a line is due.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TELL_EVERY)
        {
            self.left_out += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct Acceptor {
    name: &'static str,
    listener: TcpListener,
    complaint: Complaint,
}

impl Acceptor {
    /// An acceptor whose log lines call it `name`.
    pub fn new(name: &'static str, listener: TcpListener) -> Self {
        Self {
            name,
            listener,
            complaint: Complaint::default(),
        }
    }

    /// Resolves with the next connection and its address. Small answers on it do not wait for delayed
    /// acknowledgements.
    pub async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection keeps its send delay");
                    }
                    return (stream, peer);
                }
                Err(error) => {
                    if let Some(left_out) = self.complaint.due(Instant::now()) {
                        let (listener, retry_ms) = (self.name, PAUSE.as_millis());
                        tracing::error!(%error, listener, left_out, retry_ms, "failed to accept a connection; trying again");
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
    fn a_repeated_failure_is_told_once_a_minute() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        assert_eq!(complaint.due(start), Some(0));
        for ms in 0..1000 {
            assert_eq!(complaint.due(start + Duration::from_millis(ms)), None);
        }
        assert_eq!(complaint.due(start + TELL_EVERY), Some(1000));
        assert_eq!(complaint.due(start + TELL_EVERY + Duration::from_secs(1)), None);
    }
}
