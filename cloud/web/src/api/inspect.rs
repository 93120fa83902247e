//! Endpoint that returns a project in the form that the installer reads.

use axum::http::{HeaderMap, header};

use super::Answer;
use super::dto::{Inspect, OK};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Returns the project with its deployment groups and boards, and what the installer needs.
#[utoipa::path(
    get,
    path = "/inspect",
    tag = "projects",
    responses((status = 200, description = "The project", body = Inspect))
)]
pub(super) async fn inspect(access: ProjectAccess, headers: HeaderMap) -> Answer<Inspect> {
    let host = host(&headers)?;
    let project = access.project().await?;
    let groups = access.groups().await?;
    Ok(Spaced(Inspect {
        id: project.id,
        name: project.name,
        deployment_groups: groups.into_iter().map(Into::into).collect(),
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
