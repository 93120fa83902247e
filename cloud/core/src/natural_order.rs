//! Natural order of names: `device-2` before `device-10`. Pure.

use std::cmp::Ordering;

/// Returns a text by whose bytes names are in natural order; never an empty one. Of each run of digits it has the length,
/// then the digits without leading zeros.
#[must_use]
pub fn key(name: &str) -> String {
    let mut key = String::with_capacity(name.len() + 8);
    // Without it the key of an empty name would be empty.
    key.push('=');
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(rest.len());
        key.push_str(&rest[..text]);
        rest = &rest[text..];
        let end = digits(rest.as_bytes());
        if end > 0 {
            let number = rest[..end].trim_start_matches('0');
            key.push_str(&format!("{:03}{number}", number.len()));
            rest = &rest[end..];
        }
    }
    key
}

/// Compares names in natural order, as their [keys](key) do.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        let (a, b) = (digits(one), digits(other));
        if a > 0 && b > 0 {
            let (left, right) = (number(&one[..a]), number(&other[..b]));
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
            if order.is_ne() {
                return order;
            }
            (one, other) = (&one[a..], &other[b..]);
            continue;
        }
        match (one.split_first(), other.split_first()) {
            (Some((left, _)), Some((right, _))) if left != right => return left.cmp(right),
            (Some((_, left)), Some((_, right))) => (one, other) = (left, right),
            (left, right) => return left.is_some().cmp(&right.is_some()),
        }
    }
}

/// Returns the number of digits at the beginning of a text.
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|letter| letter.is_ascii_digit()).count()
}

/// Returns the digits of a number without leading zeros.
fn number(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_in_their_order() {
        let sorted = [
            "", "Porch", "a", "a-1", "a-2b", "a-02c", "a-10", "a-100", "b", "\u{e9}",
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("a-02", "a-2"), Ordering::Equal);
        assert_eq!(key(""), "=");
    }

    proptest::proptest! {
        #[test]
        fn keys_and_names_have_one_order(one in "[ab0-9 \u{e9}-]{0,8}", other in "[ab0-9 \u{e9}-]{0,8}") {
            proptest::prop_assert_eq!(compare(&one, &other), key(&one).cmp(&key(&other)));
        }
    }
}
