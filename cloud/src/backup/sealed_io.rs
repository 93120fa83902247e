//! Reading and writing of an encrypted stream, one chunk in memory at a time.

use std::io::{self, ErrorKind, Read, Write};

use iottly_core::vault::{CHUNK, Cost, FRAME, HEADER, Opener, PassphraseError, SALT, Sealer, VaultError};
use iottly_protocol::Secret;
use zeroize::Zeroizing;

/// Encrypts what is written. [`finish`](Self::finish) marks the end; without it the stream counts as truncated.
pub(super) struct SealedWriter<W> {
    to: W,
    sealer: Sealer,
    /// Bytes that are not sealed yet: whether they are the last is known at the next write or at the end.
    chunk: Vec<u8>,
}

impl<W: Write> SealedWriter<W> {
    /// Writes the header.
    pub(super) fn new(
        mut to: W,
        passphrase: &Secret,
        salt: [u8; SALT],
    ) -> Result<io::Result<Self>, PassphraseError> {
        let sealer = Sealer::new(passphrase, salt, Cost::NOW)?;
        Ok(to.write_all(sealer.header()).map(|()| Self {
            to,
            sealer,
            chunk: Vec::with_capacity(CHUNK + 16),
        }))
    }

    fn put(&mut self, last: bool) -> io::Result<()> {
        let frame = self.sealer.seal(&mut self.chunk, last);
        self.to.write_all(&frame)?;
        self.to.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// Writes the last chunk; returns what the stream was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.put(false)?;
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts what is read. Its errors of the kind `InvalidData` contain a [`VaultError`].
pub(super) struct SealedReader<R> {
    from: R,
    opener: Opener,
    chunk: Zeroizing<Vec<u8>>,
    at: usize,
    ended: bool,
}

fn wrong(error: VaultError) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl<R: Read> SealedReader<R> {
    /// Reads the header.
    pub(super) fn new(mut from: R, passphrase: &Secret) -> io::Result<Self> {
        let mut header = [0; HEADER];
        if !read_whole(&mut from, &mut header)? {
            return Err(wrong(VaultError::Other));
        }
        Ok(Self {
            from,
            opener: Opener::new(passphrase, &header).map_err(wrong)?,
            chunk: Zeroizing::new(Vec::with_capacity(CHUNK + 16)),
            at: 0,
            ended: false,
        })
    }

    /// Reads the next chunk; sets `ended` at the end of a whole stream.
    fn advance(&mut self) -> io::Result<()> {
        (self.at, self.ended) = (0, false);
        self.chunk.clear();
        let mut frame = [0; FRAME];
        if !read_whole(&mut self.from, &mut frame)? {
            self.opener.end().map_err(wrong)?;
            self.ended = true;
            return Ok(());
        }
        let next = self.opener.frame(&frame).map_err(wrong)?;
        self.chunk.resize(next.length, 0);
        if !read_whole(&mut self.from, &mut self.chunk)? {
            return Err(wrong(self.opener.end().err().unwrap_or(VaultError::Trailing)));
        }
        let length = self.opener.open(next, &mut self.chunk).map_err(wrong)?.len();
        self.chunk.truncate(length);
        Ok(())
    }
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() && !self.ended {
            self.advance()?;
        }
        let count = out.len().min(self.chunk.len() - self.at);
        out[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Fills a buffer; returns false if the input ends before it is full.
fn read_whole(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase() -> Secret {
        Secret::new("correct horse battery")
    }

    fn sealed(bytes: &[u8]) -> Vec<u8> {
        let mut writer = SealedWriter::new(Vec::new(), &passphrase(), [3; SALT])
            .expect("a passphrase")
            .expect("written");
        writer.write_all(bytes).expect("written");
        writer.finish().expect("finished")
    }

    fn opened(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        SealedReader::new(bytes, &passphrase())?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn chunks_are_put_together_at_every_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let whole = sealed(&bytes);
            assert_eq!(opened(&whole).expect("whole"), bytes, "{length}");
            let cut = opened(&whole[..whole.len() - 1]).expect_err("cut").to_string();
            assert!(cut.contains("truncated"), "{length}: {cut}");
        }
        let two = sealed(&vec![1; CHUNK + 1]);
        let cut = &two[..HEADER + FRAME + CHUNK + 16];
        assert!(
            opened(cut)
                .expect_err("one chunk of two")
                .to_string()
                .contains("truncated")
        );
        assert!(
            opened(b"")
                .expect_err("nothing")
                .to_string()
                .contains("not an encrypted backup")
        );
    }
}
