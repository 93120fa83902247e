//! An encrypted stream in chunks. Each chunk is authenticated with its number and with a mark of the last one, so that a
//! stream that was cut, reordered or changed is distinguished from a whole one, and no byte is believed before that.
//!
//! Layout: [`HEADER`] bytes, then for each chunk [`FRAME`] bytes and the sealed bytes.
//!
//! ```text
//! header   "iottlyB1", memory, passes, lanes (u32 each), salt (16), check (16)
//! frame    number (u64), last (u8: 0 or 1), length of the sealed bytes (u32)
//! ```

use iottly_protocol::Secret;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use subtle::ConstantTimeEq;

use super::passphrase::{self, Cost, PassphraseError, SALT};

const MAGIC: &[u8; 8] = b"iottlyB1";
/// Length of the header, in bytes.
pub const HEADER: usize = 8 + 3 * 4 + SALT + 16;
/// Length of the frame before each chunk, in bytes.
pub const FRAME: usize = 8 + 1 + 4;
/// Maximum length of a chunk before it is sealed, in bytes.
pub const CHUNK: usize = 64 << 10;
/// Length of the mark of authenticity at the end of a sealed chunk, in bytes.
const TAG: usize = 16;

/// Reason why a stream is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The file is something else.
    #[error("the file is not an encrypted backup of a cloud")]
    Other,
    /// The passphrase is unusable.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The passphrase is another one.
    #[error("the passphrase is wrong, or the header of the file was changed")]
    Wrong,
    /// The stream ends before its last chunk.
    #[error("the file is truncated: it ends before chunk {0}")]
    Truncated(u64),
    /// A chunk is in the place of another.
    #[error("the file is reordered: chunk {found} is in the place of chunk {expected}")]
    Reordered {
        /// Number of the place.
        expected: u64,
        /// Number of the chunk.
        found: u64,
    },
    /// A chunk was changed.
    #[error("the file is damaged or was changed at chunk {0}")]
    Changed(u64),
    /// Bytes follow the last chunk.
    #[error("the file has bytes after its end")]
    Trailing,
}

/// Returns the nonce of a chunk: no two chunks under one key have the same, and each header has its own salt.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes"))
}

/// Encrypts a stream.
pub struct Sealer {
    key: LessSafeKey,
    header: [u8; HEADER],
    next: u64,
}

impl Sealer {
    /// Starts a stream; `salt` is random.
    ///
    /// # Errors
    /// If the passphrase is short or long.
    pub fn new(passphrase: &Secret, salt: [u8; SALT], cost: Cost) -> Result<Self, PassphraseError> {
        passphrase::check_new(passphrase)?;
        let derived = passphrase::derive(passphrase, &salt, cost)?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&cost.memory.to_be_bytes());
        header[12..16].copy_from_slice(&cost.passes.to_be_bytes());
        header[16..20].copy_from_slice(&cost.lanes.to_be_bytes());
        header[20..36].copy_from_slice(&salt);
        header[36..].copy_from_slice(&derived.check);
        Ok(Self {
            key: aead(&derived.key),
            header,
            next: 0,
        })
    }

    /// Returns the header, which is written first.
    #[must_use]
    pub fn header(&self) -> &[u8; HEADER] {
        &self.header
    }

    /// Seals at most [`CHUNK`] bytes in place; returns the frame, which is written before them.
    ///
    /// # Panics
    /// If the chunk is longer.
    pub fn seal(&mut self, chunk: &mut Vec<u8>, last: bool) -> [u8; FRAME] {
        assert!(chunk.len() <= CHUNK, "a chunk is at most {CHUNK} bytes long");
        let number = self.next;
        self.next += 1;
        self.key
            .seal_in_place_append_tag(nonce(number, last), Aad::from(self.header), chunk)
            .expect("a chunk is shorter than the cipher's bound");
        let length = u32::try_from(chunk.len()).expect("a chunk is shorter than 4 GiB");
        let mut frame = [0; FRAME];
        frame[..8].copy_from_slice(&number.to_be_bytes());
        frame[8] = u8::from(last);
        frame[9..].copy_from_slice(&length.to_be_bytes());
        frame
    }
}

/// Frame of the chunk that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    number: u64,
    last: bool,
    /// Number of sealed bytes that follow: at most [`CHUNK`] and the mark of authenticity.
    pub length: usize,
}

/// Decrypts a stream.
#[derive(Debug)]
pub struct Opener {
    key: LessSafeKey,
    header: [u8; HEADER],
    next: u64,
    done: bool,
}

impl Opener {
    /// Returns true if a file with these first bytes claims to be encrypted.
    #[must_use]
    pub fn recognises(start: &[u8]) -> bool {
        start.starts_with(MAGIC)
    }

    /// Starts with the header.
    ///
    /// # Errors
    /// If it is not one, demands too much, or belongs to another passphrase.
    pub fn new(passphrase: &Secret, header: &[u8; HEADER]) -> Result<Self, VaultError> {
        if !Self::recognises(header) {
            return Err(VaultError::Other);
        }
        let number = |at: usize| {
            let bytes = header[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes)
        };
        let cost = Cost {
            memory: number(8),
            passes: number(12),
            lanes: number(16),
        };
        let salt: [u8; SALT] = header[20..36].try_into().expect("the salt's length");
        let derived = passphrase::derive(passphrase, &salt, cost)?;
        if !bool::from(derived.check.ct_eq(&header[36..])) {
            return Err(VaultError::Wrong);
        }
        Ok(Self {
            key: aead(&derived.key),
            header: *header,
            next: 0,
            done: false,
        })
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// If it follows the last chunk, or is not one.
    pub fn frame(&self, frame: &[u8; FRAME]) -> Result<Next, VaultError> {
        if self.done {
            return Err(VaultError::Trailing);
        }
        let number = u64::from_be_bytes(frame[..8].try_into().expect("eight bytes"));
        let length = u32::from_be_bytes(frame[9..].try_into().expect("four bytes")) as usize;
        if frame[8] > 1 || !(TAG..=CHUNK + TAG).contains(&length) {
            return Err(VaultError::Changed(self.next));
        }
        Ok(Next {
            number,
            last: frame[8] == 1,
            length,
        })
    }

    /// Opens a chunk in place. Its bytes are good only if this succeeds.
    ///
    /// # Errors
    /// If the chunk was changed or belongs elsewhere.
    pub fn open<'c>(&mut self, next: Next, chunk: &'c mut [u8]) -> Result<&'c [u8], VaultError> {
        let expected = self.next;
        let opened = self
            .key
            .open_in_place(nonce(next.number, next.last), Aad::from(self.header), chunk)
            .map_err(|_| VaultError::Changed(expected))?;
        if next.number != expected {
            return Err(VaultError::Reordered {
                expected,
                found: next.number,
            });
        }
        self.next += 1;
        self.done = next.last;
        Ok(opened)
    }

    /// Checks that the stream may end here.
    ///
    /// # Errors
    /// If the last chunk has not been opened.
    pub fn end(&self) -> Result<(), VaultError> {
        if self.done {
            Ok(())
        } else {
            Err(VaultError::Truncated(self.next))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::passphrase::CHEAP;
    use super::*;

    fn passphrase() -> Secret {
        Secret::new("correct horse battery")
    }

    /// Returns the parts of a stream: the header and each chunk with its frame.
    fn sealed(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut sealer = Sealer::new(&passphrase(), [7; SALT], CHEAP).expect("a sealer");
        let mut parts = vec![sealer.header().to_vec()];
        for (at, chunk) in chunks.iter().enumerate() {
            let mut chunk = chunk.to_vec();
            let frame = sealer.seal(&mut chunk, at + 1 == chunks.len());
            parts.push([&frame[..], &chunk].concat());
        }
        parts
    }

    fn opened(bytes: &[u8]) -> Result<Vec<u8>, VaultError> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(VaultError::Other)?;
        let mut opener = Opener::new(&passphrase(), header)?;
        let (mut rest, mut out) = (&bytes[HEADER..], Vec::new());
        while !rest.is_empty() {
            let Some((frame, after)) = rest.split_first_chunk::<FRAME>() else {
                return Err(VaultError::Truncated(opener.next));
            };
            let next = opener.frame(frame)?;
            let Some((chunk, after)) = after.split_at_checked(next.length) else {
                return Err(VaultError::Truncated(opener.next));
            };
            out.extend_from_slice(opener.open(next, &mut chunk.to_vec())?);
            rest = after;
        }
        opener.end()?;
        Ok(out)
    }

    #[test]
    fn a_stream_is_read_as_it_was_written() {
        let parts = sealed(&[b"one", b"two", b""]);
        assert_eq!(opened(&parts.concat()), Ok(b"onetwo".to_vec()));
        assert_eq!(opened(&sealed(&[b""]).concat()), Ok(Vec::new()));
        assert!(!parts.concat().windows(3).any(|three| three == b"one"));
    }

    #[test]
    fn each_kind_of_damage_has_its_own_error() {
        let parts = sealed(&[b"one", b"two", b"three"]);
        let [header, one, two, three] = &parts[..] else {
            panic!("a header and three chunks");
        };
        let whole = [&header[..], one, two, three].concat();
        assert_eq!(
            opened(&[&header[..], one, two].concat()),
            Err(VaultError::Truncated(2)),
            "at a chunk's end"
        );
        for cut in HEADER..whole.len() {
            assert!(
                matches!(opened(&whole[..cut]), Err(VaultError::Truncated(_))),
                "{cut}"
            );
        }
        let swapped = [&header[..], two, one, three].concat();
        assert_eq!(
            opened(&swapped),
            Err(VaultError::Reordered {
                expected: 0,
                found: 1
            })
        );
        let skipped = [&header[..], one, three].concat();
        assert_eq!(
            opened(&skipped),
            Err(VaultError::Reordered {
                expected: 1,
                found: 2
            })
        );
        assert_eq!(opened(&[&whole[..], one].concat()), Err(VaultError::Trailing));
        let other = [&b"SQLite format 3\0"[..], &whole[16..]].concat();
        assert_eq!(opened(&other), Err(VaultError::Other));
        let wrong = Opener::new(
            &Secret::new("another passphrase"),
            whole.first_chunk().expect("header"),
        );
        assert_eq!(wrong.map(|_| ()).expect_err("wrong"), VaultError::Wrong);
    }

    #[test]
    fn no_changed_byte_is_believed() {
        let whole = sealed(&[b"one", b"two"]).concat();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(opened(&changed).is_err(), "byte {at}");
        }
    }
}
