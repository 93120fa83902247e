//! Endpoints for the limits of a project and its usage.

use axum::extract::{Path, State};
use iottly_protocol::ProjectId;

use super::Answer;
use super::body::JsonBody;
use super::dto::{LimitsAndUsage, OK, Quotas, UsageDto};
use super::spaced::Spaced;
use crate::app::App;
use crate::app::WebServices;
use crate::auth::{Access, ProjectAccess, Requester};
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{Change, Limits, Scopes};

/// Returns the limits of the project and its usage.
#[utoipa::path(
    get,
    path = "/limits",
    tag = "projects",
    responses((status = 200, description = "The limits and the usage", body = LimitsAndUsage))
)]
pub(super) async fn show(access: ProjectAccess) -> Answer<LimitsAndUsage> {
    answer(access.services(), access.id()).await
}

/// Sets the limits of a project (scope `operator`).
///
/// A limit that is left out is removed.
#[utoipa::path(
    put,
    path = "/projects/{project}/limits",
    tag = "projects",
    request_body = Quotas,
    responses((status = 200, description = "The limits and the usage", body = LimitsAndUsage))
)]
pub(super) async fn set(
    access: Access,
    State(app): State<App>,
    Path(project): Path<String>,
    JsonBody(body): JsonBody<Quotas>,
) -> Answer<LimitsAndUsage> {
    access.require(Scopes::OPERATOR)?;
    let Requester::Principal(by) = access.requester else {
        return Err(ApiError::forbidden("token lacks the scope operator"));
    };
    let project: ProjectId = project.parse().map_err(|_| unknown())?;
    let store = &app.services.store;
    let Quotas {
        devices,
        definitions,
        messages_per_day,
        bytes,
        code_bytes,
    } = body;
    // The project chooses its retention itself, so it stays as it is.
    let retention_bytes = store.limits(project).await?.ok_or_else(unknown)?.retention_bytes;
    let limits = Limits {
        devices,
        definitions,
        messages_per_day,
        bytes,
        retention_bytes,
    };
    store
        .change(project, &by, Change::SetLimits(limits), clock::now())
        .await?;
    store
        .change(project, &by, Change::SetCodeLimit(code_bytes), clock::now())
        .await?;
    answer(&app.services, project).await
}

async fn answer(services: &WebServices, project: ProjectId) -> Answer<LimitsAndUsage> {
    let limits = services.store.limits(project).await?.ok_or_else(unknown)?;
    let usage = services.store.usage(project, services.time.received()).await?;
    let room = services.store.code_room(project).await?.ok_or_else(unknown)?;
    Ok(Spaced(LimitsAndUsage {
        limits: Quotas::of(limits, room),
        usage: UsageDto::of(usage, room),
        status: OK,
    }))
}

fn unknown() -> ApiError {
    ApiError::missing("project is unknown")
}
