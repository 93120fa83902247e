//! Accounts of people whom an identity provider has named, inside of a transaction. Accounts are found by issuer and subject,
//! never by a name or an e-mail address, which the provider may give to another person.

use super::codec;
use super::db::Conn;
use super::people_change::{find_member, remove, set_member, withdraw};
use super::{full, people_audit, taken};
use crate::{Author, ProviderUser, Result};
use iottly_core::model::{Actor, MAX_MEMBERS, OrganizationId, Role, SecretHash, UnixMs, UserId, UserName};

/// Organisation whose roles the provider's groups decide.
const ORGANIZATION: OrganizationId = OrganizationId::DEFAULT;

/// Brings the account of a person up to date and returns its id; `None` if the person has no account afterwards.
///
/// The groups of the provider count more than the rule that an organisation keeps an owner: a person who left must be out.
pub(super) async fn run(tx: &mut Conn, person: &ProviderUser, now: UnixMs) -> Result<Option<UserId>> {
    let row = sqlx::query("SELECT id, name FROM users WHERE issuer = $1 AND subject = $2")
        .bind(&person.issuer)
        .bind(&person.subject)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else {
        return match person.role {
            Some(role) => Ok(Some(add(tx, person, role, now).await?)),
            None => Ok(None),
        };
    };
    let user = UserId::from_bytes(codec::bytes(&row, "users", "id")?);
    let name: String = codec::get(&row, "name")?;
    let before = find_member(tx, ORGANIZATION, user).await?;
    let entry = match (before, person.role) {
        (before, after) if before == after => None,
        (Some(before), Some(after)) => {
            set_member(tx, ORGANIZATION, user, after).await?;
            Some((
                "member.role",
                user.to_string(),
                format!("{before} to {after} by groups of {}", person.issuer),
            ))
        }
        (None, Some(after)) => {
            room(tx).await?;
            set_member(tx, ORGANIZATION, user, after).await?;
            Some((
                "member.join",
                name.clone(),
                format!("{after} by groups of {}", person.issuer),
            ))
        }
        (before, None) => {
            remove(tx, ORGANIZATION, user).await?;
            let before = before.map_or_else(String::new, |role| role.to_string());
            Some((
                "member.remove",
                user.to_string(),
                format!("{before} by groups of {}", person.issuer),
            ))
        }
    };
    if before == Some(Role::Owner) && person.role != Some(Role::Owner) {
        // The former owner may have made links, and could return by one.
        withdraw(tx, ORGANIZATION).await?;
    }
    if let Some(entry) = entry {
        people_audit::append(tx, ORGANIZATION, &author(user, &name, person), entry, now).await?;
    }
    let done = sqlx::query("UPDATE users SET seen = $2 WHERE id = $1")
        .bind(codec::id(&user))
        .bind(now)
        .execute(tx)
        .await?;
    Ok((done.rows_affected() > 0).then_some(user))
}

async fn add(tx: &mut Conn, person: &ProviderUser, role: Role, now: UnixMs) -> Result<UserId> {
    room(tx).await?;
    let (user, name) = (UserId::random(), free_name(tx, person).await?);
    sqlx::query(
        "INSERT INTO users (id, name, issuer, subject, created, seen) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(codec::id(&user))
    .bind(&name)
    .bind(&person.issuer)
    .bind(&person.subject)
    .bind(now)
    .execute(&mut *tx)
    .await
    .map_err(|error| taken(error, "user", &name))?;
    set_member(tx, ORGANIZATION, user, role).await?;
    let entry = (
        "member.join",
        name.clone(),
        format!("{role} by groups of {}", person.issuer),
    );
    people_audit::append(tx, ORGANIZATION, &author(user, &name, person), entry, now).await?;
    Ok(user)
}

/// Returns the person's name, with a suffix if another user has it; a name of the suffix alone if the person has none.
async fn free_name(tx: &mut Conn, person: &ProviderUser) -> Result<String> {
    let hash = SecretHash::of(format!("{}\0{}", person.issuer, person.subject).as_bytes()).0;
    let suffix: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let unnamed = format!("user-{suffix}");
    let Some(name) = &person.name else {
        return Ok(unnamed);
    };
    let row = sqlx::query("SELECT 1 AS one FROM users WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(tx)
        .await?;
    if row.is_none() {
        return Ok(name.to_string());
    }
    let long = format!("{name}~{suffix}").parse::<UserName>();
    Ok(long.map_or(unnamed, |long| long.to_string()))
}

async fn room(tx: &mut Conn) -> Result<()> {
    let count = sqlx::query("SELECT count(*) AS n FROM members WHERE organization = $1")
        .bind(codec::id(&ORGANIZATION))
        .fetch_one(tx)
        .await?;
    full(codec::get(&count, "n")?, "members", MAX_MEMBERS)
}

fn author(user: UserId, name: &str, person: &ProviderUser) -> Author {
    Author {
        actor: Actor::User(user),
        name: name.to_owned(),
        address: person.address,
    }
}
