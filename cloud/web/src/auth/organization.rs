//! Authorisation of requests to an organisation: its owners, and tokens of an operator.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use iottly_core::model::{OrganizationId, Role, Scopes};
use iottly_store::{Author, PeopleChange};

use super::access::{Access, Requester};
use crate::app::{App, WebServices};
use crate::error::ApiError;
use iottly_cloud::clock;

/// Authorised request to the organisation in its path. Safe methods are for all members; others for its owners, and for
/// tokens with the scope `operator`.
pub(crate) struct OrganizationAccess {
    id: OrganizationId,
    author: Author,
    services: WebServices,
}

impl FromRequestParts<App> for OrganizationAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let access = Access::from_request_parts(parts, app).await?;
        let params = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::not_found())?;
        let named = params.iter().find(|(key, _)| *key == "organization");
        let (_, named) = named.ok_or_else(ApiError::not_found)?;
        Self::of(access, named, parts.method.is_safe(), &app.services).await
    }
}

impl OrganizationAccess {
    async fn of(access: Access, named: &str, safe: bool, services: &WebServices) -> Result<Self, ApiError> {
        let denied = || ApiError::forbidden("no permission for this organization");
        let id: OrganizationId = named.parse().map_err(|_| denied())?;
        let author = access.author();
        match access.requester {
            Requester::Principal(principal) if principal.scopes.contains(Scopes::OPERATOR) => {}
            Requester::Principal(_) => return Err(denied()),
            Requester::Person(person) if person.machine.is_some() => {
                return Err(ApiError::forbidden("a machine login reaches projects only"));
            }
            Requester::Person(person) => {
                let role = services.store.role_of(id, person.id).await?.ok_or_else(denied)?;
                if !safe && role != Role::Owner {
                    return Err(ApiError::forbidden("only owners change an organization"));
                }
            }
        }
        Ok(Self {
            id,
            author,
            services: services.clone(),
        })
    }

    /// Returns the organisation's id.
    pub(crate) fn id(&self) -> OrganizationId {
        self.id
    }

    /// Returns the one who makes the request.
    pub(crate) fn author(&self) -> &Author {
        &self.author
    }

    /// Returns the services of the cloud.
    pub(crate) fn services(&self) -> &WebServices {
        &self.services
    }

    /// Changes the organisation on behalf of the author.
    ///
    /// # Errors
    /// Errors of the store: 404 for a missing object, 409 for a conflict.
    pub(crate) async fn change(&self, change: PeopleChange) -> Result<(), ApiError> {
        let store = &self.services.store;
        Ok(store
            .change_people(self.id, &self.author, change, clock::now())
            .await?)
    }
}
