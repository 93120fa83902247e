//! Serial ports of the virtual board.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use super::claim::{Claim, Owner};
use super::locked;
use super::record::{Action, Record};
use crate::{BoardError, SerialPort, SerialSettings, Tell, Uart, UartError, Watch};

/// Maximum number of bytes that wait to be read; further ones are lost, and the next read fails.
const BUFFER: usize = 4096;

#[derive(Clone)]
pub(super) struct Port {
    line: Arc<Mutex<Line>>,
    owner: Owner,
    loopback: bool,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<u8>,
    lost: bool,
    watchers: Vec<Weak<Tell>>,
}

impl Port {
    pub(super) fn new(loopback: bool) -> Self {
        Self {
            line: Arc::default(),
            owner: Owner::default(),
            loopback,
        }
    }

    pub(super) fn arrive(&self, bytes: &[u8]) {
        let mut line = locked(&self.line);
        let room = BUFFER - line.waiting.len();
        line.lost |= bytes.len() > room;
        line.waiting.extend(&bytes[..bytes.len().min(room)]);
        line.watchers.retain(|tell| tell.strong_count() > 0);
        let watchers: Vec<_> = line.watchers.iter().filter_map(Weak::upgrade).collect();
        drop(line);
        let now = Instant::now();
        for tell in watchers {
            tell(now);
        }
    }

    pub(super) fn open(
        &self,
        label: &str,
        settings: SerialSettings,
        record: &Record,
    ) -> Result<SerialPort, BoardError> {
        if settings.baud == 0 || !(1..=2).contains(&settings.stop_bits) {
            return Err(BoardError::Unsupported(format!(
                "a serial port has no {} baud with {} stop bits",
                settings.baud, settings.stop_bits
            )));
        }
        let claim = self.owner.claim(label)?;
        Ok(Box::new(Open {
            port: self.clone(),
            label: label.to_owned(),
            record: record.clone(),
            _claim: claim,
        }))
    }
}

struct Open {
    port: Port,
    label: String,
    record: Record,
    _claim: Claim,
}

impl Uart for Open {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, UartError> {
        let mut line = locked(&self.port.line);
        if std::mem::take(&mut line.lost) {
            return Err(UartError::Overrun);
        }
        let count = into.len().min(line.waiting.len());
        for (to, byte) in into.iter_mut().zip(line.waiting.drain(..count)) {
            *to = byte;
        }
        Ok(count)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), UartError> {
        self.record.add(Action::Bytes {
            label: self.label.clone(),
            bytes: data.to_vec(),
        });
        if self.port.loopback {
            self.port.arrive(data);
        }
        Ok(())
    }

    fn watch(&mut self, tell: Tell) -> Result<Watch, BoardError> {
        let tell = Arc::new(tell);
        let mut line = locked(&self.port.line);
        line.watchers.push(Arc::downgrade(&tell));
        let waiting = !line.waiting.is_empty();
        drop(line);
        if waiting {
            tell(Instant::now());
        }
        Ok(Watch::new(tell))
    }
}
