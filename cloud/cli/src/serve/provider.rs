//! Options of `iottly serve` for an identity provider.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use iottly_protocol::Secret;
use iottly_web::OidcSettings;

use crate::exit::Failure;

#[derive(Args)]
pub(super) struct Options {
    /// Identity provider by which people sign in (OpenID Connect), as it names itself, such as
    /// `https://id.example/realms/NAME`. Its client has the redirect URI `https://HOST/login/provider/callback`
    #[arg(long, value_name = "URL", requires_all = ["oidc_client_id", "oidc_role"])]
    oidc_issuer: Option<String>,
    /// Id of the client that the cloud is at the identity provider
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    oidc_client_id: Option<String>,
    /// File with the secret of that client; a public client has none
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    oidc_client_secret_file: Option<PathBuf>,
    /// Claim of the ID token with the person's groups
    #[arg(long, value_name = "CLAIM", default_value = "groups")]
    oidc_groups_claim: String,
    /// Role of a group in the default organisation: viewer, operator, developer or owner; may be given several times.
    /// A person in several groups has the role with the most permissions; one in none of them is not let in
    #[arg(long, value_name = "GROUP=ROLE", requires = "oidc_issuer")]
    oidc_role: Vec<String>,
}

impl Options {
    /// Returns the settings of the provider; `None` if the options name none.
    ///
    /// # Errors
    /// [`Failure::Invalid`] when an option is invalid; others when the file of the secret cannot be read.
    pub(super) fn settings(&self) -> Result<Option<OidcSettings>, Failure> {
        let (Some(issuer), Some(client)) = (&self.oidc_issuer, &self.oidc_client_id) else {
            return Ok(None);
        };
        let settings = OidcSettings::new(issuer, client, &self.oidc_groups_claim, &self.oidc_role)
            .map_err(|error| Failure::Invalid(error.to_string()))?;
        let Some(file) = &self.oidc_client_secret_file else {
            return Ok(Some(settings));
        };
        let secret = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the client's secret in {}", file.display()))?;
        let secret = secret.trim();
        if secret.is_empty() {
            let text = format!("the client's secret in {} is empty", file.display());
            return Err(Failure::Invalid(text));
        }
        Ok(Some(settings.with_secret(&Secret::new(secret))))
    }
}
