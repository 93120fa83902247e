//! Compiles one firmware from standard input to standard output. The agent starts this program for every new
//! firmware.

use std::process::ExitCode;

fn main() -> ExitCode {
    iottly_sandbox::compile_child()
}
