//! Form for a new rule on the page of alerts; it keeps what was typed when the rule is refused.

use iottly_core::model::{Group, UnixMs};
use maud::{Markup, html};

use super::super::forms::Fields;
use super::super::kit::filter::message_filter_field;
use super::super::kit::script::snippet;
use super::CONDITIONS;
use crate::api::dto::{AlertRuleBody, FilterBody, MailList};
use crate::api::named_device::named_device;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Returns the form; `typed` are the fields of a rule that was refused.
pub(super) fn show(
    own: &str,
    query: &str,
    mails: &MailList,
    groups: &[Group],
    typed: Option<&Fields>,
) -> Markup {
    let typed = |name: &str| typed.and_then(|fields| fields.get(name)).unwrap_or_default();
    html! {
        form.card.stack method="post" action={ (own) "/rules" (query) } {
            h2 { "New rule" }
            div.field { label for="name" { "Name" } input #name name="name" required maxlength="128" placeholder="away" value=(typed("name")); }
            div.field { label for="condition" { "Raise when" } select #condition name="condition" { @for (word, words) in CONDITIONS { option value=(word) selected[word == typed("condition")] { (words) } } } }
            div.field { label for="after" { "Minutes, if the condition has a length of time" } input #after name="after" type="number" min="1" max="129600" placeholder="5" value=(typed("after")); }
            div.field { label for="filter" { "Filter, for a message that matches" } (message_filter_field("filter", "group:demo temp>30", typed("filter")))
                p.hint { "The list of rules shows the MongoDB filter that it stands for; that is taken as well." } }
            div.field { label for="clear" { "Filter that clears it" } (message_filter_field("clear", "temp<28", typed("clear")))
                p.hint { "Without it, an alert clears after ten minutes without a match." } }
            div.field { label for="group" { "Watch" } select #group name="group" {
                option value="" { "the whole project" }
                @for group in groups { option value=(group.id) selected[group.id.to_string() == typed("group")] { "group " (group.name) } }
            } }
            div.field { label for="device" { "Device to watch, by name or id, in place of these" } input #device name="device" value=(typed("device")); }
            @if let Some(allowed) = &mails.allowed {
                div.field { label for="mails" { "Addresses that get a mail" } input #mails name="mails" autocomplete="off" placeholder="anne@example.org, ben@example.org" value=(typed("mails"));
                    p.hint { "Ten at most; this cloud sends to " (allowed) "." } }
            }
            div.actions { button data-kind="main" { "Add the rule" } }
            p.hint { "A webhook with this filter delivers alerts only:" }
            (snippet(r#"{"payload.alert":{"$exists":true}}"#))
        }
    }
}

/// Returns the rule that the form asks for.
///
/// # Errors
/// If a field is not what it has to be.
pub(super) async fn read(access: &ProjectAccess, fields: &Fields) -> Result<AlertRuleBody, ApiError> {
    let given = |name: &str| fields.get(name).map(str::trim).filter(|text| !text.is_empty());
    let invalid = |text: &str| ApiError::invalid("invalid_form", text);
    let filter = |name: &str| given(name).map(|text| FilterBody::Text(text.to_owned()));
    let minutes = given("after")
        .map(|text| {
            text.parse::<UnixMs>()
                .map_err(|_| invalid("minutes are not a number"))
        })
        .transpose()?;
    let device = match given("device") {
        Some(text) => Some(named_device(access, text).await?),
        None => None,
    };
    let deployment_group = given("group")
        .map(|text| {
            text.parse()
                .map_err(|_| invalid("group is not the id of a group"))
        })
        .transpose()?;
    Ok(AlertRuleBody {
        name: given("name").unwrap_or_default().to_owned(),
        condition: given("condition").unwrap_or_default().to_owned(),
        after_ms: minutes.map(|minutes| minutes.saturating_mul(60_000)),
        filter: filter("filter"),
        clear: filter("clear"),
        device,
        deployment_group,
        mails: given("mails")
            .into_iter()
            .flat_map(|text| text.split([',', ' ']))
            .filter(|address| !address.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}
