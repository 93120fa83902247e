//! A request and its response on a connection, with their progress reported to the connection's watchdog.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::stream::{Peer, Shared};
use crate::client::ClientAddress;
use iottly_cloud::edge::{AddressKey, Place, Trusted, forwarded_for};

/// Context that the requests of a connection share.
#[derive(Clone)]
pub(super) struct RequestContext {
    pub(super) app: TowerToHyperService<Router>,
    pub(super) peer: Peer,
    /// True when the peer is a proxy that names its clients in headers.
    pub(super) proxied: bool,
    pub(super) trusted: Arc<Trusted>,
    pub(super) activity: Shared,
    pub(super) place: Arc<Place<AddressKey>>,
}

impl RequestContext {
    /// Responds to a request. The connection keeps its place until the response is complete.
    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        self.activity.lock().request();
        self.place.keep();
        let done = Done {
            activity: self.activity.clone(),
            place: Arc::clone(&self.place),
        };
        let named = if self.proxied {
            forwarded_for(request.headers(), &self.trusted)
        } else {
            None
        };
        let client = named.unwrap_or_else(|| self.peer.0.ip().to_canonical());
        let mut request = request.map(|body| {
            Body::new(RequestBody {
                body,
                activity: self.activity.clone(),
            })
        });
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(ClientAddress(client));
        let response = self.app.call(request).await?;
        if is_event_stream(response.headers()) {
            self.activity.lock().endless();
        }
        Ok(response.map(|body| ResponseBody { body, _done: done }))
    }
}

/// Returns true if a response is a stream of events, by its headers.
fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Records the end of a response when it is dropped, however the response ends.
struct Done {
    activity: Shared,
    place: Arc<Place<AddressKey>>,
}

impl Drop for Done {
    fn drop(&mut self) {
        let now = Instant::now();
        self.activity.lock().answered(now);
        self.place.idle(now);
    }
}

/// Body of a request.
struct RequestBody {
    body: Incoming,
    activity: Shared,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        this.activity
            .lock()
            .body_wanted(frame.is_pending(), Instant::now());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.activity.lock().body_wanted(false, Instant::now());
    }
}

/// Body of a response.
pub(super) struct ResponseBody {
    body: Body,
    _done: Done,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
