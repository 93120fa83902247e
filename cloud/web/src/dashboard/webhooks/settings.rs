//! The form for a webhook's settings.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::forms::Fields;
use super::super::kit::filter::message_filter_field;
use crate::api::dto::{FilterBody, WebhookDto, WebhookSettings};
use crate::error::ApiError;

/// Number of rows for headers: as many as a webhook may have.
const HEADERS: usize = 5;

/// Returns the fields with the settings of a webhook, or with what was typed before.
pub(super) fn fields(known: Option<&WebhookDto>, typed: Option<&Fields>) -> Markup {
    let value = |name: &str, stored: String| {
        typed
            .and_then(|typed| typed.get(name))
            .map_or(stored, str::to_owned)
    };
    let checked = |name: &str, stored: bool| typed.map_or(stored, |typed| typed.get(name).is_some());
    let kind = value("type", known.map_or("all", |known| &known.kind).to_owned());
    let filter = known
        .and_then(|known| known.filter.as_ref())
        .map_or(String::new(), |filter| filter.get().to_owned());
    let headers: Vec<(&str, &str)> = known
        .map(|known| {
            known
                .headers
                .iter()
                .map(|(name, mask)| (name.as_str(), mask.as_ref()))
                .collect()
        })
        .unwrap_or_default();
    html! {
        div.fields {
            div.field { label for="url" { "URL of the receiver" }
                input #url name="url" type="url" required maxlength="2048" placeholder="https://example.com/hook" value=(value("url", known.map_or(String::new(), |known| known.url.clone())));
            }
            div.field { label for="description" { "Name" }
                input #description name="description" maxlength="1024" value=(value("description", known.map_or(String::new(), |known| known.description.clone())));
            }
        }
        div.fields {
            div.field { label for="kind" { "Messages" }
                select #kind name="type" { @for (known, name) in [("all", "all"), ("user", "of firmware"), ("iottly", "of agents and the platform")] {
                    option value=(known) selected[known == kind] { (name) }
                } }
            }
            div.field { label for="channel" { "Channel, or * for all" }
                input #channel name="channel" value=(value("channel", known.map_or("*".to_owned(), |known| known.channel.clone())));
            }
            div.field { label for="filter" { "Filter" }
                (message_filter_field("filter", "group:demo temperature>30", &value("filter", filter)))
                span.hint { "Short form or JSON; empty for all messages." }
            }
        }
        fieldset.field { legend { "Additional headers" }
            @for row in 0..HEADERS {
                @let (name, mask) = headers.get(row).copied().unwrap_or_default();
                div.fields {
                    input name={ "header" (row) } aria-label={ "Name of header " (row + 1) } placeholder=[(row == 0).then_some("Authorization")] value=(value(&format!("header{row}"), name.to_owned()));
                    input name={ "value" (row) } aria-label={ "Value of header " (row + 1) } autocomplete="off" value=(mask);
                }
            }
            span.hint { "Values are stored encrypted and are not shown again. A masked value stays as it is." }
        }
        label.choice { input type="checkbox" name="ordered" value="yes" checked[checked("ordered", known.is_some_and(|known| known.ordered))];
            "Send one message after the other, in order" }
        label.choice { input type="checkbox" name="payload_only" value="yes" checked[checked("payload_only", known.is_some_and(|known| known.payload_only))];
            "Send only the payload" }
        label.choice { input type="checkbox" name="enabled" value="yes" checked[checked("enabled", known.is_none_or(|known| known.enabled))];
            "Deliver messages" }
    }
}

/// Returns the settings of the form; the headers only if the form should set them.
///
/// # Errors
/// 400 when the filter is none.
pub(super) fn typed(fields: &Fields, with_headers: bool) -> Result<WebhookSettings, ApiError> {
    let text = |name: &str| fields.get(name).map(|text| text.trim().to_owned());
    let filter = text("filter")
        .filter(|text| !text.is_empty())
        .map(FilterBody::Text);
    let headers = (0..HEADERS).filter_map(|row| {
        let name = text(&format!("header{row}")).filter(|name| !name.is_empty())?;
        Some((
            name,
            fields.get(&format!("value{row}")).unwrap_or_default().to_owned(),
        ))
    });
    let headers: BTreeMap<_, _> = headers.collect();
    Ok(WebhookSettings {
        url: text("url"),
        description: text("description"),
        kind: text("type"),
        channel: text("channel"),
        filter: Some(filter),
        payload_only: Some(fields.get("payload_only").is_some()),
        ordered: Some(fields.get("ordered").is_some()),
        headers: with_headers.then_some(headers),
        enabled: Some(fields.get("enabled").is_some()),
    })
}
