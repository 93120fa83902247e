//! `iottly provision`: creates projects, tokens and devices directly in a cloud's database, while the cloud
//! may be running on the same machine.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use iottly_cloud::database_path;
use iottly_core::MessageIds;
use iottly_core::command::seeded_definitions;
use iottly_core::model::{Project, Scopes};
use iottly_protocol::tuf::encode_hex;
use iottly_protocol::{GroupId, ProjectId, Secret};
use iottly_store as store;
use iottly_store::{Database, ProjectStore};
use iottly_web::auth;
use serde_json::json;

use crate::keys::Keys;
use crate::say::say;

mod device;
mod enrolment_file;

use device::Board;
pub(crate) use device::create as device;

/// File of the authority's certificate, beside the configuration.
const CA_FILE: &str = "ca.pem";
/// Line of the configuration that names it.
const CA_LINE: &str = "ca = \"ca.pem\"\n";

#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the cloud's data
    #[arg(long)]
    data: PathBuf,
    /// PostgreSQL database in place of a SQLite file in the folder
    #[arg(
        long,
        value_name = "postgres://…",
        env = "IOTTLY_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Name of the project; created if it does not exist
    #[arg(long)]
    project: String,
    /// Give the token the scope `operator` as well, which sets limits of projects
    #[arg(long)]
    operator: bool,
    /// Name of a new device in the project
    #[arg(long, requires = "out")]
    device: Option<String>,
    /// Address at which the device reaches the broker: mqtts://HOST:PORT (TLS), wss://HOST:PORT (WebSocket), or
    /// HOST:PORT, which is not encrypted. With TLS the device gets a key of its own, and trusts the cloud's own authority, if
    /// it has one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    broker: String,
    /// Address at which the device reaches the cloud, to download its project's releases [default: with TLS, that of the
    /// broker]
    #[arg(long, value_name = "URL", requires = "device")]
    cloud: Option<String>,
    #[command(flatten)]
    enrolment: enrolment_file::Options,
    #[command(flatten)]
    keys: Keys,
    /// Folder for the device's configuration
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let holds_a_device = |out: &&Path| out.join("agent.toml").exists() || out.join("identity").exists();
    if let Some(out) = options.out.as_deref().filter(holds_a_device) {
        bail!("{} already holds a device", out.display());
    }
    if let Some(file) = options.enrolment.wanted().and_then(|wanted| wanted.made()) {
        say(&format!("{} exists; nothing was changed", file.display()));
        return Ok(());
    }
    std::fs::create_dir_all(&options.data)
        .with_context(|| format!("cannot create the folder {}", options.data.display()))?;
    let database = match options.database_url {
        Some(url) => Database::Server(url),
        None => Database::File(database_path(&options.data)),
    };
    let (store, _) = store::open(&database).await?;
    let store = store.as_ref();
    let known = store
        .projects()
        .await?
        .into_iter()
        .find(|project| project.name == options.project);
    let project_id = match known {
        Some(known) => known.id,
        None => project(store, &options.project).await?,
    };
    let scopes = if options.operator {
        Scopes::ALL
    } else {
        Scopes::PROJECT
    };
    let token = auth::create_token_with(store, project_id, "provision", scopes).await?;
    let mut answer = json!({"project_id": project_id, "token": token});
    if let Some(enrolment) = options.enrolment.wanted() {
        let keys = options.keys.places(&options.data)?;
        let file = enrolment.make(store, project_id, &keys).await?;
        answer["enrolment_url"] = json!(file);
    }
    if let (Some(name), Some(out)) = (&options.device, &options.out) {
        let keys = options.keys.places(&options.data)?;
        let board = Board {
            name,
            out,
            broker: &options.broker,
            cloud: options.cloud.as_deref(),
        };
        answer["device_id"] = json!(board.make(store, project_id, &options.data, keys).await?);
        answer["config"] = json!(out.join("agent.toml"));
    }
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{answer}").context("cannot write to standard output")
}

/// Creates a project with its default group and the seeded definitions.
pub(crate) async fn project(store: &dyn ProjectStore, name: &str) -> anyhow::Result<ProjectId> {
    let created = iottly_cloud::clock::now();
    let id = ProjectId::from_bytes(MessageIds::new(random()?).next(created).0);
    store
        .create_project(
            &Project {
                id,
                name: name.to_owned(),
                created,
                retention_days: None,
            },
            GroupId::random(),
            &seeded_definitions(),
        )
        .await?;
    Ok(id)
}

/// Returns 256 random bits in hex.
pub(crate) fn random_secret() -> anyhow::Result<Secret> {
    let bytes: [u8; 32] = random()?;
    Ok(Secret::new(encode_hex(&bytes)))
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    iottly_cloud::random::bytes().context("cannot get random bytes from the system")
}
