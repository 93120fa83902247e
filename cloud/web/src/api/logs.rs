//! Endpoint that returns the firmware log of a device.

use super::Answer;
use super::dto::{LogList, OK};
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::DeviceAccess;

/// Default and largest number of lines in a response.
const DEFAULT_LINES: usize = 100;
const MAX_LINES: usize = 1000;

/// Returns the newest lines of the firmware's log, newest first.
#[utoipa::path(
    get,
    path = "/device/{device}/logs",
    tag = "devices",
    params(
        ("numLines" = Option<i64>, Query, minimum = 1, description = "Maximum number of lines; 100 by default, 1000 at most"),
    ),
    responses((status = 200, description = "The log lines, newest first", body = LogList))
)]
pub(super) async fn logs(access: DeviceAccess, params: Params) -> Answer<LogList> {
    let limit = params.count("numLines", DEFAULT_LINES, MAX_LINES)?;
    let logs = access.services().store.logs(access.scope(), limit).await?;
    Ok(Spaced(LogList {
        logs: logs.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}
