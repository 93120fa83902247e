//! Endpoint that builds the code of a branch without a revision or a release.

use axum::extract::Path;

use super::Answer;
use super::body::JsonBody;
use super::code_files::{self, CheckedCode};
use super::dto::{CheckAnswer, CheckOf, OK, ProblemDto};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Builds the working copy of a branch and returns its problems, without keeping or deploying anything.
///
/// With `file` and `code` that text is checked in place of the file's, without saving it.
#[utoipa::path(
    post,
    path = "/branches/{branch}/check",
    tag = "branches",
    request_body = CheckOf,
    responses((status = 200, description = "The problems of the code; none if a device could run it", body = CheckAnswer))
)]
pub(super) async fn check(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    JsonBody(body): JsonBody<CheckOf>,
) -> Answer<CheckAnswer> {
    let code = match (body.file, body.code) {
        (Some(name), Some(text)) => {
            let file = code_files::open(&access, &branch, &name).await?;
            let text = code_files::bounded(&file, text)?;
            file.with(&text)
        }
        (None, None) => code_files::working_copy(&access, &branch).await?,
        _ => {
            return Err(ApiError::invalid(
                "invalid_body",
                "file and code are given together or not at all",
            ));
        }
    };
    let checked = code_files::check(&access, code).await?;
    Ok(Spaced(match checked {
        CheckedCode::Good(built) => CheckAnswer {
            problems: Vec::new(),
            sha256: Some(built.sha256),
            size: Some(built.content.len() as u64),
            capabilities: built.capabilities,
            status: OK,
        },
        CheckedCode::Bad(problem) => CheckAnswer {
            problems: vec![ProblemDto::from(problem)],
            sha256: None,
            size: None,
            capabilities: Vec::new(),
            status: OK,
        },
    }))
}
