//! The frame of a project's screens: the side bar with its sections, the way to the page, the state of the live
//! connection, and the choice of the project.

use axum::response::Response;
use iottly_core::model::{Project, WebhookState};
use maud::{Markup, html};

use super::kit::icons::{Icon, brand, icon};
use super::layout::{IntoHtml, document};
use super::visitor::Visitor;
use crate::error::ApiError;
use crate::sessions::Holder;
use iottly_cloud::clock;

/// Scripts of every screen.
const SCRIPTS: [&str; 5] = ["parts.js", "ages.js", "events.js", "keys.js", "copy.js"];

/// Section of the side bar that a screen belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Devices,
    Code,
    Releases,
    Groups,
    Jobs,
    Definitions,
    Stream,
    Plots,
    Logs,
    Alerts,
    Crashes,
    Webhooks,
    Tokens,
    Audit,
}

/// Entry of the side bar: its section, its name, and its path below the project's.
type Entry = (Section, &'static str, &'static str);

/// Headings of the side bar, each with its sections.
const SECTIONS: [(&str, &[Entry]); 4] = [
    (
        "Fleet",
        &[
            (Section::Overview, "Overview", "/"),
            (Section::Devices, "Devices", "/devices"),
            (Section::Groups, "Groups", "/groups"),
            (Section::Jobs, "Jobs", "/jobs"),
        ],
    ),
    (
        "Build",
        &[
            (Section::Code, "Code", "/code"),
            (Section::Releases, "Releases and keys", "/releases"),
            (Section::Definitions, "Definitions", "/definitions"),
        ],
    ),
    (
        "Observe",
        &[
            (Section::Stream, "Stream", "/stream"),
            (Section::Plots, "Plots", "/plots"),
            (Section::Logs, "Logs", "/logs"),
            (Section::Alerts, "Alerts", "/alerts"),
            (Section::Crashes, "Crashes", "/crashes"),
        ],
    ),
    (
        "Connect",
        &[
            (Section::Webhooks, "Webhooks", "/webhooks"),
            (Section::Tokens, "Tokens", "/tokens"),
            (Section::Audit, "Audit log", "/audit"),
        ],
    ),
];

/// Returns the section of a page's path, and its name; `None` for a path outside of the projects.
pub(super) fn section_of(path: &str) -> Option<(Section, &'static str)> {
    let (_, below) = path.strip_prefix("/p/")?.split_once('/')?;
    let first = match below.split('/').next().unwrap_or_default() {
        "pushed" | "leases" => "code",
        "enroll" => "devices",
        first => first,
    };
    let entries = SECTIONS.iter().flat_map(|(_, entries)| entries.iter());
    let mut named = entries.map(|(section, name, path)| (*section, *name, path.trim_start_matches('/')));
    let found = named.clone().find(|(.., path)| *path == first);
    found
        .or_else(|| named.next())
        .map(|(section, name, _)| (section, name))
}

/// A page of a project.
pub(super) struct Screen<'a> {
    pub(super) section: Section,
    pub(super) title: &'a str,
    /// Names and addresses of the pages between the project and this one.
    pub(super) crumbs: &'a [(&'a str, String)],
    /// Address of the page's event stream.
    pub(super) events: Option<String>,
    /// Scripts of this page, beside those of every screen.
    pub(super) scripts: &'a [&'a str],
    pub(super) content: Markup,
}

/// Facts that the side bar shows.
struct Bar {
    project: Project,
    others: Vec<Project>,
    /// Numbers beside sections: of what waits for a person, and of what runs.
    waiting: usize,
    failing: usize,
    raised: usize,
    jobs: u64,
    name: String,
}

impl Bar {
    async fn of(visitor: &Visitor) -> Result<Self, ApiError> {
        let (access, store) = (&visitor.project, &visitor.project.services().store);
        let project = access.project().await?;
        let (name, others) = match &visitor.session.login.holder {
            Holder::Token(principal) => (principal.name.clone(), Vec::new()),
            Holder::Person(person) => (person.name.clone(), store.projects_of(person.id).await?),
        };
        // Without the numbers the page still stands, and its own parts say what failed.
        let attention = or_none(store.attention(access.id()).await);
        let waiting = access.services().enrolment.waiting(access.id()).len();
        Ok(Self {
            project,
            others,
            waiting: waiting + access.services().holds.of(access.id()).len(),
            raised: attention.raised_alerts,
            jobs: or_none(store.open_jobs(access.id(), None).await),
            failing: attention.failing_webhooks,
            name,
        })
    }

    fn count(&self, section: Section) -> Option<(u64, &'static str, &'static str)> {
        match section {
            Section::Devices if self.waiting > 0 => Some((self.waiting as u64, "waiting", "warn")),
            Section::Alerts if self.raised > 0 => Some((self.raised as u64, "raised", "bad")),
            Section::Webhooks if self.failing > 0 => Some((self.failing as u64, "failing", "warn")),
            Section::Jobs if self.jobs > 0 => Some((self.jobs, "running", "busy")),
            _ => None,
        }
    }
}

/// Returns numbers of the side bar, or none of them if they could not be read.
fn or_none<T: Default>(read: iottly_store::Result<T>) -> T {
    read.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "failed to read the numbers of the side bar; the page is shown without them");
        T::default()
    })
}

/// Returns true if deliveries of a webhook fail at present.
pub(super) fn is_failing(webhook: &WebhookState) -> bool {
    webhook.hook.enabled && webhook.queue.failing_since.is_some()
}

impl Screen<'_> {
    /// Returns the page within the frame.
    pub(super) async fn respond(self, visitor: &Visitor) -> Result<Response, ApiError> {
        let (bar, base) = (Bar::of(visitor).await?, visitor.base());
        let scripts: Vec<&str> = SCRIPTS.into_iter().chain(self.scripts.iter().copied()).collect();
        let title = format!("{} · {}", self.title, bar.project.name);
        let body = self.body(&bar, &base, visitor.no_shortcuts);
        Ok(document(&title, visitor.theme, &scripts, None, &body).into_response_html())
    }

    fn body(&self, bar: &Bar, base: &str, no_shortcuts: bool) -> Markup {
        let live = self.events.is_some();
        html! {
            body data-events=[self.events.as_deref()] data-base=(base) data-now=(clock::now()) data-shortcuts=[no_shortcuts.then_some("off")] {
                a.skip href="#main" { "Skip to content" }
                div.shell {
                    header.bar {
                        button type="button" data-kind="plain" popovertarget="nav" aria-label="Menu" { (icon(Icon::Menu)) }
                        a.brand href={ (base) "/" } { (brand()) (bar.project.name) }
                        (link(live))
                    }
                    nav.side #nav popover="" aria-label="Sections" {
                        a.brand href={ (base) "/" } { (brand()) "iottly" }
                        (switch(bar))
                        div.nav { @for (index, (heading, sections)) in SECTIONS.iter().enumerate() {
                            section aria-labelledby={ "nav-" (index) } {
                                h2 id={ "nav-" (index) } { (heading) }
                                ul { @for entry in *sections { (self.entry(bar, base, entry)) } }
                            }
                        } }
                        div.side-foot {
                            a href="/docs" { "API and docs" }
                            a href={ (base) "/keys" } data-keys { "Keyboard shortcuts " kbd { "?" } }
                            span { a href="/account" { (bar.name) } }
                            form method="post" action="/logout" { button data-kind="plain" data-size="s" { "Log out" } }
                        }
                    }
                    div.page {
                        div.page-top {
                            nav.crumbs aria-label="You are here" { ol {
                                li { a href={ (base) "/" } { (bar.project.name) } }
                                @for (name, href) in self.crumbs { li { a href=(href) { (name) } } }
                                li aria-current="page" { (self.title) }
                            } }
                            form.find role="search" action={ (base) "/devices" } {
                                (icon(Icon::Find))
                                label.sr for="find" { "Find a device" }
                                input #find type="search" name="filter" placeholder="Find a device";
                                kbd { "/" }
                            }
                            span role="status" { (link(live)) }
                        }
                        main #main { (self.content) }
                    }
                }
                (super::keys::dialog())
            }
        }
    }

    fn entry(&self, bar: &Bar, base: &str, (section, name, path): &Entry) -> Markup {
        let here = (*section == self.section).then_some("page");
        html! {
            li { a href={ (base) (path) } aria-current=[here] {
                (name)
                @if let Some((number, word, tone)) = bar.count(*section) { span.count data-tone=(tone) { (number) " " (word) } }
            } }
        }
    }
}

/// Returns the state of the live connection; scripts keep it up to date.
fn link(live: bool) -> Markup {
    html! { span.link data-link[live] data-state=(if live { "wait" } else { "idle" }) { @if live { "not live" } @else { "as of loading" } } }
}

fn switch(bar: &Bar) -> Markup {
    html! {
        details.switch {
            summary { span.break { (bar.project.name) } (icon(Icon::Down)) }
            ul {
                @for project in &bar.others {
                    li { a href={ "/p/" (project.id) "/" } aria-current=[(project.id == bar.project.id).then_some("true")] { (project.name) } }
                }
                li { a href="/account" { "All projects" } }
            }
        }
    }
}
