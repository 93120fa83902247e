//! Forms that change a group or steer its rollout.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Change, FollowedBranch, Group, RolloutCommand};
use iottly_protocol::GroupId;

use super::super::forms::Fields;
use super::super::layout::failure;
use super::super::visitor::Visitor;
use super::{address, find, policy};
use crate::api::checked_name;
use crate::error::ApiError;
use iottly_cloud::clock;

type OfGroup = Path<(String, String)>;

pub(in super::super) async fn create(visitor: Visitor, fields: Fields) -> Response {
    let created = async {
        let id = GroupId::random();
        let change = Change::CreateGroup {
            id,
            name: checked_name("name", fields.get("name").unwrap_or_default())?,
            branch: fields
                .get("branch")
                .filter(|branch| !branch.is_empty())
                .map(str::to_owned),
        };
        visitor.project.change(change, clock::now()).await?;
        Ok(format!("{}/groups/{id}", visitor.base()))
    };
    follow(created.await)
}

/// Changes the name and the branch of a group.
pub(in super::super) async fn update(visitor: Visitor, Path((_, id)): OfGroup, fields: Fields) -> Response {
    let changed = async {
        let group = find(&visitor, &id).await?;
        let name = fields
            .get("name")
            .map(|name| checked_name("name", name))
            .transpose()?;
        let branch = fields.get("branch").map(|branch| match branch {
            "" => FollowedBranch::Absent,
            named => FollowedBranch::Named(named.to_owned()),
        });
        let change = Change::UpdateGroup {
            id: group.id,
            name: name.filter(|name| *name != group.name),
            branch,
        };
        visitor.project.change(change, clock::now()).await?;
        Ok(address(&visitor, &group))
    };
    follow(changed.await)
}

/// Sets the rollout policy of a group.
pub(in super::super) async fn set_policy(
    visitor: Visitor,
    Path((_, id)): OfGroup,
    fields: Fields,
) -> Response {
    let changed = async {
        let group = find(&visitor, &id).await?;
        let policy = policy::parse(&fields, &group.policy)?;
        let change = Change::SetPolicy(group.id, Box::new(policy));
        visitor.project.change(change, clock::now()).await?;
        Ok(address(&visitor, &group))
    };
    follow(changed.await)
}

pub(in super::super) async fn pause(visitor: Visitor, Path((_, id)): OfGroup, fields: Fields) -> Response {
    if let Err(error) = sure(&fields) {
        return failure(&error);
    }
    follow(steer(&visitor, &id, RolloutCommand::Pause).await)
}

pub(in super::super) async fn resume(visitor: Visitor, Path((_, id)): OfGroup, fields: Fields) -> Response {
    if let Err(error) = sure(&fields) {
        return failure(&error);
    }
    follow(steer(&visitor, &id, RolloutCommand::Resume).await)
}

pub(in super::super) async fn cancel(visitor: Visitor, Path((_, id)): OfGroup, fields: Fields) -> Response {
    if let Err(error) = sure(&fields) {
        return failure(&error);
    }
    follow(steer(&visitor, &id, RolloutCommand::Cancel).await)
}

async fn steer(visitor: &Visitor, id: &str, command: RolloutCommand) -> Result<String, ApiError> {
    let group = find(visitor, id).await?;
    visitor
        .project
        .change(Change::SteerRollout(group.id, command), clock::now())
        .await?;
    visitor.project.services().rollouts.wake();
    Ok(address(visitor, &group))
}

/// Rolls a group back, and shows the rollout that does so.
pub(in super::super) async fn roll_back(
    visitor: Visitor,
    Path((_, id)): OfGroup,
    fields: Fields,
) -> Response {
    let done = async {
        sure(&fields)?;
        let group = find(&visitor, &id).await?;
        let access = &visitor.project;
        let flashed = access
            .services()
            .rollouts
            .roll_back(access.principal(), &group, false)
            .await?;
        Ok(rollout_address(&visitor, &group, flashed.rollout))
    };
    follow(done.await)
}

/// Deletes a group; its devices move to `_orphaned`.
pub(in super::super) async fn delete(visitor: Visitor, Path((_, id)): OfGroup, fields: Fields) -> Response {
    let deleted = async {
        sure(&fields)?;
        let group = find(&visitor, &id).await?;
        visitor
            .project
            .change(Change::DeleteGroup(group.id), clock::now())
            .await?;
        visitor.project.services().rollouts.wake();
        Ok(format!("{}/groups", visitor.base()))
    };
    follow(deleted.await)
}

/// Refuses a form that did not come from the question before its act.
pub(super) fn sure(fields: &Fields) -> Result<(), ApiError> {
    if fields.get("sure") == Some("yes") {
        Ok(())
    } else {
        Err(ApiError::invalid(
            "invalid_form",
            "this affects devices; the question before it was not answered",
        ))
    }
}

/// Returns the address of a rollout's page; of its group's without one.
pub(super) fn rollout_address(
    visitor: &Visitor,
    group: &Group,
    rollout: Option<iottly_core::model::RolloutId>,
) -> String {
    let group = address(visitor, group);
    rollout.map_or(group.clone(), |id| format!("{group}/rollouts/{id}"))
}

fn follow(done: Result<String, ApiError>) -> Response {
    match done {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(error) => failure(&error),
    }
}
