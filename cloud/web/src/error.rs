//! Error of the REST API, with its status, code and message. The body is rendered by the outermost layer.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::sessions::{MachineError, PasswordError};
use iottly_cloud::command::SubmitError;
use iottly_cloud::history_reader::ReadError;
use iottly_cloud::leases::LeaseError;
use iottly_cloud::releases::ReleaseError;
use iottly_cloud::rollout::{FlashError, KeyError};
use iottly_cloud::series::PlotError;
use iottly_core::model::InvalidDefinition;
use iottly_filter::{FilterError, Undecided};
use iottly_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// Body of every error response.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorDto<'a> {
    /// Error message for people.
    pub(crate) error: &'a str,
    /// Error code for programs.
    pub(crate) code: &'a str,
    /// Id of the request, as in the header `X-Request-Id`.
    pub(crate) request_id: &'a str,
    /// Position of the error in a filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) path: Option<&'a str>,
}

/// Error response: `{"error", "code", "request_id"}` with a status.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    path: Option<String>,
    /// Time after which the client may try again, in seconds.
    retry_s: Option<u32>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            path: None,
            retry_s: None,
        }
    }

    /// 400: the request is invalid.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 401: the request has no credentials, or an unknown token.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "a valid token is required",
        )
    }

    /// 403: the token does not grant access to this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 403 with a code of its own: a person has refused.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 404: the route does not exist.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "path not found")
    }

    /// 404: the project has no such object.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405: the route exists, but not for this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the path does not support this method",
        )
    }

    /// 409: the state of the cloud does not allow the request.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 422: the idempotency key was used for another request.
    #[must_use]
    pub fn reused_key() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            SubmitError::OtherRequest.to_string(),
        )
    }

    /// 413: the body is longer than the limit.
    #[must_use]
    pub fn too_large(max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("body is longer than {max} bytes"),
        )
    }

    /// 429: the client has to wait.
    pub fn too_many(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, message)
    }

    /// 501: this installation of the cloud does not support the operation.
    pub fn not_implemented(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, code, message)
    }

    /// 503: the cloud cannot serve the request at the moment.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// 507: the cloud's disk is full.
    pub fn no_room(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, code, message)
    }

    /// 500: internal error; the reason goes to the log only.
    pub fn internal(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %reason, "failed to handle a request; responding with 500");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "internal error of the cloud",
        )
    }

    /// Adds the time after which the client may try again (`Retry-After`), in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_s: Some(seconds.max(1)),
            ..self
        }
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns true if an edit was refused because it is based on an older text.
    pub(crate) fn is_stale(&self) -> bool {
        self.code == "stale"
    }

    /// Returns true if a `firmware.toml` is at fault.
    pub(crate) fn is_manifest(&self) -> bool {
        self.code == "invalid_manifest"
    }

    /// Returns the message for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the response, with the request's id.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let body = ErrorDto {
            error: &self.message,
            code: self.code,
            request_id,
            path: self.path.as_deref(),
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"iottly\""),
            );
        }
        if let Some(seconds) = self.retry_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// Only marks the response: the outermost layer knows the request's id and renders the body.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists { .. } => Self::new(StatusCode::CONFLICT, "exists", error.to_string()),
            StoreError::Missing { .. } => Self::missing(error.to_string()),
            StoreError::Refused(_) => Self::new(StatusCode::CONFLICT, "refused", error.to_string()),
            StoreError::Stale { .. } => Self::new(StatusCode::CONFLICT, "stale", error.to_string()),
            StoreError::Full { .. } => Self::new(StatusCode::CONFLICT, "limit_reached", error.to_string()),
            StoreError::TooOften { .. } => Self::too_many("too_many_changes", error.to_string()),
            _ => Self::internal(&error),
        }
    }
}

/// Time after which a machine that found no room may ask for a login again, in seconds.
const FULL_S: u32 = 60;

impl From<MachineError> for ApiError {
    fn from(error: MachineError) -> Self {
        match error {
            MachineError::TooOften { wait_s } | MachineError::TooManyGuesses { wait_s } => {
                Self::too_many("too_many_requests", error.to_string()).retry_after(wait_s)
            }
            MachineError::Full => Self::unavailable("too_many_logins", error.to_string()).retry_after(FULL_S),
            MachineError::Unknown(_) => Self::missing(error.to_string()),
            MachineError::Random(_) => Self::internal(&error),
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Length => Self::invalid("invalid_password", error.to_string()),
            PasswordError::Busy => Self::unavailable("busy", error.to_string()),
            PasswordError::Hash(_) => Self::internal(&error),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Queue(_) | ReadError::Unread => Self::too_many("too_many_requests", error.to_string()),
            ReadError::Busy => Self::unavailable("busy", error.to_string()),
            ReadError::Filter(undecided) => undecided.into(),
            ReadError::Store(error) => error.into(),
            ReadError::Evaluation(error) => Self::internal(&error),
        }
    }
}

impl From<PlotError> for ApiError {
    fn from(error: PlotError) -> Self {
        match error {
            PlotError::Plan(_) => Self::invalid("invalid_plot", error.to_string()),
            PlotError::Queue(_) => Self::too_many("too_many_requests", error.to_string()),
            PlotError::Slow => Self::unavailable("too_slow", error.to_string()),
            PlotError::Read(error) => error.into(),
            PlotError::Store(error) => error.into(),
        }
    }
}

impl From<FlashError> for ApiError {
    fn from(error: FlashError) -> Self {
        match error {
            FlashError::NoBranch(_) => Self::invalid("no_branch", error.to_string()),
            FlashError::NoRevision(_) => Self::invalid("no_revision", error.to_string()),
            FlashError::NothingBefore(_) => {
                Self::new(StatusCode::CONFLICT, "nothing_before", error.to_string())
            }
            FlashError::NoBuilder => Self::not_implemented("no_builder", error.to_string()),
            FlashError::Code(_) => Self::invalid("invalid_code", error.to_string()),
            FlashError::BuilderDown(_) => Self::unavailable("builder_down", error.to_string()),
            FlashError::Unreadable => Self::invalid("invalid_component", error.to_string()),
            FlashError::Busy(_) => Self::too_many("too_many_builds", error.to_string()),
            FlashError::DiskFull => Self::no_room("disk_full", error.to_string()),
            FlashError::Release(ReleaseError::TooMany { .. }) => {
                Self::new(StatusCode::CONFLICT, "limit_reached", error.to_string())
            }
            FlashError::Policy(_) => Self::invalid("invalid_policy", error.to_string()),
            FlashError::Wider(_) => Self::new(StatusCode::CONFLICT, "capabilities_wider", error.to_string()),
            FlashError::Store(error) => error.into(),
            FlashError::Release(_) | FlashError::Failed(_) => Self::internal(&error),
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Underway => Self::conflict("rollouts_under_way", error.to_string()),
            KeyError::TooMany => Self::too_many("too_many_roots", error.to_string()),
            KeyError::Release(ReleaseError::Refused(reason)) => Self::conflict("keys_refused", reason),
            KeyError::Release(error) => Self::internal(&error),
            KeyError::Store(error) => error.into(),
        }
    }
}

impl From<LeaseError> for ApiError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Request(_) => Self::invalid("invalid_lease", error.to_string()),
            LeaseError::NoRole(_) => Self::new(StatusCode::CONFLICT, "no_lease_key", error.to_string()),
            LeaseError::Unknown => Self::missing(error.to_string()),
            LeaseError::Ended => Self::new(StatusCode::CONFLICT, "lease_ended", error.to_string()),
            LeaseError::Script(_) => Self::invalid("invalid_script", error.to_string()),
            LeaseError::Release(_) => Self::internal(&error),
            LeaseError::Store(error) => error.into(),
        }
    }
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        Self {
            path: Some(error.path().to_owned()),
            ..Self::invalid("invalid_filter", format!("queryJson: {error}"))
        }
    }
}

impl From<Undecided> for ApiError {
    fn from(undecided: Undecided) -> Self {
        match &undecided {
            Undecided::TooExpensive { path } => Self {
                path: Some(path.clone()),
                ..Self::invalid("filter_too_expensive", format!("queryJson: {undecided}"))
            },
            // Only the caller that has gone cancels, so this response is not sent to anyone.
            Undecided::Cancelled => Self::unavailable("cancelled", undecided.to_string()),
        }
    }
}

impl From<InvalidDefinition> for ApiError {
    fn from(error: InvalidDefinition) -> Self {
        Self::invalid("invalid_definition", error.to_string())
    }
}

impl From<getrandom::Error> for ApiError {
    fn from(error: getrandom::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::UnknownDevice => Self::forbidden(error.to_string()),
            SubmitError::UnknownType(_) | SubmitError::Invalid(_) | SubmitError::Ttl => {
                Self::invalid("invalid_command", error.to_string())
            }
            SubmitError::OtherRequest => Self::reused_key(),
            SubmitError::TooManyOpen | SubmitError::ProjectFull => {
                Self::too_many("too_many_commands", error.to_string())
            }
            SubmitError::Store(error) => error.into(),
        }
    }
}
