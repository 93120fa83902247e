//! Boards that log in as one device, with the button that keeps one of them.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::forms::Fields;
use super::layout::failure;
use super::visitor::Visitor;
use crate::api::copies::CopyDto;
use crate::error::ApiError;

pub(super) use crate::api::copies::of;

/// Returns the list of the boards; nothing if there are none.
pub(super) fn panel(copies: &[CopyDto]) -> Markup {
    html! {
        @if !copies.is_empty() {
            section.card {
                h2 { "Copies" }
                p.problem role="alert" {
                    "Several boards log in as one device. Nothing is delivered to them and nothing of them is stored until you keep one; "
                    "their messages wait on the boards."
                }
                ul.members {
                    @for copy in copies {
                        li {
                            strong { (copy.name) } " at " code { (copy.address) }
                            span.muted { @if copy.connected { " connected" } @else { " not connected" } }
                            form.inline method="post" action={ "/devices/" (copy.device) "/keep" } {
                                input type="hidden" name="copy" value=(copy.number);
                                button { "Keep this one" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Keeps the board of the form.
pub(super) async fn keep(visitor: Visitor, Path(id): Path<String>, fields: Fields) -> Response {
    let kept = async {
        let access = visitor.project.into_device(&id).await?;
        let number = fields.get("copy").and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| ApiError::invalid("invalid_form", "copy is not a number"))?;
        let (by, device) = (access.project().principal(), access.scope().device);
        access.services().holds.keep(by, device, number).await?;
        Ok::<_, ApiError>(Redirect::to("/").into_response())
    };
    kept.await.unwrap_or_else(|error| failure(&error))
}
