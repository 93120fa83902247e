//! Ctrl-C while a command follows what the cloud does: the command ends, and says what continues and how to look at it.

use std::sync::{Mutex, Once, PoisonError};

use crate::say::insist;
use crate::terminal::draws_bars;

/// Exit code of a program that SIGINT has ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// Text of what continues; none while nothing does.
static CONTINUES: Mutex<Option<String>> = Mutex::new(None);
static CATCH: Once = Once::new();

/// Time in which Ctrl-C says what continues.
pub(crate) struct Following(());

impl Following {
    /// Says `text` when the command is interrupted from now on, until the value is dropped.
    pub(crate) fn start(text: String) -> Self {
        CATCH.call_once(catch);
        set(Some(text));
        Self(())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        set(None);
    }
}

fn set(text: Option<String>) {
    *CONTINUES.lock().unwrap_or_else(PoisonError::into_inner) = text;
}

/// Waits for the signal in a thread of its own. Where it cannot, the signal ends the program as it always does.
fn catch() {
    let thread = std::thread::Builder::new().name("interrupt".to_owned());
    let _ = thread.spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_err() {
            return;
        }
        let text = CONTINUES.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(text) = text {
            // A bar may be on the line.
            let end = if draws_bars() { "\n" } else { "" };
            insist(&format!("{end}iottly: interrupted; {text}"));
        }
        std::process::exit(INTERRUPTED);
    });
}
