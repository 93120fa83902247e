//! Endpoints that return the firmware logs of a device and of a project.

use std::collections::{BTreeSet, HashMap};

use iottly_core::model::UnixMs;
use iottly_protocol::{DeviceId, Level};
use iottly_store::{FoundLogs, LogPlace, LogQuery};

use super::Answer;
use super::dto::{DeviceLogDto, LogList, OK, ProjectLogs};
use super::paged;
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::{DeviceAccess, ProjectAccess};
use crate::error::ApiError;

/// Default and largest number of lines in a response.
const DEFAULT_LINES: usize = 100;
const MAX_LINES: usize = 1000;
/// Maximum length of a text to search, in bytes.
const MAX_SEARCH_BYTES: usize = 256;

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

/// Returns lines of the firmware logs of all devices, newest first by the time at which the cloud received them.
///
/// A request examines 50,000 lines; `next` leads to the ones behind them.
#[utoipa::path(
    get,
    path = "/logs",
    tag = "devices",
    params(
        ("level" = Option<String>, Query, pattern = "^(trace|debug|info|warn|error)$", description = "Least severe level of the lines; `trace` by default"),
        ("search" = Option<String>, Query, description = "Text that the lines contain"),
        ("until" = Option<i64>, Query, minimum = 1, description = "Latest time of receipt of the lines, in Unix milliseconds"),
        ("before" = Option<String>, Query, description = "`next` of the previous page"),
        ("numLines" = Option<i64>, Query, minimum = 1, description = "Maximum number of lines; 100 by default, 1000 at most"),
    ),
    responses((status = 200, description = "The log lines, newest first", body = ProjectLogs))
)]
pub(super) async fn of_project(access: ProjectAccess, params: Params) -> Answer<ProjectLogs> {
    let until = params.number("until")?;
    let until = until.map(|until| UnixMs::try_from(until).unwrap_or(UnixMs::MAX));
    let limit = params.count("numLines", DEFAULT_LINES, MAX_LINES)?;
    let before = paged::before(&params, "log lines", log_place)?;
    let query = log_query(params.get("level"), params.get("search"), (until, before), limit)?;
    let (logs, next) = project_logs(&access, &query).await?;
    Ok(Spaced(ProjectLogs {
        logs,
        next: next.map(written),
        status: OK,
    }))
}

/// Returns a query for lines of a project's log.
///
/// # Errors
/// 400 when the level is none, or the text is too long.
pub(crate) fn log_query(
    level: Option<&str>,
    contains: Option<&str>,
    (until, before): (Option<UnixMs>, Option<LogPlace>),
    limit: usize,
) -> Result<LogQuery, ApiError> {
    let invalid = |message: String| ApiError::invalid("invalid_query", message);
    let level = match level {
        None | Some("" | "trace") => Level::Trace,
        Some("debug") => Level::Debug,
        Some("info") => Level::Info,
        Some("warn") => Level::Warn,
        Some("error") => Level::Error,
        Some(_) => {
            return Err(invalid(
                "level is not trace, debug, info, warn or error".to_owned(),
            ));
        }
    };
    let contains = contains.unwrap_or_default();
    if contains.len() > MAX_SEARCH_BYTES {
        return Err(invalid(format!("search is longer than {MAX_SEARCH_BYTES} bytes")));
    }
    Ok(LogQuery {
        level,
        contains: contains.to_owned(),
        until,
        before,
        limit,
    })
}

/// Returns the text of a place in the log of a project.
pub(crate) fn written(place: LogPlace) -> String {
    format!("{}_{}_{}", place.at, place.number, place.device)
}

/// Reads a place.
pub(crate) fn log_place(text: &str) -> Option<LogPlace> {
    let mut parts = text.splitn(3, '_');
    Some(LogPlace {
        at: parts.next()?.parse().ok()?,
        number: parts.next()?.parse().ok()?,
        device: parts.next()?.parse().ok()?,
    })
}

/// Returns lines of a project's log with the names of their devices, and the place behind which the next ones are.
pub(crate) async fn project_logs(
    access: &ProjectAccess,
    query: &LogQuery,
) -> Result<(Vec<DeviceLogDto>, Option<LogPlace>), ApiError> {
    let FoundLogs { lines, next } = access.services().store.project_logs(access.id(), query).await?;
    let ids: BTreeSet<DeviceId> = lines.iter().map(|(device, _)| *device).collect();
    let ids: Vec<DeviceId> = ids.into_iter().collect();
    let devices = access
        .services()
        .store
        .devices_with_ids(access.id(), &ids)
        .await?;
    let names: HashMap<DeviceId, String> = devices
        .into_iter()
        .map(|device| (device.scope.device, device.name))
        .collect();
    let named = lines.into_iter().filter_map(|(device, line)| {
        let name = names.get(&device)?.clone();
        Some(DeviceLogDto::new(device, name, line))
    });
    Ok((named.collect(), next))
}
