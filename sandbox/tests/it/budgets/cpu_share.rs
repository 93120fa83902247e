//! The share of the processor over many calls.

use std::time::{Duration, Instant};

use iottly_sandbox::Limits;

use super::SEND;
use crate::common::{firmware, start};

#[test]
fn the_share_of_the_processor() {
    let work = "(local $n i32) (local.set $n (i32.const 30000000))
        (loop $again (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))) (i32.const 1024)";
    let limits = Limits {
        tick: Duration::from_secs(5),
        cpu_percent: 1,
        ..Limits::default()
    };
    let (mut instance, _) = start(&firmware(&[("tick", work)]), limits);
    assert_eq!(instance.pause(), Duration::ZERO);
    let deadline = Instant::now() + Duration::from_secs(60);
    while instance.pause().is_zero() {
        assert!(Instant::now() < deadline, "it may continue forever");
        instance.tick(0).unwrap();
    }
    assert!(instance.pause() <= Duration::from_secs(500));
}

/// Calls a firmware whose passes are shorter than an epoch; returns whether it had to pause at last.
fn has_to_pause(body: &str, prepare: impl Fn(&mut crate::common::Seen)) -> bool {
    let limits = Limits {
        cpu_percent: 1,
        log_lines_per_s: 1_000_000,
        ..Limits::default()
    };
    let (mut instance, recorder) = start(&firmware(&[("tick", body)]), limits);
    prepare(&mut recorder.seen());
    (0..200).any(|_| {
        instance.tick(0).unwrap();
        !instance.pause().is_zero()
    })
}

#[test]
fn work_that_the_host_does_for_a_firmware_is_the_firmwares() {
    let log = "(call $log (i32.const 2) (i32.const 4128) (i32.const 9)) (i32.const 1024)";
    assert!(
        has_to_pause(log, |seen| seen.work = Duration::from_millis(2)),
        "200 times 2 ms are more than its 100 ms"
    );
}

#[test]
fn waiting_for_storage_is_nobodys_processor_time() {
    let send = format!("{SEND} drop (i32.const 1024)");
    assert!(
        !has_to_pause(&send, |seen| seen.delay = Duration::from_millis(2)),
        "it slept, and used next to nothing"
    );
}
