//! Throughput of the ingest: devices → broker → committed and queryable, with generator and cloud on one
//! machine.
//!
//! `cargo bench -p iottly --bench ingest -- [--devices 20] [--batch 50] [--messages 1000000] [--rate 7500]
//! [--seconds 20]`. The cloud is a real `iottly serve` on a real disk: SQLite in WAL mode,
//! `synchronous=FULL`, so each group of records is one fsync. The devices are bare MQTT connections that
//! speak the wire: a message counts when the cloud has acknowledged that it is committed, and at the end the
//! export must contain all of them.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]

use std::collections::VecDeque;
use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

use iottly_e2e::oracle::{Device, Site, free_ports};
use iottly_e2e::program;
use iottly_protocol::{
    BootId, ConnId, DeviceId, Down, Hello, StreamClass, StreamId, StreamInfo, Topic, Up, Versions,
    encode_batch,
};
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::sync::mpsc;

/// Size of a payload, in bytes.
const PAYLOAD: usize = 250;
/// Largest number of unacknowledged batches of a device, the same as an agent's.
const WINDOW: usize = 8;

struct Options {
    devices: usize,
    batch: u64,
    messages: u64,
    rate: u64,
    seconds: u64,
}

fn main() {
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let options = options();
    let folder = tempfile::Builder::new()
        .prefix("iottly-bench-")
        .tempdir_in(".")
        .expect("folder");
    let mut site = Site::new(Path::new(program()), folder.path(), free_ports());
    site.start();
    let devices: Vec<_> = (0..options.devices)
        .map(|n| site.provision(&format!("device-{n}"), "127.0.0.1:1"))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mqtt = site.mqtt;
    let mut sources: Vec<Source> = runtime.block_on(async {
        let mut sources = Vec::new();
        for device in &devices {
            sources.push(Source::connect(mqtt, device).await);
        }
        sources
    });
    let mut stored = 0;
    println!("| stored before | messages | acknowledged as committed |\n|---|---|---|");
    for part in parts(options.messages) {
        let each = part / options.devices as u64 / options.batch * options.batch;
        let began = Instant::now();
        sources = runtime.block_on(all(sources, |source| source.send(each, options.batch)));
        let sent = each * options.devices as u64;
        println!(
            "| {stored} | {sent} | {:.0}/s |",
            sent as f64 / began.elapsed().as_secs_f64()
        );
        stored += sent;
    }
    let per_device = options.rate as f64 / options.devices as f64;
    let (batch, every) = ((per_device / 20.0).ceil() as u64, Duration::from_millis(50));
    sources = runtime.block_on(all(sources, |source| {
        source.pace(batch, every, Duration::from_secs(options.seconds))
    }));
    let mut times: Vec<_> = sources
        .iter_mut()
        .flat_map(|source| std::mem::take(&mut source.times))
        .collect();
    times.sort_unstable();
    let at =
        |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    println!(
        "\npublish to acknowledged as committed, {} messages/s in batches of {batch}:",
        options.rate
    );
    println!(
        "p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms of {} batches",
        at(50),
        at(99),
        at(100),
        times.len()
    );
    for (source, device) in sources.iter().zip(&devices) {
        let lines = std::io::BufReader::with_capacity(1 << 20, site.export(device)).lines();
        let numbered = lines
            .map_while(Result::ok)
            .filter(|line| line.contains("\"seq\":"))
            .count() as u64;
        assert_eq!(
            numbered,
            source.next - 1,
            "every acknowledged message can be read"
        );
    }
    site.stop();
}

/// Splits `whole` into 10,000, 90,000, and pieces of 100,000.
fn parts(messages: u64) -> Vec<u64> {
    let mut parts = vec![10_000, 90_000];
    let mut left = messages.saturating_sub(100_000);
    while left > 0 {
        parts.push(left.min(100_000));
        left -= left.min(100_000);
    }
    parts
}

async fn all<F: Future<Output = Source> + Send + 'static>(
    sources: Vec<Source>,
    work: impl Fn(Source) -> F,
) -> Vec<Source> {
    let tasks: Vec<_> = sources
        .into_iter()
        .map(|source| tokio::spawn(work(source)))
        .collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("a source ends"));
    }
    done
}

fn options() -> Options {
    let mut options = Options {
        devices: 20,
        batch: 50,
        messages: 1_000_000,
        rate: 7500,
        seconds: 20,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .and_then(|value| value.parse::<u64>().ok())
                .expect("a number")
        };
        match arg.as_str() {
            "--devices" => options.devices = value() as usize,
            "--batch" => options.batch = value(),
            "--messages" => options.messages = value(),
            "--rate" => options.rate = value(),
            "--seconds" => options.seconds = value(),
            // cargo's own.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    options
}

/// Connection of a device.
struct Source {
    client: AsyncClient,
    topic: String,
    stream: StreamId,
    next: u64,
    acks: mpsc::UnboundedReceiver<u64>,
    /// Last number of each unacknowledged batch, and the time at which it was sent.
    waiting: VecDeque<(u64, Instant)>,
    times: Vec<Duration>,
}

impl Source {
    async fn connect(mqtt: u16, device: &Device) -> Self {
        let text = std::fs::read_to_string(device.folder.join("agent.toml")).expect("a configuration");
        let secret = text
            .lines()
            .find_map(|line| line.strip_prefix("secret = "))
            .expect("a secret")
            .trim_matches('"')
            .to_owned();
        let id: DeviceId = device.id.parse().expect("an id");
        let mut options = MqttOptions::new(id.to_string(), "127.0.0.1", mqtt);
        options
            .set_credentials(id.to_string(), secret)
            .set_max_packet_size(4 << 20, 4 << 20)
            .set_inflight(64);
        let (client, mut events) = AsyncClient::new(options, 64);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        client
            .try_subscribe(Topic::Down(id).to_string(), QoS::AtLeastOnce)
            .expect("room");
        let (tx, acks) = mpsc::unbounded_channel();
        let (ready_tx, mut ready) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                // The cloud ends before its devices; an earlier end shows as a missing ack.
                let Ok(event) = events.poll().await else { return };
                match event {
                    Event::Incoming(Packet::SubAck(_)) => drop(ready_tx.try_send(())),
                    Event::Incoming(Packet::Publish(publish)) => {
                        match Down::decode(&publish.payload).expect("the wire") {
                            Down::Ack(ack) => drop(tx.send(ack.upto)),
                            Down::Welcome(_) => drop(ready_tx.try_send(())),
                            other => panic!("{other:?}"),
                        }
                    }
                    _ => {}
                }
            }
        });
        ready.recv().await.expect("subscribed");
        let (stream, topic) = (StreamId::random(), Topic::Up(id).to_string());
        let hello = Hello {
            boot: BootId::random(),
            conn: ConnId::random(),
            versions: Versions {
                agent: "bench".into(),
                runtime: "none".into(),
                firmware_abi: "none".into(),
            },
            capabilities: Vec::new(),
            directive_counter: 0,
            hardware: None,
            streams: vec![StreamInfo {
                stream,
                class: StreamClass::History,
                oldest: 1,
                next: 1,
            }],
        };
        client
            .publish(&topic, QoS::AtLeastOnce, false, Up::Hello(hello).encode())
            .await
            .expect("sent");
        ready.recv().await.expect("welcome");
        Self {
            client,
            topic,
            stream,
            next: 1,
            acks,
            waiting: VecDeque::new(),
            times: Vec::new(),
        }
    }

    async fn publish(&mut self, count: u64) {
        let records: Vec<_> = (self.next..self.next + count).map(record).collect();
        let batch = encode_batch(self.stream, self.next, records.iter().map(String::as_bytes));
        self.next += count;
        self.waiting.push_back((self.next - 1, Instant::now()));
        self.client
            .publish(&self.topic, QoS::AtLeastOnce, false, batch)
            .await
            .expect("sent");
    }

    async fn acknowledged(&mut self) {
        let upto = self.acks.recv().await.expect("the connection stays");
        while let Some((_, at)) = self.waiting.pop_front_if(|(last, _)| *last <= upto) {
            self.times.push(at.elapsed());
        }
    }

    /// Sends batches as fast as they are acknowledged.
    async fn send(mut self, count: u64, batch: u64) -> Self {
        let end = self.next + count;
        while self.next < end || !self.waiting.is_empty() {
            if self.next < end && self.waiting.len() < WINDOW {
                self.publish(batch.min(end - self.next)).await;
            } else {
                self.acknowledged().await;
            }
        }
        self.times.clear();
        self
    }

    /// Sends batches at a fixed rate.
    async fn pace(mut self, batch: u64, every: Duration, time: Duration) -> Self {
        // Devices do not send at the same moment.
        tokio::time::sleep(every * u32::from(self.stream.as_bytes()[0]) / 256).await;
        let began = Instant::now();
        let mut tick = tokio::time::interval(every);
        while began.elapsed() < time {
            tokio::select! {
                _ = tick.tick() => self.publish(batch).await,
                () = self.acknowledged() => {}
            }
        }
        while !self.waiting.is_empty() {
            self.acknowledged().await;
        }
        self
    }
}

fn record(n: u64) -> String {
    let start = format!(
        r#"{{"n":{n},"temperature":{}.{:02},"site":"north","#,
        n % 40,
        n % 100
    );
    let filling = "x".repeat(PAYLOAD - start.len() - 10);
    format!(
        r#"{{"message":{{"type":"userdefined","at_ms":1790000000000,"payload":{start}"text":"{filling}"}}}}}}"#
    )
}
