//! Callbacks of the broker's crate: pass publishes and the ends of connections to the uplink, and slow fast
//! devices down.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use iottly_protocol::{DeviceId, Topic};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::{
    BrokerEventHandler, ClientDisconnectEvent, ClientPublishEvent, PublishAction, RetainedSetEvent,
};

use super::peers::{ClientId, Peers};
use super::rates::{Cost, Rates};
use crate::broker::Uplink;

/// Callbacks before acknowledgements and at the ends of connections.
pub(super) struct Hooks {
    uplink: Arc<dyn Uplink>,
    rates: Arc<Rates>,
    router: OnceLock<Weak<MessageRouter>>,
    closing: AtomicBool,
    peers: Arc<Peers>,
}

impl Hooks {
    pub(super) fn new(uplink: Arc<dyn Uplink>, rates: Arc<Rates>, peers: Arc<Peers>) -> Self {
        Self {
            uplink,
            rates,
            router: OnceLock::new(),
            closing: AtomicBool::new(false),
            peers,
        }
    }

    /// Sets the router, which is created after the hooks.
    pub(super) fn attach(&self, router: Weak<MessageRouter>) {
        // A second call would set the same router.
        let _ = self.router.set(router);
    }

    /// Marks the broker as closing: from now on the ends of connections say nothing about the devices.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Reports to the uplink that a device's connection is closed on purpose.
    pub(super) async fn revoked(&self, device: DeviceId) {
        self.uplink.revoked(device).await;
    }

    /// Delays a device that exceeds its rate; its next packets are not read in the meantime.
    async fn slow_down(&self, device: DeviceId, cost: Cost, bytes: usize) {
        let wait = self.rates.charge(device, cost, bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

type Done<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl BrokerEventHandler for Hooks {
    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Done<'a, PublishAction> {
        Box::pin(async move {
            match event.topic.parse() {
                Ok(Topic::Up(device)) => {
                    self.slow_down(device, Cost::Message, event.payload.len()).await;
                    self.uplink.message(device, event.payload).await;
                    PublishAction::Handled
                }
                Ok(Topic::Status(device)) => {
                    self.slow_down(device, Cost::Status, event.payload.len()).await;
                    self.uplink.status(device, event.payload).await;
                    PublishAction::Continue
                }
                Ok(Topic::Held(device)) => {
                    self.slow_down(device, Cost::Message, event.payload.len()).await;
                    let address = event.client_id.parse().ok();
                    let address = address.and_then(|client| self.peers.address(client));
                    self.uplink.held(device, address, event.payload).await;
                    PublishAction::Handled
                }
                Ok(Topic::Board(device)) => {
                    self.slow_down(device, Cost::Message, event.payload.len()).await;
                    self.uplink.board(device, event.payload).await;
                    PublishAction::Handled
                }
                Ok(Topic::Health(device)) => {
                    self.slow_down(device, Cost::Message, event.payload.len()).await;
                    self.uplink.health(device, event.payload).await;
                    PublishAction::Handled
                }
                // Not reached: devices may not publish to other topics.
                Ok(Topic::Down(_)) | Err(_) => PublishAction::Handled,
            }
        })
    }

    /// Last wills do not pass the publish hook, but they are retained.
    fn on_retained_set<'a>(&'a self, event: RetainedSetEvent) -> Done<'a, ()> {
        Box::pin(async move {
            if let Ok(Topic::Status(device)) = event.topic.parse()
                && !event.cleared
                && !self.is_closing()
            {
                self.uplink.status(device, event.payload).await;
            }
        })
    }

    /// On a takeover, the old connection ends after the new one has started: only the last connection counts.
    fn on_client_disconnect<'a>(&'a self, event: ClientDisconnectEvent) -> Done<'a, ()> {
        Box::pin(async move {
            let Ok(client) = event.client_id.parse::<ClientId>() else {
                return;
            };
            if self.is_closing() {
                return;
            }
            let router = self.router.get().and_then(Weak::upgrade);
            if let Some(router) = router
                && router.is_connected(&event.client_id).await
            {
                return;
            }
            self.peers.left(client);
            if client.copy.is_none() {
                self.uplink.disconnected(client.device).await;
            }
        })
    }
}
