//! Parts of the pages on which a person types a short code: the form, its messages, and the cookie that keeps a code while
//! its visitor logs in.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use maud::{Markup, html};

/// Validity of the cookie in seconds: that of a code.
pub(super) const COOKIE_S: u32 = 600;
/// Explanation when a code is not in the form of one.
pub(super) const MALFORMED: &str = "A code has eight digits and letters, such as 7K3M-9PQX.";

/// Sets the cookie that keeps a code; it grants nothing.
pub(super) fn with_cookie(
    mut response: Response,
    name: &str,
    value: &str,
    max_age: u32,
    https: bool,
) -> Response {
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// Returns an error's text as a sentence of a page.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Form that asks for a code.
pub(super) struct CodeForm<'a> {
    /// Heading of the page.
    pub(super) heading: &'a str,
    /// Address that gets the code.
    pub(super) action: &'a str,
    /// Place where the person reads the code.
    pub(super) label: &'a str,
    /// Result of the last decision, or an explanation.
    pub(super) note: Markup,
    /// Reason for which the last code was refused.
    pub(super) problem: Option<&'a str>,
}

impl CodeForm<'_> {
    /// Returns the form.
    pub(super) fn render(&self) -> Markup {
        html! {
            section.card.narrow {
                h1 { (self.heading) }
                (self.note)
                @if let Some(problem) = self.problem { p.field-problem role="alert" { (problem) } }
                form.stack method="get" action=(self.action) {
                    label for="code" { (self.label) }
                    input #code name="code" autocomplete="off" autocapitalize="characters" required autofocus spellcheck="false";
                    button data-kind="main" { "Continue" }
                }
            }
        }
    }
}
