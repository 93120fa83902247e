//! Deployment groups: their list, the page of a group with its rollout, and the forms that steer them.

mod act;
mod flash;
mod list;
mod members;
mod page;
mod policy;
mod rollout;
mod steer;

pub(super) use act::{cancel, create, delete, pause, resume, roll_back, set_policy, update};
pub(super) use flash::{ask, ask_delete, flash};
pub(super) use list::{counts_of, list};
pub(super) use members::show as devices_of_rollout;
pub(super) use page::{of_rollout, show};
pub(super) use steer::{ask_cancel, ask_pause, ask_resume, ask_roll_back};

use iottly_core::model::{Group, Rollout, RolloutMember};
use iottly_core::short_form::equals;

use super::text::escaped;
use super::visitor::Visitor;
use crate::error::ApiError;

/// Returns a group of the visitor's project by its id.
async fn find(visitor: &Visitor, id: &str) -> Result<Group, ApiError> {
    let unknown = || ApiError::missing("deployment group is unknown in this project");
    visitor.project.group(id.parse().map_err(|_| unknown())?).await
}

/// Returns a rollout of a group by its id.
async fn find_rollout(visitor: &Visitor, group: &Group, id: &str) -> Result<Rollout, ApiError> {
    let unknown = || ApiError::missing("rollout is unknown in this group");
    let (store, project) = (&visitor.project.services().store, visitor.project.id());
    let found = store.rollout(project, id.parse().map_err(|_| unknown())?).await?;
    found.filter(|found| found.group == group.id).ok_or_else(unknown)
}

/// Returns the number of devices of a group.
async fn size(visitor: &Visitor, group: &Group) -> Result<u64, ApiError> {
    let access = &visitor.project;
    Ok(access.services().store.group_size(access.id(), group.id).await?)
}

/// Returns the place of a device in a rollout, in a word.
pub(super) fn place_name(member: &RolloutMember) -> &'static str {
    iottly_core::rollout::place(member).as_str()
}

/// Returns the address of a group's page.
fn address(visitor: &Visitor, group: &Group) -> String {
    format!("{}/groups/{}", visitor.base(), group.id)
}

/// Returns the address of the list of a group's devices.
fn devices(visitor: &Visitor, group: &Group) -> String {
    list_of(visitor, &in_group(group))
}

/// Returns the address of the list of a group's devices that run a release.
fn devices_with(visitor: &Visitor, group: &Group, digest: &str) -> String {
    let digest = digest.get(..12).unwrap_or(digest);
    list_of(visitor, &format!("{} digest:{digest}*", in_group(group)))
}

fn list_of(visitor: &Visitor, filter: &str) -> String {
    format!("{}/devices?filter={}", visitor.base(), escaped(filter))
}

/// Returns the address of the list of a group's devices whose digest meets a condition of the filter language.
fn devices_where(visitor: &Visitor, group: &Group, digest: &serde_json::Value) -> String {
    let filter = serde_json::json!({"group": group.name, "digest": digest});
    list_of(visitor, &filter.to_string())
}

/// Returns the filter that a group's devices match.
fn in_group(group: &Group) -> String {
    equals("group", &group.name)
}

/// Returns a number of devices with its noun.
fn of_devices(count: u64) -> String {
    if count == 1 {
        "1 device".to_owned()
    } else {
        format!("{count} devices")
    }
}
