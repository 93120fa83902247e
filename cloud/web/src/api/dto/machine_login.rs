//! JSON types of machine logins.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::Scopes;
use iottly_protocol::{ProjectId, Secret};

/// Machine that asks to act for a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginAsked {
    /// Name of the machine, for the person who decides: 1 to 128 bytes without control characters.
    pub(crate) machine: String,
}

/// Request that waits for a person.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LoginWaits {
    /// Secret with which the machine asks for its token.
    #[schema(value_type = String)]
    pub device_code: Secret,
    /// Code for the person, such as `7K3M-9PQX`.
    pub user_code: String,
    /// Path of the page on which a person decides, below the address of the cloud.
    pub verification_path: Cow<'static, str>,
    /// Time until the codes expire, in seconds.
    pub expires_in: u32,
    /// Interval in which the machine asks for its token, in seconds.
    pub interval: u32,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Machine that asks for its token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginPoll {
    /// Secret of the request.
    #[schema(value_type = String)]
    pub(crate) device_code: Secret,
}

/// Token of a machine whose request a person has approved.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LoginToken {
    /// Text of the token, which is not shown again.
    #[schema(value_type = String)]
    pub token: Secret,
    /// The login.
    #[serde(flatten)]
    pub about: LoginFacts,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Caller of the API.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LoginShown {
    /// The login.
    #[serde(flatten)]
    pub about: LoginFacts,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Login of a person or a token, and its limits.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LoginFacts {
    /// `token` or `person`.
    #[schema(value_type = String)]
    pub kind: Cow<'static, str>,
    /// Name of the token or person.
    pub name: String,
    /// Name of the machine; null for a token, and for a login of the dashboard.
    pub machine: Option<String>,
    /// Id of the only project that the login reaches; null for all projects of the person.
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{24}$")]
    pub project: Option<ProjectId>,
    /// Maximum permissions in each project; those of a person are also limited by the person's role.
    #[schema(value_type = Vec<String>)]
    pub scopes: Scopes,
    /// Time at which the login expires; null if it does not.
    pub expires: Option<Date>,
}
