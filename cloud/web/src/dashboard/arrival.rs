//! The way of a new device into the project: its line, and the steps until its first message. Has an address of its own, so
//! it can be loaded again and passed on; the line is shown once.

use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_cloud::clock;
use iottly_core::model::{Scopes, UnixMs};
use iottly_protocol::DeviceId;
use iottly_protocol::enroll::PairCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::notice::{Tone, notice};
use super::kit::presence::shown;
use super::kit::refusal::{refusal, stranger};
use super::kit::script::{script, snippet};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::short_code::with_cookie;
use super::text;
use super::visitor::Visitor;
use crate::api::device as rest;
use crate::api::dto::CreatedDevice;
use crate::auth::DeviceAccess;
use crate::cookies::cookie;
use crate::error::ApiError;

/// Name of the cookie that carries a new line from the form to the page, which ends it.
const COOKIE: &str = "iottly-line";
/// Validity of the cookie, in seconds: a browser follows at once.
const COOKIE_S: u32 = 60;

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Asked {
    /// Time at which the device was created or approved, from which seconds are counted.
    since: Option<UnixMs>,
}

/// Line for a board, as the cookie carries it.
struct Line {
    code: PairCode,
    short: Option<String>,
    expires: UnixMs,
}

impl Line {
    /// Reads the line of a device that the cookie carries.
    fn of(headers: &HeaderMap, device: DeviceId) -> Option<Self> {
        let mut parts = cookie(headers, COOKIE)?.split('.');
        let (id, code, short, expires) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_own = id.parse::<DeviceId>().ok()? == device;
        is_own.then_some(Self {
            code: code.parse().ok()?,
            short: Some(short.to_owned()).filter(|short| !short.is_empty()),
            expires: expires.parse().ok()?,
        })
    }
}

/// Returns the path of a device's arrival, with seconds from now on.
pub(super) fn path(base: &str, device: DeviceId) -> String {
    format!("{base}/devices/{device}/arrival?since={}", clock::now())
}

/// Redirects to the arrival of a device with a new line, which that page shows once.
pub(super) fn with_line(visitor: &Visitor, made: &CreatedDevice) -> Response {
    let short = made.short_code.as_ref().map(ToString::to_string);
    let value = format!(
        "{}.{}.{}.{}",
        made.id,
        made.pair_code.expose(),
        short.unwrap_or_default(),
        made.expires.at()
    );
    let redirect = Redirect::to(&path(&visitor.base(), made.id)).into_response();
    let https = visitor.project.services().https;
    with_cookie(redirect, COOKIE, &value, COOKIE_S, https)
}

/// Shows how far a new device is.
pub(super) async fn show(
    visitor: Visitor,
    headers: HeaderMap,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    let shown = async {
        let access = visitor.device(&id).await?;
        let line = Line::of(&headers, access.scope().device);
        let page = page(&visitor, &access, asked.since, (&headers, line.as_ref())).await?;
        Ok(match line {
            Some(_) => with_cookie(page, COOKIE, "", 0, visitor.project.services().https),
            None => page,
        })
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Makes a new line for a device whose board is not there yet.
pub(super) async fn again(
    visitor: Visitor,
    headers: HeaderMap,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    let made = async {
        let access = visitor.device(&id).await?;
        Ok(with_line(&visitor, &rest::replace(access, headers).await?.0))
    };
    made.await.unwrap_or_else(|error: ApiError| failure(&error))
}

async fn page(
    visitor: &Visitor,
    access: &DeviceAccess,
    since: Option<UnixMs>,
    (headers, line): (&HeaderMap, Option<&Line>),
) -> Result<Response, ApiError> {
    let (services, device, base) = (access.services(), access.device(), visitor.base());
    let (id, now) = (device.scope.device, clock::now());
    let sent = services.presence.last_sent(device.scope).await?;
    let is_known = device.online_since.is_some() || sent.is_some();
    let state = |done: bool, next: bool| match (done, next) {
        (true, _) => Some("done"),
        (false, true) => Some("now"),
        (false, false) => None,
    };
    let content = html! {
        div.head {
            div { h1 { "Add " (device.name) } p.lede { "The page follows by itself." } }
            div.actions { a.button href={ (base) "/devices/" (id) } { "Open the device" } }
        }
        device-arrival.card.stack data-device=(id) data-since=[since] {
            @match line {
                Some(line) => (install(line, services.enrol_url(headers, line.code).as_deref())),
                None if is_known => {},
                None => (gone(visitor, &base, id)),
            }
            ol.steps {
                li data-state="done" { "The device is created" }
                li data-state=[state(is_known, true)] data-step="online" {
                    span { @if is_known { "The board was online" } @else { "Waiting for its board" } } " "
                    (shown(device, &services.presence.view(device), now))
                }
                li data-state=[state(sent.is_some(), is_known)] data-step="message" { span { "First message" } " " span.clockwork data-seconds role="status" {} }
            }
            live-part #refused data-on="device refusal" {
                @if let Some(refused) = services.refusals.of(device.scope) { (refusal(&refused, now)) }
                // A board that is in had its own way.
                @else if !is_known && let Some(refused) = visitor.project.principal().address.and_then(|viewer| services.refusals.near(viewer)) {
                    (stranger(&refused, now))
                }
            }
        }
        (script(&format!("iottly device show {id}"), ("GET", &format!("/device/{id}/props"), None)))
    };
    let screen = Screen {
        section: Section::Devices,
        title: &device.name,
        crumbs: &[("Devices", format!("{base}/devices"))],
        events: Some(format!("{base}/events?device={id}&arrival=1")),
        scripts: &["presence.js", "arrival.js"],
        content,
    };
    screen.respond(visitor).await
}

fn install(line: &Line, url: Option<&str>) -> Markup {
    html! {
        p { "The line works once, until " (text::iso(line.expires)) ". It is shown this one time." }
        @match url {
            Some(url) => {
                p.label { "Paste this on the board" }
                (snippet(&format!("sudo iottly-agent enroll '{url}' && sudo systemctl restart iottly-agent")))
            }
            None => (notice(Tone::Warn, &html! { "This cloud has no TLS, so boards cannot enrol. Start it with " code { "iottly serve" } "; the demo's own devices need no line." })),
        }
        @if let Some(short) = &line.short {
            p { "Or type the code " b.mono { (short) } " on the board, within ten minutes: " code { "iottly-agent enroll --pair-code " (short) } }
        }
    }
}

/// Returns what stands in the place of a line that was shown already, or that an approved board needs not.
fn gone(visitor: &Visitor, base: &str, id: DeviceId) -> Markup {
    html! {
        @if visitor.may(Scopes::ADMIN) {
            form.actions method="post" action={ (base) "/devices/" (id) "/arrival" } {
                button { "Get a new line" }
                span.soft { "A line is shown once; a new one ends the one before. An approved board needs none." }
            }
        } @else {
            p.soft { "A line is shown once; an administrator can get a new one. An approved board needs none." }
        }
    }
}
