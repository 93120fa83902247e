//! People, organisations and members.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use super::db::{self, Conn, Row};
use super::{Backend, codec, full, missing, people_audit, projects, taken};
use crate::{Author, PeopleChange, PeopleStore, Result, StoreError};
use iottly_core::model::{
    AuditEntry, DEFAULT_ORGANIZATION, Invitation, MAX_MEMBERS, MAX_ORGANIZATIONS, Member, Membership,
    Organization, OrganizationId, Project, Role, SecretHash, UnixMs, User, UserId, UserName,
};

macro_rules! user {
    ($($rest:literal),*) => {
        concat!(
            "SELECT u.id AS user_id, u.name AS user_name, u.created AS user_created, u.seen, u.password, u.logins",
            $($rest),*
        )
    };
}

#[async_trait]
impl PeopleStore for Backend {
    async fn has_users(&self) -> Result<bool> {
        let row = sqlx::query("SELECT 1 AS one FROM users LIMIT 1")
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.is_some())
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        let query = sqlx::query(user!(" FROM users u WHERE u.id = $1")).bind(codec::id(&id));
        query
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(user)
            .transpose()
    }

    async fn credentials(&self, name: &UserName) -> Result<Option<(User, Option<String>)>> {
        let row = sqlx::query(user!(" FROM users u WHERE u.name = $1"))
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref()
            .map(|row| Ok((user(row)?, codec::get(row, "password")?)))
            .transpose()
    }

    async fn user_seen(&self, id: UserId, now: UnixMs) -> Result<()> {
        sqlx::query("UPDATE users SET seen = $2 WHERE id = $1")
            .bind(codec::id(&id))
            .bind(now)
            .execute(&mut *self.write().await?)
            .await?;
        Ok(())
    }

    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>> {
        let rows = sqlx::query(
            "SELECT m.organization, m.role, o.name, o.created FROM members m \
             LEFT JOIN organizations o ON o.id = m.organization WHERE m.user_id = $1",
        )
        .bind(codec::id(&user))
        .fetch_all(&self.readers)
        .await?;
        let mut memberships = rows
            .iter()
            .map(|row| {
                Ok(Membership {
                    organization: organization(row, "organization")?,
                    role: codec::role(codec::get(row, "role")?)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        memberships.sort_by(|one, other| one.organization.name.cmp(&other.organization.name));
        Ok(memberships)
    }

    async fn role_of(&self, organization: OrganizationId, user: UserId) -> Result<Option<Role>> {
        let row = sqlx::query("SELECT role FROM members WHERE organization = $1 AND user_id = $2")
            .bind(codec::id(&organization))
            .bind(codec::id(&user))
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| codec::role(codec::get(&row, "role")?)).transpose()
    }

    async fn role_in(&self, project: ProjectId, user: UserId) -> Result<Option<Role>> {
        let row = sqlx::query(
            "SELECT m.role FROM projects p JOIN members m ON m.organization = p.organization \
             WHERE p.id = $1 AND m.user_id = $2",
        )
        .bind(codec::id(&project))
        .bind(codec::id(&user))
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| codec::role(codec::get(&row, "role")?)).transpose()
    }

    async fn projects_of(&self, user: UserId) -> Result<Vec<Project>> {
        let rows = sqlx::query(
            "SELECT p.id, p.name, p.created, p.retention_days FROM projects p \
             JOIN members m ON m.organization = p.organization WHERE m.user_id = $1 ORDER BY p.name, p.id",
        )
        .bind(codec::id(&user))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(projects::project).collect()
    }

    async fn organizations(&self) -> Result<Vec<Organization>> {
        let rows = sqlx::query("SELECT id, name, created FROM organizations ORDER BY name")
            .fetch_all(&self.readers)
            .await?;
        let mut all = rows
            .iter()
            .map(|row| organization(row, "id"))
            .collect::<Result<Vec<_>>>()?;
        if all.iter().all(|one| one.id != OrganizationId::DEFAULT) {
            all.push(default_organization());
            all.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(all)
    }

    async fn members(&self, organization: OrganizationId) -> Result<Vec<Member>> {
        let rows = sqlx::query(user!(
            ", m.role FROM members m JOIN users u ON u.id = m.user_id WHERE m.organization = $1 ORDER BY u.name"
        ))
        .bind(codec::id(&organization))
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Member {
                    user: user(row)?,
                    role: codec::role(codec::get(row, "role")?)?,
                })
            })
            .collect()
    }

    async fn invitation(&self, hash: SecretHash, now: UnixMs) -> Result<Option<Invitation>> {
        let row = sqlx::query(INVITATION)
            .bind(&hash.0[..])
            .bind(now)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(invitation).transpose()
    }

    async fn change_people(
        &self,
        organization: OrganizationId,
        by: &Author,
        change: PeopleChange,
        now: UnixMs,
    ) -> Result<()> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        sqlx::query(db::LOCK_MEMBERS).execute(&mut *tx).await?;
        let action = change.action();
        if !matches!(change, PeopleChange::CreateOrganization { .. }) {
            exists(&mut tx, organization).await?;
        }
        let (target, detail) = run(&mut tx, organization, change, now).await?;
        people_audit::append(&mut tx, organization, by, (action, target, detail), now).await?;
        Ok(tx.commit().await?)
    }

    async fn organization_audit(
        &self,
        organization: OrganizationId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        people_audit::newest(&self.readers, organization, before, limit).await
    }
}

const INVITATION: &str = "SELECT organization, role, user_id, author, created, expires FROM invitations \
     WHERE hash = $1 AND expires > $2";

/// Applies a change; returns target and details of its audit entry.
async fn run(
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
async fn withdraw(tx: &mut Conn, organization: OrganizationId) -> Result<u64> {
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

async fn set_member(tx: &mut Conn, organization: OrganizationId, user: UserId, role: Role) -> Result<()> {
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

/// Returns the role of a member.
async fn member(tx: &mut Conn, organization: OrganizationId, user: UserId) -> Result<Role> {
    let row = sqlx::query("SELECT role FROM members WHERE organization = $1 AND user_id = $2")
        .bind(codec::id(&organization))
        .bind(codec::id(&user))
        .fetch_optional(tx)
        .await?;
    match row {
        Some(row) => codec::role(codec::get(&row, "role")?),
        None => Err(StoreError::Missing {
            what: "member",
            name: user.to_string(),
        }),
    }
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

async fn remove(tx: &mut Conn, organization: OrganizationId, user: UserId) -> Result<()> {
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
        .execute(tx)
        .await?;
    Ok(())
}

async fn set_password(tx: &mut Conn, user: UserId, password: &str) -> Result<()> {
    let done = sqlx::query("UPDATE users SET password = $2, logins = logins + 1 WHERE id = $1")
        .bind(codec::id(&user))
        .bind(password)
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "user", &user).map(drop)
}

fn default_organization() -> Organization {
    Organization {
        id: OrganizationId::DEFAULT,
        name: DEFAULT_ORGANIZATION.to_owned(),
        created: 0,
    }
}

/// Reads an organisation whose row may be absent, which only that of the default one is.
fn organization(row: &Row, id: &'static str) -> Result<Organization> {
    let id = OrganizationId::from_bytes(codec::bytes(row, "organizations", id)?);
    let name: Option<String> = codec::get(row, "name")?;
    let created: Option<UnixMs> = codec::get(row, "created")?;
    match (name, created) {
        (Some(name), Some(created)) => Ok(Organization { id, name, created }),
        _ => Ok(Organization {
            id,
            ..default_organization()
        }),
    }
}

fn user(row: &Row) -> Result<User> {
    let name: &str = codec::get(row, "user_name")?;
    let name = name
        .parse::<UserName>()
        .map_err(|error| codec::corrupt("users", "name", error.to_string()))?;
    let password: Option<&str> = codec::get(row, "password")?;
    Ok(User {
        id: UserId::from_bytes(codec::bytes(row, "users", "user_id")?),
        name,
        created: codec::get(row, "user_created")?,
        seen: codec::get(row, "seen")?,
        has_password: password.is_some(),
        logins: codec::unsigned(codec::get(row, "logins")?, "users", "logins")?,
    })
}

fn invitation(row: &Row) -> Result<Invitation> {
    let user: Option<&[u8]> = codec::get(row, "user_id")?;
    Ok(Invitation {
        organization: OrganizationId::from_bytes(codec::bytes(row, "invitations", "organization")?),
        role: codec::role(codec::get(row, "role")?)?,
        user: match user {
            Some(_) => Some(UserId::from_bytes(codec::bytes(row, "invitations", "user_id")?)),
            None => None,
        },
        by: codec::get(row, "author")?,
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
    })
}
