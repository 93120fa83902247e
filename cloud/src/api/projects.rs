//! Projects. A token acts in its own; making others needs the scope `operator`.

use axum::extract::State;
use iottly_protocol::{GroupId, ProjectId};
use serde::{Deserialize, Serialize};

use super::Answer;
use super::body::JsonBody;
use super::dto::{Date, Done, OK};
use super::spaced::Spaced;
use super::text;
use crate::auth::{Access, ProjectAccess, mint_token};
use crate::clock;
use crate::command::seeded_definitions;
use crate::error::ApiError;
use crate::http::App;
use crate::model::{Change, MAX_RETENTION_DAYS, Project, Scopes};

#[derive(Serialize)]
pub(super) struct ProjectDto {
    id: ProjectId,
    name: String,
    created: Date,
    /// Days that messages are kept; null for ever.
    retention_days: Option<u32>,
}

impl From<Project> for ProjectDto {
    fn from(project: Project) -> Self {
        Self { id: project.id, name: project.name, created: project.created.into(), retention_days: project.retention_days }
    }
}

#[derive(Serialize)]
pub(super) struct All {
    projects: Vec<ProjectDto>,
    status: u16,
}

#[derive(Serialize)]
pub(super) struct One {
    #[serde(flatten)]
    project: ProjectDto,
    status: u16,
}

#[derive(Serialize)]
pub(super) struct Created {
    #[serde(flatten)]
    project: ProjectDto,
    /// A token that may do everything in the new project; shown here and never again.
    token: String,
    status: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

/// The projects that the token sees: its own, or all of them for an operator.
pub(super) async fn all(access: Access, State(app): State<App>) -> Answer<All> {
    access.require(Scopes::READ)?;
    let mut projects = app.services.store.projects().await?;
    if !access.principal.scopes.contains(Scopes::OPERATOR) {
        projects.retain(|project| project.id == access.principal.project);
    }
    Ok(Spaced(All { projects: projects.into_iter().map(Into::into).collect(), status: OK }))
}

/// Makes a project with its default group, branch and message definitions, and the first token for it.
pub(super) async fn create(access: Access, State(app): State<App>, JsonBody(body): JsonBody<Named>) -> Answer<Created> {
    access.require(Scopes::OPERATOR)?;
    let (now, name) = (clock::now(), text::name("name", &body.name)?);
    let services = &app.services;
    let project = Project { id: ProjectId::from_bytes(services.ids.next(now).0), name, created: now, retention_days: None };
    services.store.create_project(&project, GroupId::random(), &seeded_definitions()).await?;
    let minted = mint_token(project.id, "first token", Scopes::PROJECT, None, now)?;
    services.store.create_token(minted.hash, &minted.token).await?;
    Ok(Spaced(Created { project: project.into(), token: minted.text, status: OK }))
}

pub(super) async fn show(access: ProjectAccess) -> Answer<One> {
    Ok(Spaced(One { project: access.project().await?.into(), status: OK }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    name: Option<String>,
    /// Days; 0 for ever.
    retention_days: Option<u32>,
}

pub(super) async fn update(access: ProjectAccess, JsonBody(body): JsonBody<Settings>) -> Answer<One> {
    access.require(Scopes::ADMIN)?;
    let name = body.name.map(|name| text::name("name", &name)).transpose()?;
    if body.retention_days.is_some_and(|days| days > MAX_RETENTION_DAYS) {
        return Err(ApiError::invalid("invalid_body", format!("retention_days is over {MAX_RETENTION_DAYS}")));
    }
    if let Some(name) = name {
        access.change(Change::RenameProject(name), clock::now()).await?;
    }
    if let Some(days) = body.retention_days {
        access.change(Change::SetRetention(Some(days).filter(|days| *days > 0)), clock::now()).await?;
    }
    Ok(Spaced(One { project: access.project().await?.into(), status: OK }))
}

/// Deletes a project at once; the data of its devices is erased in the background.
pub(super) async fn delete(access: ProjectAccess) -> Answer<Done> {
    access.require(Scopes::ADMIN)?;
    let devices = access.devices().await?;
    let tokens = access.services().store.tokens(access.id()).await?;
    access.change(Change::DeleteProject, clock::now()).await?;
    tokens.iter().for_each(|token| access.services().sessions.close_all_of(token.id));
    for device in devices.iter().filter(|device| device.online) {
        access.services().broker.disconnect(device.scope.device).await;
    }
    Ok(Done::answer())
}
