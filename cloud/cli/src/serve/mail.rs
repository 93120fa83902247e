//! Options for the mail server that takes mails about alerts.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use iottly_cloud::mails::MailConfig;
use iottly_core::mail::MailServer;
use iottly_protocol::Secret;

use crate::exit::Failure;

/// Variable of the environment with the password, when it is in no file.
const PASSWORD: &str = "IOTTLY_SMTP_PASSWORD";

#[derive(Args)]
pub(crate) struct Options {
    /// Mail server for mails about alerts: `smtps://USER@HOST` (TLS, port 465) or `smtp://USER@HOST` (STARTTLS, port 587);
    /// `smtp+plain://HOST` is not encrypted and for a server on this machine. The password is in --smtp-password-file or in
    /// the variable IOTTLY_SMTP_PASSWORD [default: no mails]
    #[arg(long, value_name = "URL", env = "IOTTLY_SMTP_URL", requires = "smtp_from")]
    smtp_url: Option<String>,
    /// File whose first line is the password for the mail server
    #[arg(long, value_name = "FILE", requires = "smtp_url")]
    smtp_password_file: Option<PathBuf>,
    /// Address that mails come from
    #[arg(long, value_name = "ADDRESS", env = "IOTTLY_SMTP_FROM")]
    smtp_from: Option<String>,
    /// Domain or address that may get mails; may be given several times, `*` for all [default: the domain of --smtp-from]
    #[arg(long = "mail-to", value_name = "DOMAIN|ADDRESS")]
    mail_to: Vec<String>,
    /// Certificate (PEM) of an authority to trust for the mail server, beside the public ones
    #[arg(long, value_name = "FILE", requires = "smtp_url")]
    smtp_ca: Option<PathBuf>,
    /// Allow `smtp+plain://` to another machine, whose network can then read the mails and the password
    #[arg(long)]
    smtp_insecure: bool,
}

impl Options {
    /// Returns the settings; none if the options name no mail server.
    ///
    /// # Errors
    /// [`Failure::Invalid`] when an option is invalid; others when a file cannot be read.
    pub(crate) fn settings(&self) -> Result<Option<MailConfig>, Failure> {
        let (Some(url), Some(from)) = (&self.smtp_url, &self.smtp_from) else {
            return Ok(None);
        };
        let invalid = |error: String| Failure::Invalid(error);
        let server =
            MailServer::parse(url, self.smtp_insecure).map_err(|error| invalid(error.to_string()))?;
        let config = MailConfig::new(server, self.password()?, from, &self.mail_to)
            .map_err(|error| invalid(error.to_string()))?;
        let Some(file) = &self.smtp_ca else {
            return Ok(Some(config));
        };
        let pem = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let config = config
            .with_authority(&pem)
            .map_err(|error| invalid(format!("{}: {error}", file.display())))?;
        Ok(Some(config))
    }

    fn password(&self) -> anyhow::Result<Option<Secret>> {
        let Some(file) = &self.smtp_password_file else {
            let given = std::env::var(PASSWORD).ok();
            return Ok(given.filter(|text| !text.is_empty()).map(Secret::new));
        };
        let text = std::fs::read_to_string(file).with_context(|| {
            format!(
                "cannot read the password for the mail server in {}",
                file.display()
            )
        })?;
        let line = text.lines().next().unwrap_or_default().to_owned();
        // Overwrites the rest of the file in memory.
        drop(Secret::new(text));
        Ok(Some(Secret::new(line)))
    }
}
