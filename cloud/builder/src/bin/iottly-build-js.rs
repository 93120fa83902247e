//! Builds the script in the working directory; the host program starts one such process for each build.

use std::process::ExitCode;

fn main() -> ExitCode {
    iottly_builder::build_child()
}
