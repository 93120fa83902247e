//! The folder of the firmware: notices saves. Builds nothing.

use std::io;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use super::Input;
use crate::run::Target;

/// Interval at which the files are checked.
const INTERVAL: Duration = Duration::from_millis(15);

/// Sends [`Input::Saved`] now and for each save from then on, until the receiver is gone.
pub(super) fn watch(target: Target, inputs: SyncSender<Input>) -> io::Result<()> {
    thread::Builder::new().name("watch".to_owned()).spawn(move || {
        let mut built = None;
        let mut seen = target.fingerprint();
        let mut since = Instant::now();
        loop {
            // Editors save in steps, so a state counts once it is unchanged for an interval.
            thread::sleep(INTERVAL);
            let now = target.fingerprint();
            if now != seen {
                if built.as_ref() == Some(&seen) {
                    since = Instant::now();
                }
                seen = now;
            } else if built.as_ref() != Some(&seen) {
                if inputs.send(Input::Saved(since)).is_err() {
                    return;
                }
                built = Some(seen.clone());
            }
        }
    })?;
    Ok(())
}
