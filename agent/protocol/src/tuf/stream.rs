//! Reading of untrusted bytes within signed or fixed limits.

use std::io::{self, Read};

use super::digest::Hashers;
use super::{TargetFile, TufError};

/// Reader that holds a target's bytes to what was signed: no byte more than its length, and its digests at
/// the end.
pub struct CheckedReader<R> {
    inner: R,
    what: String,
    left: u64,
    length: u64,
    hashers: Hashers,
}

impl<R: Read> CheckedReader<R> {
    /// Wraps a source.
    ///
    /// # Errors
    /// The target has no digest of a known algorithm.
    pub fn new(inner: R, path: &str, file: &TargetFile) -> Result<Self, TufError> {
        let hashers = Hashers::for_digests(path, &file.hashes)?;
        Ok(Self {
            inner,
            what: path.to_owned(),
            left: file.length,
            length: file.length,
            hashers,
        })
    }

    /// Reads the next bytes into a buffer; returns 0 at the end, which is the signed length.
    ///
    /// # Errors
    /// The source fails, ends early, or has more bytes than were signed.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TufError> {
        let read = loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        let count = read.map_err(|e| TufError::Fetch {
            what: self.what.clone(),
            reason: e.to_string().into(),
        })?;
        if count as u64 > self.left {
            return Err(TufError::TooLarge {
                what: self.what.clone(),
                limit: self.length,
            });
        }
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(TufError::Digest {
                what: self.what.clone(),
                reason: format!("ends {} bytes early", self.left),
            });
        }
        self.left -= count as u64;
        self.hashers.update(&buffer[..count]);
        Ok(count)
    }

    /// Checks the digests; to be called after [`CheckedReader::read`] has returned 0.
    ///
    /// # Errors
    /// A digest differs.
    pub fn finish(self) -> Result<(), TufError> {
        self.hashers.finish(&self.what)
    }
}

/// Reads a whole small file, at most `limit` bytes.
pub(super) fn read_limited(source: impl Read, what: &str, limit: u64) -> Result<Vec<u8>, TufError> {
    let mut bytes = Vec::new();
    let read = source.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| TufError::Fetch {
        what: what.to_owned(),
        reason: e.to_string().into(),
    })?;
    if bytes.len() as u64 > limit {
        return Err(TufError::TooLarge {
            what: what.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}
