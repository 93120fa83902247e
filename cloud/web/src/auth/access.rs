//! Authentication and authorisation of requests: extractors whose handles reach one project, or one device,
//! only.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::Extensions;
use axum::http::request::Parts;
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use super::bound;
use super::credentials::{self, same_origin};
use super::login::logged_in;
use super::needed::needed;
use super::token::{hash_secret, is_machine_secret};
use crate::app::App;
use crate::app::WebServices;
use crate::client::client_address;
use crate::error::ApiError;
use crate::rate::SharedVerdict;
use crate::sessions::{Holder, Login, Person};
use iottly_cloud::clock;
use iottly_cloud::live;
use iottly_core::model::{
    Actor, Change, Changed, Definition, Device, Group, MachineLoginId, Principal, Project, Scope, Scopes,
    Token, UnixMs,
};
use iottly_store::{Author, Store};

/// Precision with which the last use of a token is recorded: one hour, in milliseconds.
const USED_EVERY_MS: UnixMs = 60 * 60 * 1000;

/// Authenticated requester.
#[derive(Debug, Clone)]
pub(crate) enum Requester {
    /// A token, or a login with a token: acts in one project.
    Principal(Principal),
    /// A person: acts in all projects of its organisations.
    Person(Person),
}

/// Authenticated request; without a valid token or login, 401.
#[derive(Debug, Clone)]
pub struct Access {
    /// Token or person that makes the request.
    pub(crate) requester: Requester,
    /// Expiry of the principal's token; `None` if it does not expire.
    expires: Option<UnixMs>,
    /// Address that the request comes from.
    pub(crate) address: Option<IpAddr>,
}

/// Authorised request to the project in its path. Gives access to this project only.
#[derive(Clone)]
pub struct ProjectAccess {
    project: ProjectId,
    principal: Principal,
    /// Machine login by which a person acts.
    machine: Option<MachineLoginId>,
    expires: Option<UnixMs>,
    services: WebServices,
}

/// Authorised request to a device of the project in its path. A device that is unknown or in another project
/// is answered with 403.
pub struct DeviceAccess {
    project: ProjectAccess,
    device: Device,
}

impl FromRequestParts<App> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let services = &app.services;
        for token in credentials::tokens(&parts.headers) {
            if is_machine_secret(&token) {
                if let Some(access) = by_machine(services, &token, clock::now()).await? {
                    return access
                        .within_rate(parts, services)
                        .map(|access| access.from(parts));
                }
                continue;
            }
            if let Some(token) = services.store.token(hash_secret(token.as_bytes())).await? {
                trace_project(token.project);
                let access = used(services, token, clock::now()).await?;
                let access = access.within_rate(parts, services)?.from(parts);
                if let Requester::Principal(principal) = &access.requester {
                    bound::check(principal, parts, app).await?;
                }
                return Ok(access);
            }
        }
        let session = logged_in(services, &parts.headers)
            .await?
            .ok_or_else(ApiError::unauthenticated)?;
        if !same_origin(&parts.method, &parts.headers) {
            return Err(ApiError::forbidden(
                "request with a login cookie comes from another site",
            ));
        }
        let Login { holder, expires, .. } = session.login;
        let requester = match holder {
            Holder::Token(principal) => {
                trace_project(principal.project);
                Requester::Principal(principal)
            }
            Holder::Person(person) => Requester::Person(person),
        };
        let address = None;
        let access = Self {
            requester,
            expires,
            address,
        };
        access
            .within_rate(parts, services)
            .map(|access| access.from(parts))
    }
}

/// Records the project of a request in the request's span, for the log lines that follow.
pub(crate) fn trace_project(project: ProjectId) {
    tracing::Span::current().record("project.id", tracing::field::display(project));
}

/// Admits a valid token, and records its use at most once an hour.
async fn used(services: &WebServices, token: Token, now: UnixMs) -> Result<Access, ApiError> {
    if !token.is_live(now) {
        return Err(ApiError::unauthenticated());
    }
    // A recorded use in the future dates from before the wall clock was set back.
    if token
        .used
        .is_none_or(|used| used > now || now - used >= USED_EVERY_MS)
    {
        services.store.touch_token(token.project, token.id, now).await?;
    }
    Ok(Access {
        expires: token.expires,
        requester: Requester::Principal(token.into()),
        address: None,
    })
}

/// Admits the secret of a machine login, and records its use at most once an hour. Returns `None` for one that is unknown or
/// over.
async fn by_machine(services: &WebServices, secret: &str, now: UnixMs) -> Result<Option<Access>, ApiError> {
    let store = &services.store;
    let Some(login) = store.machine_login(hash_secret(secret.as_bytes())).await? else {
        return Ok(None);
    };
    let user = store.user(login.user).await?;
    let Some(user) = user.filter(|user| login.is_live(user.logins, now)) else {
        return Ok(None);
    };
    if login
        .used
        .is_none_or(|used| used > now || now - used >= USED_EVERY_MS)
    {
        store.touch_machine_login(user.id, login.id, now).await?;
    }
    Ok(Some(Access {
        expires: Some(login.expires),
        requester: Requester::Person(Person {
            id: user.id,
            name: user.name.to_string(),
            machine: Some(login),
        }),
        address: None,
    }))
}

/// Returns the principal of a person in a project. A machine login has no more than its own scopes, and one that is for one
/// project reaches no other.
///
/// # Errors
/// 403 when the person is no member of the organisation that owns the project, 500 when the store fails.
pub(crate) async fn principal_of(
    services: &WebServices,
    person: &Person,
    project: ProjectId,
) -> Result<Principal, ApiError> {
    let role = services.store.role_in(project, person.id).await?;
    let role = role.ok_or_else(|| ApiError::forbidden("user has no permission for this project"))?;
    let (name, scopes) = match &person.machine {
        None => (person.name.clone(), Some(role.scopes())),
        Some(login) if login.project.is_some_and(|only| only != project) => {
            return Err(ApiError::forbidden("this machine login is for another project"));
        }
        Some(login) => (
            format!("{} ({})", person.name, login.machine),
            role.scopes().common(login.scopes),
        ),
    };
    let scopes = scopes
        .ok_or_else(|| ApiError::forbidden("the user's role has none of the scopes of this machine login"))?;
    Ok(Principal {
        project,
        actor: Actor::User(person.id),
        name,
        scopes,
        group: None,
        address: None,
    })
}

/// Returns true if a principal that was allowed to read its project still is.
async fn still_reads(store: &dyn Store, principal: &Principal, now: UnixMs) -> iottly_store::Result<bool> {
    let project = principal.project;
    Ok(match principal.actor {
        Actor::Cloud => true,
        Actor::Token(id) => {
            let token = store.token_by_id(project, id).await?;
            token.is_some_and(|token| token.is_live(now) && token.scopes.contains(Scopes::READ))
        }
        Actor::User(id) => store.role_in(project, id).await?.is_some(),
    })
}

/// Counts a request of a token or user against its rate limit, and stores the verdict for the layer that writes the
/// headers.
///
/// # Errors
/// 429 when the token or user exceeds its rate limit.
pub(crate) fn within_rate(
    services: &WebServices,
    actor: Actor,
    extensions: &Extensions,
) -> Result<(), ApiError> {
    let Some(rate) = &services.rate else { return Ok(()) };
    let verdict = rate.ask(actor, clock::steady_ms());
    if let Some(verdict_cell) = extensions.get::<SharedVerdict>() {
        // Only the first verdict on a request counts; the cell is already set for later ones.
        let _ = verdict_cell.0.set(verdict);
    }
    if verdict.allowed {
        Ok(())
    } else {
        Err(ApiError::too_many("rate_limited", "token exceeds its rate limit"))
    }
}

impl Access {
    /// Applies the rate limit. Returns 429 when it is exceeded.
    fn within_rate(self, parts: &Parts, services: &WebServices) -> Result<Self, ApiError> {
        let actor = match &self.requester {
            Requester::Principal(principal) => principal.actor,
            Requester::Person(person) => Actor::User(person.id),
        };
        within_rate(services, actor, &parts.extensions).map(|()| self)
    }

    /// Takes over the address of the request.
    fn from(mut self, parts: &Parts) -> Self {
        self.address = client_address(&parts.extensions);
        if let Requester::Principal(principal) = &mut self.requester {
            principal.address = self.address;
        }
        self
    }

    /// Returns the expiry of the token or machine login; `None` if it does not expire.
    pub(crate) fn expires(&self) -> Option<UnixMs> {
        self.expires
    }

    /// Returns the one who makes the request, as the author of a change to an organisation.
    pub(crate) fn author(&self) -> Author {
        let (actor, name) = match &self.requester {
            Requester::Principal(principal) => (principal.actor, &principal.name),
            Requester::Person(person) => (Actor::User(person.id), &person.name),
        };
        Author {
            actor,
            name: name.clone(),
            address: self.address,
        }
    }

    /// Requires a scope that is not limited to a project. A person has `read` only: permissions in projects come from
    /// roles.
    ///
    /// # Errors
    /// 403 when the requester does not have the scope.
    pub fn require(&self, scope: Scopes) -> Result<(), ApiError> {
        match &self.requester {
            Requester::Principal(principal) => require(principal, scope),
            Requester::Person(_) if scope == Scopes::READ => Ok(()),
            Requester::Person(_) => Err(ApiError::forbidden(
                "this request needs a token with the scope operator; people cannot make it",
            )),
        }
    }
}

fn require(principal: &Principal, scope: Scopes) -> Result<(), ApiError> {
    if principal.scopes.contains(scope) {
        return Ok(());
    }
    let needed = scope.names().collect::<Vec<_>>().join(", ");
    let who = match principal.actor {
        Actor::User(_) => "user",
        Actor::Token(_) | Actor::Cloud => "token",
    };
    Err(ApiError::forbidden(format!("{who} lacks the scope {needed}")))
}

impl FromRequestParts<App> for ProjectAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let access = Access::from_request_parts(parts, app).await?;
        let named = path_param(parts, app, "project").await?;
        let machine = match &access.requester {
            Requester::Person(person) => person.machine.as_ref().map(|login| login.id),
            Requester::Principal(_) => None,
        };
        let mut principal = match access.requester {
            Requester::Principal(principal) if named.parse() == Ok(principal.project) => principal,
            Requester::Principal(_) => {
                return Err(ApiError::forbidden("token has no permission for this project"));
            }
            Requester::Person(person) => {
                let project = named
                    .parse()
                    .map_err(|_| ApiError::forbidden("user has no permission for this project"))?;
                trace_project(project);
                principal_of(&app.services, &person, project).await?
            }
        };
        // Checked here, so that no endpoint can omit it.
        let route = MatchedPath::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::not_found())?;
        require(&principal, needed(&parts.method, route.as_str()))?;
        principal.address = access.address;
        Ok(Self {
            project: principal.project,
            principal,
            machine,
            expires: access.expires,
            services: app.services.clone(),
        })
    }
}

impl FromRequestParts<App> for DeviceAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let project = ProjectAccess::from_request_parts(parts, app).await?;
        let named = path_param(parts, app, "device").await?;
        project.into_device(&named).await
    }
}

async fn path_param(parts: &mut Parts, app: &App, name: &str) -> Result<String, ApiError> {
    let params = RawPathParams::from_request_parts(parts, app)
        .await
        .map_err(|_| ApiError::not_found())?;
    params
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
        .ok_or_else(ApiError::not_found)
}

impl ProjectAccess {
    /// Returns a handle on the project of a principal, whose permission expires at `expires`.
    #[must_use]
    pub(crate) fn of(principal: Principal, expires: Option<UnixMs>, services: &WebServices) -> Self {
        Self {
            project: principal.project,
            principal,
            machine: None,
            expires,
            services: services.clone(),
        }
    }

    /// Returns true if the principal may still read the project.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn still_reads(&self, now: UnixMs) -> iottly_store::Result<bool> {
        let store = self.services.store.as_ref();
        if let (Some(id), Actor::User(user)) = (self.machine, self.principal.actor) {
            let login = store.machine_login_by_id(user, id).await?;
            let Some(user) = store.user(user).await? else {
                return Ok(false);
            };
            if login.is_none_or(|login| !login.is_live(user.logins, now)) {
                return Ok(false);
            }
        }
        still_reads(store, &self.principal, now).await
    }

    /// Returns the project's id.
    #[must_use]
    pub fn id(&self) -> ProjectId {
        self.project
    }

    /// Returns the services of the cloud. A [`Scope`] for them comes from a [`DeviceAccess`].
    #[must_use]
    pub fn services(&self) -> &WebServices {
        &self.services
    }

    /// Returns the principal that makes the request.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns the expiry of the principal's token; `None` if it does not expire.
    #[must_use]
    pub fn expires(&self) -> Option<UnixMs> {
        self.expires
    }

    /// Requires a scope.
    ///
    /// # Errors
    /// 403 when the principal does not have the scope.
    pub fn require(&self, scope: Scopes) -> Result<(), ApiError> {
        require(&self.principal, scope)
    }

    /// Changes the project on behalf of the principal.
    ///
    /// # Errors
    /// Errors of the store: 404 for a missing object, 409 for a conflict.
    pub async fn change(&self, change: Change, now: UnixMs) -> Result<Changed, ApiError> {
        if let Some(group) = self.principal.group {
            bound::check_change(group, &change)?;
        }
        let (action, target, _) = change.audit();
        let changed = self
            .services
            .store
            .change(self.project, &self.principal, change, now)
            .await?;
        let device = Some(target).filter(|_| action.starts_with("device."));
        let device = device.and_then(|target| target.parse().ok());
        self.services
            .live
            .changed(self.project, device, live::Parts::of_action(action));
        Ok(changed)
    }

    /// Returns the project.
    ///
    /// # Errors
    /// 403 when it was deleted, 500 when the store fails.
    pub async fn project(&self) -> Result<Project, ApiError> {
        self.services
            .store
            .project(self.project)
            .await?
            .ok_or_else(|| ApiError::forbidden("project is unknown"))
    }

    /// Returns the deployment groups of the project, `_orphaned` first.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub async fn groups(&self) -> Result<Vec<Group>, ApiError> {
        Ok(self.services.store.groups(self.project).await?)
    }

    /// Returns a deployment group of the project.
    ///
    /// # Errors
    /// 404 when the project has no such group, 500 when the store fails.
    pub async fn group(&self, id: GroupId) -> Result<Group, ApiError> {
        let found = self.services.store.group(self.project, id).await?;
        found.ok_or_else(|| ApiError::missing("deployment group is unknown in this project"))
    }

    /// Returns the message definitions of the project, by type.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub async fn definitions(&self) -> Result<Vec<Definition>, ApiError> {
        Ok(self.services.store.definitions(self.project).await?)
    }

    /// Returns a handle on a device of the project.
    ///
    /// # Errors
    /// 403 when the project has no such device, 500 when the store fails.
    pub async fn into_device(self, id: &str) -> Result<DeviceAccess, ApiError> {
        let unknown = || ApiError::forbidden("device is unknown in this project");
        let device: DeviceId = id.parse().map_err(|_| unknown())?;
        let scope = Scope {
            project: self.project,
            device,
        };
        let device = self.services.store.device(scope).await?.ok_or_else(unknown)?;
        Ok(DeviceAccess {
            project: self,
            device,
        })
    }
}

impl DeviceAccess {
    /// Returns the device as it was when the request arrived.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the project and the device.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.device.scope
    }

    /// Returns the services of the cloud.
    #[must_use]
    pub fn services(&self) -> &WebServices {
        &self.project.services
    }

    /// Returns the handle on the device's project.
    #[must_use]
    pub fn project(&self) -> &ProjectAccess {
        &self.project
    }
}
