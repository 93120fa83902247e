//! Log lines per second, and their length.

use std::time::{Duration, Instant};

use iottly_sandbox::{Level, Limits};

use crate::common::{firmware, start};

#[test]
fn a_flood_of_log_lines_is_cut_and_counted() {
    let flood = "(local $n i32) (local.set $n (i32.const 1000))
        (loop $again (call $log (i32.const 2) (i32.const 4128) (i32.const 9))
          (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))) (i32.const 1024)";
    let one = "(call $log (i32.const 4) (i32.const 4128) (i32.const 9)) (i32.const 1024)";
    let limits = Limits {
        log_lines_per_s: 20,
        ..Limits::default()
    };
    let (mut instance, recorder) = start(&firmware(&[("tick", flood), ("health", one)]), limits);
    instance.tick(0).unwrap();
    let kept = recorder.seen().lines.len();
    assert!((20..500).contains(&kept), "{kept}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while recorder
        .seen()
        .lines
        .last()
        .is_none_or(|(level, _)| *level != Level::Error)
    {
        assert!(Instant::now() < deadline, "the budget never refilled");
        // Without a pause the budget of host calls would end first.
        std::thread::sleep(Duration::from_millis(1));
        instance.health().unwrap();
    }
    let lines = &recorder.seen().lines;
    let (level, note) = &lines[lines.len() - 2];
    assert!(
        *level == Level::Warn && note.ends_with("log lines dropped: too many a second"),
        "{note}"
    );
}

#[test]
fn a_long_log_line_is_cut() {
    let long = "(call $log (i32.const 2) (i32.const 4128) (i32.const 60000)) (i32.const 1024)";
    let (mut instance, recorder) = start(&firmware(&[("tick", long)]), Limits::default());
    instance.tick(0).unwrap();
    assert_eq!(recorder.seen().lines[0].1.len(), 4096);
}
