//! Suggestions for the boxes of filters: names of fields, and values that the project has.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use iottly_core::series::Reading;
use iottly_core::short_form::{AUDIT, DEVICES, Language, MESSAGES, device_filter};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::visitor::Visitor;
use crate::api::audit::AuditFilter;
use crate::api::message_filter::json_of;
use crate::error::ApiError;

/// Maximum number of values of a field.
const VALUES: usize = 200;
/// Maximum number of paths of values.
const PATHS: usize = 500;
/// Number of devices whose latest values are looked at for flags and texts.
const DEVICES_READ: usize = 50;
/// States of the presence of devices.
const PRESENCE: [&str; 4] = ["online", "silent", "offline", "absent"];
/// States of firmware.
const FIRMWARE: [&str; 4] = ["running", "restarting", "quarantined", "stopped"];

/// Query for suggestions.
#[derive(Deserialize)]
pub(super) struct Asked {
    of: Of,
    /// Filter to explain, in place of suggestions.
    filter: Option<String>,
}

/// Kind of the documents of a filter.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Of {
    Messages,
    Devices,
    Audit,
}

impl Of {
    fn language(self) -> &'static Language {
        match self {
            Self::Messages => &MESSAGES,
            Self::Devices => &DEVICES,
            Self::Audit => &AUDIT,
        }
    }
}

/// Returns suggestions, or what a filter stands for.
pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    match &asked.filter {
        Some(text) => Json(explained(asked.of, text)).into_response(),
        None => match suggested(&visitor, asked.of).await {
            Ok(found) => Json(found).into_response(),
            Err(error) => error.into_response(),
        },
    }
}

/// Returns the filter of the API that a text stands for, or the reason for which it is none.
fn explained(of: Of, text: &str) -> Value {
    let found = match of {
        Of::Messages => json_of(text),
        Of::Devices => DEVICES
            .translate(text)
            .map_err(|error| error.to_string())
            .and_then(|json| match device_filter(&json) {
                Ok(_) => Ok(json),
                Err(error) => Err(error.to_string()),
            }),
        Of::Audit => AuditFilter::of(text)
            .map(|filter| filter.map_or("{}".to_owned(), |filter| filter.json))
            .map_err(|error| error.message().to_owned()),
    };
    match found {
        Ok(json) => json!({ "json": json }),
        Err(problem) => json!({ "problem": problem }),
    }
}

async fn suggested(visitor: &Visitor, of: Of) -> Result<Value, ApiError> {
    let examples: Vec<_> = of.language().suggestions("").collect();
    let mut values = Map::new();
    let mut paths: Vec<String> = Vec::new();
    if of != Of::Audit {
        let (store, project) = (&visitor.project.services().store, visitor.project.id());
        let groups = visitor.project.groups().await?;
        let groups: Vec<_> = groups.into_iter().map(|group| group.name).take(VALUES).collect();
        values.insert("group".to_owned(), json!(groups));
        let tags: BTreeSet<_> = store.device_tags(project, VALUES).await?.into_iter().collect();
        values.insert(
            "tag".to_owned(),
            json!(tags.iter().take(VALUES).collect::<Vec<_>>()),
        );
        let series = store.series(project).await?.paths;
        let mut known: BTreeSet<_> = series.into_iter().map(|series| series.path).collect();
        // Flags and texts are no series; those of some devices stand for all.
        let mut words: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (_, latest) in store.latest_after(project, None, DEVICES_READ).await? {
            for value in latest
                .values()
                .filter(|value| !matches!(value.value, Reading::Number(_)))
            {
                let values = words.entry(value.path.into_owned()).or_default();
                values.insert(value.value.to_string());
            }
        }
        for (path, found) in words.into_iter().take(VALUES) {
            let found: Vec<_> = found.iter().take(VALUES).collect();
            values.entry(path.clone()).or_insert_with(|| json!(found));
            known.insert(path);
        }
        paths = known.into_iter().take(PATHS).collect();
        if of == Of::Messages {
            values.insert("type".to_owned(), json!(["userdefined", "iottlyagent"]));
        } else {
            values.insert("presence".to_owned(), json!(PRESENCE));
            values.insert("firmware".to_owned(), json!(FIRMWARE));
            values.insert("legacy".to_owned(), json!(["true", "false"]));
        }
    }
    Ok(json!({ "examples": examples, "values": values, "paths": paths }))
}
