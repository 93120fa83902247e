//! Endpoints for series: the paths of numbers in messages, and their points over time as JSON or CSV.

use std::collections::HashMap;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use iottly_protocol::GroupId;
use serde::Deserialize;

use super::Answer;
use super::dto::{PointsDto, SeriesDto};
use super::query::Params;
use super::spaced::{Spaced, counted_response};
use crate::auth::ProjectAccess;
use crate::csv::Csv;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_cloud::series::{Plot, PlotError, PlotLine, PlotRequest};
use iottly_core::model::{PlotSettings, Scope, UnixMs};
use iottly_core::series::{Aggregate, DEFAULT_POINTS, MAX_LINES, MAX_PATH_BYTES, Range, Split, plan};
use iottly_filter::date;
use iottly_store::Selection;

const MINUTE_MS: UnixMs = 60_000;
/// Time that a plot shows unless the caller says otherwise: a day.
const DEFAULT_RANGE_MS: UnixMs = 24 * 60 * MINUTE_MS;
/// Maximum number of devices, and of groups, that a request names.
const MAX_NAMED: usize = MAX_LINES;

/// Lists the paths of numbers in the project's messages. Each is a series of every device that sends it.
#[utoipa::path(
    get,
    path = "/series",
    tag = "series",
    params(("device" = Option<String>, Query, description = "Id of a device: only the paths of which it has values, each with the device's newest hour")),
    responses((status = 200, description = "The paths, sorted", body = SeriesDto))
)]
pub(super) async fn all(access: ProjectAccess, params: Params) -> Answer<SeriesDto> {
    let store = &access.services().store;
    let mut list = store.series(access.id()).await?;
    if let Some(id) = params.get("device") {
        list.paths = store.series_of(device_of(&access, id).await?).await?;
    }
    Ok(Spaced(list.into()))
}

/// Returns a device of the project.
async fn device_of(access: &ProjectAccess, id: &str) -> Result<Scope, ApiError> {
    let unknown = || ApiError::missing(format!("no device {id:?}"));
    let scope = Scope {
        project: access.id(),
        device: id.parse().map_err(|_| unknown())?,
    };
    match access.services().store.device(scope).await? {
        Some(_) => Ok(scope),
        None => Err(unknown()),
    }
}

/// Returns the points of a series over time, over one device, groups, or all devices of the project.
#[utoipa::path(
    get,
    path = "/series/points",
    tag = "series",
    params(
        ("path" = String, Query, description = "Path of the series, such as `room.temperature`"),
        ("device" = Option<String>, Query, description = "Ids of devices, separated by commas; at most 20"),
        ("group" = Option<String>, Query, description = "Ids or names of deployment groups, separated by commas; at most 20"),
        ("agg" = Option<String>, Query, pattern = "^(avg|min|max|sum|count|p95)$", description = "Value of a point, made of the values of its step; `avg` by default. `p95` is within 1 %"),
        ("by" = Option<String>, Query, pattern = "^(none|device|group)$", description = "Division into lines; one line by default, at most 20"),
        ("since" = Option<String>, Query, description = "Length of the time before now, such as `15m`, `24h` or `90d`; `24h` by default"),
        ("from" = Option<String>, Query, description = "Beginning, in place of `since`: ISO 8601 or Unix milliseconds"),
        ("to" = Option<String>, Query, description = "End; now by default"),
        ("points" = Option<i64>, Query, minimum = 2, maximum = 5000, description = "Maximum number of points of a line; 500 by default"),
        ("format" = Option<String>, Query, pattern = "^(json|csv)$", description = "`csv` for a table; so does the header `Accept: text/csv`"),
    ),
    responses((status = 200, description = "The points", content(
        (PointsDto = "application/json"),
        (String = "text/csv"),
    )))
)]
pub(super) async fn points(
    access: ProjectAccess,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let query = PlotQuery::from_params(&params);
    let csv = match params.get("format") {
        Some("csv") => true,
        Some("json") => false,
        Some(_) => return Err(invalid("format is not json or csv")),
        None => headers
            .get(ACCEPT)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/csv")),
    };
    let mut asked = Asked::of(&access, &query, clock::now()).await?;
    asked.request.whole = csv;
    let (plot, names) = read(&access, &asked).await?;
    if csv {
        return Ok(table(&plot, &names).into_response());
    }
    counted_response(
        access.services(),
        access.id(),
        &PointsDto::of(&asked, &plot, &names),
    )
}

/// Query of a plot, as it stands in an address.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct PlotQuery {
    pub(crate) path: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) agg: Option<String>,
    pub(crate) by: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) points: Option<String>,
}

impl PlotQuery {
    fn from_params(params: &Params) -> Self {
        let get = |name| params.get(name).map(str::to_owned);
        Self {
            path: get("path"),
            device: get("device"),
            group: get("group"),
            agg: get("agg"),
            by: get("by"),
            since: get("since"),
            from: get("from"),
            to: get("to"),
            points: get("points"),
        }
    }
}

impl From<&PlotSettings> for PlotQuery {
    fn from(plot: &PlotSettings) -> Self {
        let list = |names: &[String]| Some(names.join(",")).filter(|list| !list.is_empty());
        Self {
            path: Some(plot.path.clone()),
            device: list(&plot.devices),
            group: list(&plot.groups),
            agg: Some(plot.agg.clone()),
            by: Some(plot.by.clone()),
            since: Some(plot.since.clone()),
            ..Self::default()
        }
    }
}

/// Maximum length of a name of a device or group in a saved plot, and of its time, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Checks a plot that is to be saved.
///
/// # Errors
/// 400 if it cannot be drawn or is too long, 404 if it names what is not there.
pub(super) async fn of_settings(
    access: &ProjectAccess,
    query: &PlotQuery,
    now: UnixMs,
) -> Result<(), ApiError> {
    let parts = [&query.device, &query.group, &query.since].into_iter().flatten();
    if parts
        .flat_map(|text| text.split(','))
        .any(|name| name.len() > MAX_NAME_BYTES)
    {
        return Err(invalid(format!("a name is longer than {MAX_NAME_BYTES} bytes")));
    }
    let range = Asked::of(access, query, now).await?.request.range;
    plan(range, DEFAULT_POINTS, Aggregate::Avg, (1, 1), now).map_err(PlotError::from)?;
    Ok(())
}

/// A plot as it was asked for.
pub(crate) struct Asked {
    pub(crate) request: PlotRequest,
}

impl Asked {
    /// Reads a query; fields that are empty are as if they were missing.
    pub(crate) async fn of(access: &ProjectAccess, query: &PlotQuery, now: UnixMs) -> Result<Self, ApiError> {
        let path = filled(&query.path).ok_or_else(|| invalid("path is missing"))?;
        if path.len() > MAX_PATH_BYTES {
            return Err(invalid(format!("path is longer than {MAX_PATH_BYTES} bytes")));
        }
        let aggregate = filled(&query.agg).unwrap_or(Aggregate::Avg.as_str());
        let aggregate = Aggregate::ALL
            .into_iter()
            .find(|known| known.as_str() == aggregate)
            .ok_or_else(|| invalid("agg is not avg, min, max, sum, count or p95"))?;
        let split = filled(&query.by).unwrap_or(Split::None.as_str());
        let split = [Split::None, Split::Device, Split::Group]
            .into_iter()
            .find(|known| known.as_str() == split)
            .ok_or_else(|| invalid("by is not none, device or group"))?;
        let points = match filled(&query.points) {
            Some(text) => text
                .parse()
                .map_err(|_| invalid("points is not a whole number"))?,
            None => DEFAULT_POINTS,
        };
        Ok(Self {
            request: PlotRequest {
                path: path.to_owned(),
                selection: selection(access, query).await?,
                split,
                aggregate,
                range: range(query, now)?,
                points,
                whole: false,
            },
        })
    }
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::invalid("invalid_query", message)
}

fn list(text: &Option<String>, name: &str) -> Result<Vec<String>, ApiError> {
    let list: Vec<_> = filled(text)
        .into_iter()
        .flat_map(|text| text.split(','))
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect();
    if list.len() > MAX_NAMED {
        return Err(invalid(format!("{name} has more than {MAX_NAMED} entries")));
    }
    Ok(list)
}

async fn selection(access: &ProjectAccess, query: &PlotQuery) -> Result<Selection, ApiError> {
    let mut selection = Selection::default();
    for id in list(&query.device, "device")? {
        selection.devices.push(device_of(access, &id).await?.device);
    }
    let wanted = list(&query.group, "group")?;
    if !wanted.is_empty() {
        let groups = access.groups().await?;
        for name in wanted {
            let id = name.parse::<GroupId>().ok();
            let group = groups
                .iter()
                .find(|group| Some(group.id) == id || group.name == name);
            let group = group.ok_or_else(|| ApiError::missing(format!("no deployment group {name:?}")))?;
            selection.groups.push(group.id);
        }
    }
    Ok(selection)
}

fn range(query: &PlotQuery, now: UnixMs) -> Result<Range, ApiError> {
    let moment = |text: &Option<String>, name: &str| {
        let read = |text: &str| text.parse().or_else(|_| date::parse(text));
        let moment = filled(text).map(read).transpose();
        moment.map_err(|reason| invalid(format!("{name}: {reason}")))
    };
    let to = moment(&query.to, "to")?.unwrap_or(now);
    let from = match moment(&query.from, "from")? {
        Some(from) => from,
        None => to.saturating_sub(match filled(&query.since) {
            Some(text) => {
                duration(text).ok_or_else(|| invalid("since is not a time such as 15m, 24h or 90d"))?
            }
            None => DEFAULT_RANGE_MS,
        }),
    };
    Ok(Range { from, to })
}

/// Reads a length of time such as `15m`, `24h` or `90d`.
pub(crate) fn duration(text: &str) -> Option<UnixMs> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => MINUTE_MS,
        "h" => 60 * MINUTE_MS,
        "d" => 24 * 60 * MINUTE_MS,
        _ => return None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse::<UnixMs>().ok().filter(|_| plain)?.checked_mul(unit)
}

/// Names of the devices or groups of a plot's lines, by their ids.
pub(crate) struct Named(HashMap<String, String>);

impl Named {
    /// Returns the name of a line.
    pub(crate) fn of<'a>(&'a self, line: &'a PlotLine) -> &'a str {
        match &line.key {
            Some(key) => self.0.get(key).unwrap_or(key),
            None => "all devices",
        }
    }
}

/// Reads a plot and the names of its lines.
pub(crate) async fn read(access: &ProjectAccess, asked: &Asked) -> Result<(Plot, Named), ApiError> {
    let services = access.services();
    let plot = services
        .series
        .plot(access.id(), &asked.request, clock::now())
        .await?;
    let mut names = HashMap::new();
    match asked.request.split {
        Split::None => {}
        Split::Group => {
            let groups = access.groups().await?;
            names.extend(groups.into_iter().map(|group| (group.id.to_string(), group.name)));
        }
        Split::Device => {
            for key in plot.lines.iter().filter_map(|line| line.key.clone()) {
                if let Ok(device) = key.parse() {
                    let scope = Scope {
                        project: access.id(),
                        device,
                    };
                    names.extend(
                        services
                            .store
                            .device(scope)
                            .await?
                            .map(|device| (key, device.name)),
                    );
                }
            }
        }
    }
    Ok((plot, Named(names)))
}

/// Returns a plot as a table, with a row for each point and for each pause.
pub(crate) fn table(plot: &Plot, names: &Named) -> Csv {
    let mut csv = Csv::new(&["time", "id", "name", "value", "min", "max", "missing"]);
    for line in &plot.lines {
        let (id, name) = (line.key.as_deref().unwrap_or_default(), names.of(line));
        let mut last = None;
        for piece in &line.pieces {
            if let Some(at) = last {
                let missing = piece.missing.to_string();
                csv.row(&[&time(at + plot.plan.step_ms), id, name, "", "", "", &missing]);
            }
            for point in &piece.points {
                let [value, min, max] = [point.value, point.min, point.max].map(|number| number.to_string());
                csv.row(&[&time(point.at), id, name, &value, &min, &max, ""]);
                last = Some(point.at);
            }
        }
    }
    csv
}

fn time(at: UnixMs) -> String {
    date::format(at) + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_from_its_query() {
        let now = 1_790_000_000_000;
        let range = |since: Option<&str>, from: Option<&str>, to: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let query = PlotQuery {
                since: text(since),
                from: text(from),
                to: text(to),
                ..PlotQuery::default()
            };
            super::range(&query, now)
                .ok()
                .map(|range| (now - range.from, now - range.to))
        };
        assert_eq!(range(None, None, None), Some((DEFAULT_RANGE_MS, 0)));
        assert_eq!(range(Some("15m"), Some(""), None), Some((15 * MINUTE_MS, 0)));
        assert_eq!(range(Some("90d"), None, None), Some((90 * DEFAULT_RANGE_MS, 0)));
        assert_eq!(
            range(None, Some("1789999999000"), Some("1789999999500")),
            Some((1000, 500))
        );
        for bad in [
            "",
            "h",
            "1",
            "-1h",
            "+1h",
            "1w",
            "99999999999999999999d",
            "9223372036854775807d",
            "é",
        ] {
            assert!(bad.is_empty() || range(Some(bad), None, None).is_none(), "{bad}");
        }
    }
}
