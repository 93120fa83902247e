//! People, organisations and members. Projects belong to organisations; see [`ProjectStore`](crate::ProjectStore).

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use crate::error::Result;
use iottly_core::model::{
    Actor, AuditEntry, Invitation, MachineLogin, MachineLoginId, Member, Membership, Organization,
    OrganizationId, Project, Role, SecretHash, UnixMs, User, UserId, UserName,
};

/// Author of a change to an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// User or token that makes the change.
    pub actor: Actor,
    /// Name of the author, for display.
    pub name: String,
    /// Address that the request comes from; none for the cloud itself.
    pub address: Option<IpAddr>,
}

/// Person whom an identity provider has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUser {
    /// URL of the provider.
    pub issuer: String,
    /// Id of the person at the provider. An account is found by issuer and subject only.
    pub subject: String,
    /// Name of a new account; none if the provider gives none that can be shown. If another user has it, a suffix is
    /// appended.
    pub name: Option<UserName>,
    /// Role in the default organisation; none if the provider's groups have no role.
    pub role: Option<Role>,
    /// Address of the person's browser.
    pub address: Option<IpAddr>,
}

/// Change of an organisation or of its members.
#[derive(Clone)]
pub enum PeopleChange {
    /// Adds the organisation, with an owner if one is named.
    CreateOrganization {
        /// Name of the organisation.
        name: String,
        /// First owner.
        owner: Option<UserId>,
    },
    /// Renames the organisation.
    RenameOrganization(String),
    /// Adds an invitation, by the hash of the secret in its link.
    Invite(SecretHash, Invitation),
    /// Removes all open invitations.
    WithdrawInvitations,
    /// Uses up an invitation: adds a user as a member.
    Join {
        /// Hash of the secret in the link.
        invitation: SecretHash,
        /// Id of the new user.
        user: UserId,
        /// Name of the new user.
        name: UserName,
        /// Hash of the password.
        password: String,
    },
    /// Uses up an invitation that names a user: sets the user's password, and ends the user's logins.
    ChoosePassword {
        /// Hash of the secret in the link.
        invitation: SecretHash,
        /// Hash of the password.
        password: String,
    },
    /// Sets the role of a member.
    SetRole(UserId, Role),
    /// Removes a member. A user without another organisation is deleted.
    RemoveMember(UserId),
    /// Replaces the password of a member, and ends the member's logins.
    SetPassword(UserId, String),
    /// Ends all logins of a member, machine logins included.
    EndLogins(UserId),
    /// Adds a machine login of a member, by the hash of its secret.
    CreateMachineLogin(SecretHash, MachineLogin),
    /// Revokes a machine login of a member.
    RevokeMachineLogin(UserId, MachineLoginId),
}

impl fmt::Debug for PeopleChange {
    /// Writes the action only: hashes of passwords belong into no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action())
    }
}

impl PeopleChange {
    /// Returns the name of the change in the audit log.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::CreateOrganization { .. } => "organization.create",
            Self::RenameOrganization(_) => "organization.rename",
            Self::Invite(..) => "member.invite",
            Self::WithdrawInvitations => "invitations.withdraw",
            Self::Join { .. } => "member.join",
            Self::ChoosePassword { .. } => "password.choose",
            Self::SetRole(..) => "member.role",
            Self::RemoveMember(_) => "member.remove",
            Self::SetPassword(..) => "password.change",
            Self::EndLogins(_) => "logins.end",
            Self::CreateMachineLogin(..) => "machine_login.create",
            Self::RevokeMachineLogin(..) => "machine_login.revoke",
        }
    }
}

/// Store operations for people and organisations.
#[async_trait]
pub trait PeopleStore: Send + Sync + 'static {
    /// Returns true if a person can log in already.
    async fn has_users(&self) -> Result<bool>;
    /// Returns a user.
    async fn user(&self, id: UserId) -> Result<Option<User>>;
    /// Returns the user of a name with the hash of the password, if the user has one.
    async fn credentials(&self, name: &UserName) -> Result<Option<(User, Option<String>)>>;
    /// Records a login of a user.
    async fn user_seen(&self, id: UserId, now: UnixMs) -> Result<()>;
    /// Signs in a person whom an identity provider has named: adds the account or brings its role in the default
    /// organisation up to date, with an audit entry for a change, and records the login. Returns `None` for a person without
    /// a role in any organisation.
    ///
    /// # Errors
    /// [`StoreError::Full`](crate::StoreError::Full) when the organisation has no room for another member.
    async fn sign_in(&self, person: &ProviderUser, now: UnixMs) -> Result<Option<User>>;
    /// Returns the organisations of a user with the user's roles, by name.
    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>>;
    /// Returns the role of a user in an organisation.
    async fn role_of(&self, organization: OrganizationId, user: UserId) -> Result<Option<Role>>;
    /// Returns the role of a user in the organisation that owns a project.
    async fn role_in(&self, project: ProjectId, user: UserId) -> Result<Option<Role>>;
    /// Returns the projects of a user's organisations, by name.
    async fn projects_of(&self, user: UserId) -> Result<Vec<Project>>;
    /// Returns all organisations, by name.
    async fn organizations(&self) -> Result<Vec<Organization>>;
    /// Returns the members of an organisation, by name.
    async fn members(&self, organization: OrganizationId) -> Result<Vec<Member>>;
    /// Returns the invitation whose secret has this hash, if it can be used.
    async fn invitation(&self, hash: SecretHash, now: UnixMs) -> Result<Option<Invitation>>;
    /// Changes an organisation and writes its audit entry, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Refused`](crate::StoreError::Refused) for a change that leaves an organisation without an owner, or
    /// that uses an invitation a second time.
    async fn change_people(
        &self,
        organization: OrganizationId,
        by: &Author,
        change: PeopleChange,
        now: UnixMs,
    ) -> Result<()>;
    /// Returns entries of an organisation's audit log with numbers below `before`, newest first, at most `limit`.
    async fn organization_audit(
        &self,
        organization: OrganizationId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>>;
}
