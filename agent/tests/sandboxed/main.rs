//! Tests of the agent with real firmware in the sandbox.
//!
//! A program of its own: the sandbox compiles firmware in a child process, and this program is that child as
//! well. The child writes machine code to standard output, so it must not run under the standard test
//! harness.

mod component;
mod developer;
mod firmware;
mod repository;
mod scripts;
#[allow(dead_code, reason = "the other test program uses the rest")]
#[path = "../it/support/mod.rs"]
mod support;
mod updates;

use std::process::ExitCode;

use iottly_agent::Compiler;
use iottly_protocol::StreamClass::History;

use support::peer::Peer;

/// Argument with which this program compiles instead of testing.
const COMPILE: &str = "compile-child";

/// Command that runs this program as the compiler.
fn compiler() -> Compiler {
    Compiler {
        program: std::env::current_exe().expect("own path"),
        args: vec![COMPILE.into()],
        ..Compiler::default()
    }
}

/// Waits for a message of the history that contains all of `parts`.
async fn message(peer: &mut Peer, parts: &[&str]) {
    let found = |text: &&str| parts.iter().all(|part| text.contains(part));
    peer.until(&format!("a message with {parts:?}"), |store| {
        store.of(History).iter().any(found)
    })
    .await;
}

/// Runs the named tests whose path contains the first argument, or all of them.
macro_rules! run_tests {
    ($($module:ident { $($name:ident)+ })+) => {{
        let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        $($(
            let path = concat!(stringify!($module), "::", stringify!($name));
            if wanted.as_deref().is_none_or(|wanted| path.contains(wanted)) {
                runtime.block_on($module::$name());
                eprintln!("test {path} ... ok");
            }
        )+)+
    }};
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(COMPILE) {
        return iottly_sandbox::compile_child();
    }
    // A failure panics, which ends the program with an error.
    run_tests! {
        firmware {
            a_command_runs_and_its_reply_and_result_arrive
            a_command_without_a_handler_is_told
            a_trap_in_a_handler_fails_the_command_and_restarts_the_firmware
            a_firmware_that_spins_in_its_loop_is_stopped_and_told
            a_file_that_is_no_firmware_is_told_and_fails_nothing_else
            a_started_firmware_stops_in_order
        }
        scripts {
            a_script_runs_on_the_engine_that_the_agent_carries
            an_engine_that_the_device_lacks_comes_with_the_release
            a_script_without_an_engine_is_refused_by_name
            another_engine_is_a_trial
        }
        developer {
            code_runs_from_memory_and_the_installed_firmware_returns
            forged_and_repeated_orders_are_refused_by_name
            a_lease_ends_by_its_own_time
        }
        updates {
            a_board_that_is_ten_years_behind_waits_for_the_time_and_then_takes_its_update
            a_board_that_is_a_year_ahead_takes_its_update_by_the_told_time
            a_journal_whose_floor_lies_in_2095_takes_its_update
            a_dripping_repository_delays_neither_the_roll_back_nor_the_stop
            a_repository_that_does_not_answer_delays_no_stop
            a_redirect_is_not_followed
            damage_to_what_updates_need_is_mended_and_told
            odd_files_are_put_aside_and_the_agent_starts
            the_program_reads_regular_files_only_and_outlives_a_limit_on_their_size
        }
    }
    eprintln!("test result: ok");
    ExitCode::SUCCESS
}
