//! Access rules of the broker: which devices may connect, and to which topics they may publish and subscribe.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use iottly_protocol::{ProjectId, Topic};
use mqtt5::MqttError;
use mqtt5::broker::{AuthProvider, AuthResult};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;

use super::pace::Pace;
use super::peers::{ClientId, Peers};
use super::rates::{Cost, Rates};
use super::seat::Seat;
use crate::broker::Authenticator;
use crate::edge::Places;
use crate::links::{Book, Link};

/// Maximum length of a secret that is checked, in bytes.
const MAX_SECRET: usize = 256;
/// Reason of a refusal for a wrong secret, for people.
const WRONG_SECRET: &str = "the board's secret is wrong or has expired; enrol the board again";
/// Reason of a refusal without a free place, for people.
const NO_PLACE: &str = "no place is free for another connected device; the board tries again";

/// Rules for logins and topics: a device has its own topics only, each in one direction.
pub(super) struct Access {
    authenticator: Arc<dyn Authenticator>,
    pace: Pace,
    rates: Arc<Rates>,
    devices: Arc<Places<ProjectId>>,
    peers: Arc<Peers>,
    book: Arc<Book>,
}

impl Access {
    /// Creates rules over an authenticator, with `devices` places.
    pub(super) fn new(
        authenticator: Arc<dyn Authenticator>,
        rates: Arc<Rates>,
        devices: Arc<Places<ProjectId>>,
        peers: Arc<Peers>,
        book: Arc<Book>,
    ) -> Self {
        Self {
            authenticator,
            pace: Pace::default(),
            rates,
            devices,
            peers,
            book,
        }
    }

    async fn admit(
        &self,
        connect: &ConnectPacket,
        from: SocketAddr,
        seat: &Seat,
        link: &Arc<Link>,
    ) -> Result<AuthResult, MqttError> {
        let refused = |code| Ok(AuthResult::fail(code));
        let Ok(client) = connect.client_id.parse::<ClientId>() else {
            return refused(ReasonCode::ClientIdentifierNotValid);
        };
        let device = client.device;
        let (Some(user), Some(secret)) = (&connect.username, &connect.password) else {
            return refused(ReasonCode::BadUsernameOrPassword);
        };
        if *user != device.to_string() || secret.len() > MAX_SECRET {
            return refused(ReasonCode::BadUsernameOrPassword);
        }
        let turn = match seat.address {
            Some(address) => self.pace.turn(address, Instant::now()).await,
            None => None,
        };
        match self.authenticator.authenticate(device, secret).await {
            Ok(Some(scope)) => {
                drop(turn);
                tokio::time::sleep(self.rates.charge(device, Cost::Login, 0, Instant::now())).await;
                let Some(place) = self.devices.take(Some(scope.project), false, Instant::now()) else {
                    tracing::warn!(device.id = %device, project.id = %scope.project, "no place for another device; refusing the login until one is free");
                    self.authenticator.refused(device, from.ip(), NO_PLACE).await;
                    return refused(ReasonCode::QuotaExceeded);
                };
                if !seat.sit_down(place) {
                    return refused(ReasonCode::ServerBusy);
                }
                self.peers.arrived(client, from.ip());
                self.authenticator.admitted(device);
                if client.copy.is_none() {
                    self.book.linked(scope, Arc::clone(link));
                }
                Ok(AuthResult::success_with_user(device.to_string()))
            }
            Ok(None) => {
                tracing::warn!(device.id = %device, peer.address = %from, "refused an MQTT login: wrong device or secret");
                self.authenticator.refused(device, from.ip(), WRONG_SECRET).await;
                if let Some(address) = seat.address {
                    self.pace.failed(address, Instant::now());
                }
                self.pace.pause(turn).await;
                refused(ReasonCode::BadUsernameOrPassword)
            }
            Err(error) => {
                tracing::error!(device.id = %device, %error, "failed to check an MQTT login; the device has to retry");
                refused(ReasonCode::ServerUnavailable)
            }
        }
    }
}

/// Rules for a single connection.
pub(super) struct Visitor {
    /// Rules of all connections.
    pub(super) access: Arc<Access>,
    /// Place of the connection.
    pub(super) seat: Arc<Seat>,
    /// Notes about its packets.
    pub(super) link: Arc<Link>,
}

/// Returns the device of a connection, or the copy of a device; the device in the client id is the user of every admitted
/// connection.
fn who(client_id: &str, user: Option<&str>) -> Option<ClientId> {
    let client: ClientId = client_id.parse().ok()?;
    (user == Some(client.device.to_string().as_str())).then_some(client)
}

type Done<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Visitor {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        client_addr: SocketAddr,
    ) -> Done<'a, Result<AuthResult, MqttError>> {
        Box::pin(self.access.admit(connect, client_addr, &self.seat, &self.link))
    }

    fn authorize_publish<'a>(
        &'a self,
        client_id: &str,
        user_id: Option<&'a str>,
        topic: &'a str,
    ) -> Done<'a, bool> {
        let allowed = match (topic.parse(), who(client_id, user_id)) {
            (Ok(topic), Some(ClientId { device, copy: None })) => {
                Topic::is_from_device(&topic) && topic.device() == device
            }
            (
                Ok(Topic::Held(own)),
                Some(ClientId {
                    device,
                    copy: Some(_),
                }),
            ) => own == device,
            _ => false,
        };
        Box::pin(std::future::ready(allowed))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        client_id: &str,
        user_id: Option<&'a str>,
        topic_filter: &'a str,
    ) -> Done<'a, bool> {
        // Wildcards and shared subscriptions do not parse as a topic.
        let allowed = match (topic_filter.parse(), who(client_id, user_id)) {
            (Ok(Topic::Down(own)), Some(ClientId { device, copy: None }))
            | (
                Ok(Topic::Held(own)),
                Some(ClientId {
                    device,
                    copy: Some(_),
                }),
            ) => own == device,
            _ => false,
        };
        Box::pin(std::future::ready(allowed))
    }
}
