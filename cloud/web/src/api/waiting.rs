//! Endpoints for boards that wait for a person's approval.

use axum::extract::Path;
use iottly_cloud::enrolment::Placement;
use iottly_protocol::enroll::ShortCode;

use super::Answer;
use super::body::JsonBody;
use super::dto::{ApprovalBody, Done, OK, OneProps, OneWaitingBoard, Props, WaitingBoardList};
use super::names;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Lists the boards that wait with an enrolment key of the project.
///
/// A board without an enrolment key belongs to no project and is in no list; it is named by the code on its screen.
#[utoipa::path(
    get,
    path = "/waiting",
    tag = "enrolment",
    responses((status = 200, description = "The boards", body = WaitingBoardList))
)]
pub(crate) async fn all(access: ProjectAccess) -> Answer<WaitingBoardList> {
    let boards = access.services().enrolment.waiting(access.id());
    Ok(Spaced(WaitingBoardList {
        boards: boards.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Returns the board that shows a code.
///
/// After five codes that no board shows, a token or person has to wait for up to ten minutes.
#[utoipa::path(
    get,
    path = "/waiting/{code}",
    tag = "enrolment",
    responses((status = 200, description = "The board", body = OneWaitingBoard))
)]
pub(crate) async fn show(
    access: ProjectAccess,
    Path((_, code)): Path<(String, String)>,
) -> Answer<OneWaitingBoard> {
    let enrolment = &access.services().enrolment;
    let board = enrolment.waiting_board(access.principal(), parsed(&code)?)?;
    Ok(Spaced(OneWaitingBoard {
        board: board.into(),
        status: OK,
    }))
}

/// Makes the board that shows a code a device of the project.
///
/// The board gets its place when it asks again, within seconds.
#[utoipa::path(
    post,
    path = "/waiting/{code}",
    tag = "enrolment",
    request_body = ApprovalBody,
    responses((status = 200, description = "The new device", body = OneProps))
)]
pub(crate) async fn approve(
    access: ProjectAccess,
    Path((_, code)): Path<(String, String)>,
    JsonBody(body): JsonBody<ApprovalBody>,
) -> Answer<OneProps> {
    let placement = Placement {
        name: body.name.map(|name| names::name("name", &name)).transpose()?,
        group: body.deployment_group,
    };
    let enrolment = &access.services().enrolment;
    let device = enrolment
        .approve(access.principal(), parsed(&code)?, placement)
        .await?;
    let view = access.services().presence.view(&device);
    Ok(Spaced(OneProps {
        props: Props::new(device, view),
        status: OK,
    }))
}

/// Rejects the board that shows a code.
#[utoipa::path(
    delete,
    path = "/waiting/{code}",
    tag = "enrolment",
    responses((status = 200, description = "The board was rejected", body = Done))
)]
pub(crate) async fn reject(access: ProjectAccess, Path((_, code)): Path<(String, String)>) -> Answer<Done> {
    let enrolment = &access.services().enrolment;
    enrolment.reject(access.principal(), parsed(&code)?).await?;
    Ok(Done::answer())
}

/// Reads a code as people type it.
fn parsed(code: &str) -> Result<ShortCode, ApiError> {
    code.parse()
        .map_err(|_| ApiError::missing("no board that waits shows this code"))
}
