//! No message is lost or repeated over all faults of the loss oracle (`src/oracle`).
//!
//! The program is also the processes of its own devices, so it has its own `main`.
//! `cloud/cli/examples/soak.rs` runs the same for hours.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iottly_e2e::oracle::{self, Settings};
use iottly_e2e::{agent_program, program};

/// Environment variable with the seed of a run that is to be repeated.
const SEED: &str = "IOTTLY_LOSS_SEED";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if_eq(oracle::AGENTS).is_some() {
        oracle::run_agents(args);
        return ExitCode::SUCCESS;
    }
    let wanted = args.find(|arg| !arg.starts_with('-'));
    let run = |name: &str, test: &dyn Fn()| {
        if wanted.as_deref().is_none_or(|wanted| name.contains(wanted)) {
            test();
            eprintln!("test {name} ... ok");
        }
    };
    // A failure panics, which ends the program with an error.
    run("the_oracle_notices_what_is_wrong", &oracle::notices_what_is_wrong);
    run("an_older_cloud_tells_what_it_lost", &|| {
        in_a_folder(oracle::older_cloud)
    });
    run("an_older_device_loses_nothing_new", &|| {
        in_a_folder(oracle::older_device)
    });
    run(
        "a_device_that_wrote_beyond_its_restore_loses_nothing_new",
        &|| in_a_folder(oracle::older_device_that_wrote_on),
    );
    run("no_message_is_lost_without_a_word", &|| {
        in_a_folder(|settings| eprintln!("{}", oracle::run(settings)))
    });
    eprintln!("test result: ok");
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_methods, reason = "seeds a run that nothing else seeds")]
fn in_a_folder(test: impl Fn(&Settings)) {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let by_the_clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
    };
    test(&Settings {
        iottly: Path::new(program()).to_owned(),
        agent: agent_program(),
        folder: folder.path().to_owned(),
        messages: 200_000,
        hosts: 2,
        devices: 5,
        time: Duration::from_secs(40),
        seed: seed.unwrap_or_else(by_the_clock),
    });
}
