//! Memory that the device lacks is a fault of the device, and is distinguished from one of the firmware. A
//! program of its own with one test, since it limits the address space of the whole process.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[path = "it/common/mod.rs"]
mod common;

use common::{Recorder, firmware_with, load};
use iottly_sandbox::{CallError, Limits, StartError, TrapCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Returns the address space of this process, in bytes.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// Runs code while this process may use so many more bytes of address space.
fn within<T>(more: u64, run: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::As);
    setrlimit(
        Resource::As,
        Rlimit {
            current: Some(address_space() + more),
            maximum: before.maximum,
        },
    )
    .unwrap();
    let result = run();
    setrlimit(Resource::As, before).unwrap();
    result
}

#[test]
fn a_machine_without_memory_is_not_the_firmwares_fault() {
    let firmware = load(&firmware_with(&[], 4, "")).unwrap();
    let start = || firmware.start(Box::<Recorder>::default(), Limits::default());
    // The mapping of a memory is gigabytes of address space.
    let Err(StartError::Trap(report)) = within(64 << 20, start) else {
        panic!("it started")
    };
    assert_eq!(report.code, TrapCode::Device, "{report}");
    assert!(report.to_string().contains("Cannot allocate memory"), "{report}");
    let mut instance = start().unwrap();
    assert_eq!(instance.init(), Ok(()));
    assert_eq!(instance.device_failure(), None);

    // A trap of the firmware itself stays its own fault.
    let trapping = load(&firmware_with(&[("init", "(unreachable)")], 4, "")).unwrap();
    let mut instance = trapping
        .start(Box::<Recorder>::default(), Limits::default())
        .unwrap();
    let Err(CallError::Trap(report)) = instance.init() else {
        panic!("no trap")
    };
    assert_eq!(
        (report.code, instance.device_failure()),
        (TrapCode::Unreachable, None)
    );
}
