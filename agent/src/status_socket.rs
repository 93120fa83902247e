//! The status of a running agent for other processes of its user: a socket in the data folder that answers each
//! connection with one line of JSON. A socket and not a file: an agent that hangs does not answer, and nothing is written
//! to the disk.

use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::status::{AgentStatus, FirmwareStatus, LinkState};

/// Name of the socket in the data folder.
const NAME: &str = "status.sock";
/// Maximum time for one answer. Connections are answered one after the other.
const ANSWER: Duration = Duration::from_secs(1);
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Maximum time for which [`ask_status`] waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// Maximum size of an answer, in bytes.
const MAX_ANSWER: u64 = 4 << 10;

/// Status of a running agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The connection to the cloud.
    pub link: LinkState,
    /// Time since the cloud was connected, or since the agent's start, in seconds; none while it is connected.
    pub offline_seconds: Option<u64>,
    /// The firmware in the sandbox.
    pub firmware: FirmwareStatus,
    /// Records that the cloud has not acknowledged.
    pub queued: u64,
    /// Records that the cloud has refused since the start.
    pub refused: u64,
}

/// Time for which the agent has been without its cloud.
#[derive(Debug)]
struct Offline {
    since: Option<Instant>,
}

impl Offline {
    /// Notes the state of the link at a time.
    fn note(&mut self, link: LinkState, now: Instant) {
        self.since = match link {
            LinkState::Online => None,
            LinkState::Offline | LinkState::Connecting => self.since.or(Some(now)),
        };
    }

    fn report(&self, status: AgentStatus, now: Instant) -> StatusReport {
        StatusReport {
            link: status.link,
            offline_seconds: self
                .since
                .map(|since| now.saturating_duration_since(since).as_secs()),
            firmware: status.firmware,
            queued: status.queued,
            refused: status.refused,
        }
    }
}

/// Socket of a running agent; dropping it removes the socket.
#[derive(Debug)]
pub struct StatusSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl StatusSocket {
    /// Opens the socket in the data folder of a running agent, which holds the folder's lock.
    ///
    /// # Errors
    /// If the socket cannot be made, for example because the folder's path is longer than a socket's may be.
    pub fn open(data: &Path, status: watch::Receiver<AgentStatus>) -> io::Result<Self> {
        let path = data.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        Ok(Self {
            path,
            task: tokio::spawn(serve(listener, status)),
        })
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        self.task.abort();
        // One that stays behind is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve(listener: UnixListener, mut status: watch::Receiver<AgentStatus>) {
    let mut offline = Offline { since: None };
    offline.note(status.borrow_and_update().link, Instant::now());
    loop {
        tokio::select! {
            changed = status.changed() => {
                if changed.is_err() {
                    return;
                }
                offline.note(status.borrow_and_update().link, Instant::now());
            }
            client = listener.accept() => match client {
                Ok((client, _)) => {
                    let report = offline.report(*status.borrow(), Instant::now());
                    // A client that does not read gets no answer.
                    let _ = timeout(ANSWER, answer(client, report)).await;
                }
                Err(error) => {
                    tracing::warn!(%error, retry_s = ACCEPT_PAUSE.as_secs(), "failed to accept a question about the status; retrying");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn answer(mut client: UnixStream, report: StatusReport) -> io::Result<()> {
    let mut line = serde_json::to_vec(&report).expect("a report has string keys");
    line.push(b'\n');
    client.write_all(&line).await?;
    client.shutdown().await
}

/// Asks the agent that runs on a data folder for its status. Blocks for seconds at most.
///
/// # Errors
/// If no agent runs on the folder, or it does not answer.
pub fn ask_status(data: &Path) -> io::Result<StatusReport> {
    let client = Client::connect(data.join(NAME))?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    client.take(MAX_ANSWER).read_to_end(&mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::StatusBoard;

    #[test]
    fn the_time_offline_counts_from_the_loss_of_the_cloud() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let status = *StatusBoard::new().subscribe().borrow();
        let mut offline = Offline { since: None };
        let seconds = |offline: &Offline, now| offline.report(status, now).offline_seconds;
        offline.note(LinkState::Offline, at(0));
        offline.note(LinkState::Connecting, at(5));
        assert_eq!(seconds(&offline, at(7)), Some(7), "connecting is not connected");
        offline.note(LinkState::Online, at(8));
        assert_eq!(seconds(&offline, at(100)), None);
        offline.note(LinkState::Offline, at(101));
        offline.note(LinkState::Offline, at(110));
        assert_eq!(seconds(&offline, at(111)), Some(10));
    }

    #[tokio::test]
    async fn a_running_agent_answers_with_its_status_and_leaves_no_socket() {
        let dir = tempfile::tempdir().expect("dir");
        let board = StatusBoard::new();
        // A run that was killed left its socket.
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(NAME)).expect("a socket"));
        let socket = StatusSocket::open(dir.path(), board.subscribe()).expect("opened");
        board.firmware(FirmwareStatus::Running);
        board.link(LinkState::Online, 3, 1);
        // The task sees the change before the question that comes after it.
        tokio::task::yield_now().await;
        let data = dir.path().to_owned();
        let asked = tokio::task::spawn_blocking(move || ask_status(&data)).await;
        let report = asked.expect("asked").expect("answered");
        assert_eq!(
            report,
            StatusReport {
                link: LinkState::Online,
                offline_seconds: None,
                firmware: FirmwareStatus::Running,
                queued: 3,
                refused: 1,
            }
        );
        drop(socket);
        assert!(!dir.path().join(NAME).exists());
        let error = ask_status(dir.path()).expect_err("no agent");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
