//! The check of a script: its top level runs on a host without a device, and errors begin with their
//! place. Decides nothing about `init`, `loop` and the handlers, which need the device.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use iottly_boards::Board;
use iottly_manifest::MAIN;
use iottly_protocol::Level;
use iottly_protocol::limits::clip;

use crate::{
    CallError, Fault, Firmware, Host, Limits, MemoryState, Outgoing, StartError, StateStore, TrapCode,
    TrapReport,
};

/// Time of day of every check, in unix milliseconds, so that the date decides nothing.
const NOW_MS: u64 = 1_700_000_000_000;
/// Maximum size of the text of a refusal, in bytes.
const MAX_TEXT: usize = 2000;
/// Error of the engine where a text ends too early.
const END: &str = "unexpected token in expression: ''";

/// Reason why a script did not pass its check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The script is wrong. The text begins with the place in the author's file or section:
    /// `main.js:3:7: SyntaxError: …`.
    #[error("{0}")]
    Script(String),
    /// This machine failed, for example for lack of memory.
    #[error("cannot run the script: {0}")]
    Machine(String),
}

impl Firmware {
    /// Runs the top level of a script within the budget of `init`, and nothing else of it. There is no board and no setting,
    /// nothing is sent, and the date is fixed. A top level that asks for the board or a setting and then fails passes:
    /// on a device it may not. Firmware that is not a script passes too.
    ///
    /// Blocks, and needs a thread with a stack of [`THREAD_STACK_BYTES`](crate::THREAD_STACK_BYTES).
    ///
    /// # Errors
    /// [`CheckError::Script`] if the script does not parse, imports what is not there, throws, or does not end.
    pub fn check(&self, limits: Limits) -> Result<(), CheckError> {
        let Some(top_level) = self.top_level() else {
            return Ok(());
        };
        let seen = Arc::new(Seen::default());
        let host = NoDevice {
            seen: Arc::clone(&seen),
            state: MemoryState::default(),
        };
        let mut instance = match top_level.start(Box::new(host), limits) {
            Ok(instance) => instance,
            Err(StartError::Trap(report)) => return Err(trapped(&report)),
        };
        match instance.init() {
            Ok(()) => Ok(()),
            Err(CallError::Trap(report)) => Err(trapped(&report)),
            Err(CallError::Dead(code)) => Err(CheckError::Machine(code.to_string())),
            Err(CallError::Fault(_)) if seen.device.load(Relaxed) => Ok(()),
            Err(CallError::Fault(fault)) => Err(CheckError::Script(told(&fault, &seen.last_error()))),
        }
    }
}

/// Host without a device.
struct NoDevice {
    seen: Arc<Seen>,
    state: MemoryState,
}

/// Actions of a script while it was checked.
#[derive(Default)]
struct Seen {
    /// True once it has asked for what differs between devices.
    device: AtomicBool,
    /// Last error of the script in the log: the engine writes places there that a fault does not carry.
    error: Mutex<String>,
}

impl Seen {
    fn last_error(&self) -> String {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Host for NoDevice {
    fn send(&mut self, _: Outgoing) -> Result<(), Fault> {
        Ok(())
    }

    fn log(&mut self, level: Level, text: &str) {
        if level == Level::Error {
            text.clone_into(&mut self.seen.error.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn now_ms(&mut self) -> u64 {
        NOW_MS
    }

    fn board(&self) -> Option<Arc<dyn Board>> {
        self.seen.device.store(true, Relaxed);
        None
    }

    fn setting(&self, _: &str) -> Option<String> {
        self.seen.device.store(true, Relaxed);
        None
    }

    fn state(&mut self) -> Option<&mut dyn StateStore> {
        Some(&mut self.state)
    }
}

/// Returns the text for a fault: its place, then what happened. `line` is the last error in the log.
fn told(fault: &Fault, line: &str) -> String {
    let (place, message) = match fault {
        Fault::Failed(text) => match text.rsplit_once(" at ") {
            Some((message, at)) if place(at).is_some() => (place(at), message.to_owned()),
            _ => (None, text.clone()),
        },
        other => {
            let first = line.lines().find_map(|line| line.strip_prefix("  at "));
            (first.and_then(place), other.to_string())
        }
    };
    let hint = match message.ends_with(END) {
        true => " (the file ends here, and something before is not closed)",
        false => "",
    };
    clip(&format!("{}: {message}{hint}", place.unwrap_or(MAIN)), MAX_TEXT).to_owned()
}

/// Returns the error for a script that was stopped.
fn trapped(report: &TrapReport) -> CheckError {
    if matches!(report.code, TrapCode::Device | TrapCode::WallTime) {
        return CheckError::Machine(report.message.clone());
    }
    let place = report.functions.iter().find_map(|function| place(function));
    let what = match report.code {
        TrapCode::TimeBudget => "the top level of the script did not end: it was",
        _ => "the top level of the script was stopped:",
    };
    let advice = match report.code {
        TrapCode::TimeBudget => "; long work belongs in loop() or behind a timer",
        _ => "",
    };
    let text = format!("{}: {what} {}{advice}", place.unwrap_or(MAIN), report.message);
    CheckError::Script(clip(&text, MAX_TEXT).to_owned())
}

/// Returns the place in `main.js:2:16` or `spin (main.js:2:16)`; none for anything else.
fn place(text: &str) -> Option<&str> {
    let inner = text
        .strip_suffix(')')
        .and_then(|text| text.rsplit_once('('))
        .map_or(text, |(_, place)| place);
    let mut parts = inner.rsplitn(3, ':');
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (number(parts.next()?) && number(parts.next()?) && !parts.next()?.is_empty()).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_from_other_texts() {
        for (text, expected) in [
            ("main.js:2:16", Some("main.js:2:16")),
            ("spin (lib/a b.js:2:16)", Some("lib/a b.js:2:16")),
            ("<anonymous> (init:1:1)", Some("init:1:1")),
            ("home", None),
            ("a:b:c", None),
            (":1:2", None),
            ("1:2", None),
            ("js_array_fill", None),
            ("", None),
        ] {
            assert_eq!(place(text), expected, "{text}");
        }
    }

    #[test]
    fn a_refusal_begins_with_its_place() {
        let failed = |text: &str| told(&Fault::Failed(text.to_owned()), "");
        assert_eq!(
            failed("SyntaxError: variable name expected at lib/a.js:3:5"),
            "lib/a.js:3:5: SyntaxError: variable name expected"
        );
        assert_eq!(failed("Error: look at that"), "main.js: Error: look at that");
        assert!(
            failed("SyntaxError: unexpected token in expression: '' at main.js:3:2")
                .ends_with("is not closed)")
        );
        let denied = Fault::Denied("gpio: none".to_owned());
        assert_eq!(
            told(&denied, "Fault: gpio: none\n  at <anonymous> (main.js:1:6)"),
            "main.js:1:6: denied: gpio: none"
        );
    }
}
