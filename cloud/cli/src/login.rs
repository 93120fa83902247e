//! `iottly login` and `iottly logout`: signs this machine in by a page of the cloud on which a person approves it.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use iottly_web::answers::{LoginToken, LoginWaits, ProjectList};
use serde_json::{Value, json};

use crate::answer::read;
use crate::exit::Failure;
use crate::remote::{Api, Place, Remote};
use crate::saved_logins::{Login, Logins};
use crate::say::say;
use crate::table::plain;
use crate::time_text::at;

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
    let asked: LoginWaits = read(&asked)?;
    let valid = Duration::from_secs(asked.expires_in.into());
    print(&format!(
        "open {}{}\ncode {}\n",
        place.url,
        asked.verification_path,
        plain(&asked.user_code)
    ))?;
    say(&format!(
        "waiting for your approval on that page; the code is valid for {} minutes",
        valid.as_secs() / 60
    ));
    let interval = Duration::from_secs(asked.interval.into());
    let granted = wait(&cloud, asked.device_code.expose(), interval, valid)?;
    save(&options.remote, place, read(&granted)?)
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
fn save(remote: &Remote, place: Place, granted: LoginToken) -> Result<(), Failure> {
    let (url, token, about) = (place.url.clone(), granted.token, granted.about);
    let mut logins = Logins::read()?;
    let mut login = Login {
        token: token.clone(),
        project: about.project,
    };
    // Before anything else can fail: the token is not shown again.
    logins.set(&url, login.clone());
    logins.write()?;
    let place = Place {
        token: Some(token),
        is_saved: true,
        ..place
    };
    let ProjectList { projects, .. } = read(&Api::root(remote, &place)?.get("/projects")?)?;
    if let [only] = &projects[..] {
        login.project = Some(only.id);
        logins.set(&url, login.clone());
        logins.write()?;
    }
    let (name, until) = (plain(&about.name), at(about.expires));
    let project = projects.iter().find(|project| Some(project.id) == login.project);
    let next = match project {
        Some(project) => format!("project {}", plain(&project.name)),
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
        return Err(Failure::NotFound(not_signed_in(url, &logins)));
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

/// Returns the reason why there is no login to remove, with the clouds that have one.
fn not_signed_in(url: &str, logins: &Logins) -> String {
    let urls: Vec<_> = logins.all().map(|(url, _)| url).collect();
    match &urls[..] {
        [] => {
            format!("you are not signed in at {url}, nor anywhere else; `iottly login --url {url}` signs in")
        }
        urls => format!(
            "you are not signed in at {url}, but at {}; name the cloud with --url",
            urls.join(", ")
        ),
    }
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

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?)
}
