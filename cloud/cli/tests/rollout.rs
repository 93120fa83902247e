//! The demo's own story: push and flash a firmware, see the canary and then all of them; a bad one halts; a changed byte is refused.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{IOTTLY, Process, agent_program};
use serde_json::Value;

struct Demo {
    dir: tempfile::TempDir,
    ready: Value,
    process: Process,
}

fn start() -> Demo {
    // The agents run inside the demo; its compile children are the program itself.
    assert!(agent_program().exists());
    let dir = tempfile::tempdir().expect("folder");
    let mut command = Command::new(IOTTLY);
    command.args(["demo", "--json", "--devices", "3", "--http", "127.0.0.1:0", "--data"]).arg(dir.path().join("demo"));
    let (process, ready) = Process::start_until_ready("the demo", &mut command);
    Demo { dir, ready, process }
}

impl Demo {
    fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join("demo").join(name)
    }

    /// Runs a command against the demo; answers exit code, standard output and standard error.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let field = |name: &str| self.ready[name].as_str().expect("field").to_owned();
        let mut command = Command::new(IOTTLY);
        command.args(args).current_dir(self.dir.path());
        command.env("IOTTLY_URL", field("http")).env("IOTTLY_TOKEN", field("token")).env("IOTTLY_PROJECT", field("project_id"));
        command.env("IOTTLY_REPOSITORY", self.data("releases")).env("IOTTLY_KEYS", self.data("keys"));
        command.env("IOTTLY_SEAL", self.data("seal.key"));
        let output = command.output().expect("the command starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn push(&self, script: &str) -> Value {
        std::fs::write(self.dir.path().join("porch/main.js"), script).expect("script");
        let (code, stdout, stderr) = self.run(&["push", "porch", "--grace-ms", "500", "--timestamp-days", "30"]);
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str(&stdout).expect("json")
    }

    fn flash(&self) -> (Option<i32>, String, String) {
        self.run(&["group", "flash", "demo", "--timestamp-days", "30", "--deadline", "60"])
    }
}

fn first_file(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).expect("folder").flatten();
    files
        .map(|entry| entry.path())
        .max_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
        .expect("a file")
}

#[test]
fn canary_then_all_then_a_halt_then_a_refusal() {
    let demo = start();
    let (code, _, stderr) = demo.run(&["init", "porch", "--lang", "js"]);
    assert_eq!(code, Some(0), "{stderr}");

    demo.push("function init() { log('one'); } function loop() { return 200; }");
    let (code, stdout, stderr) = demo.flash();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(stdout.matches(" committed").count(), 3, "{stdout}");
    // Nobody else is told before the canary is done.
    let canary = stdout.lines().nth(1).and_then(|line| line.split(' ').next()).expect("a device").to_owned();
    let before = stdout.split(&format!("{canary} committed")).next().expect("a beginning");
    assert!(before.lines().skip(1).all(|line| line.starts_with(&canary)), "{stdout}");

    demo.push("function loop() { for (;;) {} }");
    let (code, stdout, stderr) = demo.flash();
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("halted: 1 of 1 devices of the canary failed") && stderr.contains("crash_loop"), "{stderr}");
    assert!(stdout.contains("rolled_back: crash_loop"), "{stdout}");

    demo.push("function init() { log('three'); } function loop() { return 200; }");
    let file = first_file(&demo.data("releases/targets/app/main"));
    let mut bytes = std::fs::read(&file).expect("component");
    bytes[1000] ^= 1;
    std::fs::write(&file, bytes).expect("component");
    let (code, stdout, stderr) = demo.flash();
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("chunk_corrupt"), "{stdout}{stderr}");

    let (code, _, stderr) = demo.run(&["group", "flash", "nobody"]);
    assert_eq!(code, Some(4), "{stderr}");
    demo.process.terminate();
}
