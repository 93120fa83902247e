//! Children of all kinds: well-behaved, failing, endless.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::{Job, Outcome, Program, RunError, run};

fn shell(script: &str, input: &str, wall: Duration) -> (Result<Outcome, RunError>, String) {
    let dir = tempfile::tempdir().unwrap();
    let stdin = dir.path().join("in");
    let stdout = dir.path().join("out");
    File::create(&stdin).unwrap().write_all(input.as_bytes()).unwrap();
    let program = Program {
        path: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
    };
    let job = Job {
        input: File::open(&stdin).unwrap(),
        output: File::create(&stdout).unwrap(),
        dir: dir.path(),
        env: &[("PATH", "/bin:/usr/bin"), ("GIVEN", "yes")],
        wall,
    };
    let outcome = run(&program, job);
    (outcome, std::fs::read_to_string(&stdout).unwrap())
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn reads_its_input_and_writes_its_output() {
    let (outcome, output) = shell("cat; echo $GIVEN; pwd >&2", "hello ", LONG);
    assert!(outcome.unwrap().success());
    assert_eq!(output, "hello yes\n");
}

#[test]
fn inherits_no_other_file_and_no_environment() {
    let leaked = File::open("/dev/null").unwrap();
    // The standard library opens files close-on-exec; this undoes it, as a careless library would.
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let (outcome, output) = shell(
        "ls /proc/self/fd | wc -l; env | grep -c -v -e PATH -e GIVEN -e PWD -e '^_='",
        "",
        LONG,
    );
    outcome.unwrap();
    // 0, 1, 2 and the directory that `ls` itself reads.
    assert_eq!(output.split_whitespace().collect::<Vec<_>>(), ["4", "0"]);
}

#[test]
fn a_failure_carries_its_code_and_its_words() {
    let (outcome, _) = shell("echo 'not good' >&2; exit 65", "", LONG);
    let outcome = outcome.unwrap();
    assert_eq!(
        (outcome.code(), outcome.reason().as_str()),
        (Some(65), "not good")
    );
}

#[test]
fn an_endless_child_is_killed_at_its_deadline() {
    let started = Instant::now();
    let (outcome, _) = shell("exec sleep 1000", "", Duration::from_millis(200));
    assert!(matches!(outcome, Err(RunError::Timeout(_))), "{outcome:?}");
    assert!(started.elapsed() < LONG);
}

#[test]
fn the_end_of_the_processor_time_is_distinct_from_a_kill() {
    let (spent, _) = shell("ulimit -S -t 1; while :; do :; done", "", LONG);
    let spent = spent.unwrap();
    assert!(spent.out_of_time());
    assert_eq!(spent.reason(), "it ran out of processor time");
    let (killed, _) = shell("kill -KILL $$", "", LONG);
    let killed = killed.unwrap();
    assert!(!killed.out_of_time());
    assert!(
        killed.reason().starts_with("it was killed"),
        "{}",
        killed.reason()
    );
}

#[test]
fn a_flood_on_standard_error_is_cut_and_does_not_block() {
    let (outcome, _) = shell("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1", "", LONG);
    assert_eq!(outcome.unwrap().stderr.len(), 16 << 10);
}

#[test]
fn a_missing_program_is_named() {
    let program = Program {
        path: "/nonexistent/compiler".into(),
        args: vec![],
    };
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
    let job = Job {
        input: null(),
        output: null(),
        dir: "/".as_ref(),
        env: &[],
        wall: LONG,
    };
    let error = run(&program, job).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot start /nonexistent/compiler: "),
        "{error}"
    );
}
