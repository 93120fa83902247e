//! Files in a row, as they are inside of an encrypted backup: length of the name (u16), name, length of the file (u64),
//! bytes; a name of length 0 ends the row. Names are relative paths below a few known roots.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path};

/// Maximum length of a name, in bytes.
const MAX_NAME: usize = 512;
/// Description of the backup, its first file.
pub(super) const ABOUT: &str = "backup.json";
/// Copy of the database.
pub(super) const DATABASE: &str = "database.db";
/// Key that seals others.
pub(super) const SEAL: &str = "seal.key";
/// Folder of the repositories of releases, with their keys.
pub(super) const RELEASES: &str = "releases";
/// Folder of the cloud's authority and its certificate.
pub(super) const TLS: &str = "tls";

/// Writes a file of this length.
pub(super) fn put(to: &mut impl Write, name: &str, length: u64, from: &mut impl Read) -> io::Result<()> {
    let size = u16::try_from(name.len())
        .ok()
        .filter(|_| name.len() <= MAX_NAME && is_known(name))
        .ok_or_else(|| {
            io::Error::new(
                ErrorKind::InvalidInput,
                format!("{name:?} has no place in a backup"),
            )
        })?;
    to.write_all(&size.to_be_bytes())?;
    to.write_all(name.as_bytes())?;
    to.write_all(&length.to_be_bytes())?;
    let copied = io::copy(&mut from.take(length), to)?;
    if copied == length {
        Ok(())
    } else {
        Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            format!("{name} became shorter while it was read"),
        ))
    }
}

/// Writes the end of the row.
pub(super) fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0, 0])
}

/// Reads the head of the next file; none at the end of the row. Its bytes follow in `from`.
pub(super) fn next(from: &mut impl Read) -> io::Result<Option<(String, u64)>> {
    let mut size = [0; 2];
    from.read_exact(&mut size)?;
    let size = usize::from(u16::from_be_bytes(size));
    if size == 0 {
        return Ok(None);
    }
    let invalid = |reason: String| io::Error::new(ErrorKind::InvalidData, reason);
    if size > MAX_NAME {
        return Err(invalid(format!(
            "the name of a file in the backup has {size} bytes"
        )));
    }
    let mut name = vec![0; size];
    from.read_exact(&mut name)?;
    let name = String::from_utf8(name)
        .map_err(|_| invalid("the name of a file in the backup is not UTF-8".into()))?;
    if !is_known(&name) {
        return Err(invalid(format!(
            "the backup contains {name:?}, which this version does not know"
        )));
    }
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    Ok(Some((name, u64::from_be_bytes(length))))
}

/// Returns true for names below the known roots that lead nowhere else.
fn is_known(name: &str) -> bool {
    let plain = !name.contains('\0') && parts(name).is_some_and(|parts| parts.join("/") == name);
    let root = name.split('/').next().unwrap_or_default();
    let is_file = root == name;
    plain
        && match root {
            ABOUT | DATABASE | SEAL => is_file,
            RELEASES | TLS => !is_file,
            _ => false,
        }
}

fn parts(name: &str) -> Option<Vec<&str>> {
    Path::new(name)
        .components()
        .map(|component| match component {
            Component::Normal(part) => part.to_str(),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_in_their_order() {
        let mut row = Vec::new();
        for (name, text) in [
            ("backup.json", "{}"),
            ("releases/p/keys/a.key", ""),
            ("tls/ca.pem", "pem"),
        ] {
            put(&mut row, name, text.len() as u64, &mut text.as_bytes()).expect("written");
        }
        end(&mut row).expect("written");
        let mut from = &row[..];
        let mut found = Vec::new();
        while let Some((name, length)) = next(&mut from).expect("read") {
            let mut text = String::new();
            from.by_ref()
                .take(length)
                .read_to_string(&mut text)
                .expect("text");
            found.push((name, text));
        }
        assert_eq!(found.len(), 3);
        assert_eq!(found[2], ("tls/ca.pem".to_owned(), "pem".to_owned()));
        assert!(from.is_empty());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in [
            "../x",
            "/etc/passwd",
            "releases/../../x",
            "releases/./x",
            "releases//x",
            "releases",
            "tls",
            "other",
            "seal.key/x",
            "tls/\0",
            "",
        ] {
            assert!(!is_known(name), "{name:?}");
            let mut row = u16::try_from(name.len()).expect("short").to_be_bytes().to_vec();
            row.extend_from_slice(name.as_bytes());
            row.extend_from_slice(&[0; 8]);
            let read = next(&mut &row[..]);
            assert!(matches!(read, Err(_) | Ok(None)), "{name:?}: {read:?}");
        }
        let long = [&u16::MAX.to_be_bytes()[..], &[b'a'; 70_000]].concat();
        assert!(next(&mut &long[..]).is_err());
        assert!(next(&mut &b"\0"[..]).is_err(), "a row without its end");
    }
}
