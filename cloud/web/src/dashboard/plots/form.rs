//! The form of a plot, and the paths that it offers.

use iottly_core::model::Device;
use iottly_core::series::Aggregate;
use iottly_store::SeriesList;
use maud::{Markup, html};

use super::super::groups::counts_of;
use super::super::kit::empty::empty;
use super::View;
use super::words::{is_group, words};

/// Returns the state of a device's tab when there is no path to offer.
pub(super) fn nothing_of_device(series: &SeriesList, device: &Device, own: &str, all: bool) -> Markup {
    let next = html! {
        @if series.filling > 0 { p { "Older messages of " (series.filling) " devices are being added." } }
        @else { p { "A firmware sends one with " code { r#"send_msg({temperature: 21.5})"# } "." } }
        @if !all { a.button href={ (own) "?paths=all" } { "All paths of the project" } }
    };
    let sentence = format!(
        "Every number in a message of {} becomes a line here by itself.",
        device.name
    );
    empty("No numbers yet", &sentence, &next)
}

impl View<'_> {
    /// Returns the form, which is the address of the plot.
    pub(super) fn form(&self) -> Markup {
        let query = self.query;
        let is = |given: &Option<String>, value: &str| given.as_deref() == Some(value);
        let single = self.all.is_some();
        html! {
            form.fields action=(self.own) {
                div.field {
                    label for="path" { "Value" }
                    select #path name="path" {
                        @let path = query.path.as_deref().unwrap_or_default();
                        @if self.series.paths.iter().all(|series| series.path != path) { option selected { (path) } }
                        @for series in &self.series.paths { option selected[is(&query.path, &series.path)] { (series.path) } }
                    }
                    @if let Some(all) = self.all { (self.other_paths(all)) }
                }
                div.field {
                    label for="agg" { @if single { "Join values by" } @else { "Join devices by" } }
                    select #agg name="agg" {
                        @for aggregate in Aggregate::ALL { option value=(aggregate.as_str()) selected[is(&query.agg, aggregate.as_str())] { (words(aggregate)) } }
                    }
                }
                @if !single {
                    @let (first, second) = self.chosen_groups();
                    div.field {
                        label for="group" { "Devices of" }
                        select #group name="group" {
                            option value="" { "all groups" }
                            @for group in self.groups {
                                option value=(group.name) selected[is_group(first, group)] { (group.name) " (" (counts_of(self.counts, group)) ")" }
                            }
                        }
                    }
                    div.field {
                        label for="with" { "Beside them" }
                        select #with name="with" {
                            option value="" { "no second group" }
                            @for group in self.groups { option value=(group.name) selected[is_group(second, group)] { (group.name) " (" (counts_of(self.counts, group)) ")" } }
                        }
                    }
                    div.field {
                        label for="by" { "One line for each" }
                        select #by name="by" {
                            @for (value, words) in [("none", "nothing: one line"), ("group", "group"), ("device", "device")] {
                                option value=(value) selected[is(&query.by, value)] { (words) }
                            }
                        }
                    }
                    @if let Some(device) = query.device.as_deref().filter(|device| !device.is_empty()) { input type="hidden" name="device" value=(device); }
                }
                @for (name, value) in [("since", &query.since), ("from", &query.from), ("to", &query.to)] {
                    @if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) { input type="hidden" name=(name) value=(value); }
                }
                @if self.all == Some(true) { input type="hidden" name="paths" value="all"; }
                div.field { span.label { "\u{a0}" } button data-kind="main" { "Draw" } }
            }
        }
    }

    /// Returns the first two groups of the query.
    fn chosen_groups(&self) -> (Option<&str>, Option<&str>) {
        let mut chosen = self
            .query
            .group
            .as_deref()
            .unwrap_or_default()
            .split(',')
            .map(str::trim);
        (chosen.next(), chosen.next())
    }

    /// Returns the link between the paths of the device and those of the project.
    fn other_paths(&self, all: bool) -> Markup {
        html! { span.hint {
            @if all { a href=(self.own) { "Only paths of this device" } }
            @else { a href={ (self.own) "?paths=all" } { "All paths of the project" } }
        } }
    }
}
