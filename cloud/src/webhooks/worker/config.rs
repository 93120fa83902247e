//! Configuration of webhooks.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;

use crate::clock;
use crate::clock::Clock;
use iottly_core::webhooks::guard::Guard;

use super::resolver::{self, GuardedResolver, Resolver};

/// Settings of webhooks that the operator decides.
#[derive(Clone)]
pub struct WebhookConfig {
    /// Networks to which requests may go in addition to the public internet.
    pub allow: Vec<IpNet>,
    /// Refuses `http:` URLs.
    pub https_only: bool,
    /// File of the key that seals secrets; `None` for `seal.key` in the data folder. Clouds that share a
    /// database share this key.
    pub seal_key: Option<PathBuf>,
    /// Resolver of names; `None` for the system's.
    pub resolver: Option<Resolver>,
    /// Trusted certificates in addition to the public authorities and the system's own.
    pub roots: Vec<CertificateDer<'static>>,
    /// Source of the time.
    pub clock: Clock,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        let clock: Clock = Arc::new(clock::now);
        Self {
            allow: Vec::new(),
            https_only: false,
            seal_key: None,
            resolver: None,
            roots: Vec::new(),
            clock,
        }
    }
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("allow", &self.allow)
            .field("https_only", &self.https_only)
            .finish_non_exhaustive()
    }
}

impl WebhookConfig {
    /// Returns the rules for the addresses of requests.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::new(self.allow.clone(), self.https_only)
    }

    pub(super) fn guarded_resolver(&self) -> GuardedResolver {
        GuardedResolver::new(
            self.guard(),
            self.resolver.clone().unwrap_or_else(resolver::system),
        )
    }
}
