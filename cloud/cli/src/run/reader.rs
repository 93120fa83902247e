//! Ends a run when standard output is closed, even while the firmware sends no messages.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use super::host::Sink;
use super::worker::Input;

/// Time between two tries to end a run whose inputs are full.
const AGAIN: Duration = Duration::from_millis(100);

/// Waits on a thread of its own until standard output is closed, then asks the firmware's thread to end.
pub(super) fn watch(inputs: SyncSender<Input>, sink: Sink) -> io::Result<()> {
    thread::Builder::new().name("reader".to_owned()).spawn(move || {
        if !wait_until_unread(io::stdout().as_raw_fd()) {
            return;
        }
        sink.close();
        while let Err(TrySendError::Full(_)) = inputs.try_send(Input::Stop) {
            thread::sleep(AGAIN);
        }
    })?;
    Ok(())
}

/// Waits until the reading end of `file` is closed; false when the system cannot detect that.
fn wait_until_unread(file: i32) -> bool {
    // No events are requested; hang-ups and errors are always reported.
    let mut poll = libc::pollfd {
        fd: file,
        events: 0,
        revents: 0,
    };
    loop {
        // SAFETY: one entry, which lives through the call.
        let count = unsafe { libc::poll(&raw mut poll, 1, -1) };
        if count > 0 {
            return poll.revents & (libc::POLLERR | libc::POLLHUP) != 0;
        }
        if count < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
}
