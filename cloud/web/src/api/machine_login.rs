//! Endpoints for logins of people on machines: the device flow of RFC 8628, for `iottly login`.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};

use super::Answer;
use super::body::JsonBody;
use super::dto::{Done, LoginAsked, LoginFacts, LoginPoll, LoginShown, LoginToken, LoginWaits, OK};
use super::names;
use super::spaced::Spaced;
use crate::app::{App, WebServices};
use crate::auth::{Access, Requester, mint_machine_secret, mint_token};
use crate::client::ClientAddress;
use crate::error::ApiError;
use crate::sessions::{Approval, Approver};
use iottly_cloud::clock;
use iottly_core::machine_login::{LoginAnswer, LoginRequest, POLL_MS, VALID_MS};
use iottly_core::model::{
    Actor, Change, LoginsOf, MachineLogin, MachineLoginId, OrganizationId, Principal, Scopes, UnixMs, UserId,
};
use iottly_protocol::ProjectId;
use iottly_store::{Author, PeopleChange};

/// Path of the page on which a person decides.
const PAGE: &str = "/login/machine";

/// Asks a person to let a machine act for them.
///
/// The person opens the page, types the code and decides; the machine asks `POST /v1.0/login/token` for its token in the
/// meantime. Needs no token. An address may ask 10 times a minute.
#[utoipa::path(
    post,
    path = "/login",
    tag = "logins",
    security(()),
    request_body = LoginAsked,
    responses(
        (status = 200, description = "The codes", body = LoginWaits),
        (status = 429, description = "This address asks too often"),
        (status = 503, description = "Too many machines wait for an approval"),
    )
)]
pub(super) async fn ask(
    State(app): State<App>,
    Extension(ClientAddress(from)): Extension<ClientAddress>,
    JsonBody(body): JsonBody<LoginAsked>,
) -> Answer<LoginWaits> {
    let machine = names::name("machine", &body.machine)?;
    let (code, secret) = app.services.machines.add(machine, from)?;
    Ok(Spaced(LoginWaits {
        device_code: secret,
        user_code: code.to_string(),
        verification_path: PAGE.into(),
        expires_in: seconds(VALID_MS),
        interval: seconds(POLL_MS),
        status: OK,
    }))
}

/// Returns the token of a machine, once a person has approved its request.
///
/// Until then the answer is an error with one of the codes of RFC 8628: `authorization_pending`, `slow_down` (the machine
/// asked before `Retry-After`), `access_denied`, or `expired_token`. A token is returned once.
#[utoipa::path(
    post,
    path = "/login/token",
    tag = "logins",
    security(()),
    request_body = LoginPoll,
    responses(
        (status = 200, description = "The token", body = LoginToken),
        (status = 403, description = "A person has rejected the request"),
    )
)]
pub(super) async fn token(State(app): State<App>, JsonBody(body): JsonBody<LoginPoll>) -> Answer<LoginToken> {
    match app.services.machines.poll(body.device_code.expose()) {
        LoginAnswer::Pending { poll_ms, slow_down } => {
            let error = if slow_down {
                ApiError::invalid("slow_down", "the machine asks too often")
            } else {
                ApiError::invalid("authorization_pending", "no person has decided yet")
            };
            Err(error.retry_after(seconds(poll_ms)))
        }
        LoginAnswer::Denied => Err(ApiError::refused("access_denied", "the login was rejected")),
        LoginAnswer::Expired => Err(ApiError::invalid(
            "expired_token",
            "the code has expired, or was used already",
        )),
        LoginAnswer::Approved(request, approval) => granted(&app.services, request, approval).await,
    }
}

fn seconds(ms: UnixMs) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

async fn granted(services: &WebServices, request: LoginRequest, approval: Approval) -> Answer<LoginToken> {
    let Approval { by, scopes, length } = approval;
    let now = clock::now();
    let expires = now.saturating_add(length);
    match by {
        Approver::Person {
            author,
            project,
            round,
        } => of_person(services, request, (author, project, round), scopes, expires).await,
        Approver::Token {
            principal,
            expires: own,
        } => {
            let expires = own.map_or(expires, |own| own.min(expires));
            of_token(services, &request, &principal, scopes, expires).await
        }
    }
}

async fn of_person(
    services: &WebServices,
    request: LoginRequest,
    (author, project, round): (Author, Option<ProjectId>, u64),
    scopes: Scopes,
    expires: UnixMs,
) -> Answer<LoginToken> {
    let Actor::User(user) = author.actor else {
        return Err(ApiError::unauthenticated());
    };
    let now = clock::now();
    let (token, hash, prefix) = mint_machine_secret()?;
    let login = MachineLogin {
        id: MachineLoginId::random(),
        user,
        machine: request.machine,
        prefix,
        address: Some(request.from),
        project,
        scopes,
        created: now,
        expires,
        used: None,
        round,
    };
    let about = LoginFacts {
        kind: "person".into(),
        name: author.name.clone(),
        machine: Some(login.machine.clone()),
        project,
        scopes,
        expires: Some(expires.into()),
    };
    let organization = organization_of(services, user).await?;
    let change = PeopleChange::CreateMachineLogin(hash, login);
    services
        .store
        .change_people(organization, &author, change, now)
        .await?;
    Ok(Spaced(LoginToken {
        token,
        about,
        status: OK,
    }))
}

async fn of_token(
    services: &WebServices,
    request: &LoginRequest,
    principal: &Principal,
    scopes: Scopes,
    expires: UnixMs,
) -> Answer<LoginToken> {
    let now = clock::now();
    let minted = mint_token(principal.project, &request.machine, scopes, Some(expires), now)?;
    let about = LoginFacts {
        kind: "token".into(),
        name: request.machine.clone(),
        machine: None,
        project: Some(principal.project),
        scopes,
        expires: Some(expires.into()),
    };
    let change = Change::CreateToken(minted.hash, minted.token);
    services
        .store
        .change(principal.project, principal, change, now)
        .await?;
    Ok(Spaced(LoginToken {
        token: minted.text,
        about,
        status: OK,
    }))
}

/// Returns the organisation whose audit log records a change of a person's own logins: the first of the person's.
pub(crate) async fn organization_of(
    services: &WebServices,
    user: UserId,
) -> Result<OrganizationId, ApiError> {
    let memberships = services.store.memberships(user).await?;
    let first = memberships.first().ok_or_else(ApiError::unauthenticated)?;
    Ok(first.organization.id)
}

/// Returns the token or person that makes the request, and its limits.
#[utoipa::path(
    get,
    path = "/login",
    tag = "logins",
    responses((status = 200, description = "The caller", body = LoginShown))
)]
pub(super) async fn show(access: Access) -> Answer<LoginShown> {
    let expires = access.expires().map(Into::into);
    let about = match access.requester {
        Requester::Principal(principal) => LoginFacts {
            kind: "token".into(),
            name: principal.name,
            machine: None,
            project: Some(principal.project),
            scopes: principal.scopes,
            expires,
        },
        Requester::Person(person) => {
            let login = person.machine.as_ref();
            LoginFacts {
                kind: "person".into(),
                name: person.name,
                machine: login.map(|login| login.machine.clone()),
                project: login.and_then(|login| login.project),
                scopes: login.map_or(Scopes::PROJECT, |login| login.scopes),
                expires,
            }
        }
    };
    Ok(Spaced(LoginShown { about, status: OK }))
}

/// Revokes the token or machine login with which the request is made.
#[utoipa::path(
    delete,
    path = "/login",
    tag = "logins",
    responses((status = 200, description = "The token is not valid any more", body = Done))
)]
pub(super) async fn end(access: Access, State(app): State<App>, headers: HeaderMap) -> Answer<Done> {
    // A login of the dashboard with a token ends by itself, and leaves the token valid.
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::conflict(
            "not_a_token",
            "a login of the dashboard ends with its log-out button",
        ));
    }
    let (services, now, author) = (&app.services, clock::now(), access.author());
    match access.requester {
        Requester::Principal(principal) => {
            if let Actor::Token(id) = principal.actor {
                let change = Change::RevokeToken(id);
                services
                    .store
                    .change(principal.project, &principal, change, now)
                    .await?;
                services.end_logins(LoginsOf::Token(id)).await?;
            }
        }
        Requester::Person(person) => {
            if let Some(login) = &person.machine {
                let organization = organization_of(services, person.id).await?;
                let change = PeopleChange::RevokeMachineLogin(person.id, login.id);
                services
                    .store
                    .change_people(organization, &author, change, now)
                    .await?;
            }
        }
    }
    Ok(Done::answer())
}
