//! Forms of the editor: save, check, save as a revision, and run on a test device.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::code::Problem;
use iottly_core::model::{Change, Lease, MAX_MESSAGE_BYTES, Scopes};
use iottly_protocol::DeviceId;

use super::super::forms::CodeFields;
use super::super::layout::failure;
use super::super::visitor::Visitor;
use super::address_of;
use super::page::{Shown, page};
use super::stale::Clash;
use crate::api::code_files::{self, CheckedCode, OpenFile, Typed};
use crate::error::ApiError;
use axum::http::StatusCode;
use iottly_cloud::clock;

/// Length of a developer lease that the page opens, in hours.
const LEASE_HOURS: u32 = 1;

type FilePath = Path<(String, String, String)>;

/// Fields of a form of the editor.
struct Form {
    open: OpenFile,
    text: String,
    base: String,
    base_text: String,
}

impl Form {
    async fn read(
        visitor: &Visitor,
        Path((_, branch, name)): FilePath,
        fields: &CodeFields,
    ) -> Result<Self, ApiError> {
        let open = code_files::open(&visitor.project, &branch, &name).await?;
        let field = |name| fields.get(name).unwrap_or_default();
        // Browsers send line ends as CR LF.
        let lines = |text: &str| text.replace("\r\n", "\n");
        let text = code_files::bounded(&open, lines(field("text")))?;
        let base = code_files::version_text(field("base").to_owned())?;
        Ok(Self {
            text,
            base,
            base_text: lines(field("base_text")),
            open,
        })
    }

    /// Returns the form as it was sent, to show it again.
    fn shown(&self) -> Shown {
        Shown {
            text: self.text.clone(),
            base: self.base.clone(),
            base_text: self.base_text.clone(),
            ..Shown::of(&self.open)
        }
    }
}

/// Outcome of saving a form.
enum Saved {
    Done(Box<Form>),
    /// The form is shown again with the reason.
    Refused(Response),
}

/// Saves a file to the working copy.
pub(in super::super) async fn save(visitor: Visitor, path: FilePath, fields: CodeFields) -> Response {
    let saved = saved(&visitor, path, &fields).await;
    finish(saved.map(|saved| match saved {
        Saved::Done(form) => to(&visitor, &form, "done=saved"),
        Saved::Refused(page) => page,
    }))
}

/// Builds the working copy with the text of the form, saves nothing, and shows the problems.
pub(in super::super) async fn check(visitor: Visitor, path: FilePath, fields: CodeFields) -> Response {
    finish(checked(&visitor, path, &fields).await)
}

async fn checked(visitor: &Visitor, path: FilePath, fields: &CodeFields) -> Result<Response, ApiError> {
    let form = Form::read(visitor, path, fields).await?;
    let draft = keep(visitor, &form).await;
    let mut shown = form.shown();
    shown.drafted = draft.ok().filter(|_| form.text != form.open.text());
    match code_files::check(&visitor.project, form.open.with(&form.text)).await {
        Ok(CheckedCode::Bad(problem)) => shown.problems = vec![problem],
        Ok(CheckedCode::Good(built)) => {
            let uses = if built.capabilities.is_empty() {
                "uses nothing of a board".to_owned()
            } else {
                format!("may use {}", built.capabilities.join(", "))
            };
            shown.checked = Some(format!(
                "The code builds: {} bytes, and {uses}.",
                built.content.len()
            ));
        }
        Err(error) => shown.refused = Some(error),
    }
    page(visitor, &form.open, shown).await
}

/// Saves a file, and the working copy as the next revision.
pub(in super::super) async fn revision(visitor: Visitor, path: FilePath, fields: CodeFields) -> Response {
    let saved = match saved(&visitor, path, &fields).await {
        Ok(Saved::Done(form)) => form,
        other => {
            return finish(other.map(|saved| match saved {
                Saved::Refused(page) => page,
                Saved::Done(form) => to(&visitor, &form, "done=saved"),
            }));
        }
    };
    let message = fields.get("message").unwrap_or_default().trim().to_owned();
    if message.len() > MAX_MESSAGE_BYTES || message.contains('\0') {
        return failure(&ApiError::invalid(
            "invalid_form",
            "the message of the revision is too long",
        ));
    }
    let change = Change::SaveVersion {
        branch: saved.open.branch.name.clone(),
        message,
    };
    match visitor.project.change(change, clock::now()).await {
        Ok(_) => to(&visitor, &saved, "done=revision"),
        Err(error) => failure(&error),
    }
}

/// Saves a file and runs the working copy on a test device.
pub(in super::super) async fn run(visitor: Visitor, path: FilePath, fields: CodeFields) -> Response {
    if let Err(error) = visitor.project.require(Scopes::WRITE) {
        return failure(&error);
    }
    finish(ran(&visitor, path, &fields).await)
}

async fn ran(visitor: &Visitor, path: FilePath, fields: &CodeFields) -> Result<Response, ApiError> {
    let form = match saved(visitor, path, fields).await? {
        Saved::Done(form) => form,
        Saved::Refused(page) => return Ok(page),
    };
    let access = &visitor.project;
    let code = code_files::working_copy(access, &form.open.branch.name).await?;
    let built = match code_files::check(access, code).await {
        Ok(CheckedCode::Good(built)) => built,
        Ok(CheckedCode::Bad(problem)) => return with_problem(visitor, *form, problem).await,
        Err(error) => return again(visitor, *form, error).await,
    };
    let device = fields.get("device").and_then(|id| id.parse().ok());
    let device = device.ok_or_else(|| ApiError::invalid("invalid_form", "no test device is chosen"))?;
    let leases = &access.services().leases;
    let outcome = async {
        let lease = lease(visitor, device).await?;
        leases
            .run(access.principal(), lease.id, built.content)
            .await
            .map_err(ApiError::from)
    };
    match outcome.await {
        Ok(lease) => Ok(to(visitor, &form, &format!("done=run&lease={}", lease.id))),
        Err(error) => again(visitor, *form, error).await,
    }
}

/// Returns the open lease of a device, or opens one.
async fn lease(visitor: &Visitor, device: DeviceId) -> Result<Lease, ApiError> {
    let access = &visitor.project;
    let now = clock::now();
    let leases = access.services().store.leases(access.id()).await?;
    let mut open = leases.into_iter().filter(|lease| lease.is_open(now));
    if let Some(lease) = open.find(|lease| lease.devices.iter().any(|known| known.device == device)) {
        return Ok(lease);
    }
    let (leases, by) = (&access.services().leases, access.principal());
    Ok(leases.open(by, vec![device], LEASE_HOURS, Vec::new()).await?)
}

async fn saved(visitor: &Visitor, path: FilePath, fields: &CodeFields) -> Result<Saved, ApiError> {
    let form = Form::read(visitor, path, fields).await?;
    let (text, base) = (form.text.clone(), Some(form.base.clone()));
    let Err(error) = code_files::save(&visitor.project, &form.open, text, base).await else {
        return Ok(Saved::Done(Box::new(form)));
    };
    // What was typed is kept whatever the reason; if even that fails, the page still shows it.
    let _ = keep(visitor, &form).await;
    if error.status() != StatusCode::CONFLICT || !error.is_stale() {
        return again(visitor, form, error).await.map(Saved::Refused);
    }
    // Read again: the form was compared with the text of this moment.
    let open = code_files::open(&visitor.project, &form.open.branch.name, &form.open.file.key()).await?;
    let base = Some(form.base_text).filter(|text| iottly_core::code::version(text) == form.base);
    let clash = Clash::new(base, form.text, open.text());
    let shown = Shown {
        done: Some("stale".to_owned()),
        ..Shown::of(&open).clashing(clash)
    };
    page(visitor, &open, shown).await.map(Saved::Refused)
}

async fn keep(visitor: &Visitor, form: &Form) -> Result<i64, ApiError> {
    let typed = Typed {
        base: form.base.clone(),
        base_text: Some(form.base_text.clone()),
        text: form.text.clone(),
    };
    let draft = code_files::keep_draft(&visitor.project, &form.open, typed).await?;
    Ok(draft.changed)
}

/// Shows the form again with the reason of a refusal.
async fn again(visitor: &Visitor, form: Form, error: ApiError) -> Result<Response, ApiError> {
    let mut shown = form.shown();
    if error.is_manifest() {
        shown.problems = vec![iottly_core::code::problem(error.message(), [])];
    }
    shown.refused = Some(error);
    page(visitor, &form.open, shown).await
}

async fn with_problem(visitor: &Visitor, form: Form, problem: Problem) -> Result<Response, ApiError> {
    let open = code_files::open(&visitor.project, &form.open.branch.name, &form.open.file.key()).await?;
    let mut shown = Shown::of(&open);
    shown.problems = vec![problem];
    page(visitor, &open, shown).await
}

fn to(visitor: &Visitor, form: &Form, query: &str) -> Response {
    Redirect::to(&format!("{}?{query}", address_of(visitor, &form.open))).into_response()
}

fn finish(response: Result<Response, ApiError>) -> Response {
    response.unwrap_or_else(|error| failure(&error))
}
