//! Notices that nobody reads the messages any more: then the run ends, also while the firmware has nothing to
//! say.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use super::host::Sink;
use super::worker::Input;

/// Time between two tries to end a run whose inputs are full.
const AGAIN: Duration = Duration::from_millis(100);

/// Waits on a thread of its own until the reader of standard output has gone, then asks the firmware's thread
/// to end.
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

/// Waits until nothing can read what is written to `file`; false when the system cannot tell.
fn wait_until_unread(file: i32) -> bool {
    // No events are asked for: what remains are hang-ups and errors, which are always told.
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
