//! Saved plots of `iottly series`: saves, lists and deletes requests for plots, and finds one by its name.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::{Api, escaped};

/// Saves a plot under a name.
pub(crate) fn save(call: &Call, api: &Api, name: &str, plot: &Value) -> Result<(), Failure> {
    let answer = api.post("/plots", &json!({"name": name, "plot": plot}))?;
    call.print(&answer, |answer| list(&json!({"plots": [answer["plot"]]})))
}

/// Lists the saved plots.
pub(crate) fn show(call: &Call) -> Result<(), Failure> {
    call.print_list("plots", &call.api()?.get("/plots")?, list)
}

/// Deletes a saved plot, by name or id.
pub(crate) fn remove(call: &Call, name: &str) -> Result<(), Failure> {
    let api = call.api()?;
    let plot = find(&api, name)?;
    let id = plot["id"].as_str().unwrap_or_default();
    let answer = api.delete(&format!("/plots/{}", escaped(id)))?;
    call.print(&answer, |_| "removed\n".to_owned())
}

/// Returns the saved plot of a name or id.
pub(crate) fn find(api: &Api, name: &str) -> Result<Value, Failure> {
    let plots = api.get("/plots")?;
    let mut all = plots["plots"].as_array().into_iter().flatten();
    all.find(|plot| plot["name"] == name || plot["id"] == name)
        .cloned()
        .ok_or_else(|| {
            Failure::NotFound(format!(
                "the project has no saved plot {name:?}; `iottly series saved` lists them"
            ))
        })
}

/// Returns the query of a saved plot's points.
pub(crate) fn query(plot: &Value) -> String {
    let plot = &plot["plot"];
    let mut query = String::new();
    for name in ["path", "agg", "by", "since"] {
        let mark = if query.is_empty() { '?' } else { '&' };
        let value = escaped(plot[name].as_str().unwrap_or_default());
        write!(query, "{mark}{name}={value}").expect("a string takes all");
    }
    for (name, list) in [("device", "devices"), ("group", "groups")] {
        let parts = plot[list]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let parts = parts.collect::<Vec<_>>().join(",");
        if !parts.is_empty() {
            write!(query, "&{name}={}", escaped(&parts)).expect("a string takes all");
        }
    }
    query
}

fn list(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = String::new();
    for saved in answer["plots"].as_array().into_iter().flatten() {
        let plot = &saved["plot"];
        write!(
            out,
            "{}  {}  {} of {} by {}, {}",
            text(&saved["id"]),
            text(&saved["name"]),
            text(&plot["agg"]),
            text(&plot["path"]),
            text(&plot["by"]),
            text(&plot["since"])
        )
        .expect("a string takes all");
        for (word, list) in [("devices", &plot["devices"]), ("groups", &plot["groups"])] {
            let parts: Vec<_> = list
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if !parts.is_empty() {
                write!(out, ", {word} {}", parts.join(" ")).expect("a string takes all");
            }
        }
        out.push('\n');
    }
    if out.is_empty() {
        out += "no plot is saved\n";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_plot_becomes_the_query_it_was_made_of() {
        let plot = json!({"plot": {"path": "room.t", "agg": "p95", "by": "group", "since": "7d", "devices": [], "groups": ["a b", "c"]}});
        assert_eq!(
            query(&plot),
            "?path=room.t&agg=p95&by=group&since=7d&group=a%20b%2Cc"
        );
    }
}
