//! `iottly provision`: creates projects, tokens and devices directly in a cloud's database, while the cloud
//! may be running on the same machine.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use iottly_cloud::releases::ReleaseRepositories;
use iottly_cloud::{KeyPlaces, database_path};
use iottly_core::MessageIds;
use iottly_core::command::seeded_definitions;
use iottly_core::model::{ORPHANED, Project, Scope, Scopes};
use iottly_protocol::proxy::scheme_and_host;
use iottly_protocol::tuf::encode_hex;
use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};
use iottly_store as store;
use iottly_store::{Database, NewDevice, ProjectStore, Store};
use iottly_web::auth;
use serde_json::json;

use crate::keys::Keys;
use crate::say::say;

mod enrolment_file;

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
    /// HOST:PORT, which is not encrypted. With TLS the device trusts the cloud's own authority, if it has one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    broker: String,
    /// Address at which the device reaches the cloud, to download its project's releases
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
    if let Some(out) = options
        .out
        .as_deref()
        .filter(|out| out.join("agent.toml").exists())
    {
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
        let secret = random_secret()?;
        let group = orphaned(store, project_id).await?;
        let id = device(store, project_id, group, name, &secret).await?;
        let keys = options.keys.places(&options.data)?;
        let ca = own_authority(&keys, &options.broker);
        write_config(out, id, &secret, &options.broker, ca.is_some())?;
        if let Some(ca) = &ca {
            std::fs::copy(ca, out.join(CA_FILE)).with_context(|| format!("cannot copy {}", ca.display()))?;
        }
        if let Some(cloud) = &options.cloud {
            let repositories = ReleaseRepositories::with_keys(&options.data, keys);
            let addresses = (cloud.as_str(), options.broker.as_str());
            add_updates(out, &repositories, project_id, addresses, ca.is_some())
                .context("cannot configure the source of the device's releases")?;
        }
        answer["device_id"] = json!(id);
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

/// Creates a device that logs in with `secret`.
pub(crate) async fn device(
    store: &dyn Store,
    project: ProjectId,
    group: GroupId,
    name: &str,
    secret: &Secret,
) -> anyhow::Result<DeviceId> {
    let scope = Scope {
        project,
        device: DeviceId::random(),
    };
    let secret = auth::hash_secret(secret.expose().as_bytes());
    store
        .create_device(&NewDevice {
            scope,
            name: name.to_owned(),
            group,
            secret,
        })
        .await?;
    Ok(scope.device)
}

/// Returns 256 random bits in hex.
pub(crate) fn random_secret() -> anyhow::Result<Secret> {
    let bytes: [u8; 32] = random()?;
    Ok(Secret::new(encode_hex(&bytes)))
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    iottly_cloud::random::bytes().context("cannot get random bytes from the system")
}

async fn orphaned(store: &dyn ProjectStore, project: ProjectId) -> anyhow::Result<GroupId> {
    let groups = store.groups(project).await?;
    groups
        .into_iter()
        .find(|group| group.name == ORPHANED)
        .map(|group| group.id)
        .context("the project has no default group")
}

/// Returns the file of the authority that the cloud made itself, if the broker's address needs one.
fn own_authority(keys: &KeyPlaces, broker: &str) -> Option<PathBuf> {
    let encrypted = broker.starts_with("mqtts://") || broker.starts_with("wss://");
    let file = keys.tls().join(CA_FILE);
    (encrypted && file.exists()).then_some(file)
}

/// Writes the configuration that `iottly-agent run --data OUT` reads; never replaces an existing one.
fn write_config(out: &Path, id: DeviceId, secret: &Secret, broker: &str, ca: bool) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(out)
        .with_context(|| format!("cannot create the folder {}", out.display()))?;
    let path = out.join("agent.toml");
    let broker = toml::Value::from(broker);
    let ca = if ca { CA_LINE } else { "" };
    let secret = secret.expose();
    let text = format!(
        "device_id = \"{id}\"\nsecret = \"{secret}\"\nbroker = {broker}\n{ca}firmware = \"firmware.wasm\"\n"
    );
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Adds the repository to the configuration, and writes the first trusted root beside it.
fn add_updates(
    out: &Path,
    repositories: &ReleaseRepositories,
    project: ProjectId,
    (cloud, broker): (&str, &str),
    ca: bool,
) -> anyhow::Result<()> {
    let (now, _) = crate::release::now()?;
    repositories.ensure(project, now)?;
    std::fs::copy(repositories.first_root(project), out.join("root.json"))?;
    let repository = toml::Value::from(format!("{}/repo/{project}", cloud.trim_end_matches('/')));
    let ca = if ca { CA_LINE } else { "" };
    // The device gives its secret to the broker's host only, unless its configuration says that the other is the cloud too.
    let host = |url| scheme_and_host(url).map(|(_, host)| host.to_ascii_lowercase());
    let broker = if broker.contains("://") {
        broker.to_owned()
    } else {
        format!("mqtt://{broker}")
    };
    let login = if host(cloud) == host(&broker) {
        ""
    } else {
        "login = true\n"
    };
    let text = format!(
        "\n[updates]\nrepository = {repository}\nroot = \"root.json\"\nproject = \"{project}\"\n{ca}{login}"
    );
    let mut file = OpenOptions::new().append(true).open(out.join("agent.toml"))?;
    Ok(file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?)
}
