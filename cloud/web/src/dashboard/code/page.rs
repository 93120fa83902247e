//! Composes the page of a file.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use iottly_core::code::{self, CodeFile, MANIFEST_FILE, Problem};
use iottly_core::model::{Branch, Draft, Group, MAX_FILE_NAME_BYTES, Revision, Scopes, SnippetKind, UnixMs};
use iottly_store::GroupCounts;
use maud::{Markup, html};

use super::super::groups::counts_of;
use super::super::kit::empty::part;
use super::super::kit::notice::{Tone, notice};
use super::super::kit::script::script_for;
use super::super::shell::{Screen, Section};
use super::super::text::{self, escaped};
use super::super::visitor::Visitor;
use super::bench::{self, Bench};
use super::deployed;
use super::edit_pushed;
use super::editor::editor;
use super::stale::Clash;
use crate::api::code_files::OpenFile;
use crate::error::ApiError;
use iottly_cloud::clock;

/// Largest total size of two versions whose differences are drawn on the page, in bytes.
pub(super) const MAX_COMPARED_BYTES: usize = 512 << 10;

/// State of the form on the page.
pub(super) struct Shown {
    pub(super) text: String,
    /// Version that the text is based on, and the text of that version.
    pub(super) base: String,
    pub(super) base_text: String,
    /// Time at which the shown text was kept as a draft; none if it is the saved one.
    pub(super) drafted: Option<UnixMs>,
    pub(super) problems: Vec<Problem>,
    /// Sentence about a check that found no problem.
    pub(super) checked: Option<String>,
    /// Reason why the form was refused, beside what the code itself is at fault for.
    pub(super) refused: Option<ApiError>,
    pub(super) clash: Option<Clash>,
    pub(super) lease: Option<String>,
    pub(super) done: Option<String>,
}

impl Shown {
    /// Returns the form with the saved text.
    pub(super) fn of(open: &OpenFile) -> Self {
        Self {
            text: open.text().to_owned(),
            base: open.version(),
            base_text: open.text().to_owned(),
            drafted: None,
            problems: Vec::new(),
            checked: None,
            refused: None,
            clash: None,
            lease: None,
            done: None,
        }
    }

    /// Returns the form after another author has saved: based on their text, with both changes or with what was typed.
    pub(super) fn clashing(self, clash: Clash) -> Self {
        Self {
            text: clash.text().to_owned(),
            clash: Some(clash),
            ..self
        }
    }

    fn status(&self) -> StatusCode {
        match (&self.clash, &self.refused) {
            (_, Some(error)) => error.status(),
            // Only a form that was posted gets here with a clash and no draft.
            (Some(_), None) if self.drafted.is_none() && self.done.as_deref() == Some("stale") => {
                StatusCode::CONFLICT
            }
            _ => StatusCode::OK,
        }
    }
}

/// Facts that the parts of the page read.
pub(super) struct Facts<'a> {
    pub(super) visitor: &'a Visitor,
    pub(super) open: &'a OpenFile,
    pub(super) may_write: bool,
    pub(super) may_deploy: bool,
    branches: Vec<Branch>,
    /// Groups, and the numbers of their devices.
    pub(super) groups: Result<(Vec<Group>, Vec<GroupCounts>), ApiError>,
    newest: Option<Revision>,
    /// Names of the files of the branch of which the visitor has a draft that differs.
    drafts: Vec<String>,
    /// Leases and devices that run the code without a release.
    pub(super) bench: Result<Bench, ApiError>,
    pub(super) now: UnixMs,
}

impl<'a> Facts<'a> {
    async fn of(visitor: &'a Visitor, open: &'a OpenFile) -> Result<Self, ApiError> {
        let (access, store) = (&visitor.project, &visitor.project.services().store);
        let newest = store
            .revisions(access.id(), &open.branch.name, None, 1)
            .await?
            .pop();
        let now = clock::now();
        let groups =
            async { Ok::<_, ApiError>((access.groups().await?, store.group_counts(access.id()).await?)) };
        Ok(Self {
            may_write: visitor.may(Scopes::WRITE),
            may_deploy: visitor.may(Scopes::DEPLOY),
            branches: store.branches(access.id()).await?,
            groups: part(groups.await)?,
            newest,
            drafts: drafted(visitor, open).await?,
            bench: part(Bench::of(access, now).await)?,
            now,
            visitor,
            open,
        })
    }

    /// Returns the address of a file of the branch.
    pub(super) fn address(&self, file: &str) -> String {
        super::address(self.visitor, &self.open.branch.name, file)
    }

    /// Returns true if the working copy differs from the newest revision.
    fn unsaved(&self) -> bool {
        let digest = code::digest(&self.open.code);
        self.newest.as_ref().is_none_or(|newest| newest.digest != digest)
    }

    /// Returns the names of the files whose drafts are not saved, with the shown one.
    fn drafts(&self, shown: &Shown) -> Vec<&str> {
        let mut names: Vec<_> = self.drafts.iter().map(String::as_str).collect();
        let here = self.open.name();
        if shown.drafted.is_some() && !names.contains(&here) {
            names.push(here);
        }
        names
    }

    pub(super) fn followers(&self) -> impl Iterator<Item = &Group> {
        let branch = Some(self.open.branch.name.as_str());
        let known = self.groups.iter().flat_map(|(groups, _)| groups);
        known.filter(move |group| group.branch.as_deref() == branch)
    }
}

/// Returns the names of the files of a branch of which the visitor has a draft that differs from the saved text.
async fn drafted(visitor: &Visitor, open: &OpenFile) -> Result<Vec<String>, ApiError> {
    let access = &visitor.project;
    let author = access.principal().actor;
    let drafts = access
        .services()
        .store
        .drafts(access.id(), &open.branch.name, author)
        .await?;
    let name = |draft: Draft| {
        let file = CodeFile::named(&open.code, &draft.file)?;
        let saved = file.text(&open.code).unwrap_or_default();
        let name = file
            .snippet(&open.code)
            .map_or(MANIFEST_FILE, |snippet| snippet.name.as_str());
        (draft.text != saved).then(|| name.to_owned())
    };
    Ok(drafts.into_iter().filter_map(name).collect())
}

/// Returns the page of a file.
pub(super) async fn page(visitor: &Visitor, open: &OpenFile, shown: Shown) -> Result<Response, ApiError> {
    let facts = Facts::of(visitor, open).await?;
    let here = super::address_of(visitor, open);
    let content = html! {
        (head(&facts, &shown))
        (notices(&facts, &shown, &here))
        @if let Some(clash) = &shown.clash { (clash.view()) }
        form.stack #code method="post" action=(here) {
            (actions(&facts, &shown, &here))
            div.workbench {
                (tree(&facts))
                div { (editor(&facts, &shown)) }
                div { (bench::pane(&facts, &shown, &here)) }
            }
        }
        (deployed::parts(&facts).await)
        @if facts.may_write { (names(&facts, &here)) }
        (scripts(&facts))
    };
    let status = shown.status();
    let crumbs = [
        ("Code", format!("{}/code", visitor.base())),
        (
            open.branch.name.as_str(),
            format!("{}/code/{}", visitor.base(), escaped(&open.branch.name)),
        ),
    ];
    let screen = Screen {
        section: Section::Code,
        title: open.name(),
        crumbs: &crumbs,
        events: None,
        scripts: &["editor.js", "lease.js"],
        content,
    };
    Ok((status, screen.respond(visitor).await?).into_response())
}

fn head(facts: &Facts<'_>, shown: &Shown) -> Markup {
    let open = facts.open;
    html! {
        div.head { div {
            h1 { "Code " span.tag.mono.break { (open.branch.name) } }
            ul.meta {
                li { "working copy changed " b { (text::iso(open.branch.changed)) } }
                @match &facts.newest {
                    Some(newest) => {
                        li { "newest revision " b.mono { "r" (newest.number) } " by " b.break { (newest.author) } }
                        @if newest.component.is_some() { li { a href=(edit_pushed::address(facts.visitor, &open.branch.name, newest.number)) { "pushed from a folder" } } }
                        li { @if facts.unsaved() { b { "not saved as a revision" } } @else { "the same as r" (newest.number) } }
                    }
                    None => li { "no revision yet" }
                }
                @let drafts = facts.drafts(shown);
                @if !drafts.is_empty() { li { "drafts of yours: " @for (index, name) in drafts.iter().enumerate() { @if index > 0 { ", " } a.break href=(facts.address(name)) { (name) } } } }
            }
        } }
    }
}

fn notices(facts: &Facts<'_>, shown: &Shown, here: &str) -> Markup {
    let done = match shown.done.as_deref() {
        Some("saved") => Some("Saved to the working copy."),
        Some("revision") => Some("Saved as a revision."),
        Some("discarded") => Some("The draft is deleted. This is the saved text."),
        Some("restored") => Some("The working copy is the restored revision."),
        Some("run") => Some("Sent to the test device. What it does is shown beside the code."),
        Some("ended") => Some("The lease has ended: its devices return to their releases."),
        _ => None,
    };
    html! {
        @if let Some(text) = done { (notice(Tone::Good, &html! { p { (text) } })) }
        @if let Some(error) = &shown.refused { (notice(Tone::Bad, &html! { p.break { (error.message()) } })) }
        @if let Some(clash) = &shown.clash { (notice(Tone::Warn, &html! { (clash.notice()) (discard(here, "Take theirs, drop mine")) })) }
        @else if let Some(at) = shown.drafted {
            (notice(Tone::Warn, &html! {
                p { "This is your draft of " (text::iso(at)) ". Only you see it until you save." }
                (discard(here, "Drop the draft"))
            }))
        }
        @if let Some(problem) = shown.problems.first() {
            (notice(Tone::Bad, &html! {
                p {
                    b { "The code does not build" }
                    @if let Some(file) = &problem.file { " at " (file) @if let Some(line) = problem.line { ", line " (line) } }
                    ". Nothing was sent to a device."
                }
            }))
        }
        @if let Some(text) = &shown.checked { (notice(Tone::Good, &html! { p { (text) } })) }
        @if !facts.may_write {
            (notice(Tone::Warn, &html! { p { "You can read this code. To change it you need the right “write”, which an owner of the organisation grants." } }))
        }
    }
}

/// Returns the form that drops the visitor's draft.
fn discard(here: &str, text: &str) -> Markup {
    html! { form.actions method="post" action={ (here) "/discard" } { button data-size="s" { (text) } } }
}

fn actions(facts: &Facts<'_>, shown: &Shown, here: &str) -> Markup {
    let drafts = facts.drafts(shown);
    let wait = if !drafts.is_empty() {
        let files = if drafts.len() == 1 { "draft" } else { "drafts" };
        Some(format!(
            "Flash waits until your {files} of {} {} saved as a revision.",
            drafts.join(", "),
            if drafts.len() == 1 { "is" } else { "are" }
        ))
    } else if facts.newest.is_none() || facts.unsaved() || shown.clash.is_some() {
        Some("Flash waits until this is saved as a revision.".to_owned())
    } else if facts.groups.is_err() {
        Some("The deployment groups could not be read.".to_owned())
    } else if facts.followers().next().is_none() {
        Some("No deployment group follows this branch.".to_owned())
    } else {
        None
    };
    let number = facts.newest.as_ref().map_or(0, |newest| newest.number);
    html! {
        div.actions {
            @if facts.may_write {
                button data-kind=[wait.is_some().then_some("main")] data-key="save" { "Save" }
                button formaction={ (here) "/check" } data-key="check" { "Check" }
                button formaction={ (here) "/revision" } { "Save as revision" }
                @if facts.open.is_deletable() { a.button data-kind="danger" href={ (here) "/delete" } { "Delete this file…" } }
            }
            @if facts.may_deploy {
                @match &wait {
                    Some(_) => button type="button" disabled aria-describedby="why-not" { "Flash…" },
                    None => @if let Ok((_, counts)) = &facts.groups { @for group in facts.followers() {
                        a.button data-kind="main" href={ (facts.visitor.base()) "/groups/" (group.id) "/flash?revision=" (number) } {
                            "Flash " (counts_of(counts, group)) " devices of " (group.name) "…"
                        }
                    } },
                }
            }
            span.soft.small #why-not { @if let Some(wait) = &wait { (wait) } }
        }
        @if facts.may_write {
            p.soft.small { "Any editor of yours works as well: " code { "iottly push" } " saves the firmware of a folder as a revision." }
            div.field { label for="message" { "Message of the revision" } input #message name="message" maxlength="2048" placeholder="What changes for the devices"; }
        }
    }
}

fn tree(facts: &Facts<'_>) -> Markup {
    let open = facts.open;
    let mut snippets: Vec<_> = open.code.snippets.iter().collect();
    snippets.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let entry = |snippet: &iottly_core::model::Snippet| {
        let here = open.file == CodeFile::Snippet(snippet.id);
        let name = super::url_name_of(&open.code, CodeFile::Snippet(snippet.id), &snippet.name);
        html! { li { a.break href=(facts.address(&name)) aria-current=[here.then_some("true")] { (snippet.name) } } }
    };
    let handlers = || {
        snippets
            .iter()
            .filter(|snippet| snippet.kind == SnippetKind::Handler)
    };
    html! {
        div {
            div.pane-head { "Files" }
            nav.tree aria-label="Files" {
                ul {
                    @for snippet in snippets.iter().filter(|snippet| snippet.kind != SnippetKind::Handler) { (entry(snippet)) }
                    li { a href=(facts.address(MANIFEST_FILE)) aria-current=[(open.file == CodeFile::Manifest).then_some("true")] { (MANIFEST_FILE) } }
                    @if facts.may_write { li { a href="#files" { "Add or rename a file" } } }
                }
                h3 { "Command handlers" }
                ul {
                    @for snippet in handlers() { (entry(snippet)) }
                    @if facts.may_write { li { a href={ (facts.visitor.base()) "/definitions" } { "Add or rename a command" } } }
                }
                h3 { "Branches" }
                ul {
                    @for branch in &facts.branches {
                        li { a.break href={ (facts.visitor.base()) "/code/" (escaped(&branch.name)) } aria-current=[(branch.name == open.branch.name).then_some("true")] {
                            (branch.name) @if branch.head > 0 { span.end { "r" (branch.head) } }
                        } }
                    }
                    li { a href={ (facts.visitor.base()) "/releases?branch=" (escaped(&open.branch.name)) } { "Revisions and new branch" } }
                }
            }
        }
    }
}

/// Returns the forms for the names of files.
fn names(facts: &Facts<'_>, here: &str) -> Markup {
    let (open, branch) = (facts.open, escaped(&facts.open.branch.name));
    let pattern = "[A-Za-z0-9-][A-Za-z0-9_-]*([.]js)?";
    let input = |id: &str, value: Option<&str>| {
        html! { input id=(id) name="name" required maxlength=(MAX_FILE_NAME_BYTES) pattern=(pattern) value=[value] placeholder="filters.js"; }
    };
    html! {
        section.card.stack #files {
            h2 { "Files of your own" }
            p.soft { "A file shares its scope with all others: a function that it declares can be called in " code { "loop" } " and in the handlers. It runs after " code { "global" } "." }
            form.stack method="post" action={ (facts.visitor.base()) "/code/" (branch) "/add" } {
                div.field { label for="new-file" { "New file" } (input("new-file", None)) }
                div.actions { button { "Add the file" } }
            }
            @if open.is_renamable() {
                form.stack method="post" action={ (here) "/rename" } {
                    div.field { label for="file-name" { "Name of this file" } (input("file-name", Some(open.name()))) }
                    div.actions { button { "Rename the file" } }
                }
            }
        }
    }
}

fn scripts(facts: &Facts<'_>) -> Markup {
    let (branch, name) = (&facts.open.branch.name, facts.open.name());
    let path = format!("/branches/{}", escaped(branch));
    let base = facts.open.version();
    let put = if name == MANIFEST_FILE {
        (
            format!("{path}/manifest"),
            format!("{{\"manifest\":\"…\",\"base\":\"{base}\"}}"),
        )
    } else {
        let edit = serde_json::json!({"snippets": [{"name": name, "code": "…", "base": base}]});
        (format!("{path}/snippets"), edit.to_string())
    };
    html! {
        (script_for(
            "save this file",
            &format!("iottly code put --branch {branch} --base {base} {name} FILE"),
            ("PUT", &put.0, Some(&put.1)),
        ))
        (script_for(
            "add a file",
            &format!("iottly code add --branch {branch} filters.js"),
            ("POST", &format!("{path}/files"), Some("{\"name\":\"filters.js\"}")),
        ))
        (script_for("check the code", &format!("iottly code check --branch {branch}"), ("POST", &format!("{path}/check"), Some("{}"))))
        (script_for("save a revision", &format!("iottly code save --branch {branch} --message TEXT"),
            ("POST", &format!("{path}/revisions"), Some("{\"message\":\"…\"}")),
        ))
        (script_for(
            "run on a test device",
            &format!("iottly code run --branch {branch} LEASE"),
            ("PUT", "/leases/LEASE/branch", Some(&serde_json::json!({"branch": branch}).to_string())),
        ))
        (script_for("end the lease", "iottly lease end LEASE", ("DELETE", "/leases/LEASE", None)))
        (script_for("drop a draft", &format!("iottly code drop --branch {branch} {name}"), ("DELETE", &format!("{path}/drafts/{}", escaped(name)), None)))
        @if facts.open.is_renamable() {
            (script_for(
                "rename this file",
                &format!("iottly code rename --branch {branch} {name} NAME.js"),
                ("PUT", &format!("{path}/snippets"), Some(&serde_json::json!({"snippets": [{"name": name, "rename": "NAME.js"}]}).to_string())),
            ))
        }
    }
}
