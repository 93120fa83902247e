//! `iottly code …`: reads, writes, checks and saves the files of a branch over the REST API.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use iottly_web::answers::{
    CheckAnswer, DraftSummary, OneBranch, OneLease, ReleaseDto, RevisionDto, SavedVersion,
};
use serde_json::{Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::remote::{Api, escaped};
use crate::similar;
use crate::table::Table;
use crate::terminal::Screen;

/// Name of the manifest among the files of a branch.
const MANIFEST: &str = "firmware.toml";

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

/// Branch of a command.
#[derive(Args)]
struct OfBranch {
    /// Branch
    #[arg(long, default_value = "main")]
    branch: String,
    #[command(flatten)]
    call: Call,
}

/// File of a branch.
#[derive(Args)]
struct OfFile {
    /// Name of a section, of a file that was added, or of a command's handler, or firmware.toml
    file: String,
    #[command(flatten)]
    of: OfBranch,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the files of a branch, with the versions by which an edit names what it is based on
    Files(OfBranch),
    /// Prints a file of the working copy
    Get(OfFile),
    /// Saves a file to the working copy
    Put {
        #[command(flatten)]
        file: OfFile,
        /// File with the text; - for standard input
        path: PathBuf,
        /// Version that the text is based on: the edit is refused if someone else has saved meanwhile
        #[arg(long, value_name = "VERSION")]
        base: Option<String>,
    },
    /// Adds a file to the working copy; all files and sections share one scope
    Add {
        #[command(flatten)]
        file: OfFile,
        /// File with the text; - for standard input, empty without
        path: Option<PathBuf>,
    },
    /// Renames a file that was added
    Rename {
        #[command(flatten)]
        file: OfFile,
        /// New name, with .js at the end
        name: String,
    },
    /// Deletes firmware.toml, a file that was added, or a handler whose command is not defined any more, from the
    /// working copy
    Rm(OfFile),
    /// Builds the working copy, and shows the line of a problem
    Check(OfBranch),
    /// Saves the working copy as the next revision
    Save {
        /// Description of this revision
        #[arg(long, short, default_value = "")]
        message: String,
        #[command(flatten)]
        of: OfBranch,
    },
    /// Replaces the working copy by a revision
    Restore {
        /// Number of the revision
        revision: u64,
        #[command(flatten)]
        of: OfBranch,
    },
    /// Creates a branch from the working copy of another
    Branch {
        /// Name of the new branch
        name: String,
        #[command(flatten)]
        of: OfBranch,
    },
    /// Lists the revisions of a branch
    Revisions(OfBranch),
    /// Lists the signed releases of the project
    Releases {
        #[command(flatten)]
        call: Call,
    },
    /// Shows the public keys that the project's devices trust
    Keys {
        #[command(flatten)]
        call: Call,
    },
    /// Lists texts that you have typed in the browser and not saved
    Drafts(OfBranch),
    /// Deletes such a text
    Drop(OfFile),
    /// Runs the working copy on the devices of a developer lease
    Run {
        /// Id of the lease
        lease: String,
        #[command(flatten)]
        of: OfBranch,
    },
}

impl OfBranch {
    /// Returns the path of the branch, below the project.
    fn path(&self) -> String {
        format!("/branches/{}", escaped(&self.branch))
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Files(of) => {
            let answer = of.call.api()?.get(&of.path())?;
            match of.call.is_table() {
                true => of.call.print_as(&answer, files),
                false => of.call.print_list("snippets", &answer, |_| String::new()),
            }
        }
        Command::Get(file) => {
            let answer = file.of.call.api()?.get(&file.of.path())?;
            let branch: OneBranch = read(&answer)?;
            let text = text_of(&branch, &file.file)?;
            file.of
                .call
                .print(&json!({"file": file.file, "text": text}), |_| text.to_owned())
        }
        Command::Put { file, path, base } => put(file, path, base.as_deref()),
        Command::Add { file, path } => add(file, path.as_deref()),
        Command::Rename { file, name } => rename(file, name),
        Command::Rm(file) => remove(file),
        Command::Check(of) => {
            let answer = of.call.api()?.post(&format!("{}/check", of.path()), &json!({}))?;
            let check: CheckAnswer = read(&answer)?;
            of.call.print(&answer, |_| checked(&check))?;
            match check.problems[..] {
                [] => Ok(()),
                _ => Err(Failure::Invalid("the code has a problem".to_owned())),
            }
        }
        Command::Save { message, of } => {
            let body = json!({"message": message});
            let answer = of.call.api()?.post(&format!("{}/revisions", of.path()), &body)?;
            of.call.print_as(&answer, saved)
        }
        Command::Restore { revision, of } => {
            let body = json!({"revision": revision});
            let answer = of.call.api()?.post(&format!("{}/restore", of.path()), &body)?;
            of.call.print_as(&answer, files)
        }
        Command::Branch { name, of } => {
            let body = json!({"name": name, "from": of.branch});
            let answer = of.call.api()?.post("/branches", &body)?;
            of.call.print_as(&answer, files)
        }
        Command::Revisions(of) => {
            let answer = of.call.api()?.get(&format!("{}/revisions", of.path()))?;
            let head = ["REVISION", "BY", "MESSAGE"];
            of.call
                .print_table("revisions", &answer, &head, |revision: &RevisionDto| {
                    vec![
                        revision.revision.to_string(),
                        revision.author.clone(),
                        revision.message.clone(),
                    ]
                })
        }
        Command::Releases { call } => {
            let answer = call.api()?.get("/releases")?;
            let head = ["RELEASE", "BRANCH", "REVISION", "SHA256", "BY"];
            call.print_table("releases", &answer, &head, |release: &ReleaseDto| {
                vec![
                    release.release.to_string(),
                    release.branch.clone(),
                    release.revision.to_string(),
                    release.sha256.clone(),
                    release.author.clone(),
                ]
            })
        }
        Command::Keys { call } => crate::signing_key::list(call),
        Command::Drafts(of) => {
            let answer = of.call.api()?.get(&format!("{}/drafts", of.path()))?;
            of.call
                .print_table("drafts", &answer, &["FILE", "SIZE", "STATE"], draft)
        }
        Command::Drop(file) => {
            let path = format!("{}/drafts/{}", file.of.path(), escaped(&file.file));
            let answer = file.of.call.api()?.delete(&path)?;
            file.of
                .call
                .print(&answer, |_| format!("deleted the draft of {}\n", file.file))
        }
        Command::Run { lease, of } => {
            let path = format!("/leases/{}/branch", escaped(lease));
            let answer = put_json(&of.call.api()?, &path, &json!({"branch": of.branch}))?;
            of.call.print_as(&answer, |answer: &OneLease| {
                let sha256 = answer.lease.order.as_ref().map_or("", |order| &order.sha256);
                format!(
                    "sent {} to the devices of the lease\n",
                    sha256.get(..16).unwrap_or(sha256)
                )
            })
        }
    }
}

/// Reads the text of a file, or of standard input if the path is `-`.
fn text_in(path: &Path) -> Result<String, Failure> {
    if path != Path::new("-") {
        return Ok(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().read_to_string(&mut text);
    read.context("cannot read standard input")?;
    Ok(text)
}

fn add(file: &OfFile, path: Option<&Path>) -> Result<(), Failure> {
    let text = path.map(text_in).transpose()?.unwrap_or_default();
    let call = &file.of.call;
    let body = json!({"name": file.file, "code": text});
    let answer = call.api()?.post(&format!("{}/files", file.of.path()), &body)?;
    call.print_as(&answer, files)
}

fn rename(file: &OfFile, name: &str) -> Result<(), Failure> {
    let call = &file.of.call;
    let body = json!({"snippets": [{"name": file.file, "rename": name}]});
    let answer = put_json(&call.api()?, &format!("{}/snippets", file.of.path()), &body)?;
    call.print_as(&answer, files)
}

fn put(file: &OfFile, path: &Path, base: Option<&str>) -> Result<(), Failure> {
    let text = text_in(path)?;
    let (end, mut body) = if file.file == MANIFEST {
        ("manifest", json!({"manifest": text}))
    } else {
        ("snippets", json!({"name": file.file, "code": text}))
    };
    if let Some(base) = base {
        body["base"] = base.into();
    }
    let body = if file.file == MANIFEST {
        body
    } else {
        json!({"snippets": [body]})
    };
    let call = &file.of.call;
    let answer = put_json(&call.api()?, &format!("{}/{end}", file.of.path()), &body)?;
    call.print_as(&answer, files)
}

fn remove(file: &OfFile) -> Result<(), Failure> {
    let (call, path) = (&file.of.call, file.of.path());
    let api = call.api()?;
    let path = if file.file == MANIFEST {
        format!("{path}/manifest")
    } else {
        let branch: OneBranch = read(&api.get(&path)?)?;
        let snippets = &branch.code.snippets;
        let named = snippets.iter().find(|snippet| snippet.name == file.file);
        let id = named.ok_or_else(|| no_file(&branch, &file.file))?.snippetid;
        format!("{path}/snippets/{id}")
    };
    let answer = api.delete(&path)?;
    call.print(&answer, |_| format!("deleted {}\n", file.file))
}

fn put_json(api: &Api, path: &str, body: &Value) -> Result<Value, Failure> {
    api.put(path, "application/json", body.to_string().as_bytes())
}

/// Returns the text of a file in the answer about a branch.
fn text_of<'a>(branch: &'a OneBranch, name: &str) -> Result<&'a str, Failure> {
    let snippets = &branch.code.snippets;
    let text = if name == MANIFEST {
        branch.code.manifest.as_deref()
    } else {
        let found = snippets.iter().find(|snippet| snippet.name == name);
        found.map(|snippet| snippet.code.as_str())
    };
    text.ok_or_else(|| no_file(branch, name))
}

/// Returns the failure of a name that no file of the branch has.
fn no_file(branch: &OneBranch, name: &str) -> Failure {
    let snippets = branch.code.snippets.iter();
    let names: Vec<String> = snippets.map(|snippet| snippet.name.clone()).collect();
    Failure::NotFound(format!(
        "the branch has no file {name:?}; {}",
        similar::hint(name, &names, "iottly code files")
    ))
}

fn files(branch: &OneBranch) -> String {
    files_on(branch, Screen::of_stdout())
}

fn files_on(branch: &OneBranch, screen: Screen) -> String {
    let code = &branch.code;
    let mut table = Table::new(&["VERSION", "SIZE", "FILE"]);
    for snippet in &code.snippets {
        let size = format!("{} B", snippet.code.len());
        table.add(vec![snippet.version.clone(), size, snippet.name.clone()]);
    }
    let size = code.manifest.as_ref().map_or(0, String::len);
    table.add(vec![
        code.manifest_version.clone(),
        format!("{size} B"),
        MANIFEST.to_owned(),
    ]);
    let mut out = table.render(screen);
    if branch.unsaved {
        out.push_str("the working copy differs from the newest revision: `iottly code save`\n");
    }
    out
}

fn checked(answer: &CheckAnswer) -> String {
    let mut out = String::new();
    for problem in &answer.problems {
        let numbers = [problem.line, problem.column].into_iter().flatten();
        let place = problem
            .file
            .iter()
            .cloned()
            .chain(numbers.map(|number| number.to_string()));
        let place: String = place.map(|part| part + ":").collect();
        writeln!(out, "{place} {}", problem.message).expect("a string takes all");
    }
    if let Some(size) = answer.size {
        writeln!(out, "builds: {size} bytes").expect("a string takes all");
    }
    out
}

fn saved(answer: &SavedVersion) -> String {
    let SavedVersion {
        revision, created, ..
    } = answer;
    let what = if *created { "saved" } else { "is saved already" };
    format!("revision {} of {} {what}\n", revision.revision, revision.branch)
}

fn draft(draft: &DraftSummary) -> Vec<String> {
    let stale = if draft.stale {
        "the working copy was changed since"
    } else {
        ""
    };
    vec![draft.name.clone(), format!("{} B", draft.bytes), stale.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_place() {
        let check = |fields: Value| {
            let mut answer = json!({"problems": [], "capabilities": [], "status": 200});
            for (name, value) in fields.as_object().expect("an object") {
                answer[name] = value.clone();
            }
            checked(&read(&answer).expect("a check"))
        };
        let problems = json!({"problems": [{"file": "loop", "line": 3, "column": 5, "message": "no"}, {"message": "too large"}]});
        assert_eq!(check(problems), "loop:3:5: no\n too large\n");
        assert_eq!(check(json!({"size": 12})), "builds: 12 bytes\n");
    }

    #[test]
    fn files_are_found_by_their_names() {
        let snippet = json!({"snippetid": "16825a35-0000-4000-8000-000000000001", "category": "loop_section", "kind": "loop",
            "name": "loop", "description": "", "version": "00aa", "code": "x"});
        let branch =
            json!({"name": "main", "created": {"$date": 0}, "changed": {"$date": 0}, "current_revision": 0});
        let answer = json!({"branch": branch, "codesections": [], "snippets": [snippet], "manifest_version": "11bb",
            "digest": "d", "unsaved": true, "status": 200});
        let answer: OneBranch = read(&answer).expect("a branch");
        assert_eq!(text_of(&answer, "loop").expect("is there"), "x");
        assert!(text_of(&answer, MANIFEST).is_err());
        let piped = Screen {
            width: None,
            is_styled: false,
        };
        assert!(
            files_on(&answer, piped)
                .starts_with("00aa  1 B  loop\n11bb  0 B  firmware.toml\nthe working copy")
        );
    }
}
