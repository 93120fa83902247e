//! Endpoints that send, list, show and cancel commands.

use std::time::Duration;

use axum::extract::Path;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iottly_protocol::CommandId;
use serde_json::{Map, Value};

use super::Answer;
use super::body::JsonObject;
use super::dto::{Accepted, CommandBody, CommandDto, CommandList, OK};
use super::paged::{PageSize, before};
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::{DeviceAccess, ProjectAccess};
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_cloud::command::CommandRequest;
use iottly_core::model::{CommandRecord, Idempotency, UnixMs};
use iottly_store::CommandQuery;

/// Default and largest number of commands in a response.
const DEFAULT_COMMANDS: usize = 20;
const MAX_COMMANDS: usize = 100;
/// Maximum length of an `Idempotency-Key`, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Accepts a command durably: the device gets it now, or when it reconnects before the command expires.
///
/// With `wait`, the response is sent when the device has finished the command, at the latest after that time.
/// With an `Idempotency-Key`, a repeated request returns the command of the first one.
#[utoipa::path(
    post,
    path = "/device/{device}/command",
    tag = "commands",
    params(
        ("wait" = Option<String>, Query, pattern = "^[0-9]{1,6}(s|ms)?$", description = "Maximum time to wait for the end of the command, such as 5s or 500ms; 25 s at most"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "Key under which the request can be repeated without sending the command twice"),
    ),
    request_body = CommandBody,
    responses((status = 200, description = "The accepted command", body = Accepted))
)]
pub(super) async fn send(
    access: DeviceAccess,
    params: Params,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Answer<Accepted> {
    let patience = params.patience("wait")?;
    let text = serde_json::to_vec(&body).map_err(|error| ApiError::internal(&error))?;
    let key = key_of(access.project(), &headers, &text)?;
    let request = request(body)?;
    let services = access.services();
    let record = services
        .commands
        .submit_once(access.scope(), &request, key.as_ref(), services.time.received())
        .await?;
    Ok(Spaced(wait(&access, record, patience).await?.into()))
}

async fn wait(
    access: &DeviceAccess,
    record: CommandRecord,
    patience: Option<Duration>,
) -> Result<CommandRecord, ApiError> {
    let Some(patience) = patience.filter(|_| !record.status.is_final()) else {
        return Ok(record);
    };
    let settled = access
        .services()
        .commands
        .settled(access.scope(), record.id, patience)
        .await?;
    Ok(settled.unwrap_or(record))
}

/// Returns a command with its status and result.
#[utoipa::path(
    get,
    path = "/device/{device}/commands/{command}",
    tag = "commands",
    params(
        ("wait" = Option<String>, Query, pattern = "^[0-9]{1,6}(s|ms)?$", description = "Maximum time to wait for the end of the command, such as 5s or 500ms; 25 s at most"),
    ),
    responses((status = 200, description = "The command", body = CommandDto))
)]
pub(super) async fn show(
    access: DeviceAccess,
    Path((_, _, id)): Path<(String, String, String)>,
    params: Params,
) -> Answer<CommandDto> {
    let id = command_id(&id)?;
    let record = access
        .services()
        .store
        .command(access.scope(), id)
        .await?
        .ok_or_else(unknown)?;
    Ok(Spaced(
        wait(&access, record, params.patience("wait")?).await?.into(),
    ))
}

/// Lists the commands of a device, newest first.
#[utoipa::path(
    get,
    path = "/device/{device}/commands",
    tag = "commands",
    params(
        ("state" = Option<String>, Query, pattern = "^(queued|sent|delivered|answered|failed|expired|interrupted|cancelled)$", description = "State of the commands; any by default"),
        ("numCommands" = Option<i64>, Query, minimum = 1, description = "Maximum number of commands; 20 by default, 100 at most"),
        ("before" = Option<String>, Query, description = "`next` of the previous page"),
    ),
    responses((status = 200, description = "The commands, newest first", body = CommandList))
)]
pub(super) async fn list(access: DeviceAccess, params: Params) -> Answer<CommandList> {
    let size = PageSize::read(&params, "numCommands", DEFAULT_COMMANDS, MAX_COMMANDS)?;
    let status = params
        .get("state")
        .map(|state| serde_json::from_value(Value::String(state.to_owned())));
    let status = status
        .transpose()
        .map_err(|_| ApiError::invalid("invalid_query", "state is not a state of commands"))?;
    let query = CommandQuery {
        status,
        before: before(&params, "commands", decode)?,
        limit: size.to_read(),
    };
    let commands = access.services().store.commands(access.scope(), &query).await?;
    let (commands, next) = size.cut(commands, |last| encode(last.created, last.id));
    Ok(Spaced(CommandList {
        commands,
        next,
        status: OK,
    }))
}

/// Cancels a command.
///
/// A command that may have reached the device already is cancelled by the device, if it has not started.
#[utoipa::path(
    post,
    path = "/device/{device}/commands/{command}/cancel",
    tag = "commands",
    params(
        ("wait" = Option<String>, Query, pattern = "^[0-9]{1,6}(s|ms)?$", description = "Maximum time to wait for the end of the command, such as 5s or 500ms; 25 s at most"),
    ),
    responses((status = 200, description = "The command", body = CommandDto))
)]
pub(super) async fn cancel(
    access: DeviceAccess,
    Path((_, _, id)): Path<(String, String, String)>,
    params: Params,
) -> Answer<CommandDto> {
    let patience = params.patience("wait")?;
    let record = access
        .services()
        .commands
        .cancel(access.scope(), command_id(&id)?, clock::now())
        .await?
        .ok_or_else(unknown)?;
    Ok(Spaced(wait(&access, record, patience).await?.into()))
}

fn unknown() -> ApiError {
    ApiError::missing("device has no such command")
}

fn command_id(text: &str) -> Result<CommandId, ApiError> {
    text.parse().map_err(|_| unknown())
}

fn encode(created: UnixMs, id: CommandId) -> String {
    URL_SAFE_NO_PAD.encode([&created.to_be_bytes()[..], &id.as_bytes()[..]].concat())
}

fn decode(text: &str) -> Option<(UnixMs, CommandId)> {
    let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (created, id) = bytes.split_at(8);
    Some((
        UnixMs::from_be_bytes(created.try_into().ok()?),
        CommandId::from_bytes(id.try_into().ok()?),
    ))
}

/// Returns the idempotency key of a request whose body is this text.
pub(super) fn key_of(
    access: &ProjectAccess,
    headers: &HeaderMap,
    text: &[u8],
) -> Result<Option<Idempotency>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES);
    let invalid = || {
        ApiError::invalid(
            "invalid_header",
            format!("Idempotency-Key is not 1 to {MAX_KEY_BYTES} ASCII characters"),
        )
    };
    let key = key.ok_or_else(invalid)?.to_owned();
    Ok(Some(Idempotency {
        actor: access.principal().actor,
        key,
        request: *blake3::hash(text).as_bytes(),
    }))
}

fn request(body: Map<String, Value>) -> Result<CommandRequest, ApiError> {
    let CommandBody {
        cmd_type,
        values,
        ttl_ms,
    } = CommandBody::read(body).map_err(|reason| ApiError::invalid("invalid_command", reason))?;
    Ok(CommandRequest {
        cmd_type,
        values: values.unwrap_or_default(),
        ttl_ms,
    })
}
