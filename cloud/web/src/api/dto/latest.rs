//! Latest values of devices.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Date, OK};
use iottly_core::series::{Latest, Reading};

/// Latest values of a device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Latest)]
pub struct LatestDto {
    /// Values, by path; at most 500.
    pub values: Vec<LatestValueDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Latest value of a path.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LatestValue)]
pub struct LatestValueDto {
    /// Keys that lead to the value, joined with `.`.
    pub path: String,
    /// Number, true or false, or a text of at most 64 bytes.
    pub value: Reading,
    /// Time of its message.
    pub at: Date,
}

/// Latest value of a path that is known.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Value)]
pub struct ValueDto {
    /// Number, true or false, or a text of at most 64 bytes.
    pub value: Reading,
    /// Time of its message.
    pub at: Date,
}

impl LatestDto {
    pub(crate) fn of(latest: &Latest) -> Self {
        let values = latest.values().map(|value| LatestValueDto {
            path: value.path.into_owned(),
            value: value.value,
            at: value.at.into(),
        });
        let mut values: Vec<_> = values.collect();
        values.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Self { values, status: OK }
    }
}
