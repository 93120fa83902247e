//! Ten thousand devices in virtual time: the device's own update machine and the cloud's planner, connected
//! directly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use iottly_core::model::{Policy, RolloutIntent, RolloutProgress, RolloutStatus, Wave};
use iottly_core::rollout::{DeviceProgress, Evidence, Member, Step, plan, rank};
use iottly_e2e::beside_others;
use iottly_protocol::DeviceId;
use iottly_protocol::release::{Action, Ending, HealthRules, Reason, UpdateState};
use iottly_update::{Effect, Event, Machine, Memory, Now, Offer, Planned, Progress, Running, Start};

const DEVICES: usize = 10_000;
const START: u64 = 1_800_000_000;
/// Interval of the cloud's planning, in milliseconds.
const PLAN_EVERY: u64 = 5000;
const GRACE_MS: u64 = 10_000;

/// A generator that gives the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }
}

struct Device {
    machine: Machine,
    /// Set for a device with broken connections and failed trials now and then.
    flaky: bool,
    /// Set for a device on which the bad release traps.
    allergic: bool,
    tried: bool,
    counter: u64,
}

struct Fleet {
    random: Random,
    devices: Vec<Device>,
    members: Vec<Member>,
    /// Time, number and device of each event, the earliest first.
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    bodies: Vec<Option<Event>>,
    now_ms: u64,
}

struct Outcome {
    status: RolloutStatus,
    evidence: Option<Evidence>,
    tried: usize,
    committed: usize,
    virtual_s: u64,
}

fn planned() -> Planned {
    Planned {
        path: "app/main/2.wasm".into(),
        size: 1 << 20,
        sha256: "22".repeat(32),
        release_seq: 2,
        security_floor: 0,
        chunk_size: 1 << 20,
        chunk_root: "00".repeat(32),
        data_schema: 1,
        health: HealthRules {
            grace_ms: GRACE_MS,
            min_ok: 1,
            max_memory: 0,
        },
        engine: None,
    }
}

impl Fleet {
    fn new(seed: u64, flaky: u64, allergic: u64) -> Self {
        let mut random = Random(seed);
        let mut members: Vec<Member> = (0..DEVICES)
            .map(|_| {
                let device = DeviceId::from_bytes(
                    [random.next().to_be_bytes(), random.next().to_be_bytes()]
                        .concat()
                        .try_into()
                        .expect("16 bytes"),
                );
                Member {
                    device,
                    rank: rank(&seed.to_string(), device),
                    online: true,
                    progress: DeviceProgress::Pending,
                }
            })
            .collect();
        members.sort_by_key(|member| member.rank);
        let device = |random: &mut Random| Device {
            machine: Machine::new(Memory::default()),
            flaky: random.percent(flaky),
            allergic: random.percent(allergic),
            tried: false,
            counter: 0,
        };
        let devices = (0..DEVICES).map(|_| device(&mut random)).collect();
        Self {
            random,
            devices,
            members,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            now_ms: 0,
        }
    }

    fn later(&mut self, after_ms: u64, device: usize, event: Event) {
        let number = self.bodies.len();
        self.bodies.push(Some(event));
        self.events
            .push(Reverse((self.now_ms + after_ms, number as u64, device)));
    }

    fn feed(&mut self, at: usize, event: Event) {
        let now = Now {
            unix: START + self.now_ms / 1000,
            clock_trusted: true,
            mono_ms: self.now_ms,
        };
        for effect in self.devices[at].machine.handle(event, now) {
            self.perform(at, effect);
        }
    }

    /// Performs an effect of a device's machine.
    fn perform(&mut self, at: usize, effect: Effect) {
        let trouble = self.devices[at].flaky && self.random.percent(30);
        let soon = self.random.between(50, 500);
        match effect {
            Effect::Report(progress) => self.reported(at, &progress),
            Effect::VerifyMeta(_) | Effect::FetchPart(..) if trouble => {
                let corrupt = self.random.percent(20);
                self.later(
                    soon,
                    at,
                    Event::PartFailed {
                        corrupt,
                        detail: "the line broke".into(),
                    },
                );
            }
            Effect::VerifyMeta(_) => self.later(soon, at, Event::MetaOk(planned())),
            Effect::FetchPart(..) => self.later(soon * 4, at, Event::PartKept { complete: true }),
            Effect::CheckRoom(_) => self.later(1, at, Event::Room),
            Effect::CheckImage(..) => self.later(soon * 10, at, Event::ImageOk(None)),
            Effect::CopyState => self.later(5, at, Event::Copied),
            Effect::Point(Running::Slot(_)) => self.later(5, at, Event::Switched),
            Effect::CleanUp | Effect::RestoreState => self.later(5, at, Event::Done),
            Effect::Start(Start { trial: Some(_), .. }) => {
                self.devices[at].tried = true;
                if self.devices[at].allergic {
                    let after = self.random.between(100, GRACE_MS);
                    self.later(after, at, Event::Trapped("unreachable".into()));
                } else if !trouble {
                    self.later(GRACE_MS / 2, at, Event::Healthy);
                }
            }
            Effect::WakeAt(ms) => self.later(ms.saturating_sub(self.now_ms), at, Event::Tick),
            Effect::Journal(_)
            | Effect::KeepEngine(_)
            | Effect::Point(Running::Factory)
            | Effect::Start(_)
            | Effect::Stop => {}
        }
    }

    fn reported(&mut self, at: usize, progress: &Progress) {
        let member = &mut self.members[at];
        let times = match member.progress {
            DeviceProgress::Failed { times, .. } => times,
            DeviceProgress::UnderWay { failures, .. } => failures,
            _ => 0,
        };
        member.progress = match progress.state {
            UpdateState::Underway(state) => {
                let since = match member.progress {
                    DeviceProgress::UnderWay { since, .. } => since,
                    _ => START + self.now_ms / 1000,
                };
                DeviceProgress::UnderWay {
                    since,
                    cancellable: state.is_cancellable(),
                    failures: times,
                }
            }
            UpdateState::Ended(Ending::Committed) => DeviceProgress::Committed,
            UpdateState::Ended(_) => {
                let reason = progress.why.as_ref().map_or(Reason::Timeout, |why| why.reason);
                DeviceProgress::Failed {
                    reason,
                    times: times + 1,
                }
            }
        };
    }

    fn tell(&mut self, device: DeviceId) {
        let at = self
            .members
            .iter()
            .position(|member| member.device == device)
            .expect("a member");
        let failures = match self.members[at].progress {
            DeviceProgress::Failed { times, .. } => times,
            _ => 0,
        };
        let since = START + self.now_ms / 1000;
        self.members[at].progress = DeviceProgress::UnderWay {
            since,
            cancellable: true,
            failures,
        };
        self.devices[at].counter += 1;
        let counter = self.devices[at].counter;
        let offer = Offer {
            id: format!("d-{counter}"),
            document: "{}".into(),
            counter,
            action: Action::Install,
            sha256: planned().sha256,
            deadline_s: 600,
            window: None,
            max_bps: 0,
        };
        self.later(20, at, Event::Offer(offer));
    }

    /// Runs the cloud and the devices until the rollout has ended.
    fn roll(mut self, policy: &Policy) -> Outcome {
        let mut progress = RolloutProgress {
            intent: RolloutIntent::Run,
            halted: false,
            soaking: None,
        };
        let mut evidence = None;
        loop {
            let planned = plan(policy, &self.members, &progress, START + self.now_ms / 1000);
            progress = planned.progress;
            evidence = planned.evidence.or(evidence);
            for step in planned.steps {
                if let Step::Install(device) = step {
                    self.tell(device);
                }
            }
            let until = self.now_ms + PLAN_EVERY;
            while let Some(Reverse((at_ms, number, device))) = self
                .events
                .peek()
                .copied()
                .filter(|Reverse((at, ..))| *at <= until)
            {
                self.events.pop();
                self.now_ms = at_ms;
                let body = self.bodies[usize::try_from(number).expect("a number")]
                    .take()
                    .expect("each once");
                self.feed(device, body);
            }
            self.now_ms = until;
            let quiet = !self
                .members
                .iter()
                .any(|member| matches!(member.progress, DeviceProgress::UnderWay { .. }));
            if quiet && matches!(planned.status, RolloutStatus::Halted | RolloutStatus::Deployed) {
                let tried = self.devices.iter().filter(|device| device.tried).count();
                let committed = self
                    .members
                    .iter()
                    .filter(|member| member.progress == DeviceProgress::Committed)
                    .count();
                return Outcome {
                    status: planned.status,
                    evidence,
                    tried,
                    committed,
                    virtual_s: self.now_ms / 1000,
                };
            }
            assert!(self.now_ms < 100_000_000, "the rollout never ends");
        }
    }
}

fn policy() -> Policy {
    Policy {
        canary: 20,
        waves: vec![Wave::Percent(1), Wave::Percent(10), Wave::Percent(50)],
        concurrency: 1000,
        canary_failures: 2,
        failure_percent: 5,
        sample: 20,
        retries: 1,
        ..Policy::default()
    }
}

#[test]
fn a_good_release_reaches_a_fleet_with_flaky_devices() {
    let _turn = beside_others();
    let outcome = Fleet::new(1, 5, 0).roll(&policy());
    assert_eq!(outcome.status, RolloutStatus::Deployed, "{:?}", outcome.evidence);
    assert!(
        outcome.committed > DEVICES * 98 / 100,
        "{} committed in {} s",
        outcome.committed,
        outcome.virtual_s
    );
}

#[test]
fn a_bad_release_halts_before_two_percent_of_the_fleet_have_it() {
    let _turn = beside_others();
    // The release traps on all boards, on a third of them, on an eighth of them.
    for (seed, allergic) in [(1, 100), (2, 33), (3, 33), (4, 13), (5, 13), (6, 13)] {
        let outcome = Fleet::new(seed, 5, allergic).roll(&policy());
        assert_eq!(
            outcome.status,
            RolloutStatus::Halted,
            "seed {seed}: {} tried",
            outcome.tried
        );
        assert!(
            outcome.tried * 100 < DEVICES * 2,
            "seed {seed}, {allergic} %: {} devices had it",
            outcome.tried
        );
        let evidence = outcome.evidence.expect("a halt has evidence");
        assert!(
            evidence
                .failures
                .iter()
                .any(|(_, reason)| *reason == Reason::CrashLoop),
            "{evidence:?}"
        );
    }
}

#[test]
fn the_same_seed_is_the_same_rollout() {
    let _turn = beside_others();
    let run = || {
        let outcome = Fleet::new(9, 5, 33).roll(&policy());
        (outcome.tried, outcome.committed, outcome.virtual_s)
    };
    assert_eq!(run(), run());
}
