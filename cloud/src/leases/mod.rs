//! Developer leases: opens and ends them, and has orders signed, stored and sent. Decisions are in
//! [`iottly_core::lease`], and on the devices.

mod script;

use std::sync::Arc;

use iottly_protocol::release::{DeveloperState, LeaseId};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, Down, ProjectId, SignedOrder};
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::broker::Broker;
use crate::clock;
use crate::releases::{ReleaseError, ReleaseRepositories};
use iottly_core::lease;
use iottly_core::model::{Change, Lease, LeaseOrder, OutgoingOrder, Principal, Scope};
use iottly_core::rollout::seconds;
use iottly_store::{OpenOrder, Store, StoreError};

/// Number of locks that the projects share; two projects with the same lock wait for each other for one order.
const TURNS: usize = 64;

/// Service of developer leases of all projects.
pub struct Leases {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    repositories: ReleaseRepositories,
    /// Locks held from choosing a counter to sending, so that an older order never follows a newer one.
    turns: [Mutex<()>; TURNS],
}

/// Reason for which nothing was done about a developer lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The request breaks a bound.
    #[error("{0}")]
    Request(String),
    /// The root of the project does not name a key for developer orders.
    #[error(
        "the trusted root of the project names no key for developer orders, since it was signed before there were any; \
         `iottly lease allow` adds one (POST /v1.0/project/{0}/leasekey)"
    )]
    NoRole(ProjectId),
    /// The project has no such lease.
    #[error("developer lease is unknown in this project")]
    Unknown,
    /// The lease is over.
    #[error("the developer lease has ended")]
    Ended,
    /// The bytes are not a script.
    #[error("{0}")]
    Script(String),
    /// The order cannot be signed.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The store failed, or refused the change.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Leases {
    /// Creates the service over a store, a broker and the projects' repositories.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, broker: Arc<dyn Broker>, repositories: ReleaseRepositories) -> Self {
        Self {
            store,
            broker,
            repositories,
            turns: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    /// Adds a key for developer orders to a project's root. Returns false if the root names one already.
    ///
    /// # Errors
    /// If the root cannot be signed, or the store fails.
    pub async fn allow(&self, by: &Principal) -> Result<bool, LeaseError> {
        let project = by.project;
        let added = self
            .signing(move |repositories| repositories.allow_orders(project, now()))
            .await?;
        if added {
            self.store
                .change(project, by, Change::AllowLeases, clock::now())
                .await?;
        }
        Ok(added)
    }

    /// Opens a lease.
    ///
    /// # Errors
    /// The request breaks a bound, a device is unknown or in another open lease, or the project's root names no key for
    /// developer orders.
    pub async fn open(
        &self,
        by: &Principal,
        devices: Vec<DeviceId>,
        hours: u32,
        approved: Vec<String>,
    ) -> Result<Lease, LeaseError> {
        let (project, at) = (by.project, clock::now());
        let new =
            lease::open(LeaseId::random(), devices, hours, approved, at).map_err(LeaseError::Request)?;
        if !self
            .signing(move |repositories| repositories.signs_orders(project, now()))
            .await?
        {
            return Err(LeaseError::NoRole(project));
        }
        let id = new.id;
        self.store
            .change(project, by, Change::OpenLease(Box::new(new)), at)
            .await?;
        self.one(project, id).await
    }

    /// Signs an order to run a script on the devices of an open lease, and sends it to those that are connected. The
    /// others are sent the newest order when they connect.
    ///
    /// # Errors
    /// The lease is not open, or the bytes are not a script.
    pub async fn run(&self, by: &Principal, id: LeaseId, component: Vec<u8>) -> Result<Lease, LeaseError> {
        let project = by.project;
        let checked = tokio::task::spawn_blocking(move || script::check(component)).await;
        let script = checked
            .map_err(|error| LeaseError::Script(format!("the check of the script stopped: {error}")))?
            .map_err(LeaseError::Script)?;
        let _turn = self.turn(project).await;
        let found = self.one(project, id).await?;
        if !found.is_open(clock::now()) {
            return Err(LeaseError::Ended);
        }
        let order = self.signed(project, &found, Some(script)).await?;
        let message = message(&order);
        self.store
            .change(project, by, Change::OrderLease(Box::new(order)), clock::now())
            .await?;
        for device in &found.devices {
            self.send(device.device, message.clone()).await;
        }
        self.one(project, id).await
    }

    /// Ends a lease: its devices return to their releases, at once if they are connected, and at its expiry at the
    /// latest. A lease that is over stays as it is.
    ///
    /// # Errors
    /// The project has no such lease, or the store fails.
    pub async fn end(&self, by: &Principal, id: LeaseId) -> Result<Lease, LeaseError> {
        let project = by.project;
        let _turn = self.turn(project).await;
        let found = self.one(project, id).await?;
        if !found.is_open(clock::now()) {
            return Ok(found);
        }
        let last = match found.order {
            Some(_) if !found.devices.is_empty() => match self.signed(project, &found, None).await {
                Ok(last) => Some(last),
                // No script is sent any more, and the devices stop by themselves.
                Err(error) => {
                    tracing::error!(project.id = %project, lease.id = %id, %error, "failed to sign the end of a developer lease; its devices end it at its expiry");
                    None
                }
            },
            _ => None,
        };
        let message = last.as_ref().map(message);
        self.store
            .change(
                project,
                by,
                Change::EndLease(id, last.map(Box::new)),
                clock::now(),
            )
            .await?;
        if let Some(message) = message {
            for device in &found.devices {
                self.send(device.device, message.clone()).await;
            }
        }
        self.one(project, id).await
    }

    /// Sends a device, after its hello, the newest order of its lease while the lease's time lasts. An order to run is
    /// signed again, with a new counter: the device may have forgotten the script with a restart, and follows no counter twice.
    ///
    /// # Errors
    /// If the store fails or the order cannot be signed.
    pub async fn on_hello(&self, scope: Scope) -> Result<(), LeaseError> {
        if self.store.open_order(scope, clock::now()).await?.is_none() {
            return Ok(());
        }
        let _turn = self.turn(scope.project).await;
        let Some(OpenOrder {
            lease,
            document,
            script,
        }) = self.store.open_order(scope, clock::now()).await?
        else {
            return Ok(());
        };
        if lease.ended.is_some() {
            let report = lease
                .devices
                .iter()
                .find(|known| known.device == scope.device)
                .and_then(|known| known.report.as_ref());
            if report.is_none_or(|report| report.state != DeveloperState::Ended) {
                self.send(
                    scope.device,
                    Down::Developer(SignedOrder::new(document, None)).encode(),
                )
                .await;
            }
            return Ok(());
        }
        let (Some(script), Some(before)) = (script, &lease.order) else {
            return Ok(());
        };
        let script = script::Checked {
            sha256: before.sha256.clone(),
            component: script,
        };
        let order = self.signed(scope.project, &lease, Some(script)).await?;
        if self
            .store
            .renew_order(scope.project, before.counter, &order)
            .await?
        {
            self.send(scope.device, message(&order)).await;
        }
        Ok(())
    }

    async fn turn(&self, project: ProjectId) -> tokio::sync::MutexGuard<'_, ()> {
        let byte = project
            .as_bytes()
            .iter()
            .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
        self.turns[usize::from(byte) % TURNS].lock().await
    }

    async fn one(&self, project: ProjectId, id: LeaseId) -> Result<Lease, LeaseError> {
        self.store.lease(project, id).await?.ok_or(LeaseError::Unknown)
    }

    /// Signs an order with the next counter: to run a script, or to end the lease.
    async fn signed(
        &self,
        project: ProjectId,
        lease: &Lease,
        script: Option<script::Checked>,
    ) -> Result<OutgoingOrder, LeaseError> {
        let at = clock::now();
        let counter = lease::counter(self.store.order_counter(project).await?, at);
        let named = script
            .as_ref()
            .map(|script| (script.sha256.as_str(), script.component.len() as u64));
        let order = lease::order(project, lease, named, counter, at);
        let composed = order.clone();
        let document = self
            .signing(move |repositories| repositories.sign_order(project, &composed))
            .await?;
        let document = serde_json::from_slice::<Box<RawValue>>(&document)
            .map_err(|error| ReleaseError::Input(format!("the signed order is not JSON: {error}")))?;
        Ok(OutgoingOrder {
            lease: lease.id,
            order: LeaseOrder {
                id: order.id,
                counter,
                sha256: order.sha256,
                size: order.size,
                sent: at,
            },
            document,
            script: script.map(|script| script.component),
        })
    }

    async fn send(&self, device: DeviceId, message: Vec<u8>) {
        if let Err(error) = self.broker.publish(device, message.into()).await {
            tracing::debug!(device.id = %device, %error, "failed to send a developer order; it waits for the device's next hello");
        }
    }

    /// Runs work on the repositories' files on a blocking thread.
    async fn signing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReleaseRepositories) -> Result<T, ReleaseError> + Send + 'static,
    ) -> Result<T, ReleaseError> {
        let repositories = self.repositories.clone();
        let done = tokio::task::spawn_blocking(move || work(&repositories)).await;
        done.unwrap_or_else(|error| Err(ReleaseError::Input(format!("the signing stopped: {error}"))))
    }
}

fn now() -> Instant {
    Instant::from_unix(seconds(clock::now()))
}

/// Returns the message that carries an order to a device.
fn message(order: &OutgoingOrder) -> Vec<u8> {
    Down::Developer(SignedOrder::new(order.document.clone(), order.script.as_deref())).encode()
}
