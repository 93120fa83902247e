//! Child processes that do not outlive their test.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::{PATIENCE, program, wait_for};

/// A child process that does not outlive its test.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program; `name` is for messages of failures.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            child,
            name: name.to_owned(),
        }
    }

    /// Starts a program that prints one line of JSON when it is up; returns that line as well.
    pub fn start_until_ready(name: &str, command: &mut Command) -> (Self, Value) {
        let mut process = Self::start(name, command.stdout(Stdio::piped()));
        let stdout = process.child.stdout.take().expect("piped");
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let line = receive
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{name} was not ready in time"));
        let ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{name} printed {line:?}: {error}"));
        (process, ready)
    }

    /// Sends SIGKILL, as if the power failed, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Sends SIGTERM and waits for a clean end; returns the time that took.
    pub fn terminate(mut self) -> Duration {
        let began = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
        let status = wait_for("the process to stop", || self.child.try_wait().expect("wait"));
        assert!(status.success(), "{} ended with {status}", self.name);
        began.elapsed()
    }

    /// Returns the peak of the process's resident memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("signal");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports outside of the range from which the kernel chooses, which begins at 32768.
const PORTS: RangeInclusive<u16> = 20_000..=31_999;

/// Returns a local port that no other test uses until this process ends, and that nothing listens on now.
///
/// Servers that are started again on one port need a number in advance. A port that was bound and released could be
/// given to another program in between, so each number is taken by a lock on a file of its name.
///
/// # Panics
/// If all ports are taken, or the folder for temporary files cannot be written.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("iottly-test-ports-{user}"));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let count = PORTS.len() as u32;
    let start = std::process::id().wrapping_mul(97) % count;
    for step in 0..count {
        let port = PORTS.start() + u16::try_from((start + step) % count).expect("within the range");
        let file = File::options()
            .create(true)
            .append(true)
            .open(folder.join(port.to_string()))
            .expect("a file for temporary files");
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(file);
            return port;
        }
    }
    panic!("all of the ports {PORTS:?} are taken");
}

/// Runs `iottly` to its end with `input` on standard input; returns exit code, standard output and standard
/// error.
pub fn iottly(args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(program())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("iottly starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A program that refuses its arguments does not read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("iottly ends");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}
