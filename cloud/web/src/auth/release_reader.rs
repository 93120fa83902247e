//! Readers of a project's releases: everyone if the project says so, otherwise its devices, with the login of their
//! broker connection, and the tokens and members that may read the project.

use axum::extract::FromRequestParts as _;
use axum::http::request::Parts;
use iottly_cloud::broker::login_of;
use iottly_cloud::clock;
use iottly_core::model::{Scope, SecretHash};
use iottly_protocol::ProjectId;

use super::access::ProjectAccess;
use super::credentials;
use super::token::hash_secret;
use crate::app::{App, WebServices};
use crate::error::ApiError;

/// Reader of the releases of a project.
pub(crate) enum ReleaseReader {
    /// Everyone: the releases are public.
    Everyone,
    /// A device of the project, and the hash of the secret with which it has logged in.
    Device(Scope, SecretHash),
    /// A token or a member.
    Principal(Box<ProjectAccess>),
}

impl ReleaseReader {
    /// Returns the reader that makes a request. For a device one read of the database decides, as a fleet that updates makes
    /// many requests.
    ///
    /// # Errors
    /// 401 and 403 for those who may not read, 500 when the store fails.
    pub(crate) async fn of(project: ProjectId, parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if let Some((device, secret)) = credentials::device_login(&parts.headers) {
            let scope = Scope { project, device };
            let reader = Self::Device(scope, hash_secret(secret.as_bytes()));
            if reader.still_reads(&app.services).await? {
                return Ok(reader);
            }
        }
        // A project that does not exist is answered like one that the reader may not read.
        if app.services.store.public_releases(project).await? == Some(true) {
            return Ok(Self::Everyone);
        }
        let access = ProjectAccess::from_request_parts(parts, app).await?;
        Ok(Self::Principal(Box::new(access)))
    }

    /// Returns true if the reader may read at this moment.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn still_reads(&self, services: &WebServices) -> iottly_store::Result<bool> {
        let store = services.store.as_ref();
        match self {
            Self::Everyone => Ok(true),
            Self::Device(scope, secret) => {
                let found = login_of(store, scope.device, secret, clock::now()).await?;
                Ok(found == Some(*scope))
            }
            Self::Principal(access) => access.still_reads(clock::now()).await,
        }
    }
}
