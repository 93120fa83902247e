//! Files of a branch's working copy, as the endpoints and the dashboard read, save and check them.

use super::names;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_cloud::rollout::{BuiltCode, FlashError};
use iottly_core::code::{self, CodeFile, MANIFEST_FILE, Problem};
use iottly_core::model::{Branch, BranchCode, Change, Draft, MAX_CODE_BYTES, SnippetEdit, SnippetKind};

/// Maximum size of a `firmware.toml`, in bytes.
const MAX_MANIFEST_BYTES: usize = 64 << 10;

/// File of a working copy, with the whole copy that it was read from.
pub(crate) struct OpenFile {
    pub(crate) branch: Branch,
    pub(crate) code: BranchCode,
    pub(crate) file: CodeFile,
}

/// Text of a file with what it is based on.
pub(crate) struct Typed {
    /// Version of the text that the new one is based on.
    pub(crate) base: String,
    /// Text of that version, if the caller knows it.
    pub(crate) base_text: Option<String>,
    pub(crate) text: String,
}

/// Outcome of a check of code.
pub(crate) enum CheckedCode {
    Good(BuiltCode),
    Bad(Problem),
}

impl OpenFile {
    /// Returns the present text of the file; a missing manifest has none.
    pub(crate) fn text(&self) -> &str {
        self.file.text(&self.code).unwrap_or_default()
    }

    /// Returns the version of the present text.
    pub(crate) fn version(&self) -> String {
        code::version(self.text())
    }

    /// Returns the name of the file.
    pub(crate) fn name(&self) -> &str {
        self.file
            .snippet(&self.code)
            .map_or(MANIFEST_FILE, |snippet| snippet.name.as_str())
    }

    /// Returns true if the file can be deleted: a manifest, a file with a name of its own, and a handler whose command is
    /// not defined any more.
    pub(crate) fn is_deletable(&self) -> bool {
        match self.file.snippet(&self.code) {
            None => self.code.manifest.is_some(),
            Some(snippet) if snippet.kind == SnippetKind::Handler => snippet.name.starts_with('_'),
            Some(_) => self.is_renamable(),
        }
    }

    /// Returns true if the file has a name of its own, which can be changed.
    pub(crate) fn is_renamable(&self) -> bool {
        let snippet = self.file.snippet(&self.code);
        snippet.is_some_and(|snippet| snippet.kind == SnippetKind::File)
    }

    /// Returns the working copy with another text in the place of the file's.
    pub(crate) fn with(&self, text: &str) -> BranchCode {
        let mut code = self.code.clone();
        self.file.put(&mut code, text.to_owned());
        code
    }
}

fn unknown() -> ApiError {
    ApiError::missing("branch is unknown in this project")
}

/// Returns a branch of the caller's project.
pub(crate) async fn branch(access: &ProjectAccess, name: &str) -> Result<Branch, ApiError> {
    let branches = access.services().store.branches(access.id()).await?;
    branches
        .into_iter()
        .find(|branch| branch.name == name)
        .ok_or_else(unknown)
}

/// Returns the working copy of a branch of the caller's project.
pub(crate) async fn working_copy(access: &ProjectAccess, name: &str) -> Result<BranchCode, ApiError> {
    let code = access.services().store.working_copy(access.id(), name).await?;
    code.ok_or_else(unknown)
}

/// Returns a file of a branch: `firmware.toml`, or a snippet by its name or id.
pub(crate) async fn open(
    access: &ProjectAccess,
    branch_name: &str,
    file: &str,
) -> Result<OpenFile, ApiError> {
    let branch = branch(access, branch_name).await?;
    let code = working_copy(access, branch_name).await?;
    let found = CodeFile::named(&code, file);
    let file = found.ok_or_else(|| ApiError::missing("branch has no such file"))?;
    Ok(OpenFile { branch, code, file })
}

/// Returns a text that a file may have.
pub(crate) fn bounded(file: &OpenFile, text: String) -> Result<String, ApiError> {
    match file.file {
        CodeFile::Manifest => names::bounded("manifest", without_nul(text)?, MAX_MANIFEST_BYTES),
        CodeFile::Snippet(_) => bounded_code(text),
    }
}

/// Returns a text that a snippet may have.
pub(crate) fn bounded_code(text: String) -> Result<String, ApiError> {
    names::bounded("code", without_nul(text)?, MAX_CODE_BYTES)
}

fn without_nul(text: String) -> Result<String, ApiError> {
    if text.contains('\0') {
        let reason = "code contains the character NUL";
        return Err(ApiError::invalid("invalid_code", reason));
    }
    Ok(text)
}

/// Saves a text to the working copy, in place of the version that it is based on, and deletes the caller's draft of the
/// file. 409 with the code `stale` if the working copy has another version by now.
pub(crate) async fn save(
    access: &ProjectAccess,
    file: &OpenFile,
    text: String,
    base: Option<String>,
) -> Result<(), ApiError> {
    let text = bounded(file, text)?;
    let branch = file.branch.name.clone();
    let change = match file.file {
        CodeFile::Manifest => {
            let manifest = Some(text).filter(|text| !text.trim().is_empty());
            if let Some(text) = &manifest {
                check_manifest(text)?;
            }
            Change::SaveManifest {
                branch,
                manifest,
                base,
            }
        }
        CodeFile::Snippet(id) => {
            let edit = SnippetEdit {
                id,
                code: Some(text),
                name: None,
                description: None,
                base,
            };
            Change::SaveSnippets(branch, vec![edit])
        }
    };
    access.services().rollouts.spare_disk().await?;
    access.change(change, clock::now()).await?;
    drop_draft(access, file).await.map(drop)
}

/// Refuses a text that cannot be the manifest of a branch.
pub(crate) fn check_manifest(text: &str) -> Result<(), ApiError> {
    code::check_manifest(text).map_err(|refused| ApiError::invalid("invalid_manifest", refused.to_string()))
}

/// Returns the caller's draft of a file.
pub(crate) async fn draft(access: &ProjectAccess, file: &OpenFile) -> Result<Option<Draft>, ApiError> {
    let (store, author) = (&access.services().store, access.principal().actor);
    let key = file.file.key();
    Ok(store.draft(access.id(), &file.branch.name, author, &key).await?)
}

/// Keeps a text as the caller's draft of a file. The text that it is based on is kept with it, if it is known.
pub(crate) async fn keep_draft(
    access: &ProjectAccess,
    file: &OpenFile,
    typed: Typed,
) -> Result<Draft, ApiError> {
    let text = bounded(file, typed.text)?;
    let earlier = draft(access, file)
        .await?
        .filter(|draft| draft.base == typed.base);
    let given = typed.base_text.filter(|text| code::version(text) == typed.base);
    let base_text = given
        .or_else(|| earlier.and_then(|draft| draft.base_text))
        .or_else(|| (file.version() == typed.base).then(|| file.text().to_owned()));
    let draft = Draft {
        file: file.file.key(),
        base: version_text(typed.base)?,
        base_text,
        text,
        changed: clock::now(),
    };
    access.services().rollouts.spare_disk().await?;
    let (store, author) = (&access.services().store, access.principal().actor);
    store
        .keep_draft(access.id(), &file.branch.name, author, &draft)
        .await?;
    Ok(draft)
}

/// Deletes the caller's draft of a file. Returns false if there was none.
pub(crate) async fn drop_draft(access: &ProjectAccess, file: &OpenFile) -> Result<bool, ApiError> {
    let (store, author) = (&access.services().store, access.principal().actor);
    let key = file.file.key();
    Ok(store
        .drop_draft(access.id(), &file.branch.name, author, &key)
        .await?)
}

/// Returns a text that is a version of a file.
pub(crate) fn version_text(text: String) -> Result<String, ApiError> {
    let digits = text.len() == 16
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits {
        Ok(text)
    } else {
        Err(ApiError::invalid(
            "invalid_base",
            "base is not a version of a file",
        ))
    }
}

/// Builds code without keeping anything, and returns what it became, or the problem in it.
pub(crate) async fn check(access: &ProjectAccess, code: BranchCode) -> Result<CheckedCode, ApiError> {
    let bad = |reason: String, code: &BranchCode| {
        let names = code.snippets.iter().map(|snippet| snippet.name.as_str());
        Ok(CheckedCode::Bad(code::problem(&reason, names)))
    };
    if let Some(Err(refused)) = code.manifest.as_deref().map(code::check_manifest) {
        return bad(refused.to_string(), &code);
    }
    let rollouts = &access.services().rollouts;
    match rollouts.try_build(access.id(), code.clone()).await {
        Ok(built) => Ok(CheckedCode::Good(built)),
        Err(FlashError::Code(reason)) => bad(reason, &code),
        Err(error) => Err(error.into()),
    }
}
