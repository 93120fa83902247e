//! JSON types for commands.

use iottly_protocol::CommandId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{CommandEntry, OK};
use iottly_core::model::{CommandRecord, CommandStatus};

/// Command to send.
#[derive(ToSchema)]
pub(crate) struct CommandBody {
    /// Type of the message definition.
    pub(crate) cmd_type: String,
    /// Values of the options; each key starts with `<cmd_type>.`.
    #[schema(value_type = Option<Object>)]
    pub(crate) values: Option<Map<String, Value>>,
    /// Time after which the command expires, in milliseconds: 1 ms to 30 days; one day by default.
    #[schema(minimum = 1, maximum = 2592000000i64)]
    pub(crate) ttl_ms: Option<i64>,
}

impl CommandBody {
    /// Reads a body field by field, so that an error names the field. Unknown fields are ignored, for
    /// compatibility.
    pub(crate) fn read(mut body: Map<String, Value>) -> Result<Self, &'static str> {
        let cmd_type = match body.remove("cmd_type") {
            Some(Value::String(cmd_type)) => cmd_type,
            Some(_) => return Err("cmd_type is not text"),
            None => return Err("cmd_type is missing"),
        };
        let values = match body.remove("values") {
            Some(Value::Object(values)) => Some(values),
            None | Some(Value::Null) => None,
            Some(_) => return Err("values is not an object"),
        };
        let ttl_ms = match body.remove("ttl_ms") {
            None | Some(Value::Null) => None,
            Some(ttl) => Some(ttl.as_i64().ok_or("ttl_ms is not a whole number")?),
        };
        Ok(Self {
            cmd_type,
            values,
            ttl_ms,
        })
    }
}

/// Accepted command: the documented `{"status": 200}`, with additional fields.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// HTTP status: always 200.
    pub status: u16,
    /// Id of the command.
    #[schema(value_type = String, format = "uuid")]
    pub id: CommandId,
    /// `queued`, `sent`, `delivered`, `answered`, `failed`, `expired`, `interrupted` or `cancelled`.
    #[schema(value_type = String)]
    pub state: CommandStatus,
    /// Reason of a failure; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl From<CommandRecord> for Accepted {
    fn from(record: CommandRecord) -> Self {
        Self {
            status: OK,
            id: record.id,
            state: record.status,
            detail: record.detail,
        }
    }
}

/// Page of the commands of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct CommandList {
    /// Commands, newest first.
    pub(crate) commands: Vec<CommandEntry>,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
