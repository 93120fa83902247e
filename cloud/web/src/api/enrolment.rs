//! Endpoints for boards: enrolment with a code, and new secrets for a proof of the device's key. They need no token: the
//! code or the key is the authority.

use std::net::IpAddr;

use axum::extract::{Extension, Request, State};
use iottly_cloud::enrolment::{self, Enrolment, EnrolmentError};
use iottly_protocol::enroll::{
    EnrollRequest, LegacyRequest, MAX_REQUEST_BYTES, ProvenEnrollment, SecretRequest,
};
use serde::de::DeserializeOwned;

use super::Answer;
use super::body::read_within;
use super::dto::{
    ChallengeBody, ChallengeDto, EnrollBody, EnrollReply, EnrolledDto, LegacyBody, OK, PairCodeDto,
    SecretBody, SecretDto, ShortCodeBody,
};
use super::spaced::Spaced;
use crate::app::App;
use crate::client::ClientAddress;
use crate::error::ApiError;

/// Makes a board a device of the project that its code belongs to, or lets it wait for a person's approval.
///
/// A board without a code, or with an enrolment key that waits, gets a short code for people, and repeats its request
/// until an operator has decided (the device flow of RFC 8628; the signed request is the device code).
///
/// A pair code works once; the board that used it gets a new secret when it asks again within an hour. A refusal has one text for
/// every reason.
#[utoipa::path(
    post,
    path = "/enroll",
    tag = "enrolment",
    security(()),
    request_body = EnrollBody,
    responses(
        (status = 200, description = "The place of the board, or that it has to wait", body = EnrollReply),
        (status = 403, description = "The code is not valid, or belongs to another board"),
        (status = 429, description = "Too many requests of this address have failed"),
        (status = 503, description = "Too many boards wait for approval"),
    )
)]
pub(super) async fn enrol(
    State(app): State<App>,
    Extension(ClientAddress(from)): Extension<ClientAddress>,
    request: Request,
) -> Answer<EnrollReply> {
    let enrolment = &app.services.enrolment;
    enrolment.admit(from)?;
    let request: EnrollRequest = body::<EnrollBody>(request).await?.try_into()?;
    let proven = proven(enrolment, request, from)?;
    Ok(Spaced(enrolment.enrol(&proven, from).await?.into()))
}

/// Gives a device of release 0.1 a key and a secret that expires, for a proof of the secret in its configuration.
///
/// The old secret stays valid until the device has renewed the new one.
#[utoipa::path(
    post,
    path = "/enroll/legacy",
    tag = "enrolment",
    security(()),
    request_body = LegacyBody,
    responses(
        (status = 200, description = "The place of the board", body = EnrolledDto),
        (status = 403, description = "The device has a key already, or the secret is not valid"),
        (status = 429, description = "Too many requests of this address have failed"),
    )
)]
pub(super) async fn legacy(
    State(app): State<App>,
    Extension(ClientAddress(from)): Extension<ClientAddress>,
    request: Request,
) -> Answer<EnrolledDto> {
    let enrolment = &app.services.enrolment;
    enrolment.admit(from)?;
    let body: LegacyRequest = body::<LegacyBody>(request).await?.try_into()?;
    let proven = proven(enrolment, body.keys, from)?;
    let enrolled = enrolment.upgrade(body.device_id, &body.secret, &proven, from);
    Ok(Spaced(enrolled.await?.into()))
}

/// Returns the request once its signatures are checked; a wrong one counts against the address.
fn proven(enrolment: &Enrolment, request: EnrollRequest, from: IpAddr) -> Result<ProvenEnrollment, ApiError> {
    request.proven().map_err(|error| {
        enrolment.failed(from);
        ApiError::invalid("invalid_proof", error.to_string())
    })
}

/// Returns the pair code that a short code stands for.
///
/// After five wrong codes an address has to wait for up to ten minutes.
#[utoipa::path(
    post,
    path = "/enroll/short-code",
    tag = "enrolment",
    security(()),
    request_body = ShortCodeBody,
    responses(
        (status = 200, description = "The pair code", body = PairCodeDto),
        (status = 403, description = "The code is not valid"),
        (status = 429, description = "This address has named too many wrong codes"),
    )
)]
pub(super) async fn short_code(
    State(app): State<App>,
    Extension(ClientAddress(from)): Extension<ClientAddress>,
    request: Request,
) -> Answer<PairCodeDto> {
    let body = body::<ShortCodeBody>(request).await?;
    // A text that is no short code does not count as a guess.
    let code = body
        .short_code
        .parse()
        .map_err(|error| ApiError::invalid("invalid_body", format!("short_code: {error}")))?;
    Ok(Spaced(PairCodeDto {
        pair_code: app.services.enrolment.pair_code(code, from)?.to_string().into(),
        status: OK,
    }))
}

/// Returns a challenge for a device to sign.
#[utoipa::path(
    post,
    path = "/enroll/challenge",
    tag = "enrolment",
    security(()),
    request_body = ChallengeBody,
    responses(
        (status = 200, description = "The challenge", body = ChallengeDto),
    )
)]
pub(super) async fn challenge(State(app): State<App>, request: Request) -> Answer<ChallengeDto> {
    let enrolment = &app.services.enrolment;
    let device = body::<ChallengeBody>(request).await?.device_id;
    Ok(Spaced(ChallengeDto {
        challenge: enrolment.challenge(device).await?,
        status: OK,
    }))
}

/// Gives a device a new secret for its broker login, for a signed challenge.
#[utoipa::path(
    post,
    path = "/enroll/secret",
    tag = "enrolment",
    security(()),
    request_body = SecretBody,
    responses(
        (status = 200, description = "The new secret", body = SecretDto),
        (status = 403, description = "The challenge or the proof is not valid"),
        (status = 429, description = "Too many requests of this device have failed, or it has new secrets already"),
    )
)]
pub(super) async fn secret(
    State(app): State<App>,
    Extension(ClientAddress(from)): Extension<ClientAddress>,
    request: Request,
) -> Answer<SecretDto> {
    let enrolment = &app.services.enrolment;
    let request: SecretRequest = body::<SecretBody>(request).await?.try_into()?;
    Ok(Spaced(enrolment.renew(&request, from).await?.into()))
}

/// Reads a small body.
async fn body<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let bytes = read_within(request, MAX_REQUEST_BYTES).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::invalid("invalid_body", format!("body: {error}")))
}

impl From<EnrolmentError> for ApiError {
    fn from(error: EnrolmentError) -> Self {
        match error {
            EnrolmentError::Refused => Self::forbidden(error.to_string()),
            EnrolmentError::TooMany { wait_s } | EnrolmentError::TooManyGuesses { wait_s } => {
                Self::too_many("too_many_requests", error.to_string()).retry_after(wait_s)
            }
            EnrolmentError::TooOften => {
                Self::too_many("too_many_requests", error.to_string()).retry_after(enrolment::TOO_OFTEN_S)
            }
            EnrolmentError::Full => {
                Self::unavailable("too_many_boards", error.to_string()).retry_after(enrolment::FULL_S)
            }
            EnrolmentError::UnknownBoard => Self::missing(error.to_string()),
            EnrolmentError::Store(error) => error.into(),
            EnrolmentError::Random(_) | EnrolmentError::Root(_) => Self::internal(&error),
        }
    }
}
