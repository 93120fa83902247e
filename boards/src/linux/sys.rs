//! System calls of I2C, SPI and serial ports: the only unsafe code of this crate.

#![allow(unsafe_code, reason = "the kernel's structures are passed by address")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::{Parity, SerialSettings};

/// Maximum number of messages of one I2C transaction, set by the kernel.
pub(super) const I2C_MESSAGES: usize = 42;
/// Maximum size of one I2C message, in bytes, set by the kernel.
pub(super) const I2C_MESSAGE_BYTES: usize = 8192;
/// Maximum number of transfers of one SPI transaction: its size has 14 bits in the number of the call.
pub(super) const SPI_TRANSFERS: usize = (1 << 14) / size_of::<SpiTransfer>() - 1;

const I2C_RDWR: u64 = 0x0707;
const I2C_READ: u16 = 1;

/// Message of an I2C transaction.
pub(super) enum I2cMessage<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

#[repr(C)]
struct RawI2cMessage {
    address: u16,
    flags: u16,
    length: u16,
    bytes: *mut u8,
}

#[repr(C)]
struct RawI2cTransaction {
    messages: *mut RawI2cMessage,
    count: u32,
}

/// Runs an I2C transaction with a repeated start between its messages.
pub(super) fn i2c(bus: &File, address: u8, messages: &mut [I2cMessage<'_>]) -> io::Result<()> {
    let too_large = || io::Error::from(io::ErrorKind::InvalidInput);
    if messages.len() > I2C_MESSAGES {
        return Err(too_large());
    }
    let mut raw = Vec::with_capacity(messages.len());
    for message in messages {
        let (flags, length, bytes) = match message {
            I2cMessage::Read(into) => (I2C_READ, into.len(), into.as_mut_ptr()),
            // The kernel only reads the bytes of a written message.
            I2cMessage::Write(from) => (0, from.len(), from.as_ptr().cast_mut()),
        };
        if length > I2C_MESSAGE_BYTES {
            return Err(too_large());
        }
        raw.push(RawI2cMessage {
            address: u16::from(address),
            flags,
            length: u16::try_from(length).map_err(|_| too_large())?,
            bytes,
        });
    }
    let mut transaction = RawI2cTransaction {
        messages: raw.as_mut_ptr(),
        count: u32::try_from(raw.len()).map_err(|_| too_large())?,
    };
    // SAFETY: the structures have the layout of `i2c_rdwr_ioctl_data`, and outlive the call.
    unsafe { ioctl(bus.as_fd(), I2C_RDWR, &raw mut transaction) }
}

/// Transfer of an SPI transaction, `spi_ioc_transfer` of the kernel.
#[repr(C)]
#[derive(Default)]
pub(super) struct SpiTransfer {
    sent: u64,
    received: u64,
    length: u32,
    hertz: u32,
    delay_us: u16,
    bits: u8,
    change: u8,
    sent_lines: u8,
    received_lines: u8,
    word_delay_us: u8,
    padding: u8,
}

/// Step of an SPI transaction.
pub(super) enum SpiStep<'a> {
    /// Sends zeros and receives.
    Read(&'a mut [u8]),
    /// Sends and ignores what is received.
    Write(&'a [u8]),
    /// Sends the bytes and replaces them by what is received.
    Both(&'a mut [u8]),
    /// Waits, in microseconds.
    Delay(u16),
}

/// Runs an SPI transaction with the device selected throughout.
pub(super) fn spi(device: &File, steps: &mut [SpiStep<'_>]) -> io::Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    if steps.len() > SPI_TRANSFERS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut transfers = Vec::with_capacity(steps.len());
    for step in steps {
        let (sent, received, length, delay_us) = match step {
            SpiStep::Read(into) => (0, into.as_mut_ptr() as u64, into.len(), 0),
            SpiStep::Write(from) => (from.as_ptr() as u64, 0, from.len(), 0),
            SpiStep::Both(bytes) => (bytes.as_ptr() as u64, bytes.as_mut_ptr() as u64, bytes.len(), 0),
            SpiStep::Delay(microseconds) => (0, 0, 0, *microseconds),
        };
        transfers.push(SpiTransfer {
            sent,
            received,
            length: u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?,
            delay_us,
            ..SpiTransfer::default()
        });
    }
    let size = (transfers.len() * size_of::<SpiTransfer>()) as u64;
    // SAFETY: the transfers have the kernel's layout and lengths of live buffers.
    unsafe { ioctl(device.as_fd(), write_call(b'k', 0, size), transfers.as_mut_ptr()) }
}

/// Sets mode, word size and clock rate of an SPI device.
pub(super) fn spi_settings(device: &File, mode: u8, mut hertz: u32) -> io::Result<()> {
    let (mut mode, mut bits) = (mode, 8_u8);
    // SAFETY: the calls take the address of a byte, a byte and 32 bits.
    unsafe {
        ioctl(device.as_fd(), write_call(b'k', 1, 1), &raw mut mode)?;
        ioctl(device.as_fd(), write_call(b'k', 3, 1), &raw mut bits)?;
        ioctl(device.as_fd(), write_call(b'k', 4, 4), &raw mut hertz)
    }
}

/// Makes a terminal a plain serial port, for this process alone.
pub(super) fn serial(port: &File, settings: &SerialSettings, speed: libc::speed_t) -> io::Result<()> {
    // SAFETY: all zeros are a value of the structure; the calls take its address and an open file.
    unsafe {
        let mut terminal: libc::termios = std::mem::zeroed();
        done(libc::tcgetattr(port.as_raw_fd(), &raw mut terminal))?;
        libc::cfmakeraw(&raw mut terminal);
        terminal.c_cflag &= !(libc::CSTOPB | libc::PARENB | libc::PARODD | libc::CRTSCTS);
        terminal.c_cflag |= libc::CLOCAL | libc::CREAD;
        if settings.stop_bits == 2 {
            terminal.c_cflag |= libc::CSTOPB;
        }
        match settings.parity {
            Parity::None => {}
            Parity::Even => terminal.c_cflag |= libc::PARENB,
            Parity::Odd => terminal.c_cflag |= libc::PARENB | libc::PARODD,
        }
        if settings.parity != Parity::None {
            terminal.c_iflag |= libc::INPCK;
        }
        // Not by the C library's calls: their symbols are versioned, and a static library has no versions.
        terminal.c_cflag = terminal.c_cflag & !libc::CBAUD | speed;
        // The kernel reads the speed above; musl has no other place for it.
        #[cfg(not(target_env = "musl"))]
        {
            (terminal.c_ispeed, terminal.c_ospeed) = (speed, speed);
        }
        done(libc::tcsetattr(
            port.as_raw_fd(),
            libc::TCSANOW,
            &raw const terminal,
        ))?;
        done(libc::tcflush(port.as_raw_fd(), libc::TCIFLUSH))?;
        done(libc::ioctl(port.as_raw_fd(), libc::TIOCEXCL))
    }
}

/// Numbers of faults of a serial port since it exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SerialFaults {
    pub(super) frame: i32,
    pub(super) overrun: i32,
    pub(super) parity: i32,
}

/// Returns the numbers of faults; `None` if the driver counts none.
pub(super) fn serial_faults(port: &File) -> Option<SerialFaults> {
    /// `serial_icounter_struct` of the kernel.
    #[repr(C)]
    #[derive(Default)]
    struct Counters {
        lines_and_bytes: [i32; 6],
        frame: i32,
        overrun: i32,
        parity: i32,
        breaks: i32,
        buffer_overrun: i32,
        reserved: [i32; 9],
    }
    const TIOCGICOUNT: u64 = 0x545d;
    let mut counters = Counters::default();
    // SAFETY: the structure has the kernel's layout.
    unsafe { ioctl(port.as_fd(), TIOCGICOUNT, &raw mut counters) }.ok()?;
    Some(SerialFaults {
        frame: counters.frame,
        overrun: counters.overrun.wrapping_add(counters.buffer_overrun),
        parity: counters.parity,
    })
}

/// Signal between threads that a wait for files notices.
pub(super) struct Bell(File);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call returns a new descriptor or -1.
        let bell = unsafe {
            let bell = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            done(bell)?;
            OwnedFd::from_raw_fd(bell)
        };
        Ok(Self(bell.into()))
    }

    pub(super) fn ring(&self) {
        // A bell that rings already keeps ringing.
        let _ = io::Write::write(&mut &self.0, &1_u64.to_ne_bytes());
    }

    /// Ends the ringing.
    pub(super) fn clear(&self) {
        let _ = io::Read::read(&mut &self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Condition to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    Readable,
    Writable,
}

/// Waits until one of the files is ready, or the time has passed. Returns which of them are; a file with an error is.
pub(super) fn wait<const N: usize>(
    files: [(BorrowedFd<'_>, Ready); N],
    most: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = files.map(|(file, ready)| libc::pollfd {
        fd: file.as_raw_fd(),
        events: if ready == Ready::Readable {
            libc::POLLIN
        } else {
            libc::POLLOUT
        },
        revents: 0,
    });
    let milliseconds = most.map_or(-1, |most| i32::try_from(most.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: the array has N elements and outlives the call.
    match unsafe { done(libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, milliseconds)) } {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
        Err(error) => Err(error),
        Ok(()) => Ok(polled.map(|file| file.revents != 0)),
    }
}

/// Returns the number of a call that passes a structure of this size to the kernel.
const fn write_call(group: u8, number: u8, size: u64) -> u64 {
    1 << 30 | size << 16 | (group as u64) << 8 | number as u64
}

/// # Safety
/// The argument has the type that the call takes.
unsafe fn ioctl<T>(file: BorrowedFd<'_>, call: u64, argument: *mut T) -> io::Result<()> {
    // The number's type differs between C libraries; its 32 bits are the same.
    #[allow(clippy::cast_possible_truncation, reason = "the number has 32 bits")]
    // SAFETY: as the caller promises.
    done(unsafe { libc::ioctl(file.as_raw_fd(), call as _, argument) })
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
