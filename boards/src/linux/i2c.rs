//! I2C buses: `/dev/i2c-*`.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use super::sys::{self, I2C_MESSAGE_BYTES, I2C_MESSAGES, I2cMessage};
use crate::I2cError;

/// Open bus.
pub(super) struct Bus {
    file: File,
    /// Folder of the system with the devices that the kernel knows, and the bus's number in their names.
    devices: PathBuf,
    number: Option<String>,
}

impl Bus {
    pub(super) fn open(node: &Path, devices: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(node)?;
        // A node may be a link with a name of its own.
        let named = node.canonicalize()?;
        let name = named
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        Ok(Self {
            file,
            devices,
            number: name.strip_prefix("i2c-").map(str::to_owned),
        })
    }

    /// Refuses an address that a driver of the kernel uses: two masters of one device confuse it.
    fn refuse_kernels(&self, address: u8) -> Result<(), I2cError> {
        let Some(number) = &self.number else { return Ok(()) };
        let device = self
            .devices
            .join(format!("{number}-{address:04x}"))
            .join("driver");
        let Ok(driver) = std::fs::read_link(device) else {
            return Ok(());
        };
        let name = driver.file_name().unwrap_or_default().to_string_lossy();
        Err(other(format!(
            "address {address:#04x} is in use by the kernel's driver {name}"
        )))
    }
}

impl ErrorType for Bus {
    type Error = I2cError;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), I2cError> {
        self.refuse_kernels(address)?;
        let mut parts = joined(operations);
        if parts.is_empty() {
            return Ok(());
        }
        let large = |part: &Part| part.bytes.len() > I2C_MESSAGE_BYTES;
        if parts.len() > I2C_MESSAGES || parts.iter().any(large) {
            return Err(other(format!(
                "a transaction has at most {I2C_MESSAGES} messages of {I2C_MESSAGE_BYTES} bytes"
            )));
        }
        let mut messages: Vec<_> = parts.iter_mut().map(Part::as_message).collect();
        sys::i2c(&self.file, address, &mut messages).map_err(|error| failure(address, &error))?;
        scatter(&parts, operations);
        Ok(())
    }
}

/// Adjacent operations of one kind: they are one message, without a start condition in between.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    read: bool,
    bytes: Vec<u8>,
}

impl Part {
    fn as_message(&mut self) -> I2cMessage<'_> {
        if self.read {
            I2cMessage::Read(&mut self.bytes)
        } else {
            I2cMessage::Write(&self.bytes)
        }
    }
}

fn joined(operations: &[Operation<'_>]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for operation in operations {
        let (read, length) = match operation {
            Operation::Read(into) => (true, into.len()),
            Operation::Write(from) => (false, from.len()),
        };
        if parts.last().is_none_or(|last| last.read != read) {
            parts.push(Part {
                read,
                bytes: Vec::new(),
            });
        }
        if let Some(last) = parts.last_mut() {
            match operation {
                Operation::Read(_) => last.bytes.resize(last.bytes.len() + length, 0),
                Operation::Write(from) => last.bytes.extend_from_slice(from),
            }
        }
    }
    parts
}

/// Copies what was read into the operations.
fn scatter(parts: &[Part], operations: &mut [Operation<'_>]) {
    let mut read = parts.iter().filter(|part| part.read).flat_map(|part| &part.bytes);
    for operation in operations {
        if let Operation::Read(into) = operation {
            into.iter_mut()
                .zip(&mut read)
                .for_each(|(into, byte)| *into = *byte);
        }
    }
}

/// Returns the error in embedded-hal's terms; drivers of the kernel differ in what they tell.
fn failure(address: u8, error: &io::Error) -> I2cError {
    let (kind, text) = match error.raw_os_error() {
        Some(libc::ENXIO) => (
            ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            "nothing answers",
        ),
        Some(libc::EREMOTEIO) => (
            ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            "no acknowledgement",
        ),
        Some(libc::EAGAIN) => (ErrorKind::ArbitrationLoss, "another master was first"),
        Some(libc::EIO) => (ErrorKind::Bus, "the bus failed"),
        Some(libc::EOVERFLOW) => (ErrorKind::Overrun, "data came faster than it was read"),
        Some(libc::ETIMEDOUT) => (ErrorKind::Other, "the bus hangs; a device may hold a line low"),
        _ => (ErrorKind::Other, "the transaction failed"),
    };
    I2cError {
        kind,
        reason: format!("address {address:#04x}: {text} ({error})"),
    }
}

fn other(reason: String) -> I2cError {
    I2cError {
        kind: ErrorKind::Other,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_operations_of_a_kind_are_one_message() {
        let (mut a, mut b, mut c) = ([0; 2], [0; 1], [0; 1]);
        let mut operations = [
            Operation::Write(&[1]),
            Operation::Write(&[2, 3]),
            Operation::Read(&mut a),
            Operation::Read(&mut b),
            Operation::Write(&[4]),
            Operation::Read(&mut c),
        ];
        let mut parts = joined(&operations);
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[0].bytes, [1, 2, 3]);
        parts[1].bytes.copy_from_slice(&[7, 8, 9]);
        parts[3].bytes.copy_from_slice(&[5]);
        scatter(&parts, &mut operations);
        assert_eq!((a, b, c), ([7, 8], [9], [5]));
    }

    #[test]
    fn errors_of_the_system_have_names() {
        for (number, kind, text) in [
            (
                libc::ENXIO,
                ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
                "nothing answers",
            ),
            (
                libc::EREMOTEIO,
                ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
                "no ack",
            ),
            (libc::ETIMEDOUT, ErrorKind::Other, "the bus hangs"),
            (libc::EAGAIN, ErrorKind::ArbitrationLoss, "another master"),
        ] {
            let error = failure(0x48, &io::Error::from_raw_os_error(number));
            assert_eq!(error.kind, kind);
            assert!(error.reason.starts_with("address 0x48: "), "{error}");
            assert!(error.reason.contains(text), "{error}");
        }
    }

    #[test]
    fn an_address_of_the_kernel_is_refused_by_its_drivers_name() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("devices/1-0068");
        std::fs::create_dir_all(&device).unwrap();
        std::os::unix::fs::symlink("../../drivers/rtc-ds1307", device.join("driver")).unwrap();
        std::fs::write(folder.path().join("i2c-1"), "").unwrap();
        let mut bus = Bus::open(&folder.path().join("i2c-1"), folder.path().join("devices")).unwrap();
        let error = bus.write(0x68, &[0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "i2c: address 0x68 is in use by the kernel's driver rtc-ds1307"
        );
        let error = bus.write(0x69, &[0]).unwrap_err();
        assert!(
            error.reason.starts_with("address 0x69: the transaction failed"),
            "{error}"
        );
        let error = bus.write(0x69, &[0; 8193]).unwrap_err();
        assert!(
            error.reason.contains("at most 42 messages of 8192 bytes"),
            "{error}"
        );
    }
}
