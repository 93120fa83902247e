//! The tab with a device's name, tags and group, and its removal.

use axum::extract::Path;
use axum::response::Response;
use maud::html;

use super::super::layout::failure;
use super::super::visitor::Visitor;
use super::Tab;
use crate::error::ApiError;

pub(in super::super) async fn show(visitor: Visitor, Path((_, id)): Path<(String, String)>) -> Response {
    page(&visitor, &id).await.unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, id: &str) -> Result<Response, ApiError> {
    let access = visitor.device(id).await?;
    let device = access.device();
    let content = html! {
        section.card {
            dl.facts {
                dt { "Id" } dd { code { (device.scope.device) } }
                dt { "MAC address" } dd { (device.mac_address.as_deref().unwrap_or("–")) }
                dt { "Tags" } dd { (device.tags.join(", ")) }
            }
        }
    };
    let tab = Tab {
        path: "/settings",
        events: None,
        scripts: &[],
        content,
    };
    tab.respond(visitor, &access).await
}
