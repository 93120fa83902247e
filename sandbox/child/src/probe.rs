//! Probe of a confinement, for tests and operators.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// Environment variable that makes a child probe its confinement instead of doing its work.
pub const PROBE_VAR: &str = "IOTTLY_PROBE";

/// Tries what a confined child must not do. Returns a line for each attempt, `open denied` or `open allowed`.
#[must_use]
pub(crate) fn probe() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let tries: [(&str, io::Result<()>); 8] = [
        ("open", File::open("/etc/passwd").map(drop)),
        ("list", fs::read_dir("/").map(drop)),
        ("create", File::create("/tmp/iottly-probe").map(drop)),
        ("tcp", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("udp", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("unix", UnixStream::pair().map(drop)),
        ("exec", Command::new(program).arg("--version").output().map(drop)),
        (
            "thread",
            std::thread::Builder::new()
                .spawn(|| ())
                .and_then(|thread| thread.join().map_err(|_| io::Error::other("panicked"))),
        ),
    ];
    let line = |(what, result): (&str, io::Result<()>)| {
        format!("{what} {}\n", if result.is_ok() { "allowed" } else { "denied" })
    };
    tries.into_iter().map(line).collect()
}
