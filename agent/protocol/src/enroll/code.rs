//! Codes that let a board into a project: the pair code, which is pasted, and the short code, which is typed.

use std::fmt;
use std::str::FromStr;

use super::hex;

/// Reason why a text is not a code. Does not contain the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodeError(&'static str);

/// Pair code or enrolment key: 128 random bits, written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PairCode([u8; 16]);

impl PairCode {
    /// Returns the code of these 16 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl FromStr for PairCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        hex(text)
            .map(Self)
            .ok_or(CodeError("code is not 32 lower-case hex digits"))
    }
}

impl fmt::Display for PairCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::tuf::encode_hex(&self.0))
    }
}

impl fmt::Debug for PairCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairCode(…)")
    }
}

crate::text_serde!(PairCode);

/// Digits of short codes: 32 without I, L, O and U, of which three look like others.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Number of digits of a short code.
const SHORT_DIGITS: usize = 8;

/// Code that people read from a board and type: 40 random bits, written as two groups of four digits.
///
/// Reading is lenient: the case does not matter, O is 0, I and L are 1, and spaces and hyphens are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortCode([u8; 5]);

impl ShortCode {
    /// Returns the code of these 5 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 5]) -> Self {
        Self(bytes)
    }
}

impl FromStr for ShortCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let malformed = CodeError("short code is not eight digits such as 7K3M-9PQX");
        // Longer texts are refused before they are read.
        if text.len() > 4 * SHORT_DIGITS {
            return Err(malformed);
        }
        let (mut bits, mut digits) = (0u64, 0);
        for character in text.chars().filter(|character| !matches!(character, ' ' | '-')) {
            let digit = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let value = DIGITS.iter().position(|known| char::from(*known) == digit);
            bits = bits << 5 | value.ok_or(malformed)? as u64;
            digits += 1;
            if digits > SHORT_DIGITS {
                return Err(malformed);
            }
        }
        if digits != SHORT_DIGITS {
            return Err(malformed);
        }
        let [_, _, _, code @ ..] = bits.to_be_bytes();
        Ok(Self(code))
    }
}

impl fmt::Display for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e] = self.0;
        let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        for place in (0..SHORT_DIGITS).rev() {
            let digit = DIGITS[(bits >> (5 * place) & 31) as usize];
            write!(f, "{}", char::from(digit))?;
            if place == SHORT_DIGITS / 2 {
                f.write_str("-")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShortCode(…)")
    }
}

crate::text_serde!(ShortCode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_code_has_one_spelling() {
        let text = "00112233445566778899aabbccddeeff";
        let code: PairCode = text.parse().expect("a code");
        assert_eq!(code.to_string(), text);
        assert!(
            !format!("{code:?}").contains("0011"),
            "a code is not printed by mistake"
        );
        for bad in [
            "",
            "00112233445566778899aabbccddeef",
            "00112233445566778899aabbccddeeff0",
            "00112233445566778899AABBCCDDEEFF",
            "0011223344556677 899aabbccddeeff",
            "éé112233445566778899aabbccddee",
        ] {
            assert!(bad.parse::<PairCode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_short_code_is_read_as_people_type_it() {
        let code = ShortCode::from_bytes([0x0f, 0xff, 0x12, 0x34, 0x01]);
        let text = code.to_string();
        assert_eq!(text.len(), 9);
        for typed in [
            text.clone(),
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', " "),
            text.replace('0', "o").replace('1', "l"),
            text.replace('0', "O").replace('1', "I"),
        ] {
            assert_eq!(typed.parse(), Ok(code), "{typed}");
        }
        for bad in [
            "",
            "7K3M",
            "7K3M-9PQ",
            "7K3M-9PQXX",
            "7K3M-9PQU",
            "7K3M_9PQX",
            &"-".repeat(99),
        ] {
            assert!(bad.parse::<ShortCode>().is_err(), "{bad}");
        }
        for bytes in [[0; 5], [0xff; 5], [1, 2, 3, 4, 5]] {
            let code = ShortCode::from_bytes(bytes);
            assert_eq!(code.to_string().parse(), Ok(code));
        }
    }
}
