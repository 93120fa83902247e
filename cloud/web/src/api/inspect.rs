//! Endpoint that returns a project in the form that the installer reads.

use axum::http::{HeaderMap, header};

use super::dto::{Inspect, OK};
use super::query::Params;
use super::spaced::Spaced;
use super::{Answer, group_members};
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Returns the project with its deployment groups and boards, and what the installer needs.
#[utoipa::path(
    get,
    path = "/inspect",
    tag = "projects",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, description = "Maximum number of boards of each group, 1,000 at most; without it, all of them"),
    ),
    responses((status = 200, description = "The project", body = Inspect))
)]
pub(super) async fn inspect(access: ProjectAccess, headers: HeaderMap, params: Params) -> Answer<Inspect> {
    let host = host(&headers)?;
    let project = access.project().await?;
    let deployment_groups = group_members::all(&access, &params).await?;
    Ok(Spaced(Inspect {
        id: project.id,
        name: project.name,
        deployment_groups,
        projectgetagenturl: format!("http://{host}/v1.0/project/{}/agent", project.id),
        agentfile: concat!("iottlyagent_", env!("CARGO_PKG_VERSION"), "_linux_AMD64.tar.gz").to_owned(),
        agentapihost: host,
        board: "Linux AMD64",
        status: OK,
    }))
}

/// Returns the host name under which the client reached the cloud.
fn host(headers: &HeaderMap) -> Result<String, ApiError> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let plain = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
    if host.is_empty() || !plain {
        return Err(ApiError::invalid(
            "invalid_host",
            "Host header is not a host name",
        ));
    }
    Ok(host.to_owned())
}
