//! A device of the storm: what the agent does on the network, without its disk.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::{
    BootId, ConnId, DeviceId, Down, Hello, Message, MessageKind, Record, StreamClass, StreamId, StreamInfo,
    Topic, Up, Versions, encode_batch,
};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wire;

/// Secret of all devices.
pub(crate) const SECRET: &str = "the secret of a device";
/// Longest time of an attempt, as in the agent.
const ATTEMPT: Duration = Duration::from_secs(20);
/// First and longest pause between attempts, in milliseconds, as in the agent.
const PAUSE_MS: (u64, u64) = (200, 30_000);
/// The same after the cloud had no room.
const BUSY_MS: (u64, u64) = (30_000, 300_000);

/// Server that the devices connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// The cloud: a device is back when it is welcomed.
    Cloud,
    /// Another broker: a device is back when its subscription is confirmed.
    Broker,
}

/// A device without a connection.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    server: Server,
    port: u16,
    tls: TlsConnector,
    stream: StreamId,
    boot: BootId,
    /// Attempts to connect so far.
    pub(crate) attempts: u64,
    /// True if the present connection was made with a ticket of the one before.
    pub(crate) resumed: bool,
    failed: u32,
    refused: u32,
    random: u64,
}

impl Device {
    pub(crate) fn new(id: DeviceId, server: Server, seed: u64, port: u16, roots: Arc<RootCertStore>) -> Self {
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("TLS")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        // A device has tickets of its own.
        config.resumption = Resumption::in_memory_sessions(2);
        Self {
            id,
            server,
            port,
            tls: TlsConnector::from(Arc::new(config)),
            stream: StreamId::random(),
            boot: BootId::random(),
            attempts: 0,
            resumed: false,
            failed: 0,
            refused: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Connects until it is back.
    pub(crate) async fn back(&mut self) -> TlsStream<TcpStream> {
        loop {
            let (count, (first, most)) = if self.refused > 0 {
                (self.refused - 1, BUSY_MS)
            } else {
                (self.failed, PAUSE_MS)
            };
            let nominal = (first << count.min(12)).min(most);
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            tokio::time::sleep(Duration::from_millis(self.random % (nominal + 1))).await;
            self.attempts += 1;
            match tokio::time::timeout(ATTEMPT, self.attempt()).await {
                Ok(Ok(stream)) => {
                    (self.failed, self.refused) = (0, 0);
                    return stream;
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => self.refused += 1,
                _ => self.failed += 1,
            }
        }
    }

    async fn attempt(&mut self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = "localhost".try_into().expect("a name");
        let mut stream = self.tls.connect(name, stream).await?;
        self.resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let id = self.id.to_string();
        let mut body = b"\0\x04MQTT\x04\xc2\x01\x2c".to_vec();
        for text in [&id, &id, SECRET] {
            wire::put_text(&mut body, text);
        }
        stream.write_all(&wire::packet(0x10, &body)).await?;
        let (kind, ack) = wire::read(&mut stream).await?;
        match (kind, ack.get(1)) {
            (0x20, Some(0)) => {}
            (0x20, Some(3)) => return Err(io::ErrorKind::ResourceBusy.into()),
            other => panic!("{other:?}"),
        }
        let mut subscribe = vec![0, 1];
        wire::put_text(&mut subscribe, &Topic::Down(self.id).to_string());
        subscribe.push(1);
        stream.write_all(&wire::packet(0x82, &subscribe)).await?;
        if self.server == Server::Broker {
            while wire::read(&mut stream).await?.0 != 0x90 {}
            return Ok(stream);
        }
        stream
            .write_all(&self.publish(2, &Up::Hello(self.hello()).encode()))
            .await?;
        self.until(&mut stream, |down| matches!(down, Down::Welcome(_)).then_some(()))
            .await?;
        Ok(stream)
    }

    fn hello(&self) -> Hello {
        Hello {
            boot: self.boot,
            conn: ConnId::random(),
            versions: Versions {
                agent: "storm".into(),
                runtime: "none".into(),
                firmware_abi: "none".into(),
            },
            capabilities: Vec::new(),
            hardware: None,
            directive_counter: 0,
            streams: vec![StreamInfo {
                stream: self.stream,
                class: StreamClass::History,
                oldest: 1,
                next: 1,
            }],
        }
    }

    fn publish(&self, id: u16, payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        wire::put_text(&mut body, &Topic::Up(self.id).to_string());
        body.extend(id.to_be_bytes());
        body.extend(payload);
        wire::packet(0x32, &body)
    }

    /// Reads until a message of the cloud that is wanted; confirms each.
    pub(crate) async fn until<T>(
        &self,
        stream: &mut TlsStream<TcpStream>,
        wanted: impl Fn(&Down) -> Option<T>,
    ) -> io::Result<T> {
        loop {
            let (kind, body) = wire::read(stream).await?;
            if kind & 0xf0 != 0x30 {
                continue;
            }
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]])) + 2;
            let quality = usize::from(kind & 6 != 0) * 2;
            if quality != 0 {
                stream
                    .write_all(&wire::packet(0x40, &body[topic..topic + 2]))
                    .await?;
            }
            if let Ok(down) = Down::decode(&body[topic + quality..])
                && let Some(found) = wanted(&down)
            {
                return Ok(found);
            }
        }
    }

    /// Sends one message and waits until it is committed.
    pub(crate) async fn send(&self, stream: &mut TlsStream<TcpStream>) {
        let payload = RawValue::from_string("{\"n\":1}".to_owned()).expect("json");
        let message = Message {
            kind: MessageKind::UserDefined,
            at_ms: 0,
            at_error_ms: None,
            channel: None,
            payload: &payload,
            firmware: None,
        };
        let record = Record::Message(message).encode();
        let batch = encode_batch(self.stream, 1, [&record[..]]);
        stream.write_all(&self.publish(3, &batch)).await.expect("sent");
        self.until(stream, |down| matches!(down, Down::Ack(_)).then_some(()))
            .await
            .expect("committed");
    }
}
