//! Embedded style sheets, scripts and icon. Their URLs contain a hash of all of them, so browsers can cache
//! them forever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// Lists files of the folder `assets` with their contents.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("assets/", $name)))),*] };
}

const ASSETS: &[(&str, &str)] = embedded![
    "tokens.css",
    "components.css",
    "icon.svg",
    "ages.js",
    "arrival.js",
    "board.js",
    "copy.js",
    "editor.js",
    "events.js",
    "feed.js",
    "job.js",
    "json.js",
    "keys.js",
    "lease.js",
    "numbers.js",
    "paint.js",
    "parts.js",
    "plot.js",
    "presence.js",
    "rollout.js",
    "selection.js",
    "suggest.js",
    "watch.js",
];

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for (name, body) in ASSETS {
        hasher.update(name.as_bytes()).update(body.as_bytes());
    }
    hasher.finalize().to_hex()[..12].to_owned()
});

/// Returns the URL of an asset.
pub(super) fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

fn find(wanted: &str) -> Option<&'static str> {
    ASSETS
        .iter()
        .find(|(name, _)| *name == wanted)
        .map(|(_, body)| *body)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    }
}

pub(super) async fn asset(Path((version, name)): Path<(String, String)>) -> Response {
    match find(&name).filter(|_| version == *VERSION) {
        Some(body) => {
            let headers = [
                (header::CONTENT_TYPE, media_type(&name)),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, body).into_response()
        }
        None => ApiError::not_found().into_response(),
    }
}

/// Serves the icon that browsers request for pages without an icon of their own, such as a JSON response.
pub(super) async fn favicon() -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type("icon.svg")),
        (header::CACHE_CONTROL, "public, max-age=86400"),
    ];
    (headers, find("icon.svg").unwrap_or_default()).into_response()
}
