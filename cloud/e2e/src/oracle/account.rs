//! The audit: a device's history against what the device reports as sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Report of a device about what it sent.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sent {
    /// Names of the runs in their order, each with the number of messages that were durable for certain.
    pub(crate) runs: Vec<(String, u64)>,
    /// Stream and the last number in it, if the device ended cleanly.
    pub(crate) stream: Option<(String, u64)>,
}

/// Counts over a history.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Numbered messages with a counter in them.
    pub(crate) messages: u64,
    /// Numbers that are declared lost.
    pub(crate) lost: u64,
    /// Entries that declare lost numbers.
    pub(crate) gaps: u64,
    /// Starts of the agent after an unclean stop.
    pub(crate) unclean: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Missing,
    /// A message that no producer made.
    Other,
    Lost,
    Message {
        run: u32,
        n: u32,
    },
}

impl Slot {
    fn message(self) -> Option<(u32, u32)> {
        match self {
            Self::Message { run, n } => Some((run, n)),
            Self::Missing | Self::Other | Self::Lost => None,
        }
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    stream: Option<String>,
    seq: Option<u64>,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    run: Option<String>,
    n: Option<u32>,
    gap: Option<Gap>,
    process: Option<Process>,
    stream_reuse: Option<IgnoredAny>,
    protocol: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Gap {
    stream: String,
    from: u64,
    to: u64,
    count: u64,
}

#[derive(Deserialize)]
struct Process {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    warning: Option<String>,
}

/// The history of a device, as far as it is read.
pub(crate) struct Account<'s> {
    sent: &'s Sent,
    /// Runs by their place in a [`Slot`]; those of a firmware are learnt from its history.
    runs: Vec<(String, u64)>,
    streams: BTreeMap<String, Vec<Slot>>,
    totals: Totals,
}

impl<'s> Account<'s> {
    pub(crate) fn new(sent: &'s Sent) -> Self {
        Self {
            sent,
            runs: sent.runs.clone(),
            streams: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    /// Reads an export: one entry a line, in any order.
    pub(crate) fn read(&mut self, export: impl Read) -> Result<(), String> {
        let mut reader = BufReader::with_capacity(1 << 20, export);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .map_err(|error| format!("the export broke off: {error}"))?
            > 0
        {
            let entry = serde_json::from_slice(&line).map_err(|error| {
                format!(
                    "{error} in {}",
                    String::from_utf8_lossy(&line[..line.len().min(200)])
                )
            })?;
            self.entry(entry)?;
            line.clear();
        }
        Ok(())
    }

    fn entry(&mut self, line: Line) -> Result<(), String> {
        if line.payload.stream_reuse.is_some() || line.payload.protocol.is_some() {
            return Err(format!(
                "an entry of kind {} reports a broken protocol",
                line.kind
            ));
        }
        if let Some(gap) = line.payload.gap.filter(|_| line.kind == "iottlyagent") {
            if gap.count != gap.to + 1 - gap.from {
                return Err(format!("the gap {}..={} counts {}", gap.from, gap.to, gap.count));
            }
            self.totals.gaps += 1;
            return (gap.from..=gap.to).try_for_each(|seq| self.put(&gap.stream, seq, Slot::Lost));
        }
        if line
            .payload
            .process
            .is_some_and(|process| process.status.warning.as_deref() == Some("unclean stop"))
        {
            self.totals.unclean += 1;
        }
        let (Some(stream), Some(seq)) = (line.stream, line.seq) else {
            return Ok(());
        };
        let slot = match (line.payload.run, line.payload.n) {
            (Some(run), Some(n)) => Slot::Message {
                run: self.run(run)?,
                n,
            },
            _ => Slot::Other,
        };
        self.put(&stream, seq, slot)
    }

    fn run(&mut self, run: String) -> Result<u32, String> {
        let known = self.runs.iter().position(|(name, _)| *name == run);
        let at = match known {
            Some(at) => at,
            None if self.sent.stream.is_some() => return Err(format!("no device made a run {run}")),
            None => {
                self.runs.push((run, 0));
                self.runs.len() - 1
            }
        };
        Ok(u32::try_from(at).expect("few runs"))
    }

    fn put(&mut self, stream: &str, seq: u64, slot: Slot) -> Result<(), String> {
        let at = usize::try_from(seq)
            .map_err(|e| e.to_string())?
            .checked_sub(1)
            .ok_or("number 0 is in the history")?;
        let slots = match self.streams.get_mut(stream) {
            Some(slots) => slots,
            None => self.streams.entry(stream.to_owned()).or_default(),
        };
        if slots.len() <= at {
            slots.resize(at + 1, Slot::Missing);
        }
        if slots[at] != Slot::Missing {
            return Err(format!(
                "stream {stream}, number {seq} is there twice: {:?} and {slot:?}",
                slots[at]
            ));
        }
        slots[at] = slot;
        match slot {
            Slot::Lost => self.totals.lost += 1,
            Slot::Message { .. } => self.totals.messages += 1,
            Slot::Other | Slot::Missing => {}
        }
        Ok(())
    }

    /// Checks that every number of every stream is there once.
    fn numbers(&self) -> Result<(), String> {
        for (stream, slots) in &self.streams {
            if let Some(at) = slots.iter().position(|slot| *slot == Slot::Missing) {
                return Err(format!(
                    "stream {stream}: number {} of {} is missing without a word",
                    at + 1,
                    slots.len()
                ));
            }
        }
        Ok(())
    }

    /// Does the same as [`Account::close`] for a device that was restored to an earlier state and so has
    /// several streams: each durable message is in one of them.
    pub(crate) fn close_restored(self) -> Result<Totals, String> {
        self.numbers()?;
        let there: BTreeSet<(u32, u32)> = self
            .streams
            .values()
            .flatten()
            .filter_map(|slot| slot.message())
            .collect();
        for (at, (run, durable)) in (0u32..).zip(&self.runs) {
            let count = there
                .range((at, 0)..=(at, u32::MAX))
                .filter(|(_, n)| u64::from(*n) < *durable)
                .count() as u64;
            if count < *durable {
                return Err(format!("{} of {durable} messages of run {run} are there", count));
            }
        }
        Ok(self.totals)
    }

    /// Checks that every number of every stream is there once, and that every durable message is there or
    /// within a gap.
    pub(crate) fn close(mut self) -> Result<Totals, String> {
        self.numbers()?;
        let Some((stream, last)) = &self.sent.stream else {
            self.in_order_of_names();
            self.streams.values().try_for_each(|slots| self.counters(slots))?;
            return Ok(self.totals);
        };
        let slots = self
            .streams
            .get(stream)
            .ok_or_else(|| format!("stream {stream} is unknown to the cloud"))?;
        if slots.len() as u64 != *last {
            return Err(format!(
                "stream {stream} ends at {} in the cloud and at {last} on the device",
                slots.len()
            ));
        }
        self.counters(slots)?;
        Ok(self.totals)
    }

    /// Sorts runs learnt from the history, which are named by the time of their start.
    fn in_order_of_names(&mut self) {
        let mut names: Vec<_> = self.runs.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        let rank: Vec<_> = self
            .runs
            .iter()
            .map(|(name, _)| names.partition_point(|other| other < name) as u32)
            .collect();
        for slot in self.streams.values_mut().flatten() {
            if let Slot::Message { run, .. } = slot {
                *run = rank[*run as usize];
            }
        }
        self.runs.sort();
    }

    /// Checks that lost numbers are in the place of each missing counter.
    fn counters(&self, slots: &[Slot]) -> Result<(), String> {
        let runs = &self.runs;
        // Run and counter that follow if nothing is lost, and lost numbers since the last message.
        let (mut run, mut next, mut spare) = (0usize, 0u64, 0u64);
        let check = |missing: u64, spare: u64, place: &str| match missing.checked_sub(spare) {
            None | Some(0) => Ok(()),
            Some(_) => Err(format!(
                "{missing} messages are missing {place}, and gaps there cover {spare}"
            )),
        };
        for slot in slots {
            match *slot {
                Slot::Lost => spare += 1,
                Slot::Other | Slot::Missing => {}
                Slot::Message { run: at, n } => {
                    let (at, n) = (at as usize, u64::from(n));
                    let place = format!("before message {n} of run {}", runs[at].0);
                    if at < run || (at == run && n < next) {
                        return Err(format!("a message comes late {place}"));
                    }
                    let missing = if at == run {
                        n - next
                    } else {
                        let between: u64 = runs[run + 1..at].iter().map(|(_, durable)| durable).sum();
                        runs[run].1.saturating_sub(next) + between + n
                    };
                    check(missing, spare, &place)?;
                    (run, next, spare) = (at, n + 1, 0);
                }
            }
        }
        let rest: u64 = runs.iter().skip(run + 1).map(|(_, durable)| durable).sum();
        let missing = runs
            .get(run)
            .map_or(0, |(_, durable)| durable.saturating_sub(next))
            + rest;
        check(missing, spare, "at the end")
    }
}

/// Audits histories with one error each, all of which must be found.
///
/// # Panics
/// When an error is not found.
pub fn notices_what_is_wrong() {
    let sent = Sent {
        runs: vec![("a".into(), 3), ("b".into(), 2)],
        stream: Some(("s".into(), 7)),
    };
    let message = |seq: u64, run: &str, n: u64| {
        format!(r#"{{"type":"userdefined","stream":"s","seq":{seq},"payload":{{"run":"{run}","n":{n}}}}}"#)
    };
    let gap = |from: u64, to: u64| {
        let count = to + 1 - from;
        format!(
            r#"{{"type":"iottlyagent","payload":{{"gap":{{"stream":"s","from":{from},"to":{to},"count":{count},"reason":"budget"}}}}}}"#
        )
    };
    let told = r#"{"type":"iottlyagent","stream":"s","seq":4,"payload":{"process":{"name":"Agent","status":{"warning":"unclean stop"}}}}"#;
    let good = || {
        let mut lines = vec![
            message(1, "a", 0),
            message(2, "a", 1),
            message(3, "a", 2),
            told.to_owned(),
        ];
        lines.extend([gap(5, 5), message(6, "b", 1), message(7, "b", 2)]);
        lines
    };
    let judge = |lines: Vec<String>| {
        let mut account = Account::new(&sent);
        account
            .read(lines.join("\n").as_bytes())
            .and_then(|()| account.close())
    };
    assert_eq!(
        judge(good()),
        Ok(Totals {
            messages: 5,
            lost: 1,
            gaps: 1,
            unclean: 1
        })
    );
    let mut backwards = good();
    backwards.reverse();
    assert!(
        judge(backwards).is_ok(),
        "the order of the entries is not the order of the numbers"
    );
    let changed = |at: usize, line: Option<String>| {
        let mut lines = good();
        match line {
            Some(line) => lines[at] = line,
            None => drop(lines.remove(at)),
        }
        lines
    };
    for (what, wrong) in [
        ("a number is missing", changed(1, None)),
        ("the end is missing", changed(6, None)),
        ("a number is there twice", changed(1, Some(message(1, "a", 0)))),
        ("a number is there and lost", changed(4, Some(gap(5, 6)))),
        ("a counter is skipped", changed(1, Some(message(2, "a", 2)))),
        ("a counter is repeated", changed(6, Some(message(7, "b", 1)))),
        (
            "a durable message is missing at the end of a run",
            changed(2, Some(told.replace("\"seq\":4", "\"seq\":3"))),
        ),
        (
            "a gap is smaller than what is missing",
            changed(5, Some(message(6, "b", 2))),
        ),
        ("a run that no device made", changed(6, Some(message(7, "c", 1)))),
        (
            "a number is reused",
            changed(
                6,
                Some(r#"{"type":"iottlyagent","payload":{"stream_reuse":{}}}"#.to_owned()),
            ),
        ),
    ] {
        assert!(judge(wrong).is_err(), "unnoticed: {what}");
    }
}
