//! Link of a connection: its last packet and its keep-alive, noted by the stream that the packets come through.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock;
use iottly_core::model::Packet;
use iottly_core::presence::Packets;

/// Time beyond one and a half keep-alives after which a silent link counts as dead, in milliseconds. The broker's crate
/// closes it half a second before, unless it is busy with writing.
const SLACK_MS: i64 = 500;

/// Notes of a connection. Times are of [`clock::steady_ms`].
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Index of the last packet in [`Packet::ALL`].
    packet: AtomicU8,
    /// Time of the last packet; 0 before the first.
    at: AtomicI64,
    /// Keep-alive in seconds; 0 for none.
    keep_alive: AtomicU16,
    /// Time since which the reader waits for bytes.
    waits: AtomicI64,
    /// True while the reader waits for bytes. While the cloud does not read, the device cannot prove anything.
    waiting: AtomicBool,
    ended: AtomicBool,
}

impl Link {
    /// Returns the last packet with its time; none before the first.
    pub(super) fn last(&self) -> Option<(Packet, i64)> {
        let at = self.at.load(Ordering::Acquire);
        let kind = Packet::ALL.get(usize::from(self.packet.load(Ordering::Relaxed)));
        (at > 0).then_some((*kind?, at))
    }

    /// Returns true if the device has been silent for longer than its keep-alive allows.
    pub(super) fn is_overdue(&self, now: i64) -> bool {
        let keep_alive = i64::from(self.keep_alive.load(Ordering::Relaxed)) * 1000;
        let limit = keep_alive + keep_alive / 2 + SLACK_MS;
        keep_alive > 0
            && !self.is_ended()
            && self.waiting.load(Ordering::Acquire)
            && now.saturating_sub(self.waits.load(Ordering::Acquire)) > limit
    }

    /// Returns true if the connection has ended.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn note(&self, packet: Packet, now: i64) {
        let index = Packet::ALL.iter().position(|kind| *kind == packet).unwrap_or(0);
        self.packet
            .store(u8::try_from(index).unwrap_or(0), Ordering::Relaxed);
        self.at.store(now.max(1), Ordering::Release);
    }

    fn wait(&self, now: i64) {
        if !self.waiting.swap(true, Ordering::AcqRel) {
            self.waits.store(now, Ordering::Release);
        }
    }
}

/// Stream that notes the packets which are read from it.
pub(crate) struct Watched<S> {
    stream: S,
    packets: Mutex<Packets>,
    link: Arc<Link>,
}

impl<S> Watched<S> {
    /// Creates the stream; its notes are in the returned link.
    pub(crate) fn new(stream: S) -> (Self, Arc<Link>) {
        let link = Arc::new(Link::default());
        let watched = Self {
            stream,
            packets: Mutex::default(),
            link: Arc::clone(&link),
        };
        (watched, link)
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        self.link.ended.store(true, Ordering::Release);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if read.is_pending() {
            this.link.wait(clock::steady_ms());
            return read;
        }
        this.link.waiting.store(false, Ordering::Release);
        let packets = this.packets.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(packet) = packets.take(&buffer.filled()[before..]) {
            this.link.note(packet, clock::steady_ms());
            if let Some(seconds) = packets.keep_alive() {
                this.link.keep_alive.store(seconds, Ordering::Relaxed);
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// CONNECT with a keep-alive of two seconds.
    const CONNECT: &[u8] = b"\x10\x10\0\x04MQTT\x04\x02\0\x02\0\x04abcd";

    #[tokio::test]
    async fn packets_are_noted_and_a_silent_link_is_overdue_after_one_and_a_half_keep_alives() {
        let (mut device, cloud) = tokio::io::duplex(1024);
        let (mut watched, link) = Watched::new(cloud);
        assert_eq!(link.last(), None);
        device.write_all(CONNECT).await.expect("writes");
        let mut bytes = [0; 64];
        watched
            .read_exact(&mut bytes[..CONNECT.len()])
            .await
            .expect("reads");
        let (packet, at) = link.last().expect("a packet");
        assert_eq!(packet, Packet::Connect);
        assert!(!link.is_overdue(at + 1_000_000), "the cloud does not read");
        let waits = std::future::poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut bytes);
            let _ = Pin::new(&mut watched).poll_read(cx, &mut buffer);
            Poll::Ready(clock::steady_ms())
        })
        .await;
        assert!(!link.is_overdue(waits + 3000), "one and a half keep-alives");
        assert!(link.is_overdue(waits + 3600));
        device.write_all(b"\xc0\0").await.expect("writes");
        watched.read_exact(&mut bytes[..2]).await.expect("reads");
        assert_eq!(link.last().map(|(packet, _)| packet), Some(Packet::Ping));
        drop(watched);
        assert!(link.is_ended());
    }
}
