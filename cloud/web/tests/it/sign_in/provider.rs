//! An identity provider whose answers a test decides.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use iottly_cloud::clock;
use iottly_protocol::tuf::{SigningKey, decode_hex};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

pub(super) const CLIENT: &str = "the cloud";
pub(super) const SECRET: &str = "a secret: with/signs";

/// Manner in which ID tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    Right,
    /// By a key that the provider does not publish, under the name of one that it does.
    OtherKey,
    /// `alg: none`.
    None,
    /// HMAC with the client's secret.
    Shared,
    /// Claims that were changed after signing.
    Changed,
}

pub(super) struct Told {
    pub(super) claims: Value,
    pub(super) signature: Signature,
    pub(super) key: u8,
    pub(super) published: Vec<u8>,
    /// Answer in place of tokens.
    pub(super) instead: Option<(StatusCode, String)>,
    /// Numbers of requests for the keys and for tokens.
    pub(super) key_reads: usize,
    pub(super) redeemed: usize,
    challenge: String,
    redirect: String,
}

#[derive(Clone)]
pub(super) struct FakeProvider {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
}

impl FakeProvider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let told = Told {
            claims: json!({}),
            signature: Signature::Right,
            key: 1,
            published: vec![1],
            instead: None,
            key_reads: 0,
            redeemed: 0,
            challenge: String::new(),
            redirect: String::new(),
        };
        let provider = Self {
            address: listener.local_addr().expect("an address"),
            told: Arc::new(Mutex::new(told)),
        };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/keys", get(keys))
            .route("/token", post(redeem))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no panic")
    }

    /// Names the person of the next ID tokens.
    pub(super) fn says(&self, name: &str, groups: Value) {
        self.set("sub", json!(format!("subject of {name}")));
        self.set("preferred_username", json!(name));
        self.set("groups", groups);
    }

    pub(super) fn set(&self, claim: &str, value: Value) {
        self.told().claims[claim] = value;
    }

    /// Takes over what the browser brings along: the values of the cloud's request.
    pub(super) fn expect(&self, nonce: &str, challenge: &str, redirect: &str) {
        let now = clock::now() / 1000;
        for (claim, value) in [
            ("nonce", json!(nonce)),
            ("iss", json!(self.issuer())),
            ("aud", json!(CLIENT)),
            ("iat", json!(now)),
            ("exp", json!(now + 300)),
        ] {
            self.set(claim, value);
        }
        let mut told = self.told();
        told.challenge = challenge.to_owned();
        told.redirect = redirect.to_owned();
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_secret(&[number; 32])
}

fn kid(number: u8) -> String {
    format!("key {number}")
}

async fn describe(State(provider): State<FakeProvider>) -> Json<Value> {
    let issuer = provider.issuer();
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/page"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA", "HS256", "none"],
    }))
}

async fn keys(State(provider): State<FakeProvider>) -> Json<Value> {
    let mut told = provider.told();
    told.key_reads += 1;
    let jwk = |number: &u8| {
        let public = decode_hex(&key(*number).public().keyval.public).expect("hex");
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid(*number), "x": URL_SAFE_NO_PAD.encode(public)})
    };
    let keys: Vec<_> = told.published.iter().map(jwk).collect();
    Json(json!({"keys": keys}))
}

async fn redeem(
    State(provider): State<FakeProvider>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> impl IntoResponse {
    let mut told = provider.told();
    told.redeemed += 1;
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    // The secret is encoded for a form before it becomes a password (RFC 6749, 2.3.1).
    let basic = format!("Basic {}", STANDARD.encode("the+cloud:a+secret%3A+with%2Fsigns"));
    assert_eq!(headers[header::AUTHORIZATION], basic);
    assert_eq!(field("grant_type").as_deref(), Some("authorization_code"));
    assert_eq!(field("redirect_uri").as_ref(), Some(&told.redirect));
    let verifier = field("code_verifier").expect("a verifier");
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)), told.challenge);
    let (status, body) = told.instead.clone().unwrap_or_else(|| {
        let tokens = json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token(&told)});
        (StatusCode::OK, tokens.to_string())
    });
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}

fn id_token(told: &Told) -> String {
    let alg = match told.signature {
        Signature::None => "none",
        Signature::Shared => "HS256",
        _ => "EdDSA",
    };
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut claims = told.claims.clone();
    if let Some(claims) = claims.as_object_mut() {
        claims.retain(|_, value| !value.is_null());
    }
    let header = part(&json!({"alg": alg, "typ": "JWT", "kid": kid(told.key)}));
    let signed = format!("{header}.{}", part(&claims));
    let by = |number: u8| decode_hex(&key(number).sign(signed.as_bytes()).sig).expect("hex");
    let signature = match told.signature {
        Signature::Right | Signature::Changed => by(told.key),
        Signature::OtherKey => by(99),
        Signature::None => Vec::new(),
        Signature::Shared => hmac(SECRET.as_bytes(), signed.as_bytes()),
    };
    let signature = URL_SAFE_NO_PAD.encode(signature);
    if told.signature == Signature::Changed {
        claims["groups"] = json!(["owners"]);
        return format!("{header}.{}.{signature}", part(&claims));
    }
    format!("{signed}.{signature}")
}

/// Returns the HMAC-SHA256 for a key of at most 64 bytes.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |with: u8| -> Vec<u8> {
        let padded = key.iter().copied().chain(std::iter::repeat(0)).take(64);
        padded.map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([&pad(0x36), message].concat());
    Sha256::digest([&pad(0x5c), &inner[..]].concat()).to_vec()
}
