//! Reads files of a ZIP archive that is embedded in the program.

/// File in the archive, compressed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// Path in the archive.
    pub(super) name: &'a str,
    /// Bytes as stored in the archive.
    pub(super) data: &'a [u8],
    /// True if `data` is a raw deflate stream.
    pub(super) deflated: bool,
    /// CRC-32 of the file.
    pub(super) crc: u32,
    /// Size of the file, in bytes.
    pub(super) size: u32,
}

/// Size of the record at the end of an archive, without its comment, in bytes.
const END: usize = 22;
/// Maximum length of the archive's comment, in bytes.
const MAX_COMMENT: usize = 0xffff;

/// Returns the files of an archive, in the order of its directory; unreadable ones are left out.
pub(super) fn members(archive: &[u8]) -> Vec<Member<'_>> {
    let ends = |end: &usize| {
        let comment = u16_at(archive, end + 20).map(usize::from);
        archive[*end..].starts_with(b"PK\x05\x06") && comment == Some(archive.len() - end - END)
    };
    let last = archive.len().checked_sub(END);
    let Some(end) = last.and_then(|last| (last.saturating_sub(MAX_COMMENT)..=last).rev().find(ends)) else {
        return Vec::new();
    };
    let count = usize::from(u16_at(archive, end + 10).unwrap_or(0));
    let mut at = u32_at(archive, end + 16).map_or(usize::MAX, |at| at as usize);
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        let Some((member, next)) = entry(archive, at) else {
            break;
        };
        members.extend(member);
        at = next;
    }
    members
}

/// Returns the file of the directory entry at `at`, and the position of the next entry; `None` where the
/// directory is damaged. The file is `None` if its compression is not supported.
fn entry(archive: &[u8], at: usize) -> Option<(Option<Member<'_>>, usize)> {
    if !archive.get(at..)?.starts_with(b"PK\x01\x02") {
        return None;
    }
    let length = |offset| u16_at(archive, at + offset).map(usize::from);
    let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
    let path = std::str::from_utf8(archive.get(at + 46..at + 46 + name)?).ok()?;
    let (method, compressed) = (u16_at(archive, at + 10)?, u32_at(archive, at + 20)? as usize);
    let local = u32_at(archive, at + 42)? as usize;
    let start =
        local + 30 + usize::from(u16_at(archive, local + 26)?) + usize::from(u16_at(archive, local + 28)?);
    let data = archive.get(start..start + compressed)?;
    let member = Member {
        name: path,
        data,
        deflated: method == 8,
        crc: u32_at(archive, at + 16)?,
        size: u32_at(archive, at + 24)?,
    };
    Some((
        matches!(method, 0 | 8).then_some(member),
        at + 46 + name + extra + comment,
    ))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl Member<'_> {
    /// Returns the file as gzip, which has the same compression as ZIP; `None` if the file is not compressed.
    pub(super) fn gzip(&self) -> Option<Vec<u8>> {
        if !self.deflated {
            return None;
        }
        let mut out = Vec::with_capacity(self.data.len() + 18);
        out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        out.extend_from_slice(self.data);
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        Some(out)
    }

    /// Returns the file's content.
    ///
    /// # Errors
    /// When the archive is damaged.
    pub(super) fn plain(&self) -> std::io::Result<Vec<u8>> {
        if !self.deflated {
            return Ok(self.data.to_vec());
        }
        let mut out = Vec::with_capacity(self.size as usize);
        std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(self.data), &mut out)?;
        if crc32fast::hash(&out) == self.crc {
            Ok(out)
        } else {
            Err(std::io::ErrorKind::InvalidData.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_viewer_is_whole_and_damage_is_no_panic() {
        let archive = utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
        let all = members(archive);
        let bundle = all
            .iter()
            .find(|member| member.name.ends_with("dist/swagger-ui-bundle.js"))
            .expect("a bundle");
        let plain = bundle.plain().expect("whole");
        let mut unzipped = Vec::new();
        let gzip = bundle.gzip().expect("compressed");
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut unzipped)
            .expect("gzip");
        assert!(plain == unzipped && plain.len() > 1 << 20);
        for cut in [0, 1, 21, 22, 1000, archive.len() / 2, archive.len() - 1] {
            assert!(members(&archive[..cut]).is_empty(), "{cut}");
        }
        for at in archive.len() - 100..archive.len() {
            let mut damaged = archive.to_vec();
            damaged[at] ^= 0xff;
            let _ = members(&damaged);
        }
    }
}
