//! `iottly project …`: lists, creates and changes projects, and chooses the one that commands act in.

use clap::{Args, Subcommand};
use iottly_web::answers::{CreatedProject, MinuteDto, OneProject, ProjectDto, ProjectList};
use serde_json::{Map, Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::login::print;
use crate::remote::{Api, Remote};
use crate::saved_logins::{Login, Logins};
use crate::similar;
use crate::table::plain;
use crate::time_text::at;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the projects that you reach
    List {
        #[command(flatten)]
        call: Call,
    },
    /// Chooses the project that commands act in, until you choose another
    Use {
        /// Name or id of the project
        #[arg(value_name = "PROJECT")]
        wanted: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Creates a project and prints its id and its first token, which is not shown again; for owners of an organization and
    /// tokens with the scope `operator`
    Create {
        /// Name of the project: 1 to 128 bytes
        name: String,
        /// Id of the organization that owns it [default: the first of the caller]
        #[arg(long, value_name = "ID")]
        organization: Option<String>,
        #[command(flatten)]
        call: Call,
    },
    /// Gives the project another name
    Rename {
        /// New name: 1 to 128 bytes
        name: String,
        #[command(flatten)]
        call: Call,
    },
    /// Shows how many messages were stored in each of the last minutes; the last one is not over yet
    Minutes {
        /// Number of minutes, at most a day
        #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
        last: u32,
        #[command(flatten)]
        call: Call,
    },
    /// Shows the settings of the project, or changes the given ones
    Settings {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        call: Call,
    },
}

/// Settings of a project to change.
#[derive(Args)]
struct Settings {
    /// Number of days for which messages are kept; 0 for no limit
    #[arg(long, value_name = "N")]
    retention_days: Option<u32>,
    /// Size of the messages that are kept, in bytes: beyond it, the oldest are deleted; 0 for no limit
    #[arg(long, value_name = "N")]
    retention_bytes: Option<u64>,
    /// True to let everyone read the releases, false for the project's devices, tokens and members only
    #[arg(long, value_name = "YES")]
    public_releases: Option<bool>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::List { call } => {
            let place = call.remote().place()?;
            let answer = Api::root(call.remote(), &place)?.get("/projects")?;
            let head = ["ID", "CREATED", "NAME"];
            call.print_table("projects", &answer, &head, |project: &ProjectDto| {
                vec![project.id.to_string(), at(project.created), project.name.clone()]
            })
        }
        Command::Use { wanted, remote } => choose(wanted, remote),
        Command::Create {
            name,
            organization,
            call,
        } => create(name, organization.as_deref(), call),
        Command::Rename { name, call } => {
            let answer = change(call, &json!({ "name": name }))?;
            call.print_as(&answer, |one: &OneProject| {
                format!(
                    "project {} is named {}\n",
                    one.project.id,
                    plain(&one.project.name)
                )
            })
        }
        Command::Minutes { last, call } => {
            let answer = call.api()?.get(&format!("/usage/minutes?minutes={last}"))?;
            call.print_table(
                "minutes",
                &answer,
                &["MINUTE", "MESSAGES"],
                |minute: &MinuteDto| vec![at(minute.start), minute.messages.to_string()],
            )
        }
        Command::Settings { settings, call } => {
            let mut body = Map::new();
            let given = [
                ("retention_days", settings.retention_days.map(Value::from)),
                ("retention_bytes", settings.retention_bytes.map(Value::from)),
                ("public_releases", settings.public_releases.map(Value::from)),
            ];
            for (name, value) in given {
                if let Some(value) = value {
                    body.insert(name.to_owned(), value);
                }
            }
            let answer = match body.is_empty() {
                true => call.api()?.get("")?,
                false => change(call, &body.into())?,
            };
            call.print_as(&answer, shown)
        }
    }
}

fn create(name: &str, organization: Option<&str>, call: &Call) -> Result<(), Failure> {
    let place = call.remote().place()?;
    let mut body = json!({ "name": name });
    if let Some(organization) = organization {
        body["organization"] = json!(organization);
    }
    let answer = Api::root(call.remote(), &place)?.post("/projects", &body)?;
    call.print_as(&answer, |made: &CreatedProject| {
        format!("project {}\ntoken {}\n", made.project.id, made.token.expose())
    })
}

fn change(call: &Call, body: &Value) -> Result<Value, Failure> {
    call.api()?
        .put("", "application/json", body.to_string().as_bytes())
}

fn shown(one: &OneProject) -> String {
    let kept = |limit: Option<u64>, unit: &str| match limit {
        Some(limit) => format!("{limit} {unit}"),
        None => "no limit".to_owned(),
    };
    let project = &one.project;
    format!(
        "project {} {}\nretention-days {}\nretention-bytes {}\npublic-releases {}\n",
        project.id,
        plain(&project.name),
        kept(project.retention_days.map(u64::from), "days"),
        kept(one.retention_bytes, "bytes"),
        one.public_releases
    )
}

fn choose(wanted: &str, remote: &Remote) -> Result<(), Failure> {
    let place = remote.place()?;
    let api = Api::root(remote, &place)?;
    if !place.is_saved {
        return Err(Failure::Invalid(
            "`iottly project use` belongs to `iottly login`; with a token of your own, set IOTTLY_PROJECT"
                .to_owned(),
        ));
    }
    let project = named_project(&api, wanted)?;
    let id = project.id;
    let mut logins = Logins::read()?;
    if let Some(login) = logins.of(&place.url).cloned() {
        let login = Login {
            project: Some(id),
            ..login
        };
        logins.set(&place.url, login);
        logins.write()?;
    }
    print(&format!("project {} {id}\n", plain(&project.name)))
}

/// Returns the project of a name or id.
///
/// # Errors
/// [`Failure::NotFound`] if there is none, [`Failure::Invalid`] if several have the name.
fn named_project(api: &Api, wanted: &str) -> Result<ProjectDto, Failure> {
    let ProjectList { projects, .. } = read(&api.get("/projects")?)?;
    let names: Vec<String> = projects.iter().map(|project| project.name.clone()).collect();
    let mut found: Vec<ProjectDto> = projects
        .into_iter()
        .filter(|project| project.name == wanted || project.id.to_string() == wanted)
        .collect();
    match (found.pop(), &found[..]) {
        (Some(only), []) => Ok(only),
        (None, _) => Err(Failure::NotFound(format!(
            "project {wanted:?} does not exist, or you do not reach it; {}",
            similar::hint(wanted, &names, "iottly project list")
        ))),
        (Some(_), _) => Err(Failure::Invalid(format!(
            "several projects are named {wanted:?}; use an id of `iottly project list`"
        ))),
    }
}
