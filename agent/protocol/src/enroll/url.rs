//! The one string that enrols a device: address of the cloud, code, and fingerprint of the cloud's certificate.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::{CodeError, PairCode, hex};

/// Maximum length of an enrolment URL, in bytes.
const MAX_URL_BYTES: usize = 512;
/// Maximum length of a host name, in bytes.
const MAX_HOST_BYTES: usize = 253;
/// Port of a URL that names none.
const DEFAULT_PORT: u16 = 443;
const SCHEME: &str = "iottly://";

/// sha256 of a certificate in DER, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl FromStr for Fingerprint {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        hex(text).map(Self).ok_or(UrlError::Fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::tuf::encode_hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::text_serde!(Fingerprint);

/// Reason why a text is not an enrolment URL. Does not contain the text, which has a code in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The text is not of the form of an enrolment URL.
    #[error("not of the form iottly://HOST[:PORT]/CODE#FINGERPRINT")]
    Form,
    /// The text is longer than any enrolment URL.
    #[error("longer than {MAX_URL_BYTES} bytes")]
    Long,
    /// The host is not a name, an IPv4 address or an IPv6 address in brackets.
    #[error("host is not a name, an IPv4 address or an IPv6 address in brackets")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("port is not a number from 1 to 65535")]
    Port,
    /// The code is malformed.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The fingerprint is malformed.
    #[error("fingerprint is not 64 lower-case hex digits")]
    Fingerprint,
}

/// Enrolment URL: `iottly://HOST[:PORT]/CODE#FINGERPRINT`. The port is 443 unless named. Without a fingerprint the
/// cloud's certificate must come from an authority of the public web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollUrl {
    host: String,
    port: u16,
    code: PairCode,
    fingerprint: Option<Fingerprint>,
}

impl EnrollUrl {
    /// Creates a URL; IPv6 addresses are without brackets.
    ///
    /// # Errors
    /// [`UrlError::Host`] or [`UrlError::Port`].
    pub fn new(
        host: &str,
        port: u16,
        code: PairCode,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Self, UrlError> {
        if !is_host(host) {
            return Err(UrlError::Host);
        }
        if port == 0 {
            return Err(UrlError::Port);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            code,
            fingerprint,
        })
    }

    /// Returns the host: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> PairCode {
        self.code
    }

    /// Returns the fingerprint of the certificate that the cloud's certificate must descend from.
    #[must_use]
    pub const fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }
}

/// Returns true for a host name, an IPv4 address or an IPv6 address.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = host.len() <= MAX_HOST_BYTES && host.split('.').all(is_label);
    name || host.parse::<Ipv6Addr>().is_ok()
}

/// Splits `host[:port]`, with IPv6 addresses in brackets.
fn authority(text: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(UrlError::Host);
        }
        return match rest {
            "" => Ok((host, None)),
            rest => Ok((host, Some(rest.strip_prefix(':').ok_or(UrlError::Port)?))),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if host.contains(':') {
        Err(UrlError::Host)
    } else {
        Ok((host, port))
    }
}

fn number(text: &str) -> Result<u16, UrlError> {
    // `parse` accepts a sign.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or(UrlError::Port)
}

impl FromStr for EnrollUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::Long);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(UrlError::Form)?;
        let (rest, fingerprint) = match rest.split_once('#') {
            Some((rest, fingerprint)) => (rest, Some(fingerprint.parse()?)),
            None => (rest, None),
        };
        let (place, code) = rest.split_once('/').ok_or(UrlError::Form)?;
        let (host, port) = authority(place)?;
        Self::new(
            host,
            port.map_or(Ok(DEFAULT_PORT), number)?,
            code.parse::<PairCode>()?,
            fingerprint,
        )
    }
}

impl fmt::Display for EnrollUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port != DEFAULT_PORT {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{}", self.code)?;
        match self.fingerprint {
            Some(fingerprint) => write!(f, "#{fingerprint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "00112233445566778899aabbccddeeff";

    fn print() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn a_url_is_read_and_written_in_one_form() {
        for (place, host, port) in [
            ("cloud.example", "cloud.example", 443),
            ("cloud.example:8443", "cloud.example", 8443),
            ("192.0.2.1:8443", "192.0.2.1", 8443),
            ("[2001:db8::1]:8443", "2001:db8::1", 8443),
            ("[::1]", "::1", 443),
        ] {
            let text = format!("iottly://{place}/{CODE}#{}", print());
            let url: EnrollUrl = text.parse().expect(place);
            assert_eq!((url.host(), url.port()), (host, port));
            assert_eq!(url.code().to_string(), CODE);
            assert_eq!(url.fingerprint().map(|print| print.to_string()), Some(print()));
            assert_eq!(url.to_string(), text);
        }
        let public: EnrollUrl = format!("iottly://h/{CODE}").parse().expect("no fingerprint");
        assert_eq!(public.fingerprint(), None);
    }

    #[test]
    fn everything_else_is_refused_by_its_part() {
        let print = print();
        for (text, wanted) in [
            (String::new(), UrlError::Form),
            (format!("https://h/{CODE}#{print}"), UrlError::Form),
            (format!("iottly://h#{print}"), UrlError::Form),
            (format!("iottly:///{CODE}#{print}"), UrlError::Host),
            (format!("iottly://a b/{CODE}#{print}"), UrlError::Host),
            (format!("iottly://user@h/{CODE}#{print}"), UrlError::Host),
            (format!("iottly://h\n/{CODE}#{print}"), UrlError::Host),
            (format!("iottly://h..x/{CODE}#{print}"), UrlError::Host),
            (
                format!("iottly://{}/{CODE}#{print}", "a".repeat(254)),
                UrlError::Host,
            ),
            (format!("iottly://[::1/{CODE}#{print}"), UrlError::Host),
            (format!("iottly://[h]/{CODE}#{print}"), UrlError::Host),
            (format!("iottly://h:0/{CODE}#{print}"), UrlError::Port),
            (format!("iottly://h:65536/{CODE}#{print}"), UrlError::Port),
            (format!("iottly://h:+1/{CODE}#{print}"), UrlError::Port),
            (format!("iottly://h:/{CODE}#{print}"), UrlError::Port),
            (format!("iottly://::1:1/{CODE}#{print}"), UrlError::Port),
            (
                format!("iottly://h/{CODE}#{}", &print[1..]),
                UrlError::Fingerprint,
            ),
            (
                format!("iottly://h/{CODE}#{}", print.to_uppercase()),
                UrlError::Fingerprint,
            ),
            (format!("iottly://h/{CODE}#{print}#"), UrlError::Fingerprint),
            (format!("iottly://h/{CODE}#"), UrlError::Fingerprint),
            (format!("iottly://{}", "x".repeat(600)), UrlError::Long),
        ] {
            assert_eq!(text.parse::<EnrollUrl>(), Err(wanted), "{text}");
        }
        for code in ["", "0", "../../x", &format!("{CODE}/x"), &format!("{CODE}?x")] {
            let text = format!("iottly://h/{code}#{print}");
            assert!(
                matches!(text.parse::<EnrollUrl>(), Err(UrlError::Code(_))),
                "{text}"
            );
        }
    }
}
