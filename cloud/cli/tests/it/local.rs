//! `iottly` in a folder, and firmware that it runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use iottly_e2e::{program, wait_for};

/// Longest build of the first firmware in Rust.
const BUILD_PATIENCE: Duration = Duration::from_secs(600);

/// Runs `iottly` in `dir` to its end; returns exit code, standard output and standard error.
pub(crate) fn iottly_in(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    finish(Command::new(program()).args(args).current_dir(dir))
}

/// Runs a command to its end; returns exit code, standard output and standard error.
pub(crate) fn finish(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A running `iottly run`.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Lines,
    err: Lines,
}

type Lines = Arc<Mutex<Vec<String>>>;

fn collect(source: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let kept = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            kept.lock().expect("lines").push(line);
        }
    });
    lines
}

impl Running {
    /// Starts `iottly run ARGS` in `dir`.
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        Self::spawn(Command::new(program()).arg("run").args(args).current_dir(dir))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("iottly starts");
        let stdin = child.stdin.take();
        let out = collect(child.stdout.take().expect("piped"));
        let err = collect(child.stderr.take().expect("piped"));
        Self {
            child,
            stdin,
            out,
            err,
        }
    }

    pub(crate) fn command(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        writeln!(stdin, "{line}").expect("the program reads");
    }

    /// Waits for a message that passes; returns the first. Every line has to be JSON.
    pub(crate) fn message(&self, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, || {
            let lines = self.out.lock().expect("lines");
            let messages = lines
                .iter()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}")));
            messages.into_iter().find(|message| passes(message))
        })
    }

    /// Does the same as [`Running::message`] after a build by cargo, however long it takes.
    pub(crate) fn message_after_build(&self, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
        self.built();
        self.message(what, passes)
    }

    /// Waits until cargo is done.
    pub(crate) fn built(&self) {
        let began = Instant::now();
        while !self
            .err
            .lock()
            .expect("lines")
            .iter()
            .any(|line| line.starts_with("built "))
        {
            let lines = self.err.lock().expect("lines").join("\n");
            assert!(
                began.elapsed() < BUILD_PATIENCE && !lines.contains("iottly: "),
                "not built:\n{lines}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns all messages so far.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.out
            .lock()
            .expect("lines")
            .iter()
            .map(|line| serde_json::from_str(line).expect("json"))
            .collect()
    }

    /// Waits until `times` lines on standard error contain `text`.
    pub(crate) fn said_times(&self, text: &str, times: usize) {
        self.wait(text, || {
            (self
                .err
                .lock()
                .expect("lines")
                .iter()
                .filter(|line| line.contains(text))
                .count()
                >= times)
                .then_some(())
        });
    }

    /// Waits for a line on standard error that contains `text`.
    pub(crate) fn said(&self, text: &str) -> String {
        self.wait(text, || {
            self.err
                .lock()
                .expect("lines")
                .iter()
                .find(|line| line.contains(text))
                .cloned()
        })
    }

    fn wait<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> T {
        let _tell = Tell {
            what,
            lines: &self.err,
        };
        wait_for(what, check)
    }

    /// Presses Ctrl-C and waits for the end.
    pub(crate) fn interrupt(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
        wait_for("the run to end", || self.child.try_wait().expect("wait"))
    }
}

/// Prints the program's standard error when a test fails while it waits.
struct Tell<'a> {
    what: &'a str,
    lines: &'a Lines,
}

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "waiting for {}; standard error is:\n{}",
                self.what,
                self.lines.lock().expect("lines").join("\n")
            );
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
