//! JSON type for the refusal of a device.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::refusals::Refused;

/// Refusal of a device that could not get in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DeviceRefusal)]
pub struct DeviceRefusalDto {
    /// Time of the refusal.
    pub at: Date,
    /// Address that the device came from.
    pub from: String,
    /// Step at which it was refused: `tls`, `enrolment`, `renewal` or `login`.
    #[schema(value_type = String)]
    pub step: Cow<'static, str>,
    /// Reason, for people.
    pub reason: String,
}

impl From<Refused> for DeviceRefusalDto {
    fn from(refused: Refused) -> Self {
        Self {
            at: refused.at.into(),
            from: refused.from.to_string(),
            step: refused.step.as_str().into(),
            reason: refused.reason,
        }
    }
}
