//! Endpoints for the signed releases of a project.

use axum::extract::Path;

use super::Answer;
use super::dto::{OK, OneRelease, ReleaseList};
use super::paged::PageSize;
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Default and largest number of releases in a response.
const DEFAULT_RELEASES: usize = 20;
const MAX_RELEASES: usize = 100;

/// Lists the project's releases, newest first.
#[utoipa::path(
    get,
    path = "/releases",
    tag = "releases",
    params(
        ("numReleases" = Option<i64>, Query, minimum = 1, description = "Maximum number of releases; 20 by default, 100 at most"),
        ("before" = Option<i64>, Query, minimum = 1, description = "`next` of the previous page"),
    ),
    responses((status = 200, description = "The releases, newest first", body = ReleaseList))
)]
pub(super) async fn all(access: ProjectAccess, params: Params) -> Answer<ReleaseList> {
    let size = PageSize::read(&params, "numReleases", DEFAULT_RELEASES, MAX_RELEASES)?;
    let releases = access
        .services()
        .store
        .releases(access.id(), params.number("before")?, size.to_read())
        .await?;
    let (releases, next) = size.cut(releases, |last| last.seq);
    Ok(Spaced(ReleaseList {
        releases,
        next,
        status: OK,
    }))
}

/// Returns a release.
#[utoipa::path(
    get,
    path = "/releases/{release}",
    tag = "releases",
    responses((status = 200, description = "The release", body = OneRelease))
)]
pub(super) async fn show(
    access: ProjectAccess,
    Path((_, seq)): Path<(String, String)>,
) -> Answer<OneRelease> {
    let unknown = || ApiError::missing("release is unknown in this project");
    let seq = seq.parse().map_err(|_| unknown())?;
    let release = access
        .services()
        .store
        .one_release(access.id(), seq)
        .await?
        .ok_or_else(unknown)?;
    Ok(Spaced(OneRelease {
        release: release.into(),
        status: OK,
    }))
}
