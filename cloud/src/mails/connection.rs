//! A connection to the mail server, with a timeout for each step.

use std::future::Future;
use std::time::Duration;

use iottly_core::mail::{Reply, Security};
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::{Instant, timeout};

use super::MailConfig;

/// Maximum time for connecting with TLS and the server's greeting, for STARTTLS, and for the log-in: each.
const STEP: Duration = Duration::from_secs(20);
/// Maximum time for handing a mail over.
const SEND: Duration = Duration::from_secs(60);
/// Time after which an idle connection is closed: less than servers wait.
const IDLE: Duration = Duration::from_secs(15);
/// Maximum time for disconnecting.
const QUIT: Duration = Duration::from_secs(2);

/// Connection to the mail server, logged in.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    used: Instant,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The reason of the failure.
    pub(super) async fn open(config: &MailConfig) -> Result<Self, String> {
        let server = &config.server;
        let tls = || {
            let mut builder = TlsParameters::builder(server.host.clone());
            if let Some(authority) = &config.authority {
                builder = builder.add_root_certificate(authority.clone());
            }
            builder
                .build()
                .map_err(|error| format!("TLS: {}", described(&error)))
        };
        let hello = ClientId::Domain(config.domain().to_owned());
        let at_once = match server.security {
            Security::Tls => Some(tls()?),
            Security::StartTls | Security::Plain => None,
        };
        let address = (server.host.clone(), server.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(address, Some(STEP), &hello, at_once, None);
        let mut smtp = step("connecting to the mail server", STEP, connecting).await?;
        if server.security == Security::StartTls {
            if !smtp.can_starttls() {
                quit(&mut smtp).await;
                return Err("the mail server offers no STARTTLS; nothing is sent without it".to_owned());
            }
            step("STARTTLS", STEP, smtp.starttls(tls()?, &hello)).await?;
        }
        if let (Some(user), Some(password)) = (&server.user, &config.password) {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            step(
                "logging in to the mail server",
                STEP,
                smtp.auth(&mechanisms, &credentials),
            )
            .await?;
        }
        Ok(Self {
            smtp,
            used: Instant::now(),
        })
    }

    /// Returns true if the server may have closed the connection by now.
    pub(super) fn is_stale(&self) -> bool {
        self.smtp.has_broken() || self.used.elapsed() > IDLE
    }

    /// Hands a mail over.
    pub(super) async fn send(&mut self, envelope: &Envelope, bytes: &[u8]) -> Reply {
        let sent = timeout(SEND, self.smtp.send(envelope, bytes)).await;
        self.used = Instant::now();
        match sent {
            Ok(Ok(_)) => Reply::Taken,
            Ok(Err(error)) if error.is_permanent() => Reply::Never(described(&error)),
            Ok(Err(error)) => Reply::Later(described(&error)),
            Err(_) => Reply::Later(format!(
                "the mail server did not take the mail within {} s",
                SEND.as_secs()
            )),
        }
    }

    /// Disconnects from the server.
    pub(super) async fn close(mut self) {
        quit(&mut self.smtp).await;
    }
}

async fn quit(smtp: &mut AsyncSmtpConnection) {
    // The server closes the connection, or finds it closed.
    let _ = timeout(QUIT, smtp.quit()).await;
}

async fn step<T>(
    what: &str,
    time: Duration,
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, String> {
    match timeout(time, doing).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{what}: {}", described(&error))),
        Err(_) => Err(format!("{what}: no answer within {} s", time.as_secs())),
    }
}

/// Returns an error with its causes.
fn described(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
