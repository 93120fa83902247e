//! `--watch`: builds and loads firmware again when a file was saved.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use super::target::Target;
use super::worker::Input;
use super::{Loader, say};

/// Interval at which the files are checked.
const INTERVAL: Duration = Duration::from_millis(200);

/// Watches the files until the firmware's thread has ended.
pub(super) fn start(target: Target, loader: Loader, inputs: SyncSender<Input>) -> io::Result<()> {
    let mut seen = target.fingerprint();
    thread::Builder::new().name("watch".to_owned()).spawn(move || {
        loop {
            thread::sleep(INTERVAL);
            let now = target.fingerprint();
            if now == seen {
                continue;
            }
            // Editors save in steps, so a state counts once it is unchanged for an interval.
            thread::sleep(INTERVAL);
            let settled = target.fingerprint();
            if settled != now {
                continue;
            }
            seen = settled;
            let firmware = match target.component().and_then(|wasm| loader.load(&wasm)) {
                Ok(firmware) => firmware,
                Err(error) => {
                    say(&format!("not loaded; the previous version continues: {error}"));
                    continue;
                }
            };
            let mut reload = Input::Reload(Box::new(firmware));
            loop {
                match inputs.try_send(reload) {
                    Ok(()) => break,
                    Err(TrySendError::Disconnected(_)) => return,
                    Err(TrySendError::Full(back)) => {
                        reload = back;
                        thread::sleep(INTERVAL);
                    }
                }
            }
        }
    })?;
    Ok(())
}
