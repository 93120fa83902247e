//! Encoding of names for addresses and file names.

use std::fmt::Write as _;

fn percent(byte: u8, out: &mut String) {
    write!(out, "%{byte:02X}").expect("a string takes all");
}

/// Encodes a role's name for an address or a file name: one part of a path, whatever characters it has.
#[must_use]
pub fn quote(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => percent(byte, &mut out),
        }
    }
    out
}

/// Encodes a target's path for an address. Slashes and existing escapes stay.
#[must_use]
pub fn quote_path(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    for (at, &byte) in bytes.iter().enumerate() {
        let escape = byte == b'%'
            && bytes
                .get(at + 1..at + 3)
                .is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
            | b',' | b';' | b'=' | b':' | b'@' => {
                out.push(char::from(byte));
            }
            b'%' if escape => out.push('%'),
            _ => percent(byte, &mut out),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_characters() {
        for (name, quoted) in [
            ("?", "%3F"),
            ("#", "%23"),
            ("/role", "%2Frole"),
            ("../role", "..%2Frole"),
            ("é%", "%C3%A9%25"),
        ] {
            assert_eq!(quote(name), quoted);
        }
        for (path, quoted) in [
            ("a/b c", "a/b%20c"),
            ("a%20b", "a%20b"),
            ("a%b", "a%25b"),
            ("a?b#c", "a%3Fb%23c"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(quote_path(path), quoted);
        }
    }
}
