//! Resolves the names of receivers to the addresses that the guard allows.
//!
//! Connections are made to the checked addresses, so that a name cannot resolve differently in between.
//! Literal addresses do not reach the resolver; they are checked with the URL.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use iottly_core::webhooks::guard::{Blocked, Guard};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Result of resolving a name.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
/// Resolves names; the system's resolver by default.
pub type Resolver = Arc<dyn Fn(String) -> Lookup + Send + Sync>;

/// Resolver that returns allowed addresses only.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    guard: Guard,
    resolver: Resolver,
}

impl GuardedResolver {
    pub(super) fn new(guard: Guard, resolver: Resolver) -> Self {
        Self { guard, resolver }
    }

    async fn lookup(self, name: String) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found = (self.resolver)(name.clone()).await?;
        let allowed: Vec<_> = found
            .iter()
            .filter(|address| self.guard.allows(**address))
            .collect();
        if allowed.is_empty() && !found.is_empty() {
            return Err(Blocked::Name(name).into());
        }
        Ok(allowed
            .into_iter()
            .map(|address| SocketAddr::new(*address, 0))
            .collect())
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let looked_up = self.clone().lookup(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(looked_up.await?.into_iter()) as Addrs) })
    }
}

/// Returns the resolver of the operating system.
pub(super) fn system() -> Resolver {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(addresses: &'static [&'static str]) -> GuardedResolver {
        let resolver: Resolver = Arc::new(move |_| {
            let addresses = addresses
                .iter()
                .map(|address| address.parse().expect("an address"))
                .collect();
            Box::pin(std::future::ready(Ok(addresses)))
        });
        GuardedResolver::new(Guard::new(Vec::new(), false), resolver)
    }

    #[tokio::test]
    async fn names_connect_to_their_allowed_addresses_only() {
        let mixed = answering(&["10.0.0.1", "1.1.1.1", "::1"])
            .lookup("mixed".into())
            .await
            .expect("one is allowed");
        assert_eq!(mixed, ["1.1.1.1:0".parse().expect("an address")]);
        for inside in [&["127.0.0.1"][..], &["::ffff:10.0.0.1", "fe80::1"]] {
            let error = answering(inside)
                .lookup("inside".into())
                .await
                .expect_err("blocked");
            assert_eq!(error.downcast_ref(), Some(&Blocked::Name("inside".into())));
        }
        let none = answering(&[])
            .lookup("empty".into())
            .await
            .expect("an empty result is allowed");
        assert!(none.is_empty());
    }
}
