//! The other end of the wire: a real broker, a proxy that can cut connections, and a peer that speaks the
//! cloud's protocol.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iottly_protocol::{
    Command, CommandId, CommandResult, DeviceId, Down, GapReason, Hello, Record, Refuse, Report, Status,
    StreamClass, StreamId, StreamPosition, Topic, Up, Welcome,
};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker, StorageConfig};
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Maximum wait for a condition; generous, because machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Broker on a port of its own.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    stop: BrokerShutdownHandle,
    running: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let mut config = BrokerConfig {
            bind_addresses: vec!["127.0.0.1:0".parse().expect("address")],
            max_packet_size: 4 << 20,
            sys_topics_enabled: false,
            storage_config: StorageConfig::default().with_persistence(false),
            ..BrokerConfig::default()
        };
        config.auth_config.allow_anonymous = true;
        let mut broker = MqttBroker::with_config(config).await.expect("broker");
        let address = broker.local_addr().expect("address");
        let stop = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let running = tokio::spawn(async move { broker.run().await.expect("broker runs") });
        ready.wait_for(|ready| *ready).await.expect("ready");
        Self {
            address,
            stop,
            running,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.shutdown();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.running).await;
    }
}

/// Proxy that forwards connections to a broker and can cut them.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cut: watch::Sender<u64>,
    target: watch::Sender<Option<SocketAddr>>,
}

impl Proxy {
    pub(crate) async fn start(target: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("address");
        let (cut, cuts) = watch::channel(0);
        let (target, targets) = watch::channel(target);
        tokio::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                let Some(target) = *targets.borrow() else { continue };
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(mut outer) = TcpStream::connect(target).await else {
                        return;
                    };
                    let _ = (inner.set_nodelay(true), outer.set_nodelay(true));
                    tokio::select! {
                        _ = copy_bidirectional(&mut inner, &mut outer) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { address, cut, target }
    }

    /// Ends every connection at once.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Sets the target of new connections.
    pub(crate) fn retarget(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }
}

/// Data that the peer has received, and its behaviour.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) classes: HashMap<StreamId, StreamClass>,
    /// Encoded records by stream and number.
    pub(crate) records: HashMap<StreamId, BTreeMap<u64, String>>,
    pub(crate) hellos: Vec<Hello>,
    /// Latest retained status.
    pub(crate) online: Option<bool>,
    /// Positions named in welcomes instead of the real ones, as if the device were older than the cloud.
    pub(crate) pretend: HashMap<StreamId, u64>,
    /// Text whose records are refused.
    pub(crate) refuse: Option<&'static str>,
    /// First and last number of the gaps, by stream.
    pub(crate) gaps: HashMap<StreamId, Vec<(u64, u64, GapReason)>>,
    /// Lead of the cloud's clock over the machine's, in milliseconds; wraps for a lag.
    pub(crate) ahead_ms: u64,
    /// Acknowledge nothing.
    pub(crate) silent: bool,
    /// Name unassigned numbers in each welcome.
    pub(crate) beyond: bool,
    /// Record numbers received again with other content; must stay zero.
    pub(crate) conflicts: usize,
}

impl Store {
    fn upto(&self, stream: StreamId) -> u64 {
        let records = self.records.get(&stream);
        let gaps = self.gaps.get(&stream);
        let mut upto = 0;
        loop {
            let next = upto + 1;
            let gap = gaps
                .into_iter()
                .flatten()
                .find(|(from, to, _)| (*from..=*to).contains(&next));
            upto = match gap {
                Some((_, to, _)) => *to,
                None if records.is_some_and(|records| records.contains_key(&next)) => next,
                None => return upto,
            };
        }
    }

    /// Returns the records of all streams of a class, in order of their numbers.
    pub(crate) fn of(&self, class: StreamClass) -> Vec<&str> {
        let streams = self
            .records
            .iter()
            .filter(|(stream, _)| self.classes.get(stream) == Some(&class));
        streams
            .flat_map(|(_, records)| records.values().map(String::as_str))
            .collect()
    }

    /// Returns the payloads of the messages, in order of their numbers.
    pub(crate) fn payloads(&self) -> Vec<String> {
        let decode = |text: &str| match serde_json::from_str(text).expect("a record") {
            Record::Message(message) => message.payload.get().to_owned(),
            other => panic!("{other:?}"),
        };
        self.of(StreamClass::History).into_iter().map(decode).collect()
    }

    /// Returns the results of commands, in order of their numbers.
    pub(crate) fn results(&self) -> Vec<CommandResult> {
        self.control(|record| match record {
            Record::Result(result) => Some(result),
            _ => None,
        })
    }

    /// Returns the final results of a command.
    pub(crate) fn final_results(&self, id: CommandId) -> Vec<CommandResult> {
        let mut results = self.results();
        results.retain(|result| result.id == id && result.state.is_final());
        results
    }

    /// Returns the reports, in order of their numbers.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.control(|record| match record {
            Record::Report(report) => Some(report),
            _ => None,
        })
    }

    fn control<T>(&self, pick: impl Fn(Record<'_>) -> Option<T>) -> Vec<T> {
        self.of(StreamClass::Control)
            .into_iter()
            .filter_map(|text| pick(serde_json::from_str(text).expect("a record")))
            .collect()
    }
}

/// Peer that answers hellos and batches as the cloud does, from memory.
pub(crate) struct Peer {
    broker: SocketAddr,
    client: AsyncClient,
    device: DeviceId,
    store: Arc<Mutex<Store>>,
    changed: watch::Receiver<u64>,
    running: JoinHandle<()>,
}

impl Peer {
    /// Connects to the broker and serves one device; `store` may come from an earlier peer.
    pub(crate) async fn start(broker: SocketAddr, device: DeviceId, store: Arc<Mutex<Store>>) -> Self {
        let mut options = MqttOptions::new(format!("peer-{device}"), broker.ip().to_string(), broker.port());
        options
            .set_max_packet_size(4 << 20, 4 << 20)
            .set_clean_session(true);
        let (client, mut events) = AsyncClient::new(options, 10_000);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        for topic in [Topic::Up(device), Topic::Status(device)] {
            client
                .try_subscribe(topic.to_string(), QoS::AtLeastOnce)
                .expect("room");
        }
        let (tx, changed) = watch::channel(0);
        let (ready_tx, mut ready) = watch::channel(0);
        let answering = client.clone();
        let kept = Arc::clone(&store);
        let running = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let mut answers =
                            receive(&mut kept.lock().expect("lock"), &publish.topic, &publish.payload);
                        if kept.lock().expect("lock").silent {
                            answers.retain(|answer| !matches!(answer, Down::Ack(_)));
                        }
                        for answer in answers {
                            answering
                                .try_publish(
                                    Topic::Down(device).to_string(),
                                    QoS::AtLeastOnce,
                                    false,
                                    answer.encode(),
                                )
                                .expect("room");
                        }
                        tx.send_modify(|changes| *changes += 1);
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => ready_tx.send_modify(|acks| *acks += 1),
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        tokio::time::timeout(PATIENCE, ready.wait_for(|acks| *acks >= 2))
            .await
            .expect("in time")
            .expect("subscribed");
        Self {
            broker,
            client,
            device,
            store,
            changed,
            running,
        }
    }

    pub(crate) fn send(&self, down: &Down) {
        let topic = Topic::Down(self.device).to_string();
        self.client
            .try_publish(topic, QoS::AtLeastOnce, false, down.encode())
            .expect("room");
    }

    /// Sends bytes that need not be a valid message.
    pub(crate) fn raw(&self, payload: &[u8]) {
        self.client
            .try_publish(
                Topic::Down(self.device).to_string(),
                QoS::AtLeastOnce,
                false,
                payload,
            )
            .expect("room");
    }

    pub(crate) fn command(&self, id: CommandId, cmd_type: &str) {
        let values =
            serde_json::value::RawValue::from_string("{\"content\":\"x\"}".to_owned()).expect("json");
        self.send(&Down::Command(Command {
            id,
            cmd_type: cmd_type.to_owned(),
            values,
            ttl_ms: 60_000,
        }));
    }

    pub(crate) fn with<T>(&self, read: impl FnOnce(&mut Store) -> T) -> T {
        read(&mut self.store.lock().expect("lock"))
    }

    /// Connects to the broker with the device's id for a moment, which ends the device's connection.
    pub(crate) async fn disconnect_device(&self) {
        let address = self.broker;
        let mut options = MqttOptions::new(self.device.to_string(), address.ip().to_string(), address.port());
        options.set_clean_session(true);
        let (_client, mut events) = AsyncClient::new(options, 10);
        let connected =
            async { while !matches!(events.poll().await, Ok(Event::Incoming(Packet::ConnAck(_)))) {} };
        tokio::time::timeout(PATIENCE, connected)
            .await
            .expect("the broker takes connections");
    }

    /// Waits for a report that satisfies `condition`.
    pub(crate) async fn until_report(&mut self, what: &str, condition: impl Fn(&Report) -> bool) {
        self.until(what, |store| store.reports().iter().any(&condition))
            .await;
    }

    /// Waits until the store satisfies `condition`.
    pub(crate) async fn until(&mut self, what: &str, condition: impl Fn(&Store) -> bool) {
        let store = Arc::clone(&self.store);
        let wait = self.changed.wait_for(|_| condition(&store.lock().expect("lock")));
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let store = store.lock().expect("lock");
            let counts: Vec<_> = store
                .records
                .iter()
                .map(|(stream, records)| (stream, records.len()))
                .collect();
            panic!(
                "{what} did not happen; hellos {}, records {counts:?}, online {:?}, reports {:?}",
                store.hellos.len(),
                store.online,
                store.reports()
            );
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn receive(store: &mut Store, topic: &str, payload: &[u8]) -> Vec<Down> {
    match topic.parse::<Topic>().expect("own topic") {
        Topic::Status(_) => {
            store.online = Status::decode(payload).ok().map(|status| status.online);
            Vec::new()
        }
        _ => match Up::decode(payload).expect("a valid envelope") {
            Up::Hello(hello) => vec![greet(store, hello)],
            Up::Batch(batch) => {
                let mut answers = Vec::new();
                for (seq, record) in (batch.first..).zip(&batch.records) {
                    Record::decode(record).expect("a valid record");
                    if store.refuse.is_some_and(|text| record.get().contains(text)) {
                        answers.push(Down::Refuse(Refuse {
                            stream: batch.stream,
                            seq,
                            reason: "not wanted".to_owned(),
                        }));
                    }
                    let records = store.records.entry(batch.stream).or_default();
                    let earlier = records.insert(seq, record.get().to_owned());
                    store.conflicts += usize::from(earlier.is_some_and(|earlier| earlier != record.get()));
                }
                answers.push(Down::Ack(StreamPosition {
                    stream: batch.stream,
                    upto: store.upto(batch.stream),
                }));
                answers
            }
            Up::Gap(gap) => {
                store
                    .gaps
                    .entry(gap.stream)
                    .or_default()
                    .push((gap.from, gap.to, gap.reason));
                vec![Down::Ack(StreamPosition {
                    stream: gap.stream,
                    upto: store.upto(gap.stream),
                })]
            }
        },
    }
}

fn greet(store: &mut Store, hello: Hello) -> Down {
    let mut streams = Vec::new();
    for info in &hello.streams {
        store.classes.insert(info.stream, info.class);
        let upto = match (store.beyond, store.silent) {
            (true, _) => 1 << 53,
            (_, true) => info.oldest - 1,
            _ => store
                .pretend
                .get(&info.stream)
                .copied()
                .unwrap_or_else(|| store.upto(info.stream)),
        };
        streams.push(StreamPosition {
            stream: info.stream,
            upto,
        });
    }
    let conn = hello.conn;
    store.hellos.push(hello);
    Down::Welcome(Welcome {
        conn,
        time_ms: super::unix_ms().wrapping_add(store.ahead_ms),
        streams,
        checks: Vec::new(),
        enroll: None,
        capabilities: Vec::new(),
    })
}
