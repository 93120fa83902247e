use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::Extensions;
use axum::http::request::Parts;
use iottly_protocol::{DeviceId, ProjectId};

use super::credentials::{self, same_origin};
use super::login::logged_in;
use super::session::Login;
use super::token::hash_secret;
use crate::app::App;
use crate::app::WebServices;
use crate::error::ApiError;
use crate::rate::Told;
use iottly_cloud::clock;
use iottly_core::model::{
    Change, Changed, Definition, Device, Group, Principal, Project, Scope, Scopes, Token, TokenId, UnixMs,
};

/// How exactly the last use of a token is kept: an hour, in milliseconds.
const USED_EVERY_MS: UnixMs = 60 * 60 * 1000;

/// A request that says who it is. Without it, 401.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whose request it is.
    pub principal: Principal,
    /// The date on which their token stops working; none for never.
    expires: Option<UnixMs>,
}

/// A request about the project named in its path, by somebody who may. What it hands out is that project's
/// alone.
pub struct ProjectAccess {
    project: ProjectId,
    principal: Principal,
    expires: Option<UnixMs>,
    services: WebServices,
}

/// A request about a device of the project named in its path. A device that is unknown or another project's
/// answers 403.
pub struct DeviceAccess {
    project: ProjectAccess,
    device: Device,
}

impl FromRequestParts<App> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let services = &app.services;
        for token in credentials::tokens(&parts.headers) {
            if let Some(token) = services.store.token(hash_secret(token.as_bytes())).await? {
                let access = used(services, token, clock::now()).await?;
                return access.within_rate(parts, services);
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
        let Login {
            principal, expires, ..
        } = session.login;
        Self { principal, expires }.within_rate(parts, services)
    }
}

/// Admits a token that still works, and notes now and then that it is used.
async fn used(services: &WebServices, token: Token, now: UnixMs) -> Result<Access, ApiError> {
    if !token.is_live(now) {
        return Err(ApiError::unauthenticated());
    }
    // A use that lies ahead was noted before the wall clock was set back.
    if token
        .used
        .is_none_or(|used| used > now || now - used >= USED_EVERY_MS)
    {
        services.store.touch_token(token.project, token.id, now).await?;
    }
    Ok(Access {
        expires: token.expires,
        principal: token.into(),
    })
}

/// Counts a request of a token against what it may make, and leaves the verdict for the layer that tells it.
///
/// # Errors
/// 429 when the token asks too often.
pub(crate) fn within_rate(
    services: &WebServices,
    token: TokenId,
    extensions: &Extensions,
) -> Result<(), ApiError> {
    let Some(rate) = &services.rate else { return Ok(()) };
    let verdict = rate.ask(token, clock::steady_ms());
    if let Some(told) = extensions.get::<Told>() {
        // Only the first verdict on a request counts.
        let _ = told.0.set(verdict);
    }
    if verdict.allowed {
        Ok(())
    } else {
        Err(ApiError::too_many("rate_limited", "token asks too often"))
    }
}

impl Access {
    /// Refuses who asks too often.
    fn within_rate(self, parts: &Parts, services: &WebServices) -> Result<Self, ApiError> {
        within_rate(services, self.principal.token, &parts.extensions).map(|()| self)
    }

    /// Refuses who may not do this.
    ///
    /// # Errors
    /// 403 when the scope is not among the principal's.
    pub fn require(&self, scope: Scopes) -> Result<(), ApiError> {
        require(&self.principal, scope)
    }
}

fn require(principal: &Principal, scope: Scopes) -> Result<(), ApiError> {
    if principal.scopes.contains(scope) {
        return Ok(());
    }
    let needed = scope.names().collect::<Vec<_>>().join(", ");
    Err(ApiError::forbidden(format!("token lacks the scope {needed}")))
}

impl FromRequestParts<App> for ProjectAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let access = Access::from_request_parts(parts, app).await?;
        let named = path_param(parts, app, "project").await?;
        let project = access.principal.project;
        if named.parse() != Ok(project) {
            return Err(ApiError::forbidden("token has no permission for this project"));
        }
        // What reads needs one scope, whatever else needs the other: an endpoint cannot forget it.
        access.require(if parts.method.is_safe() {
            Scopes::READ
        } else {
            Scopes::WRITE
        })?;
        Ok(Self {
            project,
            principal: access.principal,
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
    /// A handle on the project of somebody who is logged in.
    #[must_use]
    pub fn of(login: &Login, services: &WebServices) -> Self {
        let principal = login.principal.clone();
        Self {
            project: principal.project,
            principal,
            expires: login.expires,
            services: services.clone(),
        }
    }

    /// The project's id.
    #[must_use]
    pub fn id(&self) -> ProjectId {
        self.project
    }

    /// The cloud's parts. Whatever takes a [`Scope`] gets it from a [`DeviceAccess`].
    #[must_use]
    pub fn services(&self) -> &WebServices {
        &self.services
    }

    /// Who asks.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The date on which the token of the one who asks stops working; none for never.
    #[must_use]
    pub fn expires(&self) -> Option<UnixMs> {
        self.expires
    }

    /// Refuses who may not do this.
    ///
    /// # Errors
    /// 403 when the scope is not among the principal's.
    pub fn require(&self, scope: Scopes) -> Result<(), ApiError> {
        require(&self.principal, scope)
    }

    /// Changes the project in the name of who asks.
    ///
    /// # Errors
    /// What the store answers: 404 for what is not there, 409 for what cannot be.
    pub async fn change(&self, change: Change, now: UnixMs) -> Result<Changed, ApiError> {
        Ok(self
            .services
            .store
            .change(self.project, &self.principal, change, now)
            .await?)
    }

    /// The project.
    ///
    /// # Errors
    /// 403 when it is gone, 500 when the store fails.
    pub async fn project(&self) -> Result<Project, ApiError> {
        self.services
            .store
            .project(self.project)
            .await?
            .ok_or_else(|| ApiError::forbidden("project is unknown"))
    }

    /// Its deployment groups, `_orphaned` first.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub async fn groups(&self) -> Result<Vec<Group>, ApiError> {
        Ok(self.services.store.groups(self.project).await?)
    }

    /// Its devices, by name.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub async fn devices(&self) -> Result<Vec<Device>, ApiError> {
        Ok(self.services.store.devices(self.project).await?)
    }

    /// Its message definitions, by type.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub async fn definitions(&self) -> Result<Vec<Definition>, ApiError> {
        Ok(self.services.store.definitions(self.project).await?)
    }

    /// One of its devices.
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
    /// The device as it was when the request came.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Project and device.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.device.scope
    }

    /// The cloud's parts.
    #[must_use]
    pub fn services(&self) -> &WebServices {
        &self.project.services
    }

    /// The project it is in.
    #[must_use]
    pub fn project(&self) -> &ProjectAccess {
        &self.project
    }
}
