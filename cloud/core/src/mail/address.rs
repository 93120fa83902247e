//! Addresses that get mails: their form, and those that the operator of the cloud allows.

use std::collections::BTreeSet;

/// Maximum length of an address, in bytes (RFC 5321).
const MAX_BYTES: usize = 254;
/// Maximum length of the part before the `@`, in bytes (RFC 5321).
const MAX_LOCAL_BYTES: usize = 64;
/// Maximum length of a part of a domain, in bytes (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;
/// Word that allows all addresses.
const ALL: &str = "*";

/// Reason for which an address is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is no address.
    #[error("{0:?} is no mail address such as name@example.org, in ASCII")]
    Form(String),
    /// The operator of the cloud does not allow the address.
    #[error("this cloud sends no mail to {address}; its operator allows {allowed} (iottly serve --mail-to)")]
    NotAllowed {
        /// The address.
        address: String,
        /// Domains and addresses that are allowed.
        allowed: String,
    },
}

/// Checks the form of an address: `name@domain` in ASCII, without quotes, comments and addresses in brackets. Such a text
/// cannot end a header line or a command of SMTP.
///
/// # Errors
/// [`AddressError::Form`] if the text is no such address.
pub fn check_address(text: &str) -> Result<(), AddressError> {
    let (local, domain) = text.rsplit_once('@').unwrap_or_default();
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let local_is_fine = (1..=MAX_LOCAL_BYTES).contains(&local.len())
        && local.bytes().all(is_atom)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    if text.len() <= MAX_BYTES && local_is_fine && is_domain(domain) {
        Ok(())
    } else {
        Err(AddressError::Form(text.chars().take(MAX_BYTES).collect()))
    }
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    !text.is_empty() && text.split('.').all(label)
}

/// Addresses that may get mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients {
    all: bool,
    /// Domains, and addresses with an `@`; in small letters.
    named: BTreeSet<String>,
}

impl Recipients {
    /// Reads the domains and addresses that the operator names; without any, the domain of the sender is allowed.
    ///
    /// # Errors
    /// If one of them is neither `*`, nor a domain, nor an address.
    pub fn new(named: &[String], from: &str) -> Result<Self, AddressError> {
        let mut recipients = Self {
            all: false,
            named: BTreeSet::new(),
        };
        for name in named {
            if name == ALL {
                recipients.all = true;
            } else if name.contains('@') {
                check_address(name)?;
                recipients.named.insert(name.to_ascii_lowercase());
            } else if is_domain(name) {
                recipients.named.insert(name.to_ascii_lowercase());
            } else {
                return Err(AddressError::Form(name.clone()));
            }
        }
        if named.is_empty() {
            check_address(from)?;
            recipients.named.extend(domain(from));
        }
        Ok(recipients)
    }

    /// Checks that an address is one and is allowed.
    ///
    /// # Errors
    /// If it is not.
    pub fn check(&self, address: &str) -> Result<(), AddressError> {
        check_address(address)?;
        let domain = domain(address);
        let is_named = self.named.contains(&address.to_ascii_lowercase())
            || domain.is_some_and(|domain| self.named.contains(&domain));
        if self.all || is_named {
            return Ok(());
        }
        Err(AddressError::NotAllowed {
            address: address.to_owned(),
            allowed: self.to_string(),
        })
    }
}

impl std::fmt::Display for Recipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.all {
            return f.write_str("all addresses");
        }
        let names = self.named.iter().map(|name| {
            if name.contains('@') {
                name.clone()
            } else {
                format!("*@{name}")
            }
        });
        f.write_str(&names.collect::<Vec<_>>().join(", "))
    }
}

/// Returns the domain of an address, in small letters.
fn domain(address: &str) -> Option<String> {
    let (_, domain) = address.rsplit_once('@')?;
    Some(domain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_hold_what_ends_a_line_or_a_command() {
        for address in [
            "a@example.org",
            "first.last+iot@mail.example-1.org",
            "root@localhost",
        ] {
            assert_eq!(check_address(address), Ok(()), "{address}");
        }
        for text in [
            "",
            "a",
            "@example.org",
            "a@",
            "a@b@example.org",
            "a b@example.org",
            "a@example.org\r\nBcc: x@example.org",
            "a\r\nRCPT TO:<x@y>@example.org",
            "<a@example.org>",
            "\"a b\"@example.org",
            "a@[127.0.0.1]",
            "a@-x.org",
            "a@x..org",
            ".a@x.org",
            "ä@example.org",
            "a@exämple.org",
            "a@example.org,b@example.org",
        ] {
            assert!(check_address(text).is_err(), "{text:?}");
        }
        assert!(check_address(&format!("{}@example.org", "a".repeat(65))).is_err());
    }

    #[test]
    fn the_operator_decides_who_gets_mails() {
        let own = Recipients::new(&[], "iot@Example.org").expect("a domain");
        assert_eq!(own.check("Anne@EXAMPLE.org"), Ok(()));
        let refused = own.check("a@other.org").expect_err("another domain").to_string();
        assert!(refused.contains("its operator allows *@example.org"), "{refused}");
        assert!(own.check("a@sub.example.org").is_err());
        assert!(own.check("a@evil-example.org").is_err());
        let named = ["one@other.org".to_owned(), "third.org".to_owned()];
        let named = Recipients::new(&named, "iot@example.org").expect("names");
        assert_eq!(named.check("one@other.org"), Ok(()));
        assert_eq!(named.check("x@third.org"), Ok(()));
        assert!(named.check("two@other.org").is_err());
        assert!(named.check("a@example.org").is_err(), "not named any more");
        let all = Recipients::new(&["*".to_owned()], "iot@example.org").expect("all");
        assert_eq!(all.check("a@other.org"), Ok(()));
        assert!(all.check("a\n@other.org").is_err());
        assert!(Recipients::new(&["no domain".to_owned()], "iot@example.org").is_err());
    }
}
