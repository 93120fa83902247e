//! Changes of organisations and their members, inside of a transaction. The audit log is written by the caller.

use super::db::Conn;
use super::people::{INVITATION, invitation};
use super::{codec, machine_logins};
use super::{full, missing, taken};
use crate::{PeopleChange, Result, StoreError};
use iottly_core::model::{
    DEFAULT_ORGANIZATION, Invitation, MAX_MEMBERS, MAX_ORGANIZATIONS, OrganizationId, Role, SecretHash,
    UnixMs, UserId,
};

/// Applies a change; returns target and details of its audit entry.
pub(super) async fn run(
    tx: &mut Conn,
    organization: OrganizationId,
    change: PeopleChange,
    now: UnixMs,
) -> Result<(String, String)> {
    match change {
        PeopleChange::CreateOrganization { name, owner } => {
            let count = sqlx::query("SELECT count(*) AS n FROM organizations")
                .fetch_one(&mut *tx)
                .await?;
            full(codec::get(&count, "n")?, "organizations", MAX_ORGANIZATIONS)?;
            name_organization(tx, organization, &name, now).await?;
            if let Some(owner) = owner {
                set_member(tx, organization, owner, Role::Owner).await?;
            }
            Ok((organization.to_string(), name))
        }
        PeopleChange::RenameOrganization(name) => {
            name_organization(tx, organization, &name, now).await?;
            Ok((organization.to_string(), name))
        }
        PeopleChange::Invite(hash, invitation) => {
            let detail = format!("{} by {}", invitation.role, invitation.by);
            let target = invitation.user.map_or_else(String::new, |user| user.to_string());
            if let Some(user) = invitation.user {
                only_here(tx, organization, user).await?;
                no_provider(tx, user).await?;
            }
            invite(tx, organization, hash, &invitation, now).await?;
            Ok((target, detail))
        }
        PeopleChange::WithdrawInvitations => {
            let count = withdraw(tx, organization).await?;
            Ok((organization.to_string(), count.to_string()))
        }
        PeopleChange::Join {
            invitation,
            user,
            name,
            password,
        } => {
            let used = use_up(tx, organization, invitation, now).await?;
            if used.user.is_some() {
                return Err(StoreError::Refused("the link is for another user".to_owned()));
            }
            let first = sqlx::query("SELECT 1 AS one FROM users LIMIT 1")
                .fetch_optional(&mut *tx)
                .await?
                .is_none();
            if first {
                // Each start without a user has made a link for an owner.
                withdraw(tx, organization).await?;
            }
            sqlx::query("INSERT INTO users (id, name, password, created, seen) VALUES ($1, $2, $3, $4, $4)")
                .bind(codec::id(&user))
                .bind(name.as_str())
                .bind(password)
                .bind(now)
                .execute(&mut *tx)
                .await
                .map_err(|error| taken(error, "user", name.as_str()))?;
            set_member(tx, organization, user, used.role).await?;
            Ok((name.to_string(), used.role.to_string()))
        }
        PeopleChange::ChoosePassword { invitation, password } => {
            let used = use_up(tx, organization, invitation, now).await?;
            let user = used
                .user
                .ok_or_else(|| StoreError::Refused("the link is for a new user".to_owned()))?;
            only_here(tx, organization, user).await?;
            set_password(tx, user, &password).await?;
            Ok((user.to_string(), String::new()))
        }
        PeopleChange::SetRole(user, role) => {
            let before = member(tx, organization, user).await?;
            if before == Role::Owner && role != Role::Owner {
                another_owner(tx, organization, user).await?;
                withdraw(tx, organization).await?;
            }
            set_member(tx, organization, user, role).await?;
            Ok((user.to_string(), format!("{before} to {role}")))
        }
        PeopleChange::RemoveMember(user) => {
            let before = member(tx, organization, user).await?;
            if before == Role::Owner {
                another_owner(tx, organization, user).await?;
                // The former owner may have made links, and could return by one.
                withdraw(tx, organization).await?;
            }
            remove(tx, organization, user).await?;
            Ok((user.to_string(), before.to_string()))
        }
        PeopleChange::SetPassword(user, password) => {
            member(tx, organization, user).await?;
            set_password(tx, user, &password).await?;
            Ok((user.to_string(), String::new()))
        }
        PeopleChange::EndLogins(user) => {
            member(tx, organization, user).await?;
            sqlx::query("UPDATE users SET logins = logins + 1 WHERE id = $1")
                .bind(codec::id(&user))
                .execute(tx)
                .await?;
            Ok((user.to_string(), String::new()))
        }
        PeopleChange::CreateMachineLogin(hash, login) => {
            member(tx, organization, login.user).await?;
            machine_logins::add(tx, hash, &login, now).await?;
            let reach = login.project.map_or_else(
                || "all projects".to_owned(),
                |project| format!("project {project}"),
            );
            let scopes = login.scopes.names().collect::<Vec<_>>().join(", ");
            Ok((
                login.id.to_string(),
                format!("{}: {reach}, {scopes}", login.machine),
            ))
        }
        PeopleChange::RevokeMachineLogin(user, id) => {
            member(tx, organization, user).await?;
            let machine = machine_logins::revoke(tx, user, id).await?;
            Ok((id.to_string(), machine))
        }
    }
}

/// Refuses a change of an organisation that does not exist. The default one always does.
pub(super) async fn exists(tx: &mut Conn, organization: OrganizationId) -> Result<()> {
    let row = sqlx::query("SELECT 1 AS one FROM organizations WHERE id = $1")
        .bind(codec::id(&organization))
        .fetch_optional(tx)
        .await?;
    if row.is_some() || organization == OrganizationId::DEFAULT {
        return Ok(());
    }
    Err(StoreError::Missing {
        what: "organization",
        name: organization.to_string(),
    })
}

/// Removes all invitations of an organisation, and returns their number.
pub(super) async fn withdraw(tx: &mut Conn, organization: OrganizationId) -> Result<u64> {
    let done = sqlx::query("DELETE FROM invitations WHERE organization = $1")
        .bind(codec::id(&organization))
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

/// Refuses to let an organisation's owners choose the password of a user who belongs to another organisation too: they would
/// reach its projects.
async fn only_here(tx: &mut Conn, organization: OrganizationId, user: UserId) -> Result<()> {
    member(tx, organization, user).await?;
    let row = sqlx::query("SELECT 1 AS one FROM members WHERE user_id = $1 AND organization <> $2 LIMIT 1")
        .bind(codec::id(&user))
        .bind(codec::id(&organization))
        .fetch_optional(tx)
        .await?;
    if row.is_some() {
        return Err(StoreError::Refused(
            "the user belongs to another organization too, so only the user changes the password".to_owned(),
        ));
    }
    Ok(())
}

async fn name_organization(
    tx: &mut Conn,
    organization: OrganizationId,
    name: &str,
    now: UnixMs,
) -> Result<()> {
    // The default organisation has its name without a row.
    if name == DEFAULT_ORGANIZATION && organization != OrganizationId::DEFAULT {
        return Err(StoreError::Exists {
            what: "organization",
            name: name.to_owned(),
        });
    }
    sqlx::query(
        "INSERT INTO organizations (id, name, created) VALUES ($1, $2, $3) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    )
    .bind(codec::id(&organization))
    .bind(name)
    .bind(now)
    .execute(tx)
    .await
    .map_err(|error| taken(error, "organization", name))?;
    Ok(())
}

async fn invite(
    tx: &mut Conn,
    organization: OrganizationId,
    hash: SecretHash,
    invitation: &Invitation,
    now: UnixMs,
) -> Result<()> {
    sqlx::query("DELETE FROM invitations WHERE expires <= $1")
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let count = sqlx::query(
        "SELECT (SELECT count(*) FROM members WHERE organization = $1) \
         + (SELECT count(*) FROM invitations WHERE organization = $1) AS n",
    )
    .bind(codec::id(&organization))
    .fetch_one(&mut *tx)
    .await?;
    full(codec::get(&count, "n")?, "members and invitations", MAX_MEMBERS)?;
    sqlx::query(
        "INSERT INTO invitations (hash, organization, role, user_id, author, created, expires) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&hash.0[..])
    .bind(codec::id(&organization))
    .bind(codec::role_code(invitation.role))
    .bind(invitation.user.as_ref().map(codec::id))
    .bind(&invitation.by)
    .bind(invitation.created)
    .bind(invitation.expires)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes an invitation of an organisation and returns it.
async fn use_up(
    tx: &mut Conn,
    organization: OrganizationId,
    hash: SecretHash,
    now: UnixMs,
) -> Result<Invitation> {
    let row = sqlx::query(INVITATION)
        .bind(&hash.0[..])
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
    let found = row.as_ref().map(invitation).transpose()?;
    let found = found
        .filter(|found| found.organization == organization)
        .ok_or_else(|| StoreError::Refused("the link was used already or is too old".to_owned()))?;
    sqlx::query("DELETE FROM invitations WHERE hash = $1")
        .bind(&hash.0[..])
        .execute(tx)
        .await?;
    Ok(found)
}

pub(super) async fn set_member(
    tx: &mut Conn,
    organization: OrganizationId,
    user: UserId,
    role: Role,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO members (organization, user_id, role) VALUES ($1, $2, $3) \
         ON CONFLICT (organization, user_id) DO UPDATE SET role = excluded.role",
    )
    .bind(codec::id(&organization))
    .bind(codec::id(&user))
    .bind(codec::role_code(role))
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns the role of a user in an organisation; `None` if the user is no member.
pub(super) async fn find_member(
    tx: &mut Conn,
    organization: OrganizationId,
    user: UserId,
) -> Result<Option<Role>> {
    let row = sqlx::query("SELECT role FROM members WHERE organization = $1 AND user_id = $2")
        .bind(codec::id(&organization))
        .bind(codec::id(&user))
        .fetch_optional(tx)
        .await?;
    row.map(|row| codec::role(codec::get(&row, "role")?)).transpose()
}

/// Returns the role of a member.
async fn member(tx: &mut Conn, organization: OrganizationId, user: UserId) -> Result<Role> {
    let role = find_member(tx, organization, user).await?;
    role.ok_or_else(|| StoreError::Missing {
        what: "member",
        name: user.to_string(),
    })
}

/// Refuses a change that would leave the organisation without an owner.
async fn another_owner(tx: &mut Conn, organization: OrganizationId, but: UserId) -> Result<()> {
    let row = sqlx::query(
        "SELECT count(*) AS n FROM members WHERE organization = $1 AND role = $2 AND user_id <> $3",
    )
    .bind(codec::id(&organization))
    .bind(codec::role_code(Role::Owner))
    .bind(codec::id(&but))
    .fetch_one(tx)
    .await?;
    if codec::get::<i64>(&row, "n")? == 0 {
        return Err(StoreError::Refused(
            "the organization would have no owner".to_owned(),
        ));
    }
    Ok(())
}

pub(super) async fn remove(tx: &mut Conn, organization: OrganizationId, user: UserId) -> Result<()> {
    sqlx::query("DELETE FROM members WHERE organization = $1 AND user_id = $2")
        .bind(codec::id(&organization))
        .bind(codec::id(&user))
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM users WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM members WHERE user_id = $1)")
        .bind(codec::id(&user))
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM invitations WHERE user_id = $1")
        .bind(codec::id(&user))
        .execute(&mut *tx)
        .await?;
    machine_logins::of_deleted(tx, user).await
}

async fn set_password(tx: &mut Conn, user: UserId, password: &str) -> Result<()> {
    no_provider(tx, user).await?;
    let done = sqlx::query("UPDATE users SET password = $2, logins = logins + 1 WHERE id = $1")
        .bind(codec::id(&user))
        .bind(password)
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "user", &user).map(drop)
}

/// Refuses to give a password to a user of an identity provider: with it, the person would stay after the provider has removed
/// the account.
async fn no_provider(tx: &mut Conn, user: UserId) -> Result<()> {
    let row = sqlx::query("SELECT 1 AS one FROM users WHERE id = $1 AND issuer IS NOT NULL")
        .bind(codec::id(&user))
        .fetch_optional(&mut *tx)
        .await?;
    if row.is_some() {
        return Err(StoreError::Refused(
            "the user signs in with an identity provider and has no password here".to_owned(),
        ));
    }
    Ok(())
}
