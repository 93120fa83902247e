//! Endpoints for projects. A token acts in its own project; creating projects requires the scope `operator`.

use axum::extract::State;
use iottly_protocol::{GroupId, ProjectId};

use super::Answer;
use super::body::JsonBody;
use super::dto::{CreatedProject, Done, NewProject, OK, OneProject, ProjectList, ProjectSettings};
use super::names;
use super::spaced::Spaced;
use crate::app::{App, WebServices};
use crate::auth::{Access, ProjectAccess, Requester, mint_token};
use crate::error::ApiError;
use crate::sessions::Person;
use iottly_cloud::clock;
use iottly_core::command::seeded_definitions;
use iottly_core::model::{
    Change, Limits, MAX_RETENTION_DAYS, OrganizationId, Principal, Project, Role, Scopes, UnixMs,
};
use iottly_store::Author;

/// Maximum number of projects that a person can reach and still create another. Each has limits of its own.
const MAX_PROJECTS: usize = 100;

/// Lists the projects that the token can access: its own, or all of them for an operator.
#[utoipa::path(
    get,
    path = "/projects",
    tag = "projects",
    responses((status = 200, description = "The projects", body = ProjectList))
)]
pub(super) async fn all(access: Access, State(app): State<App>) -> Answer<ProjectList> {
    access.require(Scopes::READ)?;
    let store = &app.services.store;
    let projects = match &access.requester {
        Requester::Person(person) => {
            let only = person.machine.as_ref().and_then(|login| login.project);
            let mut projects = store.projects_of(person.id).await?;
            projects.retain(|project| only.is_none_or(|only| only == project.id));
            projects
        }
        Requester::Principal(principal) if principal.scopes.contains(Scopes::OPERATOR) => {
            store.projects().await?
        }
        Requester::Principal(principal) => store.project(principal.project).await?.into_iter().collect(),
    };
    Ok(Spaced(ProjectList {
        projects: projects.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Creates a project with its default group, branch and message definitions, and its first token.
///
/// For tokens with the scope `operator`, and for owners of an organisation.
#[utoipa::path(
    post,
    path = "/projects",
    tag = "projects",
    request_body = NewProject,
    responses((status = 200, description = "The new project with its first token", body = CreatedProject))
)]
pub(super) async fn create(
    access: Access,
    State(app): State<App>,
    JsonBody(body): JsonBody<NewProject>,
) -> Answer<CreatedProject> {
    let now = clock::now();
    let services = &app.services;
    let project = match &access.requester {
        Requester::Person(person) if person.machine.is_some() => {
            return Err(ApiError::forbidden("a machine login creates no projects"));
        }
        Requester::Person(person) => create_as(services, person, body, now).await?,
        Requester::Principal(_) => {
            access.require(Scopes::OPERATOR)?;
            let owner = body.organization.unwrap_or(OrganizationId::DEFAULT);
            create_in(services, owner, &body.name, now).await?
        }
    };
    let minted = mint_token(project.id, "first token", Scopes::PROJECT, None, now)?;
    let Author { actor, name, address } = access.author();
    let by = Principal {
        project: project.id,
        actor,
        name,
        scopes: Scopes::PROJECT,
        group: None,
        address,
    };
    let first = Change::CreateToken(minted.hash, minted.token);
    services.store.change(project.id, &by, first, now).await?;
    Ok(Spaced(CreatedProject {
        project: project.into(),
        token: minted.text,
        status: OK,
    }))
}

/// Creates a project of a person, without a token.
///
/// # Errors
/// 403 if the person owns no organisation, 409 if it has too many projects.
pub(crate) async fn create_as(
    services: &WebServices,
    person: &Person,
    body: NewProject,
    now: UnixMs,
) -> Result<Project, ApiError> {
    let owner = own_organization(services, person, body.organization).await?;
    create_in(services, owner, &body.name, now).await
}

async fn create_in(
    services: &WebServices,
    owner: OrganizationId,
    name: &str,
    now: UnixMs,
) -> Result<Project, ApiError> {
    let project = Project {
        id: ProjectId::from_bytes(services.ids.next(now).0),
        name: names::name("name", name)?,
        created: now,
        retention_days: None,
    };
    services
        .store
        .create_project_in(owner, &project, GroupId::random(), &seeded_definitions())
        .await?;
    Ok(project)
}

/// Returns the organisation in which a person creates a project: the one that is named, or the first that the person owns.
async fn own_organization(
    services: &WebServices,
    person: &Person,
    named: Option<OrganizationId>,
) -> Result<OrganizationId, ApiError> {
    if services.store.projects_of(person.id).await?.len() >= MAX_PROJECTS {
        return Err(ApiError::conflict(
            "limit_reached",
            format!("projects have reached their limit of {MAX_PROJECTS}"),
        ));
    }
    let memberships = services.store.memberships(person.id).await?;
    memberships
        .into_iter()
        .filter(|membership| membership.role == Role::Owner)
        .map(|membership| membership.organization.id)
        .find(|id| named.is_none_or(|named| named == *id))
        .ok_or_else(|| ApiError::forbidden("only owners of an organization create projects in it"))
}

/// Returns the project.
#[utoipa::path(
    get,
    path = "/",
    tag = "projects",
    responses((status = 200, description = "The project", body = OneProject))
)]
pub(super) async fn show(access: ProjectAccess) -> Answer<OneProject> {
    answer(&access).await
}

/// Changes the given properties of the project; the others keep their values (scope `admin`).
#[utoipa::path(
    put,
    path = "/",
    tag = "projects",
    request_body = ProjectSettings,
    responses((status = 200, description = "The project after the change", body = OneProject))
)]
pub(super) async fn update(
    access: ProjectAccess,
    JsonBody(body): JsonBody<ProjectSettings>,
) -> Answer<OneProject> {
    access.require(Scopes::ADMIN)?;
    let name = body.name.map(|name| names::name("name", &name)).transpose()?;
    if body.retention_days.is_some_and(|days| days > MAX_RETENTION_DAYS) {
        return Err(ApiError::invalid(
            "invalid_body",
            format!("retention_days is over {MAX_RETENTION_DAYS}"),
        ));
    }
    if let Some(name) = name {
        access.change(Change::RenameProject(name), clock::now()).await?;
    }
    if let Some(days) = body.retention_days {
        access
            .change(
                Change::SetRetention(Some(days).filter(|days| *days > 0)),
                clock::now(),
            )
            .await?;
    }
    if let Some(bytes) = body.retention_bytes {
        let limits = Limits {
            retention_bytes: Some(bytes).filter(|bytes| *bytes > 0),
            ..limits(&access).await?
        };
        access.change(Change::SetLimits(limits), clock::now()).await?;
    }
    if let Some(public) = body.public_releases {
        access
            .change(Change::SetPublicReleases(public), clock::now())
            .await?;
    }
    answer(&access).await
}

async fn limits(access: &ProjectAccess) -> Result<Limits, ApiError> {
    let limits = access.services().store.limits(access.id()).await?;
    limits.ok_or_else(|| ApiError::forbidden("project is unknown"))
}

async fn answer(access: &ProjectAccess) -> Answer<OneProject> {
    let retention_bytes = limits(access).await?.retention_bytes;
    let public_releases = access.services().store.public_releases(access.id()).await?;
    Ok(Spaced(OneProject {
        project: access.project().await?.into(),
        retention_bytes,
        public_releases: public_releases.unwrap_or_default(),
        status: OK,
    }))
}

/// Deletes a project (scope `admin`).
///
/// The project is deleted at once and its active rollouts are cancelled; the data of its devices is erased in
/// the background.
#[utoipa::path(
    delete,
    path = "/",
    tag = "projects",
    responses((status = 200, description = "The project was deleted", body = Done))
)]
pub(super) async fn delete(access: ProjectAccess) -> Answer<Done> {
    access.require(Scopes::ADMIN)?;
    let store = &access.services().store;
    let connected = store.connected_devices(access.id(), usize::MAX).await?;
    access.services().rollouts.withdraw_all(access.principal()).await;
    access.change(Change::DeleteProject, clock::now()).await?;
    let (rollouts, project) = (access.services().rollouts.clone(), access.id());
    let forgotten = tokio::task::spawn_blocking(move || rollouts.repositories().forget(project)).await;
    if let Ok(Err(error)) = forgotten {
        tracing::error!(%error, "failed to delete the releases of a deleted project; their files stay on the disk");
    }
    access.services().sessions.close_project(project);
    for device in connected {
        access.services().broker.disconnect(device).await;
    }
    Ok(Done::answer())
}
