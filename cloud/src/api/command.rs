use axum::extract::Path;
use iottly_protocol::CommandId;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Answer;
use super::body::JsonObject;
use super::dto::{CommandDto, OK};
use super::spaced::Spaced;
use crate::auth::DeviceAccess;
use crate::clock;
use crate::command::CommandRequest;
use crate::error::ApiError;
use crate::model::CommandStatus;

/// The documented `{"status": 200}` and what is new beside it.
#[derive(Serialize)]
pub(super) struct Accepted {
    status: u16,
    id: CommandId,
    state: CommandStatus,
}

/// Durably accepts a command: it reaches the device now, or when the device comes back before the command expires.
pub(super) async fn send(access: DeviceAccess, JsonObject(body): JsonObject) -> Answer<Accepted> {
    let request = request(body)?;
    let record = access.services().commands.submit(access.scope(), &request, clock::now()).await?;
    Ok(Spaced(Accepted { status: OK, id: record.id, state: record.status }))
}

pub(super) async fn show(access: DeviceAccess, Path((_, _, id)): Path<(String, String, String)>) -> Answer<CommandDto> {
    let unknown = || ApiError::missing("device has no such command");
    let id: CommandId = id.parse().map_err(|_| unknown())?;
    let record = access.services().store.command(access.scope(), id).await?.ok_or_else(unknown)?;
    Ok(Spaced(record.into()))
}

fn request(mut body: Map<String, Value>) -> Result<CommandRequest, ApiError> {
    let invalid = |message: &str| ApiError::invalid("invalid_command", message);
    let cmd_type = match body.remove("cmd_type") {
        Some(Value::String(cmd_type)) => cmd_type,
        Some(_) => return Err(invalid("cmd_type is not text")),
        None => return Err(invalid("cmd_type is missing")),
    };
    let values = match body.remove("values") {
        Some(Value::Object(values)) => values,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(invalid("values is not an object")),
    };
    let ttl_ms = match body.remove("ttl_ms") {
        None | Some(Value::Null) => None,
        Some(ttl) => Some(ttl.as_i64().ok_or_else(|| invalid("ttl_ms is not a whole number"))?),
    };
    Ok(CommandRequest { cmd_type, values, ttl_ms })
}
