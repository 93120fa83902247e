//! Delivery of mails about alerts to a mail server: takes mails that are due from the store, sends them, and records the
//! results. A mail is sent at least once, each time with the same `Message-ID`.

mod connection;
mod message;
mod worker;

use iottly_core::mail::{AddressError, MailServer, MailServerError, Recipients, check_address};
use iottly_core::model::UnixMs;
use iottly_protocol::Secret;
use lettre::transport::smtp::client::Certificate;

pub(crate) use worker::Mailer;

/// Reason for which the settings for mails are not usable.
#[derive(Debug, thiserror::Error)]
pub enum MailSetupError {
    /// The URL names no mail server.
    #[error(transparent)]
    Server(#[from] MailServerError),
    /// An address is not valid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A name to log in with has no password, or a password no name.
    #[error(
        "the mail server needs a name in --smtp-url (smtps://NAME@HOST) and a password in --smtp-password-file, or neither"
    )]
    LogIn,
    /// The certificate of the mail server's authority is not valid.
    #[error("the certificate of the mail server's authority is no PEM: {0}")]
    Authority(String),
}

/// Settings for mails.
#[derive(Clone)]
pub struct MailConfig {
    pub(crate) server: MailServer,
    pub(crate) password: Option<Secret>,
    /// Address of the sender.
    pub(crate) from: String,
    /// Authority that has signed the mail server's certificate, beside the public ones.
    pub(crate) authority: Option<Certificate>,
    /// Addresses that may get mails.
    pub recipients: Recipients,
}

impl MailConfig {
    /// Checks settings. Without `allowed` addresses, those of the sender's domain are allowed.
    ///
    /// # Errors
    /// If one of them is not valid.
    pub fn new(
        server: MailServer,
        password: Option<Secret>,
        from: &str,
        allowed: &[String],
    ) -> Result<Self, MailSetupError> {
        check_address(from)?;
        if server.user.is_some() != password.is_some() {
            return Err(MailSetupError::LogIn);
        }
        Ok(Self {
            server,
            password,
            from: from.to_owned(),
            authority: None,
            recipients: Recipients::new(allowed, from)?,
        })
    }

    /// Trusts an authority, PEM, in addition to the public ones.
    ///
    /// # Errors
    /// If it is not valid.
    pub fn with_authority(mut self, pem: &[u8]) -> Result<Self, MailSetupError> {
        let authority = Certificate::from_pem(pem);
        self.authority = Some(authority.map_err(|error| MailSetupError::Authority(error.to_string()))?);
        Ok(self)
    }

    /// Returns the domain of the sender.
    fn domain(&self) -> &str {
        self.from
            .rsplit_once('@')
            .map_or("localhost", |(_, domain)| domain)
    }
}

/// Time for which a process has a mail: longer than all timeouts of an attempt together.
const LEASE_MS: UnixMs = 150_000;
