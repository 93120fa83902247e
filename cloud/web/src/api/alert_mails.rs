//! Endpoints for mails about alerts.

use iottly_core::mail::test_text;
use iottly_core::model::{
    AlertId, Change, MAX_MAILS_PER_HOUR, MAX_RECIPIENTS, MailKind, NewMail, Scopes, UnixMs,
};

use super::Answer;
use super::body::JsonBody;
use super::dto::{Done, MailDto, MailList, OK, TestMailBody};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;

/// Number of mails of a response.
const MAILS: usize = 100;

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::invalid("invalid_body", text)
}

/// Lists mails about alerts with the state of their delivery, the newest first: 100 at most, of the last seven days.
#[utoipa::path(
    get,
    path = "/alerts/mails",
    tag = "alerts",
    responses((status = 200, description = "The mails", body = MailList))
)]
pub(crate) async fn mails(access: ProjectAccess) -> Answer<MailList> {
    let (services, now) = (access.services(), clock::now());
    let mails = services.store.alert_mails(access.id(), MAILS).await?;
    let allowed = services.mails.as_ref();
    Ok(Spaced(MailList {
        mails: mails.into_iter().map(MailDto::from).collect(),
        allowed: allowed.map(|mails| mails.recipients.to_string()),
        in_this_hour: services.store.alert_mails_in_hour(access.id(), now).await?,
        per_hour: MAX_MAILS_PER_HOUR,
        status: OK,
    }))
}

/// Queues a mail that tests the delivery; `GET /alerts/mails` shows how it ends.
#[utoipa::path(
    post,
    path = "/alerts/mails",
    tag = "alerts",
    request_body = TestMailBody,
    responses((status = 200, description = "The mail is queued", body = Done))
)]
pub(crate) async fn test(access: ProjectAccess, JsonBody(body): JsonBody<TestMailBody>) -> Answer<Done> {
    access.require(Scopes::READ)?;
    check(&access, std::slice::from_ref(&body.to))?;
    let now: UnixMs = clock::now();
    let project = access.services().store.project(access.id()).await?;
    let name = project.map_or_else(String::new, |project| project.name);
    let (subject, text) = test_text(&name, &access.principal().name);
    let mail = NewMail {
        project: access.id(),
        alert: AlertId::random(),
        kind: MailKind::Test,
        recipient: body.to,
        subject,
        text,
        queued: now,
        attempt: 0,
    };
    access.change(Change::TestMail(Box::new(mail)), now).await?;
    Ok(Done::answer())
}

/// Checks that the cloud sends mails to these addresses.
///
/// # Errors
/// 400 with the reason if it does not.
pub(super) fn check(access: &ProjectAccess, addresses: &[String]) -> Result<(), ApiError> {
    if addresses.is_empty() {
        return Ok(());
    }
    if addresses.len() > MAX_RECIPIENTS {
        return Err(invalid(format!("a rule has at most {MAX_RECIPIENTS} recipients")));
    }
    let Some(mails) = &access.services().mails else {
        return Err(invalid(
            "this cloud sends no mails: its operator has named no mail server (iottly serve --smtp-url)",
        ));
    };
    for address in addresses {
        mails
            .recipients
            .check(address)
            .map_err(|error| invalid(error.to_string()))?;
    }
    Ok(())
}
