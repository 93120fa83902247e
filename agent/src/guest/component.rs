//! The file of a firmware.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Largest component that is read, in bytes.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// Reads a firmware's file; none when it is over the limit. Whatever is no regular file is not opened: a pipe would wait for ever.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut wasm = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut wasm)?;
    Ok((wasm.len() as u64 <= MAX_BYTES).then_some(wasm))
}
