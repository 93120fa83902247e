//! `iottly login`, `iottly logout` and `iottly project`: signs this machine in by a page of the cloud on which a person
//! approves it, and chooses the project.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use iottly_protocol::Secret;
use iottly_web::answers::ProjectDto;
use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::{Api, Place, Remote};
use crate::saved_logins::{Login, Logins};
use crate::say::say;
use crate::time_text::{at, time};

/// Shortest interval between two requests for the token.
const SHORTEST: Duration = Duration::from_secs(1);
/// Shortest interval after a request that did not reach the cloud.
const PAUSE: Duration = Duration::from_secs(3);

#[derive(Args)]
#[command(
    after_help = "The token is stored in iottly/logins.json in your configuration folder, for this cloud only. IOTTLY_TOKEN and \
--token win over it."
)]
pub(crate) struct LoginOptions {
    #[command(flatten)]
    remote: Remote,
    /// Name of this machine on the page and in the list of your machines; USER@HOST without it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Args)]
pub(crate) struct LogoutOptions {
    #[command(flatten)]
    remote: Remote,
}

/// Prints an address and a code, and waits until a person has approved the code there.
pub(crate) fn login(options: &LoginOptions) -> Result<(), Failure> {
    let place = options.remote.place()?;
    let cloud = Api::anonymous(&options.remote, &place.url);
    let name = options.name.clone().unwrap_or_else(machine);
    let asked = cloud
        .ask("/login", &json!({"machine": name}))?
        .map_err(|refusal| Failure::Failed(anyhow!("{}", refusal.reason)))?;
    let text = |key: &str| asked[key].as_str().unwrap_or_default();
    let valid = Duration::from_secs(asked["expires_in"].as_u64().unwrap_or_default());
    print(&format!(
        "open {}{}\ncode {}\n",
        place.url,
        text("verification_path"),
        text("user_code")
    ))?;
    say(&format!(
        "waiting for your approval on that page; the code is valid for {} minutes",
        valid.as_secs() / 60
    ));
    let interval = asked["interval"].as_u64().unwrap_or(5);
    let granted = wait(&cloud, text("device_code"), Duration::from_secs(interval), valid)?;
    let token = Secret::new(granted["token"].as_str().unwrap_or_default());
    save(&options.remote, place, token, &granted)
}

/// Asks until a person has decided, and returns the answer with the token.
fn wait(cloud: &Api, secret: &str, interval: Duration, valid: Duration) -> Result<Value, Failure> {
    let mut pause = interval.max(SHORTEST);
    let mut left = valid;
    loop {
        std::thread::sleep(pause);
        left = left.saturating_sub(pause);
        let refusal = match cloud.ask("/login/token", &json!({"device_code": secret})) {
            Ok(Ok(granted)) => return Ok(granted),
            Ok(Err(refusal)) => refusal,
            Err(failure) if left.is_zero() => return Err(failure),
            Err(failure) => {
                say(&format!("{failure}; asking again"));
                pause = pause.max(PAUSE);
                continue;
            }
        };
        match refusal.code.as_str() {
            "authorization_pending" | "slow_down" => {
                pause = refusal.retry_s.map_or(pause, Duration::from_secs).max(SHORTEST);
            }
            "access_denied" => {
                return Err(Failure::NotAuthorised(
                    "the login was rejected on the page".to_owned(),
                ));
            }
            "expired_token" => {
                return Err(Failure::Failed(anyhow!(
                    "the code has expired; type `iottly login` for a new one"
                )));
            }
            _ => return Err(Failure::Failed(anyhow!("{}", refusal.reason))),
        }
    }
}

/// Stores the login, with the project if there is only one, and says what it is.
fn save(remote: &Remote, place: Place, token: Secret, granted: &Value) -> Result<(), Failure> {
    let url = place.url.clone();
    let mut logins = Logins::read()?;
    let mut login = Login {
        token: token.clone(),
        project: granted["project"].as_str().and_then(|id| id.parse().ok()),
    };
    // Before anything else can fail: the token is not shown again.
    logins.set(&url, login.clone());
    logins.write()?;
    let place = Place {
        token: Some(token),
        is_saved: true,
        ..place
    };
    let projects = Api::root(remote, &place)?.get("/projects")?;
    let projects: Vec<&Value> = projects["projects"].as_array().into_iter().flatten().collect();
    if let [only] = projects[..] {
        login.project = only["id"].as_str().and_then(|id| id.parse().ok());
        logins.set(&url, login.clone());
        logins.write()?;
    }
    let name = granted["name"].as_str().unwrap_or_default();
    let until = time(&granted["expires"]);
    let chosen = login.project.map(|id| id.to_string());
    let project = projects
        .iter()
        .find(|project| project["id"].as_str() == chosen.as_deref());
    let next = match project {
        Some(project) => format!("project {}", project["name"].as_str().unwrap_or_default()),
        None => "choose a project: `iottly project list`, `iottly project use NAME`".to_owned(),
    };
    if remote.is_token_given() {
        say("IOTTLY_TOKEN or --token is set and wins over this login until you unset it");
    }
    print(&format!("signed in as {name} at {url} until {until}\n{next}\n"))
}

/// Removes the login of a cloud from this machine, and revokes its token.
pub(crate) fn logout(options: &LogoutOptions) -> Result<(), Failure> {
    let place = options.remote.place()?;
    let url = &place.url;
    let mut logins = Logins::read()?;
    let Some(login) = logins.of(url).cloned() else {
        return Err(Failure::NotFound(format!("you are not signed in at {url}")));
    };
    logins.remove(url);
    logins.write()?;
    let stored = Place {
        url: url.clone(),
        token: Some(login.token),
        is_saved: false,
        project: None,
    };
    match Api::root(&options.remote, &stored)?.delete("/login") {
        // A token that is over already needs no revocation.
        Ok(_) | Err(Failure::NotAuthorised(_)) => print(&format!("signed out at {url}\n")),
        Err(failure) => {
            say(&format!(
                "{failure}; the token is removed from this machine and stays valid at the cloud: revoke it at {url}/account"
            ));
            print(&format!("signed out at {url}\n"))
        }
    }
}

#[derive(Args)]
pub(crate) struct ProjectOptions {
    #[command(subcommand)]
    command: ProjectCommand,
}

#[derive(Subcommand)]
enum ProjectCommand {
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
}

pub(crate) fn project(options: &ProjectOptions) -> Result<(), Failure> {
    match &options.command {
        ProjectCommand::List { call } => {
            let place = call.remote().place()?;
            let answer = Api::root(call.remote(), &place)?.get("/projects")?;
            let head = ["ID", "CREATED", "NAME"];
            call.print_table("projects", &answer, &head, |project: &ProjectDto| {
                vec![project.id.to_string(), at(project.created), project.name.clone()]
            })
        }
        ProjectCommand::Use { wanted, remote } => choose(wanted, remote),
    }
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
    let answer = api.get("/projects")?;
    let all = answer["projects"].as_array().into_iter().flatten();
    let found: Vec<&Value> = all
        .filter(|project| project["name"] == wanted || project["id"] == wanted)
        .collect();
    let project = match found[..] {
        [only] => only,
        [] => {
            return Err(Failure::NotFound(format!(
                "project {wanted:?} does not exist, or you do not reach it; `iottly project list` shows yours"
            )));
        }
        _ => {
            return Err(Failure::Invalid(format!(
                "several projects are named {wanted:?}; use an id of `iottly project list`"
            )));
        }
    };
    let id = project["id"].as_str().unwrap_or_default();
    let id = id.parse().context("the cloud's id of the project is none")?;
    let mut logins = Logins::read()?;
    if let Some(login) = logins.of(&place.url).cloned() {
        let login = Login {
            project: Some(id),
            ..login
        };
        logins.set(&place.url, login);
        logins.write()?;
    }
    print(&format!(
        "project {} {id}\n",
        project["name"].as_str().unwrap_or_default()
    ))
}

/// Returns the name under which this machine asks.
fn machine() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim())
        .filter(|host| !host.is_empty())
        .unwrap_or("this machine");
    let name = match std::env::var("USER") {
        Ok(user) if !user.is_empty() => format!("{user}@{host}"),
        Ok(_) | Err(_) => host.to_owned(),
    };
    name.chars()
        .filter(|letter| !letter.is_control())
        .take(64)
        .collect()
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?)
}
