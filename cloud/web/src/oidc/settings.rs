//! Settings of the identity provider, checked once at the start of the cloud.

use iottly_core::model::Role;
use iottly_protocol::Secret;
use openidconnect::{ClientId, ClientSecret, IssuerUrl};
use url::{Host, Url};

/// Maximum number of groups that have a role.
const MAX_GROUPS: usize = 256;

/// Settings of an identity provider. Debug output leaves the client's secret out.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    pub(super) issuer: IssuerUrl,
    pub(super) client: ClientId,
    pub(super) secret: Option<ClientSecret>,
    pub(super) groups_claim: String,
    roles: Vec<(String, Role)>,
}

/// Reason for refusing the settings of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The issuer is no URL.
    #[error("issuer {0} is not a URL")]
    Issuer(String),
    /// The issuer would be reached without TLS.
    #[error("issuer {0} is not an https: URL; http: is allowed on this machine only")]
    Clear(String),
    /// A text is not of the form GROUP=ROLE.
    #[error("{0} is not GROUP=ROLE with one of the roles viewer, operator, developer and owner")]
    Role(String),
    /// No group has a role, so no person could sign in.
    #[error("no group has a role, so no person could sign in; name at least one as GROUP=ROLE")]
    NoRoles,
    /// More groups have a role than the limit allows.
    #[error("more than {MAX_GROUPS} groups have a role")]
    TooMany,
}

impl OidcSettings {
    /// Creates the settings of an issuer and of the client that the cloud is there. `roles` are texts of the form
    /// GROUP=ROLE.
    ///
    /// # Errors
    /// If the issuer is reached without TLS, or a role is unknown.
    pub fn new(
        issuer: &str,
        client: &str,
        groups_claim: &str,
        roles: &[String],
    ) -> Result<Self, SettingsError> {
        let issuer =
            IssuerUrl::new(issuer.to_owned()).map_err(|_| SettingsError::Issuer(issuer.to_owned()))?;
        if !is_protected(issuer.url()) {
            return Err(SettingsError::Clear(issuer.to_string()));
        }
        if roles.is_empty() {
            return Err(SettingsError::NoRoles);
        }
        if roles.len() > MAX_GROUPS {
            return Err(SettingsError::TooMany);
        }
        let role = |text: &String| {
            let (group, role) = text.rsplit_once('=')?;
            Some((group.to_owned(), Role::named(role)?)).filter(|_| !group.is_empty())
        };
        let roles = roles
            .iter()
            .map(|text| role(text).ok_or_else(|| SettingsError::Role(text.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            issuer,
            client: ClientId::new(client.to_owned()),
            secret: None,
            groups_claim: groups_claim.to_owned(),
            roles,
        })
    }

    /// Returns the settings of a client that has a secret.
    #[must_use]
    pub fn with_secret(mut self, secret: &Secret) -> Self {
        self.secret = Some(ClientSecret::new(secret.expose().to_owned()));
        self
    }

    /// Returns the role with the most permissions among those of the groups; `None` if no group has one.
    pub(super) fn role_of(&self, groups: &[String]) -> Option<Role> {
        let own = self.roles.iter().filter(|(group, _)| groups.contains(group));
        own.map(|(_, role)| *role).max()
    }

    /// Returns the host of the issuer, by which people recognise the provider.
    pub(super) fn name(&self) -> &str {
        self.issuer.url().host_str().unwrap_or("the identity provider")
    }
}

/// Returns true for addresses with TLS, and for those of this machine.
pub(super) fn is_protected(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(issuer: &str, roles: &[&str]) -> Result<OidcSettings, SettingsError> {
        let roles: Vec<_> = roles.iter().map(|role| (*role).to_owned()).collect();
        OidcSettings::new(issuer, "cloud", "groups", &roles)
    }

    #[test]
    fn a_provider_is_reached_by_tls_or_on_this_machine() {
        for fine in [
            "https://id.example/realms/a",
            "http://localhost:9000",
            "http://127.0.0.1",
            "http://[::1]:9",
        ] {
            assert!(settings(fine, &["a=viewer"]).is_ok(), "{fine}");
        }
        for bad in [
            "http://id.example",
            "http://localhost.evil",
            "ftp://localhost",
            "id.example",
            "",
        ] {
            assert!(settings(bad, &["a=viewer"]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_strongest_role_of_the_groups_counts() {
        let roles = ["all=viewer", "cn=ops,dc=a=operator", "boss=owner"];
        let settings = settings("https://id.example", &roles).expect("valid");
        let role = |groups: &[&str]| {
            let groups: Vec<_> = groups.iter().map(|group| (*group).to_owned()).collect();
            settings.role_of(&groups)
        };
        assert_eq!(role(&[]), None);
        assert_eq!(role(&["All", "other"]), None);
        assert_eq!(role(&["all", "other"]), Some(Role::Viewer));
        assert_eq!(role(&["all", "cn=ops,dc=a"]), Some(Role::Operator));
        assert_eq!(role(&["boss", "all"]), Some(Role::Owner));
    }

    #[test]
    fn roles_that_do_not_exist_are_refused() {
        for bad in ["a", "=owner", "a=root", "a=", ""] {
            let error = settings("https://id.example", &[bad]).expect_err("refused");
            assert_eq!(error, SettingsError::Role(bad.to_owned()));
        }
        let none = settings("https://id.example", &[]).expect_err("refused");
        assert_eq!(none, SettingsError::NoRoles);
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let settings = settings("https://id.example", &["a=owner"]).expect("valid");
        assert!(!format!("{:?}", settings.with_secret(&Secret::new("hunter2"))).contains("hunter2"));
    }
}
