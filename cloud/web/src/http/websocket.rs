//! MQTT inside of a WebSocket, for networks that let only HTTPS pass: the handshake (RFC 6455, section 4.2) and the
//! hand-over to the broker.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use iottly_cloud::broker::websocket_accept;
use iottly_cloud::edge::{AddressKey, Prefixed, Trusted};

use super::stream::{Connection, Peer, Watched};
use crate::app::App;
use crate::client::ClientAddress;
use crate::error::ApiError;

/// Path of the endpoint.
pub(super) const PATH: &str = "/mqtt";
/// Name of MQTT among the protocols of WebSockets (MQTT 3.1.1, section 6).
const PROTOCOL: &str = "mqtt";
/// Version of the WebSocket protocol.
const VERSION: &str = "13";
/// Time after which a device that found no room may come back, in seconds; devices add up to half a minute.
const RETRY_SECONDS: &str = "5";
/// Length of a key: 16 bytes in base64.
const KEY_LENGTH: usize = 24;

/// Responds to the handshake, and serves MQTT on the connection afterwards.
pub(super) async fn mqtt(
    State(app): State<App>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
) -> Response {
    let Some(key) = key_of(request.headers()) else {
        let mut refused = ApiError::invalid(
            "websocket_required",
            "this path speaks MQTT over WebSocket: the request needs Upgrade: websocket, version 13, and the protocol mqtt",
        )
        .into_response();
        refused
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        return refused;
    };
    if !app.services.mqtt.has_room() {
        let mut refused =
            ApiError::unavailable("busy", "no room for another device now; come back later").into_response();
        refused
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        return refused;
    }
    let extensions = request.extensions_mut();
    let (upgrade, client) = (
        extensions.remove::<OnUpgrade>(),
        extensions.get::<ClientAddress>().copied(),
    );
    let Some(upgrade) = upgrade else {
        return ApiError::invalid("websocket_required", "this connection cannot become a WebSocket")
            .into_response();
    };
    let client = client.map_or_else(|| peer.ip(), |ClientAddress(client)| client);
    let key_of_client = Trusted::new(&app.services.edge.trusted_proxies).key(client);
    tokio::spawn(hand_over(
        app,
        upgrade,
        (client, peer.port()).into(),
        key_of_client,
    ));
    let accept = HeaderValue::try_from(websocket_accept(&key)).expect("base64 is valid in a header");
    let headers: [(HeaderName, HeaderValue); 4] = [
        (UPGRADE, HeaderValue::from_static("websocket")),
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (SEC_WEBSOCKET_ACCEPT, accept),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn hand_over(app: App, upgrade: OnUpgrade, client: std::net::SocketAddr, key: Option<AddressKey>) {
    match upgrade
        .await
        .map(Upgraded::downcast::<TokioIo<Watched<Prefixed<Connection>>>>)
    {
        Ok(Ok(parts)) => {
            let stream = Prefixed::new(parts.read_buf.to_vec(), parts.io.into_inner());
            app.services.mqtt.serve_websocket(stream, client, key).await;
        }
        Ok(Err(_)) => unreachable!("all connections of this server are of one type"),
        Err(error) => {
            tracing::debug!(client.address = %client, %error, "a connection ended before it became a WebSocket");
        }
    }
}

/// Returns the key of a complete handshake for MQTT.
fn key_of(headers: &HeaderMap) -> Option<String> {
    let has = |name: HeaderName, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|list| list.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(wanted))
    };
    let complete = has(UPGRADE, "websocket")
        && has(CONNECTION, "upgrade")
        && has(SEC_WEBSOCKET_VERSION, VERSION)
        && has(SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
    let key = headers.get(SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    (complete && key.len() == KEY_LENGTH).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(changed: Option<(&'static str, &'static str)>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "mqttv5, mqtt"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            let value = changed
                .filter(|(other, _)| *other == name)
                .map_or(value, |(_, value)| value);
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_complete_handshake_has_its_key() {
        assert_eq!(
            key_of(&headers(None)).as_deref(),
            Some("dGhlIHNhbXBsZSBub25jZQ==")
        );
        for changed in [
            ("upgrade", "h2c"),
            ("connection", "close"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-protocol", "amqp"),
            ("sec-websocket-key", "short"),
        ] {
            assert_eq!(key_of(&headers(Some(changed))), None, "{changed:?}");
        }
        // The example of RFC 6455, section 1.3.
        assert_eq!(
            websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
