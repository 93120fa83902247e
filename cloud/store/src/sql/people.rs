//! People, organisations and members.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use super::db::{self, Row};
use super::{Backend, codec, people_audit, people_change, people_sign_in, projects};
use crate::write_turns::Lane;
use crate::{Author, PeopleChange, PeopleStore, ProviderUser, Result};
use iottly_core::model::{
    AuditEntry, DEFAULT_ORGANIZATION, Invitation, Member, Membership, Organization, OrganizationId, Project,
    Role, SecretHash, UnixMs, User, UserId, UserName,
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

    async fn sign_in(&self, person: &ProviderUser, now: UnixMs) -> Result<Option<User>> {
        let signed_in = {
            let _turn = self.turns.take(Lane::Organization(OrganizationId::DEFAULT)).await;
            let mut writer = self.write().await?;
            let mut tx = db::begin(&mut writer).await?;
            sqlx::query(db::LOCK_MEMBERS).execute(&mut *tx).await?;
            let user = people_sign_in::run(&mut tx, person, now).await?;
            tx.commit().await?;
            user
        };
        match signed_in {
            Some(id) => self.user(id).await,
            None => Ok(None),
        }
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
        let _turn = self.turns.take(Lane::Organization(organization)).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        sqlx::query(db::LOCK_MEMBERS).execute(&mut *tx).await?;
        let action = change.action();
        if !matches!(change, PeopleChange::CreateOrganization { .. }) {
            people_change::exists(&mut tx, organization).await?;
        }
        let (target, detail) = people_change::run(&mut tx, organization, change, now).await?;
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

pub(super) const INVITATION: &str = "SELECT organization, role, user_id, author, created, expires FROM invitations \
     WHERE hash = $1 AND expires > $2";

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

pub(super) fn invitation(row: &Row) -> Result<Invitation> {
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
