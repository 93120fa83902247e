//! Builds the script in the working directory; a host program starts it for every build.

use std::process::ExitCode;

fn main() -> ExitCode {
    iottly_builder::build_child()
}
