//! Endpoint that tells a caller who it is.

use super::Answer;
use super::dto::{OK, WhoAmI};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use iottly_core::model::Actor;

/// Returns the token or person that makes the request, and what it may do in the project.
#[utoipa::path(
    get,
    path = "/whoami",
    tag = "service",
    responses((status = 200, description = "The caller", body = WhoAmI))
)]
pub(super) async fn whoami(access: ProjectAccess) -> Answer<WhoAmI> {
    let project = access.project().await?;
    let principal = access.principal();
    Ok(Spaced(WhoAmI {
        kind: match principal.actor {
            Actor::User(_) => "person",
            Actor::Token(_) | Actor::Cloud => "token",
        }
        .into(),
        name: principal.name.clone(),
        project: project.id,
        project_name: project.name,
        scopes: principal.scopes,
        deployment_group: principal.group,
        expires: access.expires().map(Into::into),
        status: OK,
    }))
}
