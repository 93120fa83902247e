//! Embedded style sheet, scripts and icon. Their URLs contain a hash of all of them, so browsers can cache
//! them forever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

const ASSETS: [(&str, &str, &str); 5] = [
    (
        "app.css",
        "text/css; charset=utf-8",
        include_str!("assets/app.css"),
    ),
    (
        "events.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/events.js"),
    ),
    (
        "feed.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/feed.js"),
    ),
    (
        "presence.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/presence.js"),
    ),
    ("icon.svg", ICON_TYPE, ICON),
];
const ICON: &str = include_str!("assets/icon.svg");
const ICON_TYPE: &str = "image/svg+xml";

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for (name, _, body) in ASSETS {
        hasher.update(name.as_bytes()).update(body.as_bytes());
    }
    hasher.finalize().to_hex()[..12].to_owned()
});

/// Returns the URL of an asset.
pub(super) fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

pub(super) async fn asset(Path((version, name)): Path<(String, String)>) -> Response {
    let found = ASSETS
        .iter()
        .find(|(known, ..)| version == *VERSION && name == *known);
    match found {
        Some((_, kind, body)) => {
            let headers = [
                (header::CONTENT_TYPE, *kind),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, *body).into_response()
        }
        None => ApiError::not_found().into_response(),
    }
}

/// Serves the icon that browsers request for pages without an icon of their own, such as a JSON response.
pub(super) async fn favicon() -> Response {
    (
        [
            (header::CONTENT_TYPE, ICON_TYPE),
            (header::CACHE_CONTROL, "public, max-age=86400"),
        ],
        ICON,
    )
        .into_response()
}
