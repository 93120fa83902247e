//! Span of a request: the fields that every log line of the request carries, until the last byte of the
//! response. Never holds an entered span over an await.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tracing::Span;
use tracing::field::Empty;

/// Returns the route of a request as logs and metrics name it. Paths without a route share one name, because
/// clients can choose any number of them.
pub(super) fn route(request: &Request) -> &str {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or("none", MatchedPath::as_str)
}

/// Returns the span of a request. The project is recorded when it is known, in the field `project.id`.
///
/// The level is the highest one, so that a filter which admits a line also admits its context.
pub(super) fn of_request(request: &Request, id: &str) -> Span {
    tracing::error_span!(
        "request",
        request.id = %id,
        http.method = %request.method(),
        http.route = %route(request),
        project.id = Empty,
    )
}

/// Has the body of a response produced within the span.
pub(super) fn around_body(span: Span, response: Response) -> Response {
    if span.is_disabled() {
        return response;
    }
    response.map(|body| Body::new(Spanned { body, span }))
}

/// Body whose producer runs within a span.
struct Spanned {
    body: Body,
    span: Span,
}

impl HttpBody for Spanned {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, span } = self.get_mut();
        span.in_scope(|| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
