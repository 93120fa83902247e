//! Our custom sections of a component, which WebAssembly engines skip: its manifest, and a script.
//!
//! A WebAssembly binary is eight bytes of header and then sections: one byte of kind, the length in LEB128,
//! the content. A custom section is of kind 0 and its content begins with its name, itself preceded by its
//! length.

use crate::manifest::MAX_BYTES;

const MANIFEST: &[u8] = b"iottly:manifest";
/// Size of the header of a WebAssembly binary, in bytes.
const HEADER: usize = 8;
/// Kind of a custom section.
const CUSTOM: u8 = 0;

/// Reason why a component's manifest cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// The binary ends too early or has impossible lengths.
    #[error("not a WebAssembly binary: a section is damaged at byte {0}")]
    Damaged(usize),
    /// The component has several manifests, and none of them takes precedence.
    #[error("the firmware has more than one manifest")]
    Several,
    /// The manifest is not text.
    #[error("the manifest is not utf-8")]
    NotText,
    /// The manifest is too long.
    #[error("the manifest has {0} bytes, the limit is {MAX_BYTES}")]
    TooLong(usize),
}

/// Puts the text of a manifest at the end of a component.
///
/// # Errors
/// [`SectionError`] if the component is damaged, has a manifest already, or the text is too long.
pub fn embed(component: &[u8], manifest: &str) -> Result<Vec<u8>, SectionError> {
    if manifest.len() > MAX_BYTES {
        return Err(SectionError::TooLong(manifest.len()));
    }
    if extract(component)?.is_some() {
        return Err(SectionError::Several);
    }
    Ok(append(component, MANIFEST, manifest.as_bytes()))
}

/// Returns a binary with one more custom section at its end.
pub(crate) fn append(binary: &[u8], name: &[u8], content: &[u8]) -> Vec<u8> {
    let named = leb(name.len());
    let mut out = Vec::with_capacity(binary.len() + name.len() + content.len() + 16);
    out.extend_from_slice(binary);
    out.push(CUSTOM);
    out.extend(leb(named.len() + name.len() + content.len()));
    out.extend(named);
    out.extend_from_slice(name);
    out.extend_from_slice(content);
    out
}

/// Returns the text of a component's manifest, if it has one.
///
/// # Errors
/// [`SectionError`] if the binary is damaged or the manifest is not one text.
pub fn extract(component: &[u8]) -> Result<Option<&str>, SectionError> {
    let mut found = None;
    for section in sections(component)? {
        let Section::Custom(MANIFEST, text) = section? else {
            continue;
        };
        if found.is_some() {
            return Err(SectionError::Several);
        }
        if text.len() > MAX_BYTES {
            return Err(SectionError::TooLong(text.len()));
        }
        found = Some(std::str::from_utf8(text).map_err(|_| SectionError::NotText)?);
    }
    Ok(found)
}

/// Section of a binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section<'a> {
    /// Custom section: its name and its content.
    Custom(&'a [u8], &'a [u8]),
    /// Section of another kind.
    Other,
}

/// Returns the sections of a binary in their order; after a damaged one, no more.
///
/// # Errors
/// [`SectionError::Damaged`] if it does not begin as a WebAssembly binary.
pub(crate) fn sections(
    binary: &[u8],
) -> Result<impl Iterator<Item = Result<Section<'_>, SectionError>>, SectionError> {
    if binary.len() < HEADER || !binary.starts_with(b"\0asm") {
        return Err(SectionError::Damaged(0));
    }
    let mut at = HEADER;
    Ok(std::iter::from_fn(move || {
        if at >= binary.len() {
            return None;
        }
        let from = std::mem::replace(&mut at, binary.len());
        let Some((section, to)) = section_at(binary, from) else {
            return Some(Err(SectionError::Damaged(from)));
        };
        at = to;
        Some(Ok(section))
    }))
}

/// Reads the section at a place; returns it with the place after it.
fn section_at(binary: &[u8], at: usize) -> Option<(Section<'_>, usize)> {
    let (len, from) = read_leb(binary, at + 1)?;
    let to = from.checked_add(len).filter(|to| *to <= binary.len())?;
    if binary[at] != CUSTOM {
        return Some((Section::Other, to));
    }
    let section = &binary[from..to];
    let (len, from) = read_leb(section, 0)?;
    let name = section.get(from..from.checked_add(len)?)?;
    Some((Section::Custom(name, &section[from + len..]), to))
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// Reads a 32-bit number; returns it with the place after it.
fn read_leb(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(u32::try_from(value).ok()?).ok()?, at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn what_is_put_in_comes_out() {
        let text = format!("name = \"a\"\n#{}", "x".repeat(500));
        let with = embed(EMPTY, &text).unwrap();
        assert_eq!(extract(&with), Ok(Some(text.as_str())));
        assert_eq!(extract(EMPTY), Ok(None));
        assert_eq!(
            embed(&with, "name = \"b\""),
            Err(SectionError::Several),
            "it would hide the first"
        );
    }

    #[test]
    fn two_manifests_are_refused() {
        let mut twice = embed(EMPTY, "name = \"a\"").unwrap();
        let second = embed(EMPTY, "name = \"b\"").unwrap();
        twice.extend_from_slice(&second[HEADER..]);
        assert_eq!(extract(&twice), Err(SectionError::Several));
    }

    #[test]
    fn damage_is_named() {
        assert_eq!(extract(b"MZ"), Err(SectionError::Damaged(0)));
        let with = embed(EMPTY, "name = \"a\"").unwrap();
        assert_eq!(extract(&with[..with.len() - 1]), Err(SectionError::Damaged(8)));
        let endless = [EMPTY, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
        assert_eq!(extract(&endless), Err(SectionError::Damaged(8)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = extract(&bytes);
            let _ = extract(&[EMPTY, &bytes].concat());
        }

        #[test]
        fn any_text_survives(text in ".{0,300}") {
            let with = embed(EMPTY, &text).unwrap();
            prop_assert_eq!(extract(&with), Ok(Some(text.as_str())));
        }
    }
}
