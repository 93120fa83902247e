//! Endpoints for organisations, their members and invitations.

use axum::extract::{Path, State};

use super::Answer;
use super::audit::{self, LogOf};
use super::body::JsonBody;
use super::dto::{
    AuditLog, CreatedInvitation, CreatedOrganization, Done, MemberList, NewInvitation, NewRole, OK,
    OrganizationList, OrganizationName,
};
use super::names;
use super::query::Params;
use super::spaced::Spaced;
use crate::app::App;
use crate::auth::{Access, OrganizationAccess, Requester, hash_secret};
use crate::error::ApiError;
use crate::random;
use iottly_cloud::clock;
use iottly_core::model::{Invitation, LoginsOf, Organization, OrganizationId, Role, Scopes, UnixMs, UserId};
use iottly_store::PeopleChange;

/// Default and longest validity of an invitation, in hours.
const HOURS: (u32, u32) = (72, 168);
const HOUR_MS: UnixMs = 60 * 60 * 1000;

/// Lists the organisations of the user, or all of them for a token with the scope `operator`.
#[utoipa::path(
    get,
    path = "/organizations",
    tag = "organizations",
    responses((status = 200, description = "The organisations", body = OrganizationList))
)]
pub(super) async fn all(access: Access, State(app): State<App>) -> Answer<OrganizationList> {
    let store = &app.services.store;
    let organizations = match &access.requester {
        Requester::Person(person) if person.machine.is_some() => {
            return Err(ApiError::forbidden("a machine login reaches projects only"));
        }
        Requester::Person(person) => {
            let own = store.memberships(person.id).await?;
            own.into_iter().map(Into::into).collect()
        }
        Requester::Principal(_) => {
            access.require(Scopes::OPERATOR)?;
            store.organizations().await?.into_iter().map(Into::into).collect()
        }
    };
    Ok(Spaced(OrganizationList {
        organizations,
        status: OK,
    }))
}

/// Creates an organisation, whose first owner is the user that creates it.
///
/// For owners of the default organisation, and for tokens with the scope `operator`.
#[utoipa::path(
    post,
    path = "/organizations",
    tag = "organizations",
    request_body = OrganizationName,
    responses((status = 200, description = "The new organisation", body = CreatedOrganization))
)]
pub(super) async fn create(
    access: Access,
    State(app): State<App>,
    JsonBody(body): JsonBody<OrganizationName>,
) -> Answer<CreatedOrganization> {
    let store = &app.services.store;
    let author = access.author();
    let owner = match access.requester {
        Requester::Person(person) if person.machine.is_some() => {
            return Err(ApiError::forbidden("a machine login reaches projects only"));
        }
        Requester::Person(person) => {
            let role = store.role_of(OrganizationId::DEFAULT, person.id).await?;
            if role != Some(Role::Owner) {
                return Err(ApiError::forbidden(
                    "only owners of the default organization create others",
                ));
            }
            Some(person.id)
        }
        Requester::Principal(_) => {
            access.require(Scopes::OPERATOR)?;
            None
        }
    };
    let name = names::name("name", &body.name)?;
    let (id, now) = (OrganizationId::random(), clock::now());
    let change = PeopleChange::CreateOrganization {
        name: name.clone(),
        owner,
    };
    store.change_people(id, &author, change, now).await?;
    let organization = Organization {
        id,
        name,
        created: now,
    };
    Ok(Spaced(CreatedOrganization {
        organization: organization.into(),
        status: OK,
    }))
}

/// Renames the organisation (owners).
#[utoipa::path(
    put,
    path = "/",
    tag = "organizations",
    request_body = OrganizationName,
    responses((status = 200, description = "The organisation was renamed", body = Done))
)]
pub(super) async fn rename(
    access: OrganizationAccess,
    JsonBody(body): JsonBody<OrganizationName>,
) -> Answer<Done> {
    let name = names::name("name", &body.name)?;
    access.change(PeopleChange::RenameOrganization(name)).await?;
    Ok(Done::answer())
}

/// Lists the members of the organisation.
#[utoipa::path(
    get,
    path = "/members",
    tag = "organizations",
    responses((status = 200, description = "The members", body = MemberList))
)]
pub(super) async fn members(access: OrganizationAccess) -> Answer<MemberList> {
    let members = access.services().store.members(access.id()).await?;
    Ok(Spaced(MemberList {
        members: members.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Sets the role of a member (owners). The last owner stays one.
#[utoipa::path(
    put,
    path = "/members/{user}",
    tag = "organizations",
    request_body = NewRole,
    responses((status = 200, description = "The role was set", body = Done))
)]
pub(super) async fn set_role(
    access: OrganizationAccess,
    Path((_, user)): Path<(String, String)>,
    JsonBody(body): JsonBody<NewRole>,
) -> Answer<Done> {
    let change = PeopleChange::SetRole(member(&user)?, role(&body.role)?);
    access.change(change).await?;
    Ok(Done::answer())
}

/// Removes a member and ends the member's logins (owners). The last owner stays.
#[utoipa::path(
    delete,
    path = "/members/{user}",
    tag = "organizations",
    responses((status = 200, description = "The member was removed", body = Done))
)]
pub(super) async fn remove(
    access: OrganizationAccess,
    Path((_, user)): Path<(String, String)>,
) -> Answer<Done> {
    let user = member(&user)?;
    access.change(PeopleChange::RemoveMember(user)).await?;
    access.services().end_logins(LoginsOf::User(user)).await?;
    Ok(Done::answer())
}

/// Creates a link that makes its holder a member, or lets a member choose a new password (owners).
///
/// The link can be used once. Its secret is only in this response.
#[utoipa::path(
    post,
    path = "/invitations",
    tag = "organizations",
    request_body = NewInvitation,
    responses((status = 200, description = "The link", body = CreatedInvitation))
)]
pub(super) async fn invite(
    access: OrganizationAccess,
    JsonBody(body): JsonBody<NewInvitation>,
) -> Answer<CreatedInvitation> {
    let invalid = |message: &str| ApiError::invalid("invalid_body", message);
    let store = &access.services().store;
    let hours = body.hours.unwrap_or(HOURS.0);
    if !(1..=HOURS.1).contains(&hours) {
        return Err(invalid("hours is not 1 to 168"));
    }
    let role = match (body.role, body.user) {
        (Some(name), None) => role(&name)?,
        (None, Some(user)) => store
            .role_of(access.id(), user)
            .await?
            .ok_or_else(|| ApiError::missing("organization has no such member"))?,
        _ => return Err(invalid("exactly one of role and user is needed")),
    };
    let (key, now) = (random::secret()?, clock::now());
    let invitation = Invitation {
        organization: access.id(),
        role,
        user: body.user,
        by: access.author().name.clone(),
        created: now,
        expires: now.saturating_add(HOUR_MS.saturating_mul(hours.into())),
    };
    let expires = invitation.expires.into();
    access
        .change(PeopleChange::Invite(hash_secret(key.as_bytes()), invitation))
        .await?;
    Ok(Spaced(CreatedInvitation {
        path: format!("/join?key={key}"),
        expires,
        status: OK,
    }))
}

/// Removes all open invitations of the organisation (owners).
#[utoipa::path(
    delete,
    path = "/invitations",
    tag = "organizations",
    responses((status = 200, description = "The invitations were removed", body = Done))
)]
pub(super) async fn withdraw(access: OrganizationAccess) -> Answer<Done> {
    access.change(PeopleChange::WithdrawInvitations).await?;
    Ok(Done::answer())
}

/// The organisation's audit log, newest first.
#[utoipa::path(
    get,
    path = "/auditlog",
    tag = "organizations",
    params(
        ("numEntries" = Option<i64>, Query, minimum = 1, description = "Maximum number of entries; 50 by default, 500 at most"),
        ("before" = Option<i64>, Query, minimum = 1, description = "`next` of the previous page"),
        ("filter" = Option<String>, Query, description = "Conditions such as `who:anne action:member.*`, or a filter as JSON"),
    ),
    responses((status = 200, description = "Entries of the audit log, newest first", body = AuditLog))
)]
pub(super) async fn audit(access: OrganizationAccess, params: Params) -> Answer<AuditLog> {
    audit::page(access.services(), LogOf::Organization(access.id()), &params).await
}

fn member(id: &str) -> Result<UserId, ApiError> {
    id.parse()
        .map_err(|_| ApiError::missing("organization has no such member"))
}

fn role(name: &str) -> Result<Role, ApiError> {
    Role::named(name).ok_or_else(|| {
        ApiError::invalid(
            "invalid_body",
            format!("role {name:?} is not viewer, operator, developer or owner"),
        )
    })
}
