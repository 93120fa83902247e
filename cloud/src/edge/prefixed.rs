//! Stream whose first bytes were read already, to find out its protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Stream that gives some bytes once more before it reads on.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: Vec<u8>,
    given: usize,
    stream: S,
}

impl<S> Prefixed<S> {
    /// Creates a stream that begins with `prefix`.
    pub const fn new(prefix: Vec<u8>, stream: S) -> Self {
        Self {
            prefix,
            given: 0,
            stream,
        }
    }

    /// Returns the stream itself.
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> Prefixed<S> {
    /// Returns the first byte of a stream, and the stream with all its bytes; `None` if it ended without one.
    /// The caller sets the time limit.
    ///
    /// # Errors
    /// If the stream cannot be read.
    pub async fn peek_first(mut stream: S) -> io::Result<Option<(u8, Self)>> {
        // What has arrived together is read together: the length of a first record is of no importance.
        let mut bytes = vec![0; 512];
        let count = stream.read(&mut bytes).await?;
        bytes.truncate(count);
        Ok(bytes
            .first()
            .copied()
            .map(|first| (first, Self::new(bytes, stream))))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.given == this.prefix.len() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let rest = &this.prefix[this.given..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        this.given += count;
        if this.given == this.prefix.len() {
            (this.prefix, this.given) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_bytes_are_read_once_more() {
        let (mut far, near) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut far, b"CONNECT")
            .await
            .expect("sent");
        let (first, mut stream) = Prefixed::peek_first(near).await.expect("read").expect("a byte");
        assert_eq!(first, b'C');
        tokio::io::AsyncWriteExt::write_all(&mut far, b" and more")
            .await
            .expect("sent");
        drop(far);
        let (mut one, mut rest) = ([0], String::new());
        stream.read_exact(&mut one).await.expect("a byte");
        stream.read_to_string(&mut rest).await.expect("text");
        assert_eq!((&one, rest.as_str()), (b"C", "ONNECT and more"));
    }

    #[tokio::test]
    async fn a_stream_that_ends_at_once_has_no_first_byte() {
        let (far, near) = tokio::io::duplex(64);
        drop(far);
        assert!(Prefixed::peek_first(near).await.expect("read").is_none());
    }
}
