//! Boards that log in as one device, with the button that keeps one of them.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::forms::Fields;
use super::kit::csv::csv_link;
use super::kit::script::script_for;
use super::layout::failure;
use super::visitor::Visitor;
use crate::api::copies::CopyDto;
use crate::error::ApiError;
use iottly_core::model::Scopes;

pub(super) use crate::api::copies::of;

/// Returns the list of the boards, with the choice for those who may make it; nothing if there are none.
pub(super) fn panel(copies: &[CopyDto], visitor: &Visitor) -> Markup {
    let (base, may) = (visitor.base(), visitor.may(Scopes::WRITE));
    html! {
        @if !copies.is_empty() {
            section.card data-flush aria-labelledby="copies" {
                div.card-head { h2 #copies { "Several boards log in as one device" } (csv_link(&format!("{base}/csv/copies"), "copies.csv")) }
                p.lede.empty role="alert" {
                    "Nothing is delivered to them and nothing of them is stored until you keep one; their messages wait on the boards."
                }
                table.table data-fold {
                    thead.sr { tr { th { "Device" } th { "Address" } th { "State" } th { "Choice" } } }
                    tbody { @for copy in copies { tr {
                        td { b.break { (copy.name) } }
                        td { code { (copy.address) } }
                        td { @if copy.connected { "connected" } @else { span.soft { "not connected" } } }
                        td { @if may { form method="post" action={ (base) "/devices/" (copy.device) "/keep" } {
                            input type="hidden" name="copy" value=(copy.number);
                            button data-size="s" { "Keep this one" }
                        } } }
                    } } }
                }
                @if !may { p.soft.pad { "This login may not choose. It takes the right “write”." } }
                @if let Some(first) = copies.first() {
                    (script_for("keep one", &format!("iottly device keep {} {}", first.device, first.number),
                        ("POST", &format!("/device/{}/copies/{}/keep", first.device, first.number), None)))
                }
            }
        }
    }
}

/// Keeps the board of the form.
pub(super) async fn keep(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    let kept = async {
        let access = visitor.device(&id).await?;
        let number = fields.get("copy").and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| ApiError::invalid("invalid_form", "copy is not a number"))?;
        let (by, device) = (access.project().principal(), access.scope().device);
        access.services().holds.keep(by, device, number).await?;
        Ok::<_, ApiError>(Redirect::to(&format!("{}/devices", visitor.base())).into_response())
    };
    kept.await.unwrap_or_else(|error| failure(&error))
}
