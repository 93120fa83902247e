//! Keys that sign a project's releases: who trusts them, and their rotation and revocation.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Scopes, UnixMs};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::forms::CodeFields;
use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty};
use super::kit::notice::{Tone, notice};
use super::kit::question::{Question, question};
use super::kit::script::{script_for, snippet};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::body::{JsonBody, JsonText};
use crate::api::release_keys::{self as rest, KeyDto, KeyList, RevokeKey, RootPointDto, RotateKeys};
use crate::error::ApiError;

/// Roles with what their keys sign, and what a new key of it changes for devices.
const ROLES: [(&str, &str); 6] = [
    ("targets", "releases"),
    ("directive", "orders to install a release"),
    ("snapshot", "the list of metadata"),
    ("timestamp", "the date of the metadata"),
    ("developer", "orders of developer leases"),
    ("root", "which keys devices trust"),
];

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Version of a root that was published just now.
    published: Option<u64>,
}

pub(super) async fn show(visitor: Visitor, Query(wanted): Query<Wanted>) -> Response {
    let shown = async {
        let mut above = html! {};
        let keys = rest::of(&visitor.project).await;
        if let (Some(version), Ok(keys)) = (wanted.published, &keys)
            && version == keys.root.version
        {
            above = notice(
                Tone::Good,
                &html! { "Root " (version) " was published. " (behind(&visitor, keys)) },
            );
        }
        page(&visitor, keys, above).await
    };
    shown.await.unwrap_or_else(|error: ApiError| failure(&error))
}

async fn page(
    visitor: &Visitor,
    keys: Result<KeyList, ApiError>,
    above: Markup,
) -> Result<Response, ApiError> {
    let content = html! {
        div.head { div {
            h1 { "Signing keys" }
            p.lede { "A device runs a release only if keys have signed it that the device trusts. Its root names them." }
        } }
        (above)
        @match &keys {
            Ok(keys) => (content(visitor, keys)),
            Err(error) => section.card data-flush { (broken("The keys could not be read", error.message())) },
        }
    };
    screen("Signing keys", content, visitor).await
}

async fn screen(title: &str, content: Markup, visitor: &Visitor) -> Result<Response, ApiError> {
    let crumbs = [("Releases", format!("{}/releases", visitor.base()))];
    let screen = Screen {
        section: Section::Releases,
        title,
        crumbs: &crumbs,
        events: None,
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

fn content(visitor: &Visitor, keys: &KeyList) -> Markup {
    let (own, may) = (own(visitor), visitor.may(Scopes::ADMIN));
    html! {
        section.card.stack aria-labelledby="trust" {
            h2 #trust { "Root " (keys.root.version) }
            p { (behind(visitor, keys)) }
            @if !keys.devices.is_empty() {
                table.table {
                    thead { tr { th { "Trusted root" } th.num { "Devices" } } }
                    tbody { @for trust in &keys.devices { tr {
                        td { @match trust.version {
                            Some(version) => a href=(filtered(visitor, &format!("root:{version}"))) { "root " (version) },
                            None => span.soft { "not reported yet" },
                        } }
                        td.num { (trust.devices) }
                    } } }
                }
            }
            p.soft.small { "Valid until " (keys.root.expires) ". " @if keys.signs_roots { "This cloud has its keys and renews it." } @else { "Its keys are kept elsewhere: renew it there in time." } }
        }
        section.card data-flush aria-labelledby="keys" {
            div.card-head { h2 #keys { "Keys" } (csv_link(&format!("{}/csv/keys", visitor.base()), "keys.csv")) }
            table.table data-fold {
                thead { tr { th { "Key" } th { "Signs" } th.p2 { "Since" } th.p2.num { "Releases" } @if may { th { span.sr { "Action" } } } } }
                tbody { @for key in &keys.root.keys { (row(key, &own, may, keys.signs_roots)) } }
            }
        }
        @if may {
            (changes(keys, &own))
        } @else {
            p.soft { "Owners and administrators of the organisation rotate and revoke keys." }
        }
        section.card data-flush aria-labelledby="former" {
            div.card-head { h2 #former { "Former keys" } }
            @if keys.former.is_empty() { (empty("No key was replaced yet", "Keys that are rotated or revoked are listed here with who did it.", &html! {})) }
            @else {
                table.table {
                    thead { tr { th { "Key" } th { "Signed" } th.p2 { "Since" } th { "Until" } th.p2.num { "Releases" } } }
                    tbody { @for key in &keys.former { tr {
                        td.mono { span title=(key.key) { (short(&key.key)) } }
                        td { (key.roles.join(", ")) }
                        td.p2 { (point(&key.since)) }
                        td { @if let Some(until) = &key.until { (point(until)) } }
                        td.p2.num { @if let Some(releases) = key.releases { (releases) } }
                    } } }
                }
            }
        }
        @if may { (scripts(keys)) }
        (script_for("list keys", "iottly signing-key list", ("GET", "/keys", None)))
        (script_for("list devices that do not trust the newest root", &format!("iottly device list --filter 'root<{}'", keys.root.version), ("GET", &format!("/devices/props?filter=root%3C{}", keys.root.version), None)))
    }
}

/// Returns the number of devices that do not trust the newest root, with a link to them.
fn behind(visitor: &Visitor, keys: &KeyList) -> Markup {
    let version = keys.root.version;
    html! {
        @if keys.behind == 0 {
            "Every device trusts it."
        } @else {
            "Devices not trusting it yet: " a href=(filtered(visitor, &format!("root<{version}"))) { b { (keys.behind) } span.sr { " devices" } } ". "
            span.soft { "Each takes it up when it connects, or with its next update. Until then it refuses what only the new keys have signed (unknown_key), and trusts what the former keys have signed." }
        }
    }
}

fn devices(count: usize) -> String {
    if count == 1 {
        "1 device".to_owned()
    } else {
        format!("{count} devices")
    }
}

fn row(key: &KeyDto, own: &str, may: bool, signs: bool) -> Markup {
    html! { tr {
        td.mono { span title=(key.key) { (short(&key.key)) } span.sub { (key.scheme) } }
        td { @for role in &key.roles { b { (role) } span.sub { (meaning(role)) } } }
        td.p2 { (point(&key.since)) }
        td.p2.num { @if let Some(releases) = key.releases { (releases) } }
        @if may { td { @if signs { span.actions {
            form method="post" action={ (own) "/revoke" } {
                input type="hidden" name="key" value=(key.key);
                button data-size="s" data-kind="danger" { "Revoke…" span.sr { " key " (short(&key.key)) } }
            }
        } } } }
    } }
}

fn changes(keys: &KeyList, own: &str) -> Markup {
    html! {
        div.split {
            @if keys.signs_roots {
                form.card.stack method="post" action={ (own) "/rotate" } {
                    h2 { "Rotate" }
                    p.soft { "A new key takes over. What was released already is signed again with it." }
                    (roles("rotate-role", true))
                    div.actions { button data-kind="main" { "Rotate…" } }
                }
            } @else {
                form.card.stack method="post" action={ (own) "/propose" } {
                    h2 { "Next root" }
                    p.soft { "The keys of root are not in this cloud. It makes the new key and the next root; you sign that root where its keys are, and publish it here." }
                    (roles("propose-role", false))
                    div.actions { button data-kind="main" { "Make the next root" } }
                }
            }
            form.card.stack method="post" action={ (own) "/publish" } {
                h2 { "Publish a root that was signed elsewhere" }
                div.field {
                    label for="document" { "Signed root" }
                    textarea #document name="document" rows="6" required spellcheck="false" {}
                    p.hint { "JSON with " code { "signatures" } " and " code { "signed" } ", as " code { "iottly key sign" } " writes it. It is verified as devices verify it." }
                }
                div.actions { button { "Publish" } }
            }
        }
    }
}

/// Returns the boxes of the changes.
fn scripts(keys: &KeyList) -> Markup {
    html! {
        @if keys.signs_roots {
            (script_for("rotate", "iottly signing-key rotate targets", ("POST", "/keys/rotate", Some(r#"{"role":"targets"}"#))))
            (script_for("revoke", "iottly signing-key revoke KEY", ("POST", "/keys/revoke", Some(r#"{"key":"KEY"}"#))))
        } @else {
            (script_for("make the next root", "iottly signing-key propose targets > next.json", ("POST", "/keys/propose", Some(r#"{"role":"targets"}"#))))
        }
        (script_for("publish a root", "iottly signing-key publish signed.json", ("POST", "/keys/publish", Some(r#"{"signatures":[],"signed":{}}"#))))
    }
}

fn roles(id: &str, root: bool) -> Markup {
    html! {
        div.field {
            label for=(id) { "Role" }
            select id=(id) name="role" { @for (role, meaning) in ROLES.iter().filter(|(role, _)| root || *role != "root") {
                option value=(role) { (role) " (" (meaning) ")" }
            } }
        }
    }
}

fn meaning(role: &str) -> &'static str {
    let known = ROLES.iter().find(|(known, _)| *known == role);
    known.map_or("", |(_, meaning)| meaning)
}

fn point(point: &RootPointDto) -> Markup {
    html! { "root " (point.version) span.sub { (day(point.at.at())) @if let Some(by) = &point.by { " by " (by) } } }
}

fn day(at: UnixMs) -> String {
    text::iso(at).get(..10).unwrap_or_default().to_owned()
}

fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}

fn own(visitor: &Visitor) -> String {
    format!("{}/releases/keys", visitor.base())
}

fn filtered(visitor: &Visitor, filter: &str) -> String {
    format!("{}/devices?filter={}", visitor.base(), text::escaped(filter))
}

fn published(visitor: &Visitor, version: u64) -> Response {
    Redirect::to(&format!("{}?published={version}", own(visitor))).into_response()
}

/// Returns a page with the reason of a refusal above it.
async fn refused(visitor: &Visitor, error: &ApiError) -> Result<Response, ApiError> {
    let above = notice(Tone::Bad, &html! { (error.message()) });
    let shown = page(visitor, rest::of(&visitor.project).await, above).await?;
    Ok((error.status(), shown).into_response())
}

async fn or_refused(visitor: &Visitor, done: Result<Response, ApiError>) -> Response {
    let shown = match done {
        Err(error)
            if matches!(
                error.status(),
                StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
            ) =>
        {
            refused(visitor, &error).await
        }
        other => other,
    };
    shown.unwrap_or_else(|error| failure(&error))
}

/// Asks before the keys of a role are replaced, and replaces them once the visitor is sure.
pub(super) async fn rotate(visitor: Visitor, fields: CodeFields) -> Response {
    let role = fields.get("role").unwrap_or_default().to_owned();
    let done = async {
        visitor.project.require(Scopes::ADMIN)?;
        if fields.get("sure") == Some("yes") {
            let body = JsonBody(RotateKeys { role });
            let root = rest::rotate(visitor.project.clone(), body).await?.0;
            return Ok(published(&visitor, root.version));
        }
        let keys = rest::of(&visitor.project).await?;
        ask(
            &visitor,
            &keys,
            &format!("Rotate the keys of {role}?"),
            ("rotate", "role", role),
            "Rotate",
        )
        .await
    };
    let done = done.await;
    or_refused(&visitor, done).await
}

/// Asks before a key is revoked, and revokes it once the visitor is sure.
pub(super) async fn revoke(visitor: Visitor, fields: CodeFields) -> Response {
    let key = fields.get("key").unwrap_or_default().to_owned();
    let done = async {
        visitor.project.require(Scopes::ADMIN)?;
        if fields.get("sure") == Some("yes") {
            let body = JsonBody(RevokeKey { key });
            let root = rest::revoke(visitor.project.clone(), body).await?.0;
            return Ok(published(&visitor, root.version));
        }
        let keys = rest::of(&visitor.project).await?;
        let heading = format!("Revoke the key {}?", short(&key));
        ask(
            &visitor,
            &keys,
            &heading,
            ("revoke", "key", key),
            "Revoke the key",
        )
        .await
    };
    let done = done.await;
    or_refused(&visitor, done).await
}

async fn ask(
    visitor: &Visitor,
    keys: &KeyList,
    heading: &str,
    (action, field, value): (&str, &str, String),
    button: &str,
) -> Result<Response, ApiError> {
    let all: usize = keys.devices.iter().map(|trust| trust.devices).sum();
    let own = own(visitor);
    let asked = Question {
        heading,
        text: &html! {
            p { "This publishes root " (keys.root.version + 1) ", and deletes the old key. " b { (devices(all)) " do not trust the new key yet" } ": a release signed with it would be refused by them (unknown_key) until they have taken the root up." }
            p { "Connected devices are notified at once, " (iottly_cloud::rollout::ROOTS_PER_SECOND) " a second; others take it up when they connect, or with their next update." }
        },
        action: &format!("{own}/{action}"),
        fields: &[(field.to_owned(), value)],
        button,
        back: ("Keep it", &own),
    };
    screen("Change a key", question(&asked), visitor).await
}

/// Shows the next root, to be signed where its keys are.
pub(super) async fn propose(visitor: Visitor, fields: CodeFields) -> Response {
    let role = fields.get("role").unwrap_or_default().to_owned();
    let done = async {
        let proposed = rest::propose(visitor.project.clone(), JsonBody(RotateKeys { role }))
            .await?
            .0;
        let document = serde_json::to_string(&proposed.root).map_err(|error| ApiError::internal(&error))?;
        let above = html! {
            (notice(Tone::Good, &html! { "This is the next root. Save it as next.json, sign it where the keys of root are, and publish the result below. Nothing has changed yet." }))
            (snippet(&document))
            (snippet("iottly key sign next.json --keys DIR > signed.json"))
        };
        page(&visitor, rest::of(&visitor.project).await, above).await
    };
    let done = done.await;
    or_refused(&visitor, done).await
}

/// Publishes a root that was signed elsewhere.
pub(super) async fn publish(visitor: Visitor, fields: CodeFields) -> Response {
    let done = async {
        let document = fields.get("document").unwrap_or_default().trim().to_owned();
        let invalid = |error| ApiError::invalid("invalid_body", format!("the root is not JSON: {error}"));
        let document = RawValue::from_string(document).map_err(invalid)?;
        let root = rest::publish(visitor.project.clone(), JsonText(document))
            .await?
            .0;
        Ok(published(&visitor, root.version))
    };
    let done = done.await;
    or_refused(&visitor, done).await
}
