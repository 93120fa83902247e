//! The demo's folder, with the project that it keeps between starts.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use iottly_cloud::Services;
use iottly_core::model::Policy;
use iottly_core::model::{Actor, Change, Principal, Scopes};
use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};
use iottly_web::auth;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::provision;

/// Branch of the demo's group.
const BRANCH: &str = "main";

/// Folder of a demo; a temporary one is removed on drop.
pub(crate) struct Home {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

/// The demo's project as its folder keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DemoProject {
    pub(crate) project_id: ProjectId,
    pub(crate) group_id: GroupId,
    pub(crate) token: Secret,
    pub(crate) devices: Vec<DemoDevice>,
}

/// A virtual device. Its secret is in this folder as it would be on a board's disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DemoDevice {
    pub(crate) id: DeviceId,
    pub(crate) name: String,
    pub(crate) secret: Secret,
}

impl Home {
    /// Opens `data`, or creates a temporary folder.
    pub(crate) fn open(data: Option<&Path>) -> anyhow::Result<Self> {
        match data {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .with_context(|| format!("cannot create the folder {}", path.display()))?;
                Ok(Self {
                    path: path.to_owned(),
                    _temporary: None,
                })
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("iottly-demo-")
                    .tempdir()
                    .context(
                        "cannot create a temporary folder; name a folder with --data, or another one in TMPDIR",
                    )?;
                Ok(Self {
                    path: temporary.path().to_owned(),
                    _temporary: Some(temporary),
                })
            }
        }
    }

    pub(crate) fn cloud(&self) -> PathBuf {
        self.path.join("cloud")
    }

    pub(crate) fn firmware(&self) -> PathBuf {
        self.path.join("firmware")
    }

    /// Returns the folder of the compiled firmware of all devices.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    pub(crate) fn device(&self, id: DeviceId) -> PathBuf {
        self.path.join("devices").join(id.to_string())
    }

    /// Returns the project of the last start or a new one, with `devices` devices.
    pub(crate) async fn project(&self, services: &Services, devices: u16) -> anyhow::Result<DemoProject> {
        let mut project = match self.remembered()? {
            Some(project) => project,
            None => create(services).await?,
        };
        while project.devices.len() < usize::from(devices) {
            let name = format!("device-{}", project.devices.len() + 1);
            let secret = provision::random_secret()?;
            let id = provision::device(
                services.store.as_ref(),
                project.project_id,
                project.group_id,
                &name,
                &secret,
            )
            .await?;
            project.devices.push(DemoDevice { id, name, secret });
        }
        self.remember(&project)?;
        project.devices.truncate(usize::from(devices));
        Ok(project)
    }

    fn file(&self) -> PathBuf {
        self.path.join("demo.json")
    }

    fn remembered(&self) -> anyhow::Result<Option<DemoProject>> {
        let path = self.file();
        match std::fs::read(&path) {
            Ok(text) => {
                let project = serde_json::from_slice(&text)
                    .with_context(|| format!("{} is damaged", path.display()))?;
                Ok(Some(project))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the project beside its file and renames it, so that an interrupted start leaves the old or the
    /// new one.
    fn remember(&self, project: &DemoProject) -> anyhow::Result<()> {
        let (path, part) = (self.file(), self.path.join("demo.json.part"));
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&part)?;
            file.write_all(&serde_json::to_vec_pretty(project)?)?;
            file.sync_all()?;
            std::fs::rename(&part, &path)?;
            std::fs::File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

async fn create(services: &Services) -> anyhow::Result<DemoProject> {
    let project_id = provision::project(services.store.as_ref(), "demo").await?;
    let group_id = GroupId::random();
    services
        .store
        .create_group(project_id, group_id, "demo", Some(BRANCH))
        .await?;
    let by = Principal {
        project: project_id,
        actor: Actor::Cloud,
        name: "demo".to_owned(),
        scopes: Scopes::ALL,
        group: None,
        address: None,
    };
    let policy = Change::SetPolicy(group_id, Box::new(policy()));
    services
        .store
        .change(project_id, &by, policy, iottly_cloud::clock::now())
        .await?;
    let token = auth::create_token_with(services.store.as_ref(), project_id, "demo", Scopes::ALL).await?;
    Ok(DemoProject {
        project_id,
        group_id,
        token: token.into(),
        devices: Vec::new(),
    })
}

/// Returns the demo's policy: one device first, a second of trial, and a halt at the first failure.
fn policy() -> Policy {
    Policy {
        canary: 1,
        failure_percent: 0,
        sample: 1,
        grace_ms: 1000,
        ..Policy::default()
    }
}
