//! A session of `iottly dev` with its folder, and the lines that it prints.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Api, wait_for};

/// A running `iottly dev --json`, killed on drop.
pub struct Dev {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

/// Creates a folder with firmware; returns its path.
pub fn firmware_folder(dir: &Path, name: &str, main_js: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(&path).expect("folder");
    std::fs::write(
        path.join("firmware.toml"),
        format!("name = {name:?}\nlang = \"js\"\n"),
    )
    .expect("manifest");
    save(&path, main_js);
    path
}

/// Saves the script of a folder as most editors do: a new file takes the place of the old one.
pub fn save(folder: &Path, main_js: &str) {
    let part = folder.join(".main.js.part");
    std::fs::write(&part, main_js).expect("script");
    std::fs::rename(&part, folder.join("main.js")).expect("script");
}

impl Dev {
    /// Starts a session in a folder.
    pub fn start(api: &Api, folder: &Path, args: &[&str]) -> Self {
        let mut child = api
            .program()
            .args(["dev", "--json"])
            .args(args)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("iottly dev starts");
        let stdout = child.stdout.take().expect("piped");
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { child, lines }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Value>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lines so far.
    pub fn lines(&self) -> Vec<Value> {
        self.kept().clone()
    }

    /// Returns the number of lines so far.
    pub fn count(&self) -> usize {
        self.kept().len()
    }

    /// Waits for a line at or after the position `from` that passes; returns it.
    pub fn wait_from(&mut self, from: usize, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || {
            let found = self.kept().iter().skip(from).find(|line| passes(line)).cloned();
            if found.is_none()
                && let Some(status) = self.child.try_wait().expect("wait")
            {
                panic!(
                    "waiting for {what}, `iottly dev` ended with {status}: {}",
                    self.errors()
                );
            }
            found
        })
    }

    /// Waits for a line that passes; returns the first.
    pub fn wait(&mut self, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
        self.wait_from(0, what, passes)
    }

    fn errors(&mut self) -> String {
        let read = |stderr: ChildStderr| std::io::read_to_string(stderr).unwrap_or_default();
        self.child.stderr.take().map(read).unwrap_or_default()
    }

    /// Presses Ctrl-C and waits for the end; returns all lines.
    pub fn interrupt(mut self) -> Vec<Value> {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("signal");
        let status = wait_for("the session to end", || self.child.try_wait().expect("wait"));
        assert!(status.success(), "{status}: {}", self.errors());
        // The reader may be behind.
        std::thread::sleep(std::time::Duration::from_millis(100));
        self.lines()
    }

    /// Waits until the session ends by itself; returns how, and what it wrote to standard error.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = wait_for("the session to end", || self.child.try_wait().expect("wait"));
        (status, self.errors())
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
