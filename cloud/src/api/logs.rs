use serde::Serialize;

use super::Answer;
use super::dto::{LogDto, OK};
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::DeviceAccess;

/// Lines in an answer unless the request says otherwise, and at most.
const DEFAULT_LINES: usize = 100;
const MAX_LINES: usize = 1000;

#[derive(Serialize)]
pub(super) struct Logs {
    logs: Vec<LogDto>,
    status: u16,
}

/// The newest lines of the firmware's log, newest first.
pub(super) async fn logs(access: DeviceAccess, params: Params) -> Answer<Logs> {
    let limit = params.count("numLines", DEFAULT_LINES, MAX_LINES)?;
    let logs = access.services().store.logs(access.scope(), limit).await?;
    Ok(Spaced(Logs { logs: logs.into_iter().map(Into::into).collect(), status: OK }))
}
