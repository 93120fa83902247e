//! Layout of all pages, the error page, and the security headers of the dashboard.

use axum::Extension;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::kit::icons;
use super::theme::Theme;
use crate::error::ApiError;

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Page outside of the sections of a project: logins, errors, the account.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    /// Name of the person or project of the login; none without a login.
    pub(super) name: Option<&'a str>,
    pub(super) content: Markup,
}

impl Page<'_> {
    pub(super) fn render(self) -> Markup {
        self.render_and_go(None)
    }

    /// Renders a page from which the browser continues to another of the dashboard's pages.
    pub(super) fn render_and_go(self, next: Option<&str>) -> Markup {
        let body = html! {
            body.plain {
                header.plain-top {
                    a.brand href="/" { (icons::brand()) "iottly" }
                    @if let Some(name) = self.name {
                        a.break href="/account" { (name) }
                        form method="post" action="/logout" { button data-kind="plain" { "Log out" } }
                    }
                }
                main #main { (self.content) }
            }
        };
        document(self.title, None, &[], next, &body)
    }
}

/// Returns a whole HTML document around a body.
pub(super) fn document(
    title: &str,
    theme: Option<Theme>,
    scripts: &[&str],
    next: Option<&str>,
    body: &Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme.map(Theme::as_str)] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · iottly" }
                @if let Some(next) = next { meta http-equiv="refresh" content={ "0; url=" (next) }; }
                link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
                @for sheet in ["tokens.css", "components.css"] { link rel="stylesheet" href=(assets::url(sheet)); }
                @for script in scripts { script type="module" src=(assets::url(script)) {} }
            }
            (body)
        }
    }
}

/// Reason of an error page, for the frame that it may get.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) message: String,
}

/// Returns an error as a page.
pub(super) fn failure(error: &ApiError) -> Response {
    let content = html! {
        h1 { "That did not work" }
        p.break { (error.message()) }
        p { a href="/" { "Back to the overview" } }
    };
    let failed = Failed {
        message: error.message().to_owned(),
    };
    (
        error.status(),
        Extension(failed),
        notice("Error", content).render().into_response_html(),
    )
        .into_response()
}

/// Returns a page of no project with a single card.
pub(super) fn notice(title: &'static str, content: Markup) -> Page<'static> {
    Page {
        title,
        name: None,
        content: html! { section.card.narrow.stack { (content) } },
    }
}

/// HTML as a response.
pub(super) trait IntoHtml {
    fn into_response_html(self) -> Response;
}

impl IntoHtml for Markup {
    fn into_response_html(self) -> Response {
        (
            [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
            self.into_string(),
        )
            .into_response()
    }
}

/// Adds the headers of every dashboard response. Pages contain a tenant's data, so only assets may be cached.
///
/// The referrer policy sends the origin of a request to the dashboard itself and to no other site: with
/// `no-referrer`, browsers would hide it from the dashboard as well, and send forms with `Origin: null`.
pub(super) async fn security_headers(request: Request, next: Next) -> Response {
    secured(next.run(request).await)
}

/// Returns a response of the dashboard with its security headers.
pub(super) fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
