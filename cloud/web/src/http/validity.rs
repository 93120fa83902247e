//! Reads the end of a certificate's validity from its DER form. Pure; a certificate that cannot be parsed has
//! none.

use iottly_core::model::UnixMs;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns the end of a certificate's validity, in milliseconds since 1970.
pub(super) fn end(certificate: &[u8]) -> Option<UnixMs> {
    let (outer, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(outer, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        fields = any(fields)?.2;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, _, not_after) = any(validity)?;
    let (kind, text, _) = any(not_after)?;
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match kind {
        UTC_TIME => {
            let year: i64 = digits.get(..2)?.parse().ok()?;
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                digits.get(2..)?,
            )
        }
        GENERALIZED_TIME => (digits.get(..4)?.parse().ok()?, digits.get(4..)?),
        _ => return None,
    };
    moment(year, rest)
}

/// Parses month, day, hour, minute and second, two digits each.
fn moment(year: i64, digits: &str) -> Option<UnixMs> {
    if digits.len() != 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |index: usize| digits[2 * index..2 * index + 2].parse::<i64>().ok();
    let (month, day) = (
        part(0).filter(|month| (1..=12).contains(month))?,
        part(1).filter(|day| (1..=31).contains(day))?,
    );
    let seconds = part(2)? * 3600 + part(3)? * 60 + part(4)?;
    // Days from 1970 to the date, in years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468;
    Some((days * 86_400 + seconds) * 1000)
}

/// Splits off an element of the given kind: returns its content and the remaining bytes.
fn element(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    any(bytes)
        .filter(|(found, ..)| *found == kind)
        .map(|(_, content, rest)| (content, rest))
}

/// Splits off an element: returns its kind, its content and the remaining bytes.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*kind, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(year: i32, month: u8, day: u8) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        params.not_after = rcgen::date_time_ymd(year, month, day);
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn the_end_is_read() {
        assert_eq!(end(&made(2026, 1, 1)), Some(1_767_225_600_000));
        assert_eq!(end(&made(2024, 2, 29)), Some(1_709_164_800_000));
        assert_eq!(end(&made(2049, 12, 31)), Some(2_524_521_600_000));
        assert_eq!(end(&made(2050, 1, 1)), Some(2_524_608_000_000));
        assert_eq!(
            end(&made(4096, 1, 1)),
            Some(67_090_118_400_000),
            "rcgen's own default"
        );
    }

    #[test]
    fn what_is_cut_or_changed_does_not_panic() {
        let whole = made(2030, 6, 15);
        for cut in 0..whole.len() {
            assert_eq!(end(&whole[..cut]), None, "{cut}");
            let mut changed = whole.clone();
            changed[cut] ^= 0xff;
            let _ = end(&changed);
        }
    }
}
