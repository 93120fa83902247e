//! Endpoints for enrolment keys. The text of a key is only in the response that creates it.

use axum::extract::Path;
use axum::http::HeaderMap;
use iottly_protocol::enroll::PairCode;

use super::Answer;
use super::body::JsonBody;
use super::device::checked_tags;
use super::dto::{CreatedEnrolmentKey, Done, EnrolmentKeyList, HOUR_MS, NewEnrolmentKeyBody, OK};
use super::names;
use super::spaced::Spaced;
use crate::auth::{ProjectAccess, hash_secret};
use crate::error::ApiError;
use crate::random::hex_code;
use iottly_cloud::clock;
use iottly_core::model::{Change, EnrolmentKey, EnrolmentKeyId, NewEnrolmentKey, Scopes};

/// Maximum number of devices of one key.
const MAX_USES: u64 = 100_000;
/// Maximum time without a connection after which a device of an ephemeral key is deleted, in hours: a year.
const MAX_HOURS: u32 = 8_760;
/// Number of characters of a key that are shown.
const PREFIX: usize = 6;

/// Lists the enrolment keys of the project, without their texts (scope `admin`).
#[utoipa::path(
    get,
    path = "/enrolmentkeys",
    tag = "enrolment",
    responses((status = 200, description = "The keys", body = EnrolmentKeyList))
)]
pub(super) async fn all(access: ProjectAccess) -> Answer<EnrolmentKeyList> {
    access.require(Scopes::ADMIN)?;
    let keys = access.services().store.enrolment_keys(access.id()).await?;
    Ok(Spaced(EnrolmentKeyList {
        enrolment_keys: keys.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Creates an enrolment key, with which many boards become devices (scope `admin`).
///
/// The devices do not depend on the key afterwards: it may expire or be deleted.
#[utoipa::path(
    post,
    path = "/enrolmentkeys",
    tag = "enrolment",
    request_body = NewEnrolmentKeyBody,
    responses((status = 200, description = "The new key with its text, which is not shown again", body = CreatedEnrolmentKey))
)]
pub(super) async fn create(
    access: ProjectAccess,
    headers: HeaderMap,
    JsonBody(body): JsonBody<NewEnrolmentKeyBody>,
) -> Answer<CreatedEnrolmentKey> {
    access.require(Scopes::ADMIN)?;
    let now = clock::now();
    let invalid = |message: String| Err(ApiError::invalid("invalid_body", message));
    if !(1..=MAX_USES).contains(&body.max_uses) {
        return invalid(format!("max_uses is not 1 to {MAX_USES}"));
    }
    if body.expires.is_some_and(|expires| expires <= now) {
        return invalid("expires is in the past".to_owned());
    }
    if body
        .ephemeral_hours
        .is_some_and(|hours| !(1..=MAX_HOURS).contains(&hours))
    {
        return invalid(format!("ephemeral_hours is not 1 to {MAX_HOURS}"));
    }
    let text = hex_code()?;
    let key = EnrolmentKey {
        id: EnrolmentKeyId::random(),
        name: names::name("name", &body.name)?,
        prefix: text.expose()[..PREFIX].to_owned(),
        created: now,
        expires: body.expires,
        uses: 0,
        max_uses: body.max_uses,
        group: body.deployment_group,
        tags: checked_tags(&body.tags)?,
        ephemeral_ms: body.ephemeral_hours.map(|hours| i64::from(hours) * HOUR_MS),
        waiting: body.waiting,
    };
    let new = NewEnrolmentKey {
        hash: hash_secret(text.expose().as_bytes()),
        key: key.clone(),
    };
    access
        .change(Change::CreateEnrolmentKey(Box::new(new)), now)
        .await?;
    let code: PairCode = text
        .expose()
        .parse()
        .map_err(|error| ApiError::internal(&error))?;
    Ok(Spaced(CreatedEnrolmentKey {
        url: access.services().enrol_url(&headers, code).map(Into::into),
        enrolment_key: text,
        about: key.into(),
        status: OK,
    }))
}

/// Deletes an enrolment key (scope `admin`). Its devices stay.
#[utoipa::path(
    delete,
    path = "/enrolmentkeys/{enrolmentkey}",
    tag = "enrolment",
    responses((status = 200, description = "The key was deleted", body = Done))
)]
pub(super) async fn delete(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    access.require(Scopes::ADMIN)?;
    let id: EnrolmentKeyId = id
        .parse()
        .map_err(|_| ApiError::missing("project has no such enrolment key"))?;
    access
        .change(Change::DeleteEnrolmentKey(id), clock::now())
        .await?;
    Ok(Done::answer())
}
