//! JSON types for several boards that log in as one device.

use iottly_core::model::{DeviceCopy, UnixMs};
use iottly_protocol::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;

/// Time since it was heard last after which a board counts as disconnected, in milliseconds: three of its hellos.
const SILENT_MS: UnixMs = 65_000;

/// Board that logs in as a device which other boards log in as, too.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = DeviceCopy)]
pub struct CopyDto {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    pub device: DeviceId,
    /// Number of the board, from 1 on.
    pub number: u32,
    /// Name: that of the device, from the second board on with `(copy 2)` and so on.
    pub name: String,
    /// Address that the board connects from.
    pub address: String,
    /// Hash of the board's serial number or machine id; null if it has none.
    pub hardware: Option<String>,
    /// Time at which the board was heard last.
    pub seen: Date,
    /// True if it was heard within a minute.
    pub connected: bool,
}

impl CopyDto {
    pub(crate) fn new(device: DeviceId, name: &str, copy: DeviceCopy, now: UnixMs) -> Self {
        Self {
            device,
            number: copy.number,
            name: copy.name(name),
            address: copy.address,
            hardware: copy.hardware,
            seen: copy.seen.into(),
            connected: now.saturating_sub(copy.seen) < SILENT_MS,
        }
    }
}

/// Boards that log in as one device.
#[derive(Serialize, ToSchema)]
pub(crate) struct CopyList {
    /// Boards, by device and number.
    pub(crate) copies: Vec<CopyDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
