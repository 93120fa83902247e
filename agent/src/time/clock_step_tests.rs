//! The system's date steps at each phase of a message: a sent message has the right date, and the same one
//! each time.

use iottly_protocol::{Message, MessageKind, Record};
use serde_json::value::RawValue;

use super::keeper::{Keeper, Stored};
use super::undated;

/// True date of the system's first start, in unix milliseconds.
const TRUE: i64 = 1_790_000_000_000;
const HOURS_3: i64 = 3 * 3_600_000;
const YEARS_10: i64 = 10 * 365 * 86_400_000;
/// Time between a hello and its answer, in milliseconds.
const ASKED_MS: u64 = 40;

/// Board on which true time passes, the system's date is wrong, and agents and systems restart.
struct Board {
    keeper: Keeper,
    boot: [u8; 16],
    /// True time since the first start, and the one at which the present system started, in milliseconds.
    now_ms: u64,
    booted_ms: u64,
    off_ms: i64,
    queue: Vec<(u64, Vec<u8>)>,
}

impl Board {
    fn new(off_ms: i64) -> Self {
        let boot = [1; 16];
        let keeper = Keeper::new(Stored::default(), boot, date(0, off_ms), 0);
        Self {
            keeper,
            boot,
            now_ms: 0,
            booted_ms: 0,
            off_ms,
            queue: Vec::new(),
        }
    }

    fn up_ms(&self) -> u64 {
        self.now_ms - self.booted_ms
    }

    /// Restarts the agent.
    fn restart(&mut self) {
        let stored = Stored::decode(&self.keeper.stored().encode()).expect("whole");
        self.keeper = Keeper::new(stored, self.boot, date(self.now_ms, self.off_ms), self.up_ms());
    }

    /// Restarts the system.
    fn reboot(&mut self) {
        self.boot[0] += 1;
        self.booted_ms = self.now_ms;
        self.restart();
    }

    fn make(&mut self) {
        let payload = RawValue::from_string(format!("{{\"made\":{}}}", self.now_ms)).expect("json");
        let at_ms = self.keeper.now_ms(self.up_ms());
        let message = Message {
            kind: MessageKind::UserDefined,
            at_ms,
            at_error_ms: None,
            channel: None,
            payload: &payload,
            firmware: None,
        };
        let record = Record::Message(message).encode();
        let stored = match self.keeper.undated(self.up_ms()) {
            Some((boot, up_ms)) => undated::seal(boot, up_ms, &record),
            None => record,
        };
        self.queue.push((self.now_ms, stored));
    }

    fn learn(&mut self) {
        let cloud_ms = date(self.now_ms - ASKED_MS / 2, 0);
        self.keeper.set(cloud_ms, ASKED_MS, self.up_ms());
    }

    /// Returns the queue as it is sent.
    fn sent(&self) -> Vec<(u64, Vec<u8>)> {
        let dated = |(made, stored): &(u64, Vec<u8>)| {
            let mut record = stored.clone();
            undated::date(&mut record, |boot| self.keeper.fix(boot));
            (*made, record)
        };
        self.queue.iter().map(dated).collect()
    }
}

fn date(now_ms: u64, off_ms: i64) -> u64 {
    (TRUE + i64::try_from(now_ms).expect("small") + off_ms)
        .max(0)
        .unsigned_abs()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Make,
    Restart,
    Learn,
    Send,
    Reboot,
}

/// Two system starts: records created before and after the date is known, sent, and sent again, with restarts
/// of agent and system.
const LIFE: [Phase; 18] = {
    use Phase::{Learn, Make, Reboot, Restart, Send};
    [
        Make, Restart, Make, Learn, Make, Send, Restart, Make, Send, Learn, Send, Reboot, Make, Restart,
        Make, Learn, Make, Send,
    ]
};

fn live(steps: &[(usize, i64)]) -> Vec<(u64, Vec<u8>)> {
    let mut board = Board::new(0);
    let mut sent: Vec<(u64, Vec<u8>)> = Vec::new();
    for (at, phase) in LIFE.into_iter().enumerate() {
        if let Some((_, off_ms)) = steps.iter().find(|(step, _)| *step == at) {
            board.off_ms = *off_ms;
        }
        board.now_ms += 60_000;
        match phase {
            Phase::Make => board.make(),
            Phase::Restart => board.restart(),
            Phase::Reboot => board.reboot(),
            Phase::Learn => board.learn(),
            Phase::Send => {
                let again = board.sent();
                for ((_, before), (made, now)) in sent.iter().zip(&again) {
                    assert_eq!(
                        before, now,
                        "what was made at {made} ms is sent with another date, steps {steps:?}"
                    );
                }
                sent = again;
                let system_date = board.keeper.now_ms(board.up_ms());
                assert!(
                    system_date.abs_diff(date(board.now_ms, 0)) <= ASKED_MS,
                    "the time is known, steps {steps:?}"
                );
            }
        }
    }
    sent
}

fn check(steps: &[(usize, i64)]) {
    let sent = live(steps);
    assert_eq!(
        sent.len(),
        LIFE.iter().filter(|phase| **phase == Phase::Make).count(),
        "none is lost"
    );
    for (made, record) in sent {
        let Record::Message(message) = serde_json::from_slice(&record).expect("a record") else {
            panic!("no message")
        };
        let error_ms = message.at_error_ms.unwrap_or(ASKED_MS);
        assert!(
            error_ms <= ASKED_MS,
            "steps {steps:?}: made at {made} ms, known to {error_ms} ms only"
        );
        let off_ms = message.at_ms.abs_diff(date(made, 0));
        assert!(
            off_ms <= ASKED_MS,
            "steps {steps:?}: made at {made} ms, its date is off by {off_ms} ms"
        );
    }
}

#[test]
fn a_step_before_any_phase_leaves_every_date_right() {
    for off_ms in [HOURS_3, -HOURS_3, YEARS_10, -YEARS_10, -TRUE] {
        for at in 0..LIFE.len() {
            check(&[(at, off_ms)]);
            for back in at + 1..LIFE.len() {
                check(&[(at, off_ms), (back, 0)]);
                check(&[(at, off_ms), (back, -off_ms)]);
            }
        }
    }
}
