//! Conversion of rows to values. Checks every column; trusts none.

use std::borrow::Cow;

use iottly_protocol::release::LeaseId;
use iottly_protocol::{
    CommandId, DeviceId, FirmwareMark, GroupId, Level, MessageKind, ProjectId, StreamClass, StreamId,
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sqlx::Row as _;

use super::db::{Db, Row};
use crate::{Result, StoreError};
use iottly_core::command::CloudStep;
use iottly_core::model::{
    AlertId, AlertRuleId, CommandStatus, EnrolmentKeyId, JobId, MachineLoginId, OrganizationId, PortalId,
    Role, RolloutId, SavedPlotId, Scope, SnippetId, SnippetKind, TokenId, UserId, WebhookId,
};

/// An id that is stored as its bytes.
pub(super) trait Id {
    /// Returns the bytes of the id.
    fn bytes(&self) -> &[u8];
}

macro_rules! ids {
    ($($kind:ty),+) => {
        $(impl Id for $kind {
            fn bytes(&self) -> &[u8] {
                self.as_bytes()
            }
        })+
    };
}

ids!(
    AlertId,
    AlertRuleId,
    CommandId,
    DeviceId,
    EnrolmentKeyId,
    GroupId,
    JobId,
    LeaseId,
    OrganizationId,
    PortalId,
    ProjectId,
    StreamId,
    RolloutId,
    MachineLoginId,
    SavedPlotId,
    SnippetId,
    TokenId,
    UserId,
    WebhookId
);

impl<T: Id> Id for &T {
    fn bytes(&self) -> &[u8] {
        (*self).bytes()
    }
}

/// Returns the bytes of an id, for binding it to a statement.
pub(super) fn id(id: &impl Id) -> &[u8] {
    id.bytes()
}

/// Reads the column `field`.
pub(super) fn get<'r, T>(row: &'r Row, field: &'static str) -> Result<T>
where
    T: sqlx::Decode<'r, Db> + sqlx::Type<Db>,
{
    Ok(row.try_get(field)?)
}

/// Reads the column `field` as `N` bytes.
pub(super) fn bytes<const N: usize>(row: &Row, table: &'static str, field: &'static str) -> Result<[u8; N]> {
    let blob: &[u8] = get(row, field)?;
    blob.try_into()
        .map_err(|_| corrupt(table, field, format!("{} bytes instead of {N}", blob.len())))
}

/// Reads a scope from the columns `project` and `field`.
pub(super) fn scope(row: &Row, table: &'static str, field: &'static str) -> Result<Scope> {
    Ok(Scope {
        project: project(row, table, "project")?,
        device: DeviceId::from_bytes(bytes(row, table, field)?),
    })
}

pub(super) fn project(row: &Row, table: &'static str, field: &'static str) -> Result<ProjectId> {
    Ok(ProjectId::from_bytes(bytes(row, table, field)?))
}

pub(super) fn group(row: &Row, table: &'static str, field: &'static str) -> Result<GroupId> {
    Ok(GroupId::from_bytes(bytes(row, table, field)?))
}

/// Reads the column `field` as raw JSON text.
pub(super) fn raw(row: &Row, table: &'static str, field: &'static str) -> Result<Box<RawValue>> {
    RawValue::from_string(get(row, field)?).map_err(|error| corrupt(table, field, error.to_string()))
}

/// Reads the column `field` as text; none if it is empty, as columns from the first schema mark a missing text.
pub(super) fn filled<'r>(row: &'r Row, field: &'static str) -> Result<Option<&'r str>> {
    let text: &str = get(row, field)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Reads bytes that are written as pairs of hex digits; it ends before the first one that is not.
pub(super) fn hex_bytes(text: &str) -> impl Iterator<Item = u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    text.as_bytes().chunks(2).map_while(move |digits| match digits {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    })
}

/// Reads the mark of a script.
pub(super) fn mark(text: &str, table: &'static str, field: &'static str) -> Result<FirmwareMark> {
    text.parse()
        .map_err(|reason: &str| corrupt(table, field, reason.to_owned()))
}

/// Reads JSON text.
pub(super) fn json<T: DeserializeOwned>(text: &str, table: &'static str, field: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(table, field, error.to_string()))
}

pub(super) fn corrupt(table: &'static str, field: &'static str, reason: String) -> StoreError {
    StoreError::Corrupt { table, field, reason }
}

/// Returns a text that both databases can store: PostgreSQL refuses the character NUL.
pub(super) fn text(given: &str) -> Cow<'_, str> {
    if given.contains('\0') {
        Cow::Owned(given.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(given)
    }
}

/// Returns a number that fits a signed column; validation refuses larger ones.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64, table: &'static str, field: &'static str) -> Result<u64> {
    u64::try_from(number).map_err(|_| corrupt(table, field, format!("{number} is negative")))
}

macro_rules! coded {
    ($encode:ident, $decode:ident, $kind:ty, $table:literal, $field:literal, { $($value:path = $code:literal,)+ }) => {
        pub(super) const fn $encode(value: $kind) -> i64 {
            match value { $($value => $code,)+ }
        }

        pub(super) fn $decode(code: i64) -> Result<$kind> {
            match code {
                $($code => Ok($value),)+
                other => Err(corrupt($table, $field, format!("unknown code {other}"))),
            }
        }
    };
}

coded!(kind_code, kind, MessageKind, "messages", "kind", { MessageKind::UserDefined = 0, MessageKind::IottlyAgent = 1, });
coded!(class_code, class, StreamClass, "streams", "class", { StreamClass::History = 0, StreamClass::Control = 1, });
coded!(snippet_kind_code, snippet_kind, SnippetKind, "snippets", "kind", {
    SnippetKind::Global = 0, SnippetKind::Init = 1, SnippetKind::Loop = 2, SnippetKind::Handler = 3,
    SnippetKind::File = 4,
});
coded!(role_code, role, Role, "members", "role", {
    Role::Viewer = 0, Role::Operator = 1, Role::Developer = 2, Role::Owner = 3,
});
coded!(level_code, level, Level, "device_logs", "level", {
    Level::Trace = 0, Level::Debug = 1, Level::Info = 2, Level::Warn = 3, Level::Error = 4,
});
coded!(status_code, status, CommandStatus, "commands", "status", {
    CommandStatus::Queued = 0, CommandStatus::Sent = 1, CommandStatus::Delivered = 2, CommandStatus::Answered = 3,
    CommandStatus::Failed = 4, CommandStatus::Expired = 5, CommandStatus::Interrupted = 6, CommandStatus::Cancelled = 7,
});

/// Predicate for commands without a final status, as the partial index `commands_open` has it.
macro_rules! open {
    () => {
        "status < 3"
    };
}

/// Predicate for commands that the device has not reported, as the partial index `commands_expiry` has it.
macro_rules! unreported {
    () => {
        "status < 2"
    };
}

pub(super) use {open, unreported};

const _: () = {
    let expires = CloudStep::Expire.from();
    assert!(expires.len() <= STATUSES, "a status is left out");
    assert!(CommandStatus::MARKED.len() <= STATUSES, "a status is left out");
    let mut at = 0;
    while at < CommandStatus::ALL.len() {
        let status = CommandStatus::ALL[at];
        assert!(
            (status_code(status) < 3) != status.is_final(),
            "the index of open commands holds other statuses"
        );
        assert!(
            status.predecessors().len() <= STATUSES,
            "a predecessor is left out"
        );
        let mut listed = false;
        let mut next = 0;
        while next < expires.len() {
            listed |= status_code(expires[next]) == status_code(status);
            next += 1;
        }
        assert!(
            (status_code(status) < 2) == listed,
            "the index of commands to expire holds other statuses"
        );
        at += 1;
    }
};

/// Number of parameters of a list of statuses in a statement.
const STATUSES: usize = 3;
/// Code of no status.
const NO_STATUS: i64 = -1;

/// Returns the codes of a list of statuses, filled up with [`NO_STATUS`].
pub(super) fn status_codes(statuses: &[CommandStatus]) -> [i64; STATUSES] {
    assert!(statuses.len() <= STATUSES, "a status is left out");
    std::array::from_fn(|at| statuses.get(at).map_or(NO_STATUS, |status| status_code(*status)))
}
