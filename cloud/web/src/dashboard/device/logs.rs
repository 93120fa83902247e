//! The tab with the newest lines of a device's log.

use axum::extract::Path;
use axum::response::Response;
use maud::html;

use super::super::kit::csv::csv_link;
use super::super::kit::empty::{empty, shown};
use super::super::kit::script::script;
use super::super::kit::stream::log_line;
use super::super::layout::failure;
use super::super::visitor::Visitor;
use super::Tab;
use crate::error::ApiError;

/// Number of lines on the page; all that the cloud keeps are in the API.
const LINES: usize = 200;

pub(in super::super) async fn show(visitor: Visitor, Path((_, id)): Path<(String, String)>) -> Response {
    page(&visitor, &id).await.unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, id: &str) -> Result<Response, ApiError> {
    let access = visitor.device(id).await?;
    let logs = access.services().store.logs(access.scope(), LINES).await;
    let logs = logs.map_err(ApiError::from);
    let id = access.scope().device;
    let content = html! {
        section.card data-flush aria-labelledby="log" {
            div.card-head { h2 #log { "Log" } (csv_link(&format!("{}/csv/log?device={id}", visitor.base()), "log.csv")) span.soft.small { "Newest first, times of the device" } }
            (shown(&logs, "The log could not be read", |logs| html! { @if logs.is_empty() {
                (empty("The firmware has logged nothing", "Lines that the firmware logs appear here, with their level.", &html! {}))
            } @else {
                ol.stream { @for line in logs { (log_line(line, None)) } }
            } }))
        }
        (script(&format!("iottly logs {id}"), ("GET", &format!("/device/{id}/logs"), None)))
    };
    let tab = Tab {
        path: "/logs",
        events: None,
        scripts: &[],
        content,
    };
    tab.respond(visitor, &access).await
}
