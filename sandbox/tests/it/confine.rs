//! The compiler's process cannot reach anything outside of its work. Fails on a kernel that has Landlock if
//! it is not used.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use iottly_child::{Job, Program, run};

/// Returns the version of the kernel's Landlock, queried here again so that a fault in the program's own
/// query shows.
fn landlock() -> i64 {
    // SAFETY: without attributes the call reads nothing and returns a number.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            1_u32,
        )
    }
}

/// Returns the compiler's report about what it can reach.
fn probe() -> String {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    let output = dir.path().join("out");
    File::create(&input).unwrap();
    let program = Program {
        path: PathBuf::from(env!("CARGO_BIN_EXE_iottly-compile")),
        args: vec![],
    };
    let job = Job {
        input: File::open(&input).unwrap(),
        output: File::create(&output).unwrap(),
        dir: dir.path(),
        env: &[(iottly_child::PROBE_VAR, "1")],
        wall: Duration::from_secs(60),
    };
    let outcome = run(&program, job).unwrap();
    assert!(outcome.success(), "{}", outcome.reason());
    std::fs::read_to_string(&output).unwrap()
}

#[test]
fn the_compiler_reaches_no_file_no_socket_and_no_program() {
    let said = probe();
    let says = |what: &str, how: &str| {
        assert!(
            said.lines().any(|line| line == format!("{what} {how}")),
            "{what}: {said}"
        )
    };
    if landlock() > 0 {
        for what in ["open", "list", "create"] {
            says(what, "denied");
        }
    } else {
        // The program runs without Landlock, and reports that.
        assert_eq!(iottly_sandbox::Confinement::here().landlock, 0, "{said}");
    }
    if cfg!(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64"
    )) {
        for what in ["tcp", "udp", "unix", "exec"] {
            says(what, "denied");
        }
    }
    says("thread", "allowed");
}

#[test]
fn this_process_is_not_confined_and_knows_the_kernel() {
    assert!(File::open("/etc/passwd").is_ok());
    let here = iottly_sandbox::Confinement::here();
    assert_eq!(i64::from(here.landlock), landlock().max(0));
    let text = here.to_string();
    assert_eq!(
        text.starts_with("Landlock: version "),
        here.landlock > 0,
        "{text}"
    );
}
