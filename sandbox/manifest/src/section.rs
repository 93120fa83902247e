//! The manifest inside a component: a custom section, which engines skip.
//!
//! A WebAssembly binary is eight bytes of header and then sections: one byte of kind, the length in LEB128,
//! the content. A custom section is of kind 0 and its content begins with its name, itself preceded by its
//! length.

use crate::manifest::MAX_BYTES;

const NAME: &[u8] = b"iottly:manifest";
const HEADER: usize = 8;
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
    let mut content = leb(NAME.len());
    content.extend_from_slice(NAME);
    content.extend_from_slice(manifest.as_bytes());
    let mut out = Vec::with_capacity(component.len() + content.len() + 8);
    out.extend_from_slice(component);
    out.push(CUSTOM);
    out.extend(leb(content.len()));
    out.extend(content);
    Ok(out)
}

/// Returns the text of a component's manifest, if it has one.
///
/// # Errors
/// [`SectionError`] if the binary is damaged or the manifest is not one text.
pub fn extract(component: &[u8]) -> Result<Option<&str>, SectionError> {
    if component.len() < HEADER || !component.starts_with(b"\0asm") {
        return Err(SectionError::Damaged(0));
    }
    let mut found = None;
    let mut at = HEADER;
    while at < component.len() {
        let damaged = SectionError::Damaged(at);
        let (len, from) = read_leb(component, at + 1).ok_or(damaged)?;
        let to = from
            .checked_add(len)
            .filter(|to| *to <= component.len())
            .ok_or(damaged)?;
        if component[at] == CUSTOM
            && let Some(text) = content_of(&component[from..to]).ok_or(damaged)?
        {
            if found.is_some() {
                return Err(SectionError::Several);
            }
            if text.len() > MAX_BYTES {
                return Err(SectionError::TooLong(text.len()));
            }
            found = Some(std::str::from_utf8(text).map_err(|_| SectionError::NotText)?);
        }
        at = to;
    }
    Ok(found)
}

/// Returns the content of a manifest's section, `Some(None)` for another section, `None` for a damaged one.
fn content_of(section: &[u8]) -> Option<Option<&[u8]>> {
    let (len, from) = read_leb(section, 0)?;
    let name = section.get(from..from.checked_add(len)?)?;
    Some((name == NAME).then(|| &section[from + len..]))
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
