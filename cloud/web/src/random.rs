//! Random secrets and codes as text.

use iottly_cloud::random;
use iottly_protocol::Secret;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Returns 32 random bytes as 43 base62 characters.
pub(crate) fn secret() -> Result<String, getrandom::Error> {
    random::bytes::<32>().map(|bytes| base62(&bytes, 43))
}

/// Returns 16 random bytes as 32 hex digits.
pub(crate) fn hex_code() -> Result<Secret, getrandom::Error> {
    let bytes: [u8; 16] = random::bytes()?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(text.into())
}

/// Returns the bytes, read as a big-endian number, with at least `width` base62 digits.
pub(crate) fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = Vec::with_capacity(width);
    while digits.len() < width || number.iter().any(|byte| *byte != 0) {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte =
                u8::try_from(value / 62).expect("the remainder is below 62, so the quotient is below 256");
            remainder = value % 62;
        }
        digits.push(BASE62[remainder as usize]);
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_is_positional() {
        assert_eq!(base62(&[0], 3), "000");
        assert_eq!(base62(&[61], 1), "z");
        assert_eq!(base62(&[62], 1), "10");
        assert_eq!(base62(&[1, 0], 1), "48");
        assert_eq!(base62(&[0xff; 32], 43).len(), 43);
    }
}
