//! The other tenant: a device that waits for each acknowledgement, and a token that asks for its project.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use iottly_protocol::{StreamClass, StreamId};

use crate::device::Raw;
use crate::site::{Site, Tenant};

/// Pause between two messages, and between two requests.
const PAUSE: Duration = Duration::from_millis(15);
/// Longest wait for one acknowledgement or answer; longer ones count as this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Observations of the tenant.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Time from each message to its acknowledgement.
    pub(crate) acks: Vec<Duration>,
    /// Status of each answer; none when there was no answer.
    pub(crate) answers: Vec<Option<u16>>,
}

impl Seen {
    pub(crate) fn p95(&self) -> Duration {
        let mut sorted = self.acks.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(PATIENCE)
    }

    pub(crate) fn latest(&self) -> Duration {
        self.acks.iter().copied().max().unwrap_or(PATIENCE)
    }
}

enum Observation {
    Ack(Instant, Duration),
    Answer(Instant, Option<u16>),
}

pub(crate) struct Victim {
    observations: mpsc::Receiver<Observation>,
    threads: [JoinHandle<()>; 2],
}

impl Victim {
    /// Connects the device and starts the work.
    pub(crate) fn start(site: &Site) -> Self {
        let tenant = site.tenant("victim");
        let (sender, observations) = mpsc::channel();
        let (device, requests) = (sender.clone(), sender);
        let asking = tenant.clone();
        let threads = [
            std::thread::spawn(move || send(&tenant, &device)),
            std::thread::spawn(move || ask(&asking, &requests)),
        ];
        // Both have begun.
        let (mut acked, mut answered) = (false, false);
        while !(acked && answered) {
            match observations.recv_timeout(PATIENCE).expect("the tenant can work") {
                Observation::Ack(..) => acked = true,
                Observation::Answer(..) => answered = true,
            }
        }
        Self {
            observations,
            threads,
        }
    }

    /// Ends the work, before the cloud ends.
    pub(crate) fn stop(self) {
        drop(self.observations);
        for thread in self.threads {
            // A thread that has lost its connection has panicked; what it saw until then is counted.
            let _ = thread.join();
        }
    }

    /// Collects observations of what began within this time.
    pub(crate) fn watch(&mut self, time: Duration, mut meanwhile: impl FnMut()) -> Seen {
        let (began, mut seen) = (Instant::now(), Seen::default());
        let (mut acks_done, mut answers_done) = (false, false);
        // What began within the time is waited for.
        while !(acks_done && answers_done) && began.elapsed() < time + PATIENCE {
            meanwhile();
            match self.observations.recv_timeout(Duration::from_millis(50)) {
                Ok(Observation::Ack(at, _)) if at > began + time => acks_done = true,
                Ok(Observation::Answer(at, _)) if at > began + time => answers_done = true,
                Ok(Observation::Ack(at, waited)) if at >= began => seen.acks.push(waited),
                Ok(Observation::Answer(at, status)) if at >= began => seen.answers.push(status),
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        if !acks_done {
            seen.acks.push(PATIENCE);
        }
        if !answers_done {
            seen.answers.push(None);
        }
        seen
    }
}

fn send(tenant: &Tenant, seen: &mpsc::Sender<Observation>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let id = tenant.device.parse().expect("an id");
        let mut device = Raw::connect(tenant.mqtt, id, &tenant.secret).await;
        let stream = StreamId::random();
        device.hello(&[(stream, StreamClass::History, 1, 1)]).await;
        for seq in 1.. {
            let began = Instant::now();
            device.batch(stream, seq, 1).await;
            // Ends with the process, or when the connection is lost, which shows as a missing
            // acknowledgement.
            device.acked(stream, seq).await;
            if seen.send(Observation::Ack(began, began.elapsed())).is_err() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
}

fn ask(tenant: &Tenant, seen: &mpsc::Sender<Observation>) {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build();
    let agent: ureq::Agent = config.into();
    let inspect = format!("{}/v1.0/project/{}/inspect", tenant.url, tenant.project);
    for url in [format!("{}/v1.0/ping", tenant.url), inspect].iter().cycle() {
        let began = Instant::now();
        let get = || {
            agent
                .get(url)
                .header("Authorization", format!("Bearer {}", tenant.token))
                .call()
        };
        // A kept connection may be closed just as it is used again: clients repeat a safe request then (RFC
        // 9112, 9.3.1).
        let answer = get().or_else(|_| get());
        let status = answer.ok().map(|answer| answer.status().as_u16());
        if seen.send(Observation::Answer(began, status)).is_err() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}
