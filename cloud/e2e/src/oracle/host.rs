//! Several agents in one process, so that one kill ends them all. They run no firmware: this module makes their
//! messages and reports to the parent which of them are durable.
//!
//! Standard output: `ready`; `durable DEVICE COUNT`; `produced DEVICE`; after the parent wrote `finish` and
//! every queue is empty `stream DEVICE STREAM LAST`, then `done`.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use iottly_agent::outbox::{Outbox, OutboxError};
use iottly_agent::{Agent, AgentConfig, AgentHandle};
use iottly_protocol::StreamClass::History;
use iottly_protocol::{Message, MessageKind, Record};
use serde_json::value::RawValue;

/// First argument of a process of agents; the name of the run follows, and `LOAD=FOLDER` for each device.
pub const AGENTS: &str = "__agents";
/// Messages after which the producer waits until all are on the disk.
const DURABLE_EVERY: u64 = 100;
/// Size of a large message's text, in bytes.
const LARGE_BYTES: usize = 1_000_000;

/// Messages that a device has to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Messages in this run.
    pub(crate) count: u64,
    pub(crate) per_second: u64,
    /// Bytes of filling in a message.
    pub(crate) bytes: usize,
    /// Interval at which a message is [`LARGE_BYTES`] long; 0 for none.
    pub(crate) large_every: u64,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{},{},{},{}",
            self.count, self.per_second, self.bytes, self.large_every
        )
    }
}

impl FromStr for Load {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split(',').map(str::parse::<u64>);
        let mut next = || numbers.next().unwrap_or(Ok(0));
        let (count, per_second, bytes, large_every) = (next()?, next()?, next()?, next()?);
        Ok(Self {
            count,
            per_second,
            bytes: usize::try_from(bytes).unwrap_or(0),
            large_every,
        })
    }
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // Without a parent this process has no purpose.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Runs agents in this process, as its arguments after [`AGENTS`] say, until the parent ends it.
pub fn run_agents(mut args: impl Iterator<Item = String>) {
    let run = args.next().expect("the name of the run");
    let devices: Vec<(Load, PathBuf)> = args
        .map(|arg| {
            let (load, folder) = arg.split_once('=').expect("LOAD=FOLDER");
            (load.parse().expect("a load"), PathBuf::from(folder))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve(&run, devices));
}

async fn serve(run: &str, devices: Vec<(Load, PathBuf)>) {
    let sandbox = iottly_sandbox::Runtime::new().expect("a sandbox");
    let (mut agents, mut producers) = (Vec::new(), Vec::new());
    for (index, (load, folder)) in devices.into_iter().enumerate() {
        let mut config = AgentConfig::read(&folder.join("agent.toml")).expect("a configuration");
        config.firmware = None;
        let agent = Agent::start_with(config, &sandbox)
            .await
            .expect("the agent starts");
        let (outbox, run) = (agent.outbox().expect("just started"), run.to_owned());
        producers.push(thread::spawn(move || produce(index, &run, load, &outbox)));
        agents.push(agent);
    }
    say(format_args!("ready"));
    let asked = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next())
        .await
        .expect("a reader");
    if asked.and_then(Result::ok).as_deref() != Some("finish") {
        std::process::exit(1);
    }
    let produced = move || {
        producers
            .into_iter()
            .for_each(|producer| producer.join().expect("a producer"))
    };
    tokio::task::spawn_blocking(produced)
        .await
        .expect("producers end");
    for (index, agent) in agents.iter().enumerate() {
        drain(index, agent).await;
    }
    for agent in agents {
        agent.shutdown().await;
    }
    say(format_args!("done"));
}

/// Waits until the cloud has everything of an agent.
async fn drain(index: usize, agent: &AgentHandle) {
    let outbox = agent.outbox().expect("running");
    let (tx, rx) = tokio::sync::oneshot::channel();
    // The queue answers after it has published the state of what it committed before.
    outbox.peek(History, 1, 1, 1, move |_| {
        // The receiver below lives until the answer.
        let _ = tx.send(());
    });
    rx.await.expect("an answer");
    let mut streams = outbox.streams();
    let empty = streams.wait_for(|streams| streams.iter().all(|info| info.oldest == info.next));
    let history = empty.await.expect("the agent lives")[0];
    say(format_args!(
        "stream {index} {} {}",
        history.stream,
        history.next - 1
    ));
}

fn produce(index: usize, run: &str, load: Load, outbox: &Outbox) {
    let began = Instant::now();
    let filling = ["x".repeat(load.bytes), "x".repeat(LARGE_BYTES)];
    let mut n = 0;
    while n < load.count {
        if n > began.elapsed().as_millis() as u64 * load.per_second / 1000 {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let large = load.large_every > 0 && n % load.large_every == load.large_every - 1;
        let record = message(run, n, &filling[usize::from(large)]);
        let durable = n % DURABLE_EVERY == DURABLE_EVERY - 1 || n + 1 == load.count;
        match offer(outbox, record, durable) {
            Ok(()) => n += 1,
            Err(OutboxError::Closed) => return,
            Err(_) => {
                thread::sleep(Duration::from_millis(10));
                continue;
            }
        }
        if durable {
            say(format_args!("durable {index} {n}"));
        }
    }
    say(format_args!("produced {index}"));
}

fn offer(outbox: &Outbox, record: Vec<u8>, durable: bool) -> Result<(), OutboxError> {
    if !durable {
        return outbox.offer(History, record);
    }
    outbox
        .offer_durable(History, record)?
        .blocking_recv()
        .unwrap_or(Err(OutboxError::Closed))
}

#[expect(
    clippy::disallowed_methods,
    reason = "stands for a device, which has a clock of its own"
)]
fn message(run: &str, n: u64, filling: &str) -> Vec<u8> {
    let text = format!("{{\"run\":\"{run}\",\"n\":{n},\"x\":\"{filling}\"}}");
    let payload = RawValue::from_string(text).expect("json");
    let at_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as u64;
    Record::Message(Message {
        kind: MessageKind::UserDefined,
        at_ms,
        at_error_ms: None,
        channel: None,
        payload: &payload,
        firmware: None,
    })
    .encode()
}
