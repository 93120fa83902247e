//! Device reduced to its MQTT connection: speaks the wire protocol and nothing else.

#![allow(dead_code, reason = "every test program uses its own part")]

use std::net::SocketAddr;
use std::time::Duration;

use iottly_protocol::{
    ConnId, DeviceId, Down, Hello, Status, StreamClass, StreamId, StreamInfo, Topic, Up, Versions, Welcome,
    encode_batch,
};
use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longer than any operation takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Raw {
    pub(crate) id: DeviceId,
    pub(crate) conn: ConnId,
    pub(crate) client: AsyncClient,
    events: mpsc::UnboundedReceiver<Event>,
    poll: JoinHandle<()>,
}

pub(crate) struct Login<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) user: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) will_topic: Option<String>,
}

impl Raw {
    /// Connects as an agent does, with its own will and subscription.
    pub(crate) async fn connect(broker: SocketAddr, id: DeviceId, secret: &str) -> Self {
        let text = id.to_string();
        let will_topic = Some(Topic::Status(id).to_string());
        let login = Login {
            client_id: &text,
            user: &text,
            secret,
            will_topic,
        };
        let device = Self::login(broker, id, &login)
            .await
            .expect("the broker admits the device");
        device
            .client
            .subscribe(Topic::Down(id).to_string(), QoS::AtLeastOnce)
            .await
            .expect("queued");
        let mut device = device;
        device
            .until(|event| matches!(event, Event::Incoming(Packet::SubAck(_))))
            .await;
        device
            .publish(
                &Topic::Status(id).to_string(),
                Status::new(device.conn, true).encode(),
                true,
            )
            .await;
        device
    }

    /// Connects with the given credentials; `None` when the broker refuses them.
    pub(crate) async fn login(broker: SocketAddr, id: DeviceId, login: &Login<'_>) -> Option<Self> {
        let conn = ConnId::random();
        let mut options = MqttOptions::new(login.client_id, broker.ip().to_string(), broker.port());
        options.set_credentials(login.user, login.secret);
        options.set_max_packet_size(4 << 20, 4 << 20);
        options.set_keep_alive(Duration::from_secs(30));
        if let Some(topic) = &login.will_topic {
            options.set_last_will(LastWill::new(
                topic,
                Status::new(conn, false).encode(),
                QoS::AtLeastOnce,
                true,
            ));
        }
        let (client, mut eventloop) = AsyncClient::new(options, 64);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        eventloop.set_network_options(network);
        let (sender, events) = mpsc::unbounded_channel();
        let poll = tokio::spawn(async move {
            while let Ok(event) = eventloop.poll().await {
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let mut device = Self {
            id,
            conn,
            client,
            events,
            poll,
        };
        match tokio::time::timeout(PATIENCE, device.events.recv())
            .await
            .expect("an answer to the connect")
        {
            Some(Event::Incoming(Packet::ConnAck(_))) => Some(device),
            _ => None,
        }
    }

    /// Waits for an event; panics when the connection ends before it.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the connection stays");
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
        .expect("the event comes")
    }

    /// Waits for the connection to end.
    pub(crate) async fn ended(&mut self) {
        let ended = async { while self.events.recv().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("the connection ends");
    }

    pub(crate) async fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) {
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, payload)
            .await
            .expect("queued");
    }

    /// Publishes to the device's own `up` topic.
    pub(crate) async fn up(&self, payload: Vec<u8>) {
        self.publish(&Topic::Up(self.id).to_string(), payload, false)
            .await;
    }

    /// Returns the next message of the cloud.
    pub(crate) async fn down(&mut self) -> Down {
        let event = self
            .until(|event| matches!(event, Event::Incoming(Packet::Publish(_))))
            .await;
        let Event::Incoming(Packet::Publish(publish)) = event else {
            unreachable!("checked above")
        };
        assert_eq!(publish.topic, Topic::Down(self.id).to_string());
        Down::decode(&publish.payload).expect("the cloud speaks the wire")
    }

    /// Sends a hello and waits for the welcome.
    pub(crate) async fn hello(&mut self, streams: &[(StreamId, StreamClass, u64, u64)]) -> Welcome {
        self.hello_with(&[], streams).await
    }

    /// Sends a hello with these capabilities and waits for the welcome.
    pub(crate) async fn hello_with(
        &mut self,
        capabilities: &[&str],
        streams: &[(StreamId, StreamClass, u64, u64)],
    ) -> Welcome {
        let streams = streams.iter().map(|&(stream, class, oldest, next)| StreamInfo {
            stream,
            class,
            oldest,
            next,
        });
        let hello = Hello {
            boot: iottly_protocol::BootId::random(),
            conn: self.conn,
            versions: Versions {
                agent: "9.9.9".into(),
                runtime: "none".into(),
                firmware_abi: "none".into(),
            },
            capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
            directive_counter: 0,
            hardware: None,
            streams: streams.collect(),
        };
        self.up(Up::Hello(hello).encode()).await;
        loop {
            if let Down::Welcome(welcome) = self.down().await
                && welcome.conn == self.conn
            {
                return welcome;
            }
        }
    }

    /// Sends the messages `first..first + n`, each with its own number as payload.
    pub(crate) async fn batch(&self, stream: StreamId, first: u64, n: u64) {
        let records: Vec<_> = (first..first + n).map(message).collect();
        self.up(encode_batch(stream, first, records.iter().map(String::as_bytes)))
            .await;
    }

    /// Waits until the cloud acknowledges at least `upto`.
    pub(crate) async fn acked(&mut self, stream: StreamId, upto: u64) {
        loop {
            if let Down::Ack(ack) = self.down().await
                && ack.stream == stream
                && ack.upto >= upto
            {
                return;
            }
        }
    }

    /// Disconnects as an agent does: offline status, then a disconnect.
    pub(crate) async fn stop(mut self) {
        self.publish(
            &Topic::Status(self.id).to_string(),
            Status::new(self.conn, false).encode(),
            true,
        )
        .await;
        self.client.disconnect().await.expect("queued");
        let ended = async { while self.events.recv().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("the connection ends");
    }

    /// Closes the socket without a disconnect.
    pub(crate) async fn kill(self) {
        self.poll.abort();
        let _ = self.poll.await;
    }
}

/// Returns a record whose payload is its number.
pub(crate) fn message(seq: u64) -> String {
    format!(r#"{{"message":{{"type":"userdefined","at_ms":{seq},"payload":{{"n":{seq}}}}}}}"#)
}

/// Repeats a check until it holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let held = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, held).await.is_ok(),
        "never: {what}"
    );
}
