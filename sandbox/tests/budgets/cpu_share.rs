//! The share of the processor over many calls.

use std::time::{Duration, Instant};

use iottly_sandbox::Limits;

use crate::common::{firmware, start};

#[test]
fn the_share_of_the_processor() {
    let work = "(local $n i32) (local.set $n (i32.const 30000000))
        (loop $again (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))) (i32.const 1024)";
    let limits = Limits { tick: Duration::from_secs(5), cpu_percent: 1, ..Limits::default() };
    let (mut instance, _) = start(&firmware(&[("tick", work)]), limits);
    assert_eq!(instance.pause(), Duration::ZERO);
    let deadline = Instant::now() + Duration::from_secs(60);
    while instance.pause().is_zero() {
        assert!(Instant::now() < deadline, "it may go on for ever");
        instance.tick(0).unwrap();
    }
    assert!(instance.pause() <= Duration::from_secs(500));
}
