//! Serial ports: terminals below `/dev`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::sys::{self, Bell, Ready, SerialFaults};
use super::system::Claim;
use crate::{BoardError, SerialSettings, Tell, Uart, UartError, Watch};

/// Maximum time in which the line takes no byte of a write.
const WRITE_WAIT: Duration = Duration::from_secs(1);

/// Open port.
pub(super) struct Port {
    file: Arc<File>,
    faults: Option<SerialFaults>,
    watched: Arc<Watched>,
    _claim: Claim,
}

/// State between the port and the thread that waits for its bytes.
struct Watched {
    bell: Bell,
    /// True once the port was read since the last call.
    armed: AtomicBool,
    ended: AtomicBool,
}

impl Port {
    pub(super) fn open(
        node: &Path,
        settings: &SerialSettings,
        speed: libc::speed_t,
        claim: Claim,
    ) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
            .open(node)?;
        sys::serial(&file, settings, speed)?;
        Ok(Self {
            faults: sys::serial_faults(&file),
            file: Arc::new(file),
            watched: Arc::new(Watched {
                bell: Bell::new()?,
                armed: AtomicBool::new(true),
                ended: AtomicBool::new(false),
            }),
            _claim: claim,
        })
    }

    /// Returns the fault since the last call, which came with bytes that are not to be trusted.
    fn new_fault(&mut self) -> Option<UartError> {
        let now = sys::serial_faults(&self.file)?;
        let before = self.faults.replace(now)?;
        if now.overrun != before.overrun {
            Some(UartError::Overrun)
        } else if now.frame != before.frame {
            Some(UartError::FrameFormat)
        } else if now.parity != before.parity {
            Some(UartError::Parity)
        } else {
            None
        }
    }
}

impl Uart for Port {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, UartError> {
        if let Some(fault) = self.new_fault() {
            return Err(fault);
        }
        let read = (&*self.file).read(into);
        self.watched.armed.store(true, Ordering::Release);
        self.watched.bell.ring();
        match read {
            Ok(count) => Ok(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(UartError::Other(error.to_string())),
        }
    }

    fn write(&mut self, mut data: &[u8]) -> Result<(), UartError> {
        while !data.is_empty() {
            match (&*self.file).write(data) {
                Ok(count) => data = &data[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let waits = [(self.file.as_fd(), Ready::Writable)];
                    match sys::wait(waits, Some(WRITE_WAIT)) {
                        Ok([true]) => {}
                        Ok(_) => return Err(UartError::Other("the line takes no bytes".to_owned())),
                        Err(error) => return Err(UartError::Other(error.to_string())),
                    }
                }
                Err(error) => return Err(UartError::Other(error.to_string())),
            }
        }
        Ok(())
    }

    fn watch(&mut self, tell: Tell) -> Result<Watch, BoardError> {
        let io = |error: io::Error| BoardError::Io(format!("no thread for a serial port: {error}"));
        let (file, watched) = (Arc::clone(&self.file), Arc::clone(&self.watched));
        watched.armed.store(true, Ordering::Release);
        watched.ended.store(false, Ordering::Release);
        let thread = std::thread::Builder::new()
            .name("uart".to_owned())
            .spawn(move || wait_for_bytes(&file, &watched, &tell))
            .map_err(io)?;
        Ok(Watch::new(Guard {
            watched: Arc::clone(&self.watched),
            thread: Some(thread),
        }))
    }
}

/// Calls `tell` once for all bytes that arrive between two reads.
fn wait_for_bytes(file: &File, watched: &Watched, tell: &Tell) {
    while !watched.ended.load(Ordering::Acquire) {
        let bell = (watched.bell.as_fd(), Ready::Readable);
        let waited = if watched.armed.load(Ordering::Acquire) {
            sys::wait([bell, (file.as_fd(), Ready::Readable)], None)
        } else {
            sys::wait([bell], None).map(|[rings]| [rings, false])
        };
        let Ok([rings, readable]) = waited else { return };
        if rings {
            watched.bell.clear();
        }
        if readable && watched.armed.swap(false, Ordering::AcqRel) {
            tell(Instant::now());
        }
    }
}

struct Guard {
    watched: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watched.ended.store(true, Ordering::Release);
        self.watched.bell.ring();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but the bell, and callbacks do not block.
            let _ = thread.join();
        }
    }
}

/// Returns the system's constant for a number of bits per second.
pub(super) fn speed(baud: u32) -> Option<libc::speed_t> {
    Some(match baud {
        1200 => libc::B1200,
        2400 => libc::B2400,
        4800 => libc::B4800,
        9600 => libc::B9600,
        19_200 => libc::B19200,
        38_400 => libc::B38400,
        57_600 => libc::B57600,
        115_200 => libc::B115200,
        230_400 => libc::B230400,
        460_800 => libc::B460800,
        500_000 => libc::B500000,
        576_000 => libc::B576000,
        921_600 => libc::B921600,
        1_000_000 => libc::B1000000,
        1_500_000 => libc::B1500000,
        2_000_000 => libc::B2000000,
        3_000_000 => libc::B3000000,
        4_000_000 => libc::B4000000,
        _ => return None,
    })
}
