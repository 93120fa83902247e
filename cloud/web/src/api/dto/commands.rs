//! Shapes of commands.

use iottly_protocol::CommandId;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{CommandEntry, OK};
use iottly_core::model::{CommandRecord, CommandStatus};

/// A command to send.
#[derive(ToSchema)]
pub(crate) struct CommandBody {
    /// The message definition's type.
    pub(crate) cmd_type: String,
    /// The options; each key starts with `<cmd_type>.`.
    #[schema(value_type = Option<Object>)]
    pub(crate) values: Option<Map<String, Value>>,
    /// How long the command is worth running, milliseconds: 1 to 30 days; a day unless given.
    #[schema(minimum = 1, maximum = 2592000000i64)]
    pub(crate) ttl_ms: Option<i64>,
}

impl CommandBody {
    /// Reads it by hand, so that a reason names its field. Fields that are not known are ignored, as they
    /// always were.
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

/// The documented `{"status": 200}` and what is new beside it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    pub(crate) status: u16,
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: CommandId,
    #[schema(value_type = String)]
    pub(crate) state: CommandStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
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

#[derive(Serialize, ToSchema)]
pub(crate) struct CommandList {
    pub(crate) commands: Vec<CommandEntry>,
    /// Given when there are more: `before=<next>` continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    pub(crate) status: u16,
}
