//! JSON types for organisations and their members.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::{Member, Membership, Organization, OrganizationId, UserId};

/// Organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct OrganizationDto {
    /// Id of the organisation.
    #[schema(value_type = String, format = "uuid")]
    id: OrganizationId,
    /// Name of the organisation.
    name: String,
    /// Role of the caller in the organisation; null for a token of an operator.
    role: Option<&'static str>,
}

impl From<Membership> for OrganizationDto {
    fn from(membership: Membership) -> Self {
        Self {
            id: membership.organization.id,
            name: membership.organization.name,
            role: Some(membership.role.name()),
        }
    }
}

impl From<Organization> for OrganizationDto {
    fn from(organization: Organization) -> Self {
        Self {
            id: organization.id,
            name: organization.name,
            role: None,
        }
    }
}

/// Organisations that the caller can access.
#[derive(Serialize, ToSchema)]
pub(crate) struct OrganizationList {
    /// Organisations, by name.
    pub(crate) organizations: Vec<OrganizationDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Organisation to create or rename.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationName {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: String,
}

/// New organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedOrganization {
    /// The organisation.
    #[serde(flatten)]
    pub(crate) organization: OrganizationDto,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Member of an organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberDto {
    /// Id of the user.
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    /// Name by which the user logs in.
    name: String,
    /// Role: `viewer`, `operator`, `developer` or `owner`.
    role: &'static str,
    /// True if the user can log in with a password.
    password: bool,
    /// Time of the newest login; null before the first.
    last_login: Option<Date>,
}

impl From<Member> for MemberDto {
    fn from(member: Member) -> Self {
        Self {
            id: member.user.id,
            name: member.user.name.to_string(),
            role: member.role.name(),
            password: member.user.has_password,
            last_login: member.user.seen.map(Into::into),
        }
    }
}

/// Members of an organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberList {
    /// Members, by name.
    pub(crate) members: Vec<MemberDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// New role of a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRole {
    /// Role: `viewer`, `operator`, `developer` or `owner`.
    pub(crate) role: String,
}

/// Invitation to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewInvitation {
    /// Role of the new member: `viewer`, `operator`, `developer` or `owner`.
    #[serde(default)]
    pub(crate) role: Option<String>,
    /// Existing member who is to choose a new password, in place of a role for a new member.
    #[schema(value_type = Option<String>, format = "uuid")]
    #[serde(default)]
    pub(crate) user: Option<UserId>,
    /// Number of hours for which the link can be used: 1 to 168, 72 by default.
    #[serde(default)]
    pub(crate) hours: Option<u32>,
}

/// New invitation.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedInvitation {
    /// Path of the link on this cloud, with its secret, which is not shown again.
    pub(crate) path: String,
    /// Expiry of the link.
    pub(crate) expires: Date,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
