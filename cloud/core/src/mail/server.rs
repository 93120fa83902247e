//! Address of the mail server, as a URL.

use std::net::IpAddr;

use url::Url;

/// Encryption between the cloud and the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS by STARTTLS; without it nothing is sent.
    StartTls,
    /// No encryption.
    Plain,
}

/// Mail server to which the cloud gives its mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Name or address of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Encryption of the connection.
    pub security: Security,
    /// Name to log in with; none to send without a log-in.
    pub user: Option<String>,
}

/// Reason for which a URL names no mail server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailServerError {
    /// The text is no URL of a mail server.
    #[error(
        "the mail server is no URL such as smtps://user@mail.example.org or smtp://mail.example.org:587 (STARTTLS)"
    )]
    Form,
    /// The URL holds a password, which other users of the machine could read.
    #[error("the URL of the mail server has a password; it belongs into a file (--smtp-password-file)")]
    Password,
    /// The connection would not be encrypted.
    #[error(
        "smtp+plain://{0} sends mails unencrypted to another machine; use smtps:// or smtp:// (STARTTLS), or add \
         --smtp-insecure to accept that anyone on the network can read along"
    )]
    Plain(String),
}

impl MailServer {
    /// Reads a URL: `smtps://` (TLS, port 465), `smtp://` (STARTTLS, port 587), or `smtp+plain://` (port 25), which needs
    /// `insecure` unless the server is on this machine.
    ///
    /// # Errors
    /// If the text is no such URL, holds a password, or is not encrypted.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, MailServerError> {
        let url = Url::parse(text).map_err(|_| MailServerError::Form)?;
        let (security, port) = match url.scheme() {
            "smtps" => (Security::Tls, 465),
            "smtp" => (Security::StartTls, 587),
            "smtp+plain" => (Security::Plain, 25),
            _ => return Err(MailServerError::Form),
        };
        if url.password().is_some() {
            return Err(MailServerError::Password);
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(MailServerError::Form)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let rest_is_empty =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let user = decoded(url.username()).ok_or(MailServerError::Form)?;
        if !rest_is_empty || host.contains('%') || user.chars().any(char::is_control) {
            return Err(MailServerError::Form);
        }
        if security == Security::Plain && !insecure && !is_here(&host) {
            return Err(MailServerError::Plain(host));
        }
        Ok(Self {
            host,
            port: url.port().unwrap_or(port),
            security,
            user: Some(user).filter(|user| !user.is_empty()),
        })
    }
}

fn is_here(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Decodes `%40` and the like; none if what they stand for is no text.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_servers() {
        let server = |text| MailServer::parse(text, false).expect(text);
        let tls = server("smtps://iot%40example.org@mail.example.org");
        assert_eq!(
            tls,
            MailServer {
                host: "mail.example.org".into(),
                port: 465,
                security: Security::Tls,
                user: Some("iot@example.org".into()),
            }
        );
        let start = server("smtp://mail.example.org:2525");
        assert_eq!(
            (start.port, start.security, start.user),
            (2525, Security::StartTls, None)
        );
        let plain = server("smtp+plain://[::1]:1025");
        assert_eq!((plain.host.as_str(), plain.security), ("::1", Security::Plain));
        assert_eq!(server("smtp+plain://localhost").port, 25);
    }

    #[test]
    fn what_is_not_encrypted_or_holds_a_password_is_refused() {
        let error = |text| MailServer::parse(text, false).expect_err(text);
        assert_eq!(error("smtps://a:b@mail.example.org"), MailServerError::Password);
        assert_eq!(
            error("smtp+plain://mail.example.org"),
            MailServerError::Plain("mail.example.org".into())
        );
        assert!(MailServer::parse("smtp+plain://mail.example.org", true).is_ok());
        for text in [
            "mail.example.org",
            "https://mail.example.org",
            "smtps://",
            "smtps://h/path",
            "smtps://h?x",
            "smtps://%0d%0a@h",
        ] {
            assert_eq!(error(text), MailServerError::Form, "{text}");
        }
    }
}
