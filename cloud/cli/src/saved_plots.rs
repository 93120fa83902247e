//! Saved plots of `iottly series`: saves, lists and deletes requests for plots, and finds one by its name.

use std::fmt::Write as _;

use iottly_core::model::PlotSettings;
use iottly_web::answers::{OnePlot, PlotList, SavedPlotDto};
use serde_json::json;

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::remote::{Api, escaped};
use crate::similar;
use crate::table::plain;

/// Saves a plot under a name.
pub(crate) fn save(call: &Call, api: &Api, name: &str, plot: &PlotSettings) -> Result<(), Failure> {
    let answer = api.post("/plots", &json!({"name": name, "plot": plot}))?;
    call.print_as(&answer, |answer: &OnePlot| line(&answer.plot))
}

/// Lists the saved plots.
pub(crate) fn show(call: &Call) -> Result<(), Failure> {
    let answer = call.api()?.get("/plots")?;
    if call.is_table() && read::<PlotList>(&answer)?.plots.is_empty() {
        return call.print(&answer, |_| "no plot is saved\n".to_owned());
    }
    call.print_lines("plots", &answer, line)
}

/// Deletes a saved plot, by name or id.
pub(crate) fn remove(call: &Call, name: &str) -> Result<(), Failure> {
    let api = call.api()?;
    let plot = find(&api, name)?;
    let answer = api.delete(&format!("/plots/{}", plot.id))?;
    call.print(&answer, |_| "removed\n".to_owned())
}

/// Returns the saved plot of a name or id.
pub(crate) fn find(api: &Api, name: &str) -> Result<SavedPlotDto, Failure> {
    let PlotList { plots, .. } = read(&api.get("/plots")?)?;
    let names: Vec<String> = plots.iter().map(|plot| plot.name.clone()).collect();
    let mut all = plots.into_iter();
    all.find(|plot| plot.name == name || plot.id.to_string() == name)
        .ok_or_else(|| {
            Failure::NotFound(format!(
                "the project has no saved plot {name:?}; {}",
                similar::hint(name, &names, "iottly series saved")
            ))
        })
}

/// Returns the query of a saved plot's points.
pub(crate) fn query(plot: &PlotSettings) -> String {
    let mut query = String::new();
    let parts = [
        ("path", &plot.path),
        ("agg", &plot.agg),
        ("by", &plot.by),
        ("since", &plot.since),
    ];
    for (name, value) in parts {
        let mark = if query.is_empty() { '?' } else { '&' };
        write!(query, "{mark}{name}={}", escaped(value)).expect("a string takes all");
    }
    for (name, parts) in [("device", &plot.devices), ("group", &plot.groups)] {
        if !parts.is_empty() {
            write!(query, "&{name}={}", escaped(&parts.join(","))).expect("a string takes all");
        }
    }
    query
}

fn line(saved: &SavedPlotDto) -> String {
    let plot = &saved.plot;
    let mut out = format!(
        "{}  {}  {} of {} by {}, {}",
        saved.id, saved.name, plot.agg, plot.path, plot.by, plot.since
    );
    for (word, parts) in [("devices", &plot.devices), ("groups", &plot.groups)] {
        if !parts.is_empty() {
            write!(out, ", {word} {}", parts.join(" ")).expect("a string takes all");
        }
    }
    plain(&out) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_plot_becomes_the_query_it_was_made_of() {
        let plot = json!({"path": "room.t", "agg": "p95", "by": "group", "since": "7d", "devices": [], "groups": ["a b", "c"]});
        assert_eq!(
            query(&read(&plot).expect("a plot")),
            "?path=room.t&agg=p95&by=group&since=7d&group=a%20b%2Cc"
        );
    }
}
