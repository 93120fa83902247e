//! Signs people in with one identity provider.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use iottly_cloud::clock::Moment;
use iottly_cloud::outbound;
use iottly_protocol::limits::clip;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreProviderMetadata, CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse,
    CoreTokenType,
};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, Client, EmptyExtraTokenFields, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, IdTokenFields, PkceCodeChallenge, RedirectUrl, Scope,
    SignatureVerificationError, StandardErrorResponse, StandardTokenResponse, TokenResponse,
};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::attempt::{Attempt, Attempts, CALLBACK};
use super::claims::{Further, Identity};
use super::freshness::{self, Ages, Reading};
use super::http::Caller;
use super::settings::{OidcSettings, is_protected};

/// Maximum difference of the clocks of cloud and provider.
const SKEW: Duration = Duration::from_secs(60);
/// Maximum age of an ID token: it is made when the code is redeemed.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);
/// Maximum length of a text of the provider that is shown, in bytes.
const MAX_SHOWN_BYTES: usize = 300;
/// Signatures that are accepted. Those with a shared secret are not: a client that knows it could sign.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 4] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Tokens = StandardTokenResponse<
    IdTokenFields<
        Further,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;
type ProviderClient = Client<
    Further,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Reason for which no person was signed in. The text is for the person at the browser.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error("this sign-in was used already, is too old, or was begun in another browser; please begin again")]
    Stale,
    #[error("the identity provider refused: {0}")]
    Refused(String),
    #[error("the answer is from another identity provider")]
    OtherIssuer,
    #[error("the answer of the identity provider has no code")]
    NoCode,
    #[error("the identity provider cannot be reached at the moment")]
    Unreachable,
    #[error("the identity provider's answer cannot be trusted; the cloud's log has the reason")]
    Untrusted,
    #[error("the cloud's own address is not valid")]
    Host,
    #[error("internal error of the cloud")]
    Random(#[from] getrandom::Error),
}

/// Reason for which the client of an identity provider could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The initialisation of TLS failed.
    #[error("failed to initialise TLS for the identity provider: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be created.
    #[error("failed to create the HTTP client for the identity provider: {0}")]
    Client(#[from] reqwest::Error),
    /// The system has no randomness.
    #[error("failed to get randomness for sign-ins: {0}")]
    Random(#[from] getrandom::Error),
}

/// Parameters with which the provider sends the browser back.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Answer {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Identity provider with its description and keys, which are kept for an hour.
pub(crate) struct Provider {
    settings: OidcSettings,
    caller: Caller,
    attempts: Attempts,
    /// Locked while the provider is asked: it is asked once for all who wait.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<CoreProviderMetadata>, Duration)>,
    tried: Option<Duration>,
}

impl Provider {
    /// # Errors
    /// If the initialisation of TLS fails, or the system has no randomness.
    pub(crate) fn new(settings: OidcSettings) -> Result<Self, SetupError> {
        Ok(Self {
            settings,
            caller: Caller::new(outbound::tls(&[])?)?,
            attempts: Attempts::new()?,
            known: Mutex::default(),
        })
    }

    /// Returns the host of the provider, by which people recognise it.
    pub(crate) fn name(&self) -> &str {
        self.settings.name()
    }

    /// Begins a sign-in; returns the provider's URL for the browser and the `Set-Cookie` header of the attempt.
    ///
    /// # Errors
    /// If the provider cannot be reached, or the request has no valid host.
    pub(crate) async fn begin(
        &self,
        headers: &HeaderMap,
        https: bool,
        now: Moment,
    ) -> Result<(String, String), SignInError> {
        let redirect = redirect(headers, https)?;
        let metadata = self.metadata(false, now.steady).await?;
        if !is_protected(metadata.authorization_endpoint().url()) {
            tracing::warn!("failed to begin a sign-in; the provider's page has no https: address");
            return Err(SignInError::Untrusted);
        }
        let (attempt, cookie) = self.attempts.begin(https, now.steady)?;
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&attempt.verifier());
        let (state, nonce) = (attempt.state(), attempt.nonce());
        let client = self.client(&metadata);
        let (url, ..) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .add_scopes(["profile", "email"].map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(challenge)
            .set_redirect_uri(Cow::Owned(redirect))
            .url();
        Ok((url.into(), cookie))
    }

    /// Ends a sign-in; returns the person that the provider names.
    ///
    /// # Errors
    /// If the answer is not for the browser that began, or the provider's words cannot be verified.
    pub(crate) async fn end(
        &self,
        headers: &HeaderMap,
        https: bool,
        answer: Answer,
        now: Moment,
    ) -> Result<Identity, SignInError> {
        let attempt = self
            .attempts
            .take(headers, https, now.steady)
            .ok_or(SignInError::Stale)?;
        if !answer
            .state
            .as_deref()
            .is_some_and(|state| attempt.is_answered_by(state))
        {
            return Err(SignInError::Stale);
        }
        if answer
            .iss
            .as_deref()
            .is_some_and(|issuer| issuer != self.settings.issuer.as_str())
        {
            return Err(SignInError::OtherIssuer);
        }
        if let Some(error) = answer.error {
            let text = answer.error_description.unwrap_or(error);
            return Err(SignInError::Refused(clip(&text, MAX_SHOWN_BYTES).to_owned()));
        }
        let code = answer.code.ok_or(SignInError::NoCode)?;
        let metadata = self.metadata(false, now.steady).await?;
        let tokens = self
            .redeem(&metadata, code, &attempt, redirect(headers, https)?)
            .await?;
        match self.verified(&metadata, &tokens, &attempt, now) {
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => {
                let metadata = self.metadata(true, now.steady).await?;
                self.verified(&metadata, &tokens, &attempt, now)
            }
            verified => verified,
        }
        .map_err(|error| {
            tracing::warn!(error = %error, "failed to verify an ID token; no person was signed in");
            SignInError::Untrusted
        })
    }

    /// Redeems a code.
    async fn redeem(
        &self,
        metadata: &CoreProviderMetadata,
        code: String,
        attempt: &Attempt,
        redirect: RedirectUrl,
    ) -> Result<Tokens, SignInError> {
        let client = self.client(metadata);
        let request = client.exchange_code(AuthorizationCode::new(code)).map_err(|error| {
            tracing::warn!(error = %error, "failed to redeem a code; the provider names no address for it");
            SignInError::Untrusted
        })?;
        let request = request
            .set_pkce_verifier(attempt.verifier())
            .set_redirect_uri(Cow::Owned(redirect));
        request.request_async(&self.caller).await.map_err(|error| {
            // The error's own text is short; the answer itself may hold tokens.
            tracing::warn!(error = %error, "failed to redeem a code; no person was signed in");
            SignInError::Untrusted
        })
    }

    fn verified(
        &self,
        metadata: &CoreProviderMetadata,
        tokens: &Tokens,
        attempt: &Attempt,
        now: Moment,
    ) -> Result<Identity, ClaimsVerificationError> {
        let id_token = tokens
            .id_token()
            .ok_or_else(|| ClaimsVerificationError::Other("the answer has no ID token".to_owned()))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.date).unwrap_or(0));
        let client = self.client(metadata);
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || (time - SKEW).into())
            .set_issue_time_verifier_fn(move |issued| {
                let issued = SystemTime::from(issued);
                let in_time = issued <= time + SKEW && issued + MAX_AGE + SKEW >= time;
                in_time
                    .then_some(())
                    .ok_or_else(|| "the clocks of cloud and provider differ".to_owned())
            });
        let claims = id_token.claims(&verifier, &attempt.nonce())?;
        Ok(Identity::of(claims, &self.settings))
    }

    fn client(&self, metadata: &CoreProviderMetadata) -> ProviderClient {
        let (settings, methods) = (&self.settings, metadata.token_endpoint_auth_methods_supported());
        let only_in_body = methods.is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let client = ProviderClient::from_provider_metadata(
            metadata.clone(),
            settings.client.clone(),
            settings.secret.clone(),
        );
        client.set_auth_type(if only_in_body {
            AuthType::RequestBody
        } else {
            AuthType::BasicAuth
        })
    }

    /// Returns description and keys of the provider, as stored or as read now.
    async fn metadata(
        &self,
        unknown_key: bool,
        now: Duration,
    ) -> Result<Arc<CoreProviderMetadata>, SignInError> {
        let mut known = self.known.lock().await;
        let since = |then: Duration| now.saturating_sub(then);
        let stored = known.metadata.clone();
        let ages = Ages {
            stored: stored.as_ref().map(|(_, read)| since(*read)),
            tried: known.tried.map(since),
            unknown_key,
        };
        let usable = stored.filter(|(_, read)| freshness::is_usable(since(*read)));
        let usable = usable
            .map(|(metadata, _)| metadata)
            .ok_or(SignInError::Unreachable);
        if freshness::reading(ages) != Reading::Read {
            return usable;
        }
        known.tried = Some(now);
        match CoreProviderMetadata::discover_async(self.settings.issuer.clone(), &self.caller).await {
            Ok(read) => {
                let read = Arc::new(read);
                known.metadata = Some((Arc::clone(&read), now));
                Ok(read)
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(%error, "failed to read the identity provider's description; the former one is used if there is any");
                usable
            }
        }
    }
}

/// Returns an error with its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns the URL to which the provider sends the browser back: on the host under which the browser reaches the cloud. The
/// provider only accepts those that its operator has registered.
fn redirect(headers: &HeaderMap, https: bool) -> Result<RedirectUrl, SignInError> {
    let host = headers
        .get("host")
        .and_then(|host| host.to_str().ok())
        .ok_or(SignInError::Host)?;
    let scheme = if https { "https" } else { "http" };
    // Without a host, the path's first part would become one.
    if host.is_empty() || host.contains(['/', '?', '#', '@', '\\']) {
        return Err(SignInError::Host);
    }
    RedirectUrl::new(format!("{scheme}://{host}{CALLBACK}")).map_err(|_| SignInError::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_comes_back_to_the_host_that_it_asked() {
        let url = |host: &str, https| {
            let mut headers = HeaderMap::new();
            headers.insert("host", host.parse().expect("a value"));
            redirect(&headers, https).ok().map(|url| url.to_string())
        };
        assert_eq!(
            url("cloud.example:8443", true).as_deref(),
            Some("https://cloud.example:8443/login/provider/callback")
        );
        assert_eq!(
            url("[::1]:80", false).as_deref(),
            Some("http://[::1]:80/login/provider/callback")
        );
        for bad in ["", "a/b", "user@host", "a b", "h#"] {
            assert_eq!(url(bad, true), None, "{bad}");
        }
    }
}
