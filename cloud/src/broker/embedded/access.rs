use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::{DeviceId, Topic};
use mqtt5::MqttError;
use mqtt5::broker::{AuthProvider, AuthResult};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;

use super::throttle::Throttle;
use crate::broker::Authenticator;
use crate::clock;

/// Longest secret that is looked at, bytes.
const MAX_SECRET: usize = 256;

/// Who may connect, and to which topics: its own, by direction.
pub(super) struct Access {
    authenticator: Arc<dyn Authenticator>,
    throttle: Mutex<Throttle>,
}

impl Access {
    pub(super) fn new(authenticator: Arc<dyn Authenticator>) -> Self {
        Self { authenticator, throttle: Mutex::default() }
    }

    async fn admit(&self, connect: &ConnectPacket, from: SocketAddr) -> Result<AuthResult, MqttError> {
        let refused = |code| Ok(AuthResult::fail(code));
        let Ok(device) = connect.client_id.parse::<DeviceId>() else { return refused(ReasonCode::ClientIdentifierNotValid) };
        let (Some(user), Some(secret)) = (&connect.username, &connect.password) else {
            return refused(ReasonCode::BadUsernameOrPassword);
        };
        if *user != connect.client_id || secret.len() > MAX_SECRET {
            return refused(ReasonCode::BadUsernameOrPassword);
        }
        let key = (from.ip(), device);
        if !self.throttle.lock().unwrap_or_else(PoisonError::into_inner).may_try(key, clock::now()) {
            return refused(ReasonCode::ConnectionRateExceeded);
        }
        match self.authenticator.authenticate(device, secret).await {
            Ok(Some(_)) => {
                self.throttle.lock().unwrap_or_else(PoisonError::into_inner).succeeded(key);
                Ok(AuthResult::success_with_user(connect.client_id.clone()))
            }
            Ok(None) => {
                tracing::warn!(%device, address = %from, "mqtt login refused");
                self.throttle.lock().unwrap_or_else(PoisonError::into_inner).failed(key, clock::now());
                refused(ReasonCode::BadUsernameOrPassword)
            }
            Err(error) => {
                tracing::error!(%device, %error, "mqtt login cannot be checked now");
                refused(ReasonCode::ServerUnavailable)
            }
        }
    }
}

/// The device whose connection asks; client id and user are the same for everyone admitted.
fn who(client_id: &str, user: Option<&str>) -> Option<DeviceId> {
    if user == Some(client_id) { client_id.parse().ok() } else { None }
}

type Done<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Access {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        client_addr: SocketAddr,
    ) -> Done<'a, Result<AuthResult, MqttError>> {
        Box::pin(self.admit(connect, client_addr))
    }

    fn authorize_publish<'a>(&'a self, client_id: &str, user_id: Option<&'a str>, topic: &'a str) -> Done<'a, bool> {
        let device = who(client_id, user_id);
        let allowed = topic.parse::<Topic>().is_ok_and(|topic| topic.is_from_device() && Some(topic.device()) == device);
        Box::pin(std::future::ready(allowed))
    }

    fn authorize_subscribe<'a>(&'a self, client_id: &str, user_id: Option<&'a str>, topic_filter: &'a str) -> Done<'a, bool> {
        let device = who(client_id, user_id);
        // Wildcards and shared subscriptions do not parse as a topic.
        let allowed = matches!(topic_filter.parse(), Ok(Topic::Down(own)) if Some(own) == device);
        Box::pin(std::future::ready(allowed))
    }
}
