//! Saved plots: links to them, and the form that saves the plot of the page.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{PlotSettings, SavedPlot, Scopes};
use iottly_core::series::{Aggregate, Split};
use maud::{Markup, html};

use super::super::forms::Fields;
use super::super::kit::script::{quoted, script_for};
use super::super::layout::failure;
use super::super::text;
use super::super::visitor::Visitor;
use super::{Asked, DEFAULT_SPAN, View};
use crate::api::body::JsonBody;
use crate::api::dto::NewPlot;
use crate::api::plots as rest;
use crate::error::ApiError;

impl View<'_> {
    /// Returns links to the saved plots of the project.
    pub(super) fn saved_plots(&self) -> Markup {
        html! {
            @if self.is_of_project() && !self.saved.is_empty() {
                nav.chips aria-label="Saved plots" {
                    @for plot in self.saved { @let href = address(self.own, &plot.settings);
                        a.chip href=(href) aria-current=[(self.is(plot)).then_some("true")] { (plot.name) }
                    }
                }
            }
        }
    }

    fn is_of_project(&self) -> bool {
        !self.own.contains("/devices/")
    }

    fn is(&self, plot: &SavedPlot) -> bool {
        self.is_live() && settings(self) == plot.settings
    }

    /// Returns the form that saves this plot, or deletes it if it is saved.
    pub(super) fn save_form(&self, asked: &Asked) -> Markup {
        if !self.is_of_project() || !self.is_live() {
            return html! {};
        }
        let settings = settings(self);
        let mut line = format!(
            "iottly series save {} {} --agg {} --by {} --since {}",
            quoted(&asked.request.path),
            quoted(&settings.path),
            settings.agg,
            settings.by,
            settings.since
        );
        let chosen = [("device", &settings.devices), ("group", &settings.groups)];
        for (name, values) in chosen {
            for value in values {
                line += &format!(" --{name} {}", quoted(value));
            }
        }
        let json = serde_json::json!({ "name": asked.request.path, "plot": settings });
        html! {
            @if self.visitor.may(Scopes::WRITE) {
                @match self.saved.iter().find(|plot| plot.settings == settings) {
                    Some(plot) => { form.actions method="post" action={ (self.own) "/" (plot.id) "/delete" } {
                        span.soft.small { "Saved by " (plot.author) " as " b.break { (plot.name) } } button data-size="s" { "Delete the saved plot" }
                    }
                    (script_for("delete the saved plot", &format!("iottly series forget {}", quoted(&plot.name)), ("DELETE", &format!("/plots/{}", plot.id), None))) },
                    None => form.actions method="post" action=(self.own) {
                        @for (name, value) in fields(&settings) { input type="hidden" name=(name) value=(value); }
                        label.sr for="plot-name" { "Name of the plot" }
                        input #plot-name name="name" required maxlength="128" placeholder="Name of this plot" autocomplete="off";
                        button data-size="s" { "Save the plot" }
                    },
                }
            }
            (script_for("save a plot", &line, ("POST", "/plots", Some(&json.to_string()))))
        }
    }
}

/// Returns what the page shows as a plot to save.
fn settings(view: &View<'_>) -> PlotSettings {
    let query = view.query;
    let word = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
    let list = |text: &Option<String>| {
        let parts = text.as_deref().unwrap_or_default().split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let or = |text: &Option<String>, default: &str| match word(text) {
        text if text.is_empty() => default.to_owned(),
        text => text,
    };
    PlotSettings {
        path: word(&query.path),
        agg: or(&query.agg, Aggregate::Avg.as_str()),
        by: or(&query.by, Split::None.as_str()),
        since: or(&query.since, DEFAULT_SPAN),
        devices: list(&query.device),
        groups: list(&query.group),
    }
}

fn fields(plot: &PlotSettings) -> [(&'static str, String); 6] {
    [
        ("path", plot.path.clone()),
        ("agg", plot.agg.clone()),
        ("by", plot.by.clone()),
        ("since", plot.since.clone()),
        ("device", plot.devices.join(",")),
        ("group", plot.groups.join(",")),
    ]
}

fn address(own: &str, plot: &PlotSettings) -> String {
    let fields = fields(plot).into_iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<_> = fields
        .map(|(name, value)| format!("{name}={}", text::escaped(&value)))
        .collect();
    format!("{own}?{}", fields.join("&"))
}

/// Saves the plot of the form.
pub(in super::super) async fn save(visitor: Visitor, fields: Fields) -> Response {
    let saved = async {
        let get = |name: &str| fields.get(name).unwrap_or_default().trim().to_owned();
        let list = |name: &str| {
            let parts = get(name);
            let parts = parts.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let plot = PlotSettings {
            path: get("path"),
            agg: get("agg"),
            by: get("by"),
            since: get("since"),
            devices: list("device"),
            groups: list("group"),
        };
        let own = format!("{}/plots", visitor.base());
        let to = address(&own, &plot);
        let body = NewPlot {
            name: get("name"),
            plot,
        };
        rest::save(visitor.project.clone(), JsonBody(body)).await?;
        Ok::<_, ApiError>(Redirect::to(&to).into_response())
    };
    saved.await.unwrap_or_else(|error| failure(&error))
}

/// Deletes a saved plot.
pub(in super::super) async fn delete(
    visitor: Visitor,
    Path((project, id)): Path<(String, String)>,
) -> Response {
    match rest::delete(visitor.project.clone(), Path((project, id))).await {
        Ok(_) => Redirect::to(&format!("{}/plots", visitor.base())).into_response(),
        Err(error) => failure(&error),
    }
}
