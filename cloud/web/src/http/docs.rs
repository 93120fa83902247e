//! Serves the API's description and Swagger UI, a viewer for it, from the program itself. Nothing is loaded
//! from other sites.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::Value;

use super::zip::{Member, members};
use crate::app::App;
use crate::error::ApiError;

/// Files of the viewer, by name.
static FILES: LazyLock<HashMap<&'static str, Member<'static>>> = LazyLock::new(|| {
    let all = members(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED).into_iter();
    all.filter_map(|member| {
        Some((
            SERVED
                .into_iter()
                .find(|name| member.name.ends_with(&format!("/dist/{name}")))?,
            member,
        ))
    })
    .collect()
});
/// Names of the files that the page needs.
const SERVED: [&str; 5] = [
    "swagger-ui.css",
    "index.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "favicon-32x32.png",
];

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>iottly API</title>
<link rel="stylesheet" href="swagger-ui.css">
<link rel="stylesheet" href="index.css">
<link rel="icon" type="image/png" href="favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="swagger-ui-standalone-preset.js"></script>
<script src="start.js"></script>
</body>
</html>
"#;
const START: &str = r##"window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "BaseLayout",
});
"##;
/// Swagger UI sets inline styles and uses images in styles; scripts are allowed from this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns the routes `/openapi.json` and `/docs`.
pub(super) fn routes(description: &Value) -> Router<App> {
    let description: Arc<str> = description.to_string().into();
    Router::new()
        .route(
            "/openapi.json",
            get(async move || typed("application/json", Bytes::from(description.as_bytes().to_vec()))),
        )
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", get(page))
        .route("/docs/{file}", get(file))
}

async fn page() -> Response {
    let mut response = typed("text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    if name == "start.js" {
        return Ok(typed(
            "text/javascript; charset=utf-8",
            Bytes::from_static(START.as_bytes()),
        ));
    }
    let member = FILES.get(name.as_str()).ok_or_else(ApiError::not_found)?;
    let kind = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "image/png",
    };
    let gzip = member.gzip().filter(|_| takes_gzip(&headers));
    let encoded = gzip.is_some();
    let body = match gzip {
        Some(body) => body,
        None => member.plain().map_err(|error| ApiError::internal(&error))?,
    };
    let mut response = typed(kind, body.into());
    // The files only change with the program.
    set(&mut response, header::CACHE_CONTROL, "public, max-age=3600");
    set(&mut response, header::VARY, "accept-encoding");
    if encoded {
        set(&mut response, header::CONTENT_ENCODING, "gzip");
    }
    Ok(response)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accepted.split(',').any(|coding| coding.trim() == "gzip")
}

fn typed(kind: &'static str, body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}

fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}
