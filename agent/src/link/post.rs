//! HTTPS requests of a device to its cloud, on the route of MQTT: through the proxy if there is one, with the certificate checked
//! by the board's clock.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::route::{DialError, Route};

/// Maximum duration of a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Maximum size of an answer, in bytes: its largest part is a root of releases.
const MAX_ANSWER: u64 = 256 << 10;

/// Reason why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    /// No connection to the cloud.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection ended too early.
    #[error("the cloud's answer is incomplete: {0}")]
    Io(#[from] io::Error),
    /// The answer is not HTTP.
    #[error("the cloud's answer is not HTTP, or larger than {MAX_ANSWER} bytes")]
    Malformed,
    /// The request took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
}

/// Answer of the cloud.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Body.
    pub(crate) body: Vec<u8>,
}

impl Route {
    /// Posts JSON to a path of the cloud.
    ///
    /// # Errors
    /// See [`PostError`]. A status other than 200 is an answer.
    pub(crate) async fn post(&self, path: &str, body: &[u8]) -> Result<Answer, PostError> {
        let exchange = async {
            let stream = self.dial_http().await?;
            exchange(stream, &self.authority(), path, body).await
        };
        timeout(PATIENCE, exchange).await.map_err(|_| PostError::Late)?
    }
}

/// Sends a request of HTTP/1.0, whose answer has no pieces and ends with the connection.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    path: &str,
    body: &[u8],
) -> Result<Answer, PostError> {
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {authority}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let read = stream.take(MAX_ANSWER + 1).read_to_end(&mut bytes).await;
    match (read, parse(&bytes)) {
        (_, Some(answer)) => Ok(answer),
        // A server may close without the end of TLS; a whole answer is known by its length.
        (Err(error), None) => Err(error.into()),
        (Ok(_), None) => Err(PostError::Malformed),
    }
}

/// Returns the answer if it is whole.
fn parse(bytes: &[u8]) -> Option<Answer> {
    if bytes.len() as u64 > MAX_ANSWER {
        return None;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next().filter(|status| status.len() == 3)?.parse().ok()?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = length.1.trim().parse().ok()?;
    let body = bytes.get(end + 4..)?.get(..length)?.to_vec();
    Some(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_is_one_with_a_length() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").expect("whole");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
        for bad in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"SSH-2.0\r\n\r\n",
            b"\xff\r\n\r\n",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
