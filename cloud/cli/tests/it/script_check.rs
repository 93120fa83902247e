//! The check of scripts as a process of its own: what it can reach, and what it says of scripts that a build never makes.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use iottly_child::{BAD_INPUT, Job, Outcome, PROBE_VAR, Program, run};
use iottly_e2e::{beside_others, program};

/// The shortest component: the header of the format alone.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Runs the check on a component; returns how it ended, and its standard output.
fn check(dir: &Path, component: &[u8], probe: bool) -> (Outcome, String) {
    let mut input = tempfile::tempfile().expect("file");
    input.write_all(component).expect("write");
    input.seek(SeekFrom::Start(0)).expect("seek");
    let output = dir.join("out");
    let cache = dir.join("cache").display().to_string();
    let vars = [("IOTTLY_CHECK_CACHE", cache.as_str()), (PROBE_VAR, "1")];
    let job = Job {
        input,
        output: File::create(&output).expect("file"),
        dir,
        env: &vars[..if probe { 2 } else { 1 }],
        wall: Duration::from_secs(120),
    };
    let program = Program {
        path: program().into(),
        args: vec!["__check-script".into()],
    };
    let outcome = run(&program, job).expect("the check runs");
    (outcome, std::fs::read_to_string(&output).expect("output"))
}

#[test]
fn the_check_reaches_no_file_no_socket_and_no_program() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("folder");
    let (outcome, said) = check(dir.path(), b"", true);
    assert!(outcome.success(), "{}", outcome.reason());
    let denied = |what: &str| said.lines().any(|line| line == format!("{what} denied"));
    let here = iottly_sandbox::Confinement::here();
    for (what, confined) in [
        ("open", here.landlock > 0),
        ("list", here.landlock > 0),
        ("create", here.landlock > 0),
        ("tcp", here.seccomp),
        ("unix", here.seccomp),
        ("exec", here.seccomp),
    ] {
        assert!(!confined || denied(what), "{what}: {said}");
    }
}

#[test]
fn what_is_not_a_script_of_this_engine_is_named() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("folder");
    let good = iottly_builder::Source::script("log(1);")
        .component()
        .expect("a script");
    let (outcome, _) = check(dir.path(), &good, false);
    assert!(outcome.success(), "{}", outcome.reason());

    let mut script = iottly_manifest::Script::extract(&good)
        .expect("whole")
        .expect("a script");
    script.engine = "script 9".to_owned();
    let other = script.component("name = \"a\"").expect("a component");
    for (component, reason) in [
        (&b"no component"[..], "not a WebAssembly binary"),
        (EMPTY_COMPONENT, "the component contains no script"),
        (&other, "the script needs the engine \"script 9\""),
    ] {
        let (outcome, _) = check(dir.path(), component, false);
        assert_eq!(outcome.code(), Some(i32::from(BAD_INPUT)), "{}", outcome.reason());
        assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
    }
}
