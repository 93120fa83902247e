//! Attacks on a cloud, and what another tenant notices of them.
//!
//! `cargo run --release -p iottly --example attack [NAME…]` starts a real `iottly serve` for each attack and
//! a process of its own, at the lowest priority, that attacks it: with a tenant's own token and devices, or
//! with no credentials at all. Meanwhile a device and a token of another tenant do their work. An attack
//! fails when, in the best of three tries, that tenant sees an acknowledgement at the 95th percentile later
//! than three times the undisturbed one (or 50 ms), any acknowledgement later than one second, or an answer
//! of 500 and above, or when the cloud's memory grows by more than 400 MB.

mod attacks;
#[path = "../../../web/tests/it/device.rs"]
mod device;
mod site;
mod victim;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use attacks::ATTACKS;
use site::Site;
use victim::{Seen, Victim};

/// Duration of the undisturbed measurement before each attack.
const QUIET: Duration = Duration::from_secs(2);
/// Duration of each attack.
const ATTACK: Duration = Duration::from_secs(5);
/// Tries of which the best one counts.
const TRIES: usize = 3;
/// Largest growth of the cloud's resident memory, in bytes.
const MAX_GROWTH: u64 = 400 << 20;
/// Latest acknowledgement that is allowed.
const MAX_ACK: Duration = Duration::from_secs(1);
/// Smallest bound of the 95th percentile of acknowledgements.
const MIN_P95: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, context] = &args[..]
        && flag == "--attacker"
    {
        attacks::attack(name, context, ATTACK);
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for attack in ATTACKS
        .iter()
        .filter(|attack| args.is_empty() || args.iter().any(|name| name == attack.name))
    {
        let held = (0..TRIES).any(|_| holds(attack.name));
        *(if held { &mut passed } else { &mut failed }) += 1;
    }
    say(&format!("{passed} passed, {failed} failed"));
    if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn say(line: &str) {
    // With a closed standard output the exit code remains.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Tries an attack once; returns whether the other tenant was hardly affected.
fn holds(name: &str) -> bool {
    let site = Site::start();
    let mut victim = Victim::start(&site);
    let mut attacker = site.attacker(name);
    let idle = site.resident();
    let quiet = victim.watch(QUIET, || {});
    attacker.begin();
    let mut peak = idle;
    let began = Instant::now();
    let seen = victim.watch(ATTACK, || peak = peak.max(site.resident()));
    attacker.end();
    victim.stop();
    let wrong = complaints(&quiet, &seen, peak.saturating_sub(idle), site.log_bytes());
    let verdict = if wrong.is_empty() {
        "held".to_owned()
    } else {
        format!("FAILED: {}", wrong.join("; "))
    };
    say(&format!(
        "{name}: p95 {} -> {} ms, latest {} ms, {} acks, {} answers, +{} MB, {:.1} s: {verdict}",
        quiet.p95().as_millis(),
        seen.p95().as_millis(),
        seen.latest().as_millis(),
        seen.acks.len(),
        seen.answers.len(),
        peak.saturating_sub(idle) >> 20,
        began.elapsed().as_secs_f64(),
    ));
    wrong.is_empty()
}

/// Largest log that an attack of a few seconds may cause, in bytes.
const MAX_LOG: u64 = 1 << 20;

fn complaints(quiet: &Seen, seen: &Seen, growth: u64, log: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let bound = MIN_P95.max(3 * quiet.p95());
    if seen.p95() > bound {
        wrong.push(format!(
            "95 % of acknowledgements within {} ms, allowed are {}",
            seen.p95().as_millis(),
            bound.as_millis()
        ));
    }
    if seen.latest() > MAX_ACK {
        wrong.push(format!(
            "an acknowledgement after {} ms",
            seen.latest().as_millis()
        ));
    }
    if let Some(status) = seen
        .answers
        .iter()
        .find(|status| status.is_none_or(|status| status != 200))
    {
        wrong.push(status.map_or_else(
            || "a request was not answered".to_owned(),
            |status| format!("an answer of {status}"),
        ));
    }
    if growth > MAX_GROWTH {
        wrong.push(format!("memory grew by {} MB", growth >> 20));
    }
    if log > MAX_LOG {
        wrong.push(format!("the log has {log} bytes"));
    }
    wrong
}
