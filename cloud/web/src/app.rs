//! State that every handler can reach.

use std::ops::Deref;
use std::sync::Arc;

use axum::http::HeaderMap;
use iottly_cloud::Services;
use iottly_protocol::enroll::{EnrollOffer, PairCode};
use tokio::sync::watch;

use crate::device_names::DeviceNames;
use crate::front::{Front, enrol_url};
use crate::numbers::ProjectNumbers;
use crate::oidc::{OidcSettings, Provider, SetupError};
use crate::sessions::{LoginAttempts, MachineRequests, Passwords, PortalLimits, Sessions};

/// Services of the cloud with the logins of browsers; shared by all servers of a process.
#[derive(Clone)]
pub struct WebServices {
    cloud: Services,
    front: Option<Front>,
    /// Sessions and login links.
    pub sessions: Arc<Sessions>,
    /// Hashes of passwords.
    pub(crate) passwords: Passwords,
    /// Attempts to log in by name, which are limited.
    pub(crate) attempts: Arc<LoginAttempts>,
    /// Machines that ask to act for a person.
    pub(crate) machines: Arc<MachineRequests>,
    /// Names of devices whose messages are shown.
    pub(crate) names: Arc<DeviceNames>,
    /// Numbers of projects, as overviews show them.
    pub(crate) numbers: Arc<ProjectNumbers>,
    /// Uses of portals, which are limited.
    pub(crate) portals: Arc<PortalLimits>,
    /// Identity provider by which people sign in, if there is one.
    pub(crate) provider: Option<Arc<Provider>>,
}

impl WebServices {
    /// Creates the services of a cloud's servers, without a session.
    #[must_use]
    pub fn new(cloud: Services) -> Self {
        Self {
            cloud,
            front: None,
            sessions: Arc::default(),
            passwords: Passwords::default(),
            attempts: Arc::default(),
            machines: Arc::default(),
            names: Arc::default(),
            numbers: Arc::default(),
            portals: Arc::default(),
            provider: None,
        }
    }

    /// Returns the same services with an identity provider by which people sign in.
    ///
    /// # Errors
    /// If the initialisation of TLS fails, or the system has no randomness.
    pub fn with_provider(mut self, settings: OidcSettings) -> Result<Self, SetupError> {
        self.provider = Some(Arc::new(Provider::new(settings)?));
        Ok(self)
    }

    /// Returns the same services of a cloud with this TLS listener.
    #[must_use]
    pub fn behind(mut self, front: Front) -> Self {
        // The first listener with TLS is the one that devices without a key are sent to.
        let _ = self.cloud.enroll_offer.set(EnrollOffer {
            port: front.port,
            fingerprint: front.fingerprint,
        });
        self.front = Some(front);
        self
    }

    /// Returns the URL that enrols a board with a code; none if the cloud has no TLS.
    pub(crate) fn enrol_url(&self, headers: &HeaderMap, code: PairCode) -> Option<String> {
        enrol_url(self.front, self.https, headers, code)
    }

    /// Returns the same services for browsers that reach the cloud by HTTPS.
    pub(crate) fn over_https(mut self) -> Self {
        self.cloud.https = true;
        self
    }
}

impl Deref for WebServices {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.cloud
    }
}

/// State that every handler can reach.
#[derive(Clone)]
pub struct App {
    /// Services of the cloud.
    pub services: WebServices,
    /// Becomes true when the server stops; endless responses watch it.
    pub(crate) closing: watch::Receiver<bool>,
}

impl App {
    pub(crate) fn new(services: WebServices, closing: watch::Receiver<bool>) -> Self {
        Self { services, closing }
    }
}

/// Resolves when the value is true, or its sender was dropped.
pub(crate) async fn until_true(mut value: watch::Receiver<bool>) {
    let _ = value.wait_for(|stop| *stop).await;
}
