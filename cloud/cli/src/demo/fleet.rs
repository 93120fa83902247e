//! The virtual devices: real agents in this process, each with its own data folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use iottly_agent::{
    Agent, AgentConfig, AgentHandle, BoardKind, Compiler, FirmwareStatus, QueueConfig, UpdateConfig,
};
use iottly_cloud::Services;
use iottly_protocol::FirmwareState;
use iottly_sandbox::Runtime;
use tokio::task::JoinSet;

use super::home::{DemoProject, Home};
use crate::subprocess;

/// Longest time until all devices are up; then the demo ends and names the others.
const PATIENCE: Duration = Duration::from_secs(120);

/// Interval at which devices poll the repository for directives, in seconds; directives come over MQTT.
const POLL_SECONDS: u64 = 3600;

/// Addresses of the cloud for the devices.
pub(crate) struct Addresses {
    pub(crate) mqtt: SocketAddr,
    /// `http://HOST:PORT`
    pub(crate) http: String,
    /// File of the first root metadata of the project.
    pub(crate) root: PathBuf,
}

/// The running agents.
#[derive(Default)]
pub(crate) struct Fleet {
    agents: Vec<AgentHandle>,
    up: bool,
}

impl Fleet {
    /// Returns whether [`Fleet::wait_until_up`] succeeded.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Starts an agent for every device.
    pub(crate) async fn start(
        &mut self,
        home: &Home,
        project: &DemoProject,
        firmware: &Path,
        cloud: &Addresses,
    ) -> anyhow::Result<()> {
        let compiler = subprocess::compiler()?;
        let runtime = Runtime::new().context("cannot start the sandbox")?;
        for device in &project.devices {
            let config = AgentConfig {
                device_id: device.id,
                secret: device.secret.clone(),
                broker: cloud.mqtt.into(),
                ca: None,
                proxy: None,
                firmware: Some(firmware.to_owned()),
                data_dir: home.device(device.id),
                cache_dir: Some(home.cache()),
                compiler: Compiler {
                    program: compiler.path.clone(),
                    args: compiler.args.clone(),
                    ..Compiler::default()
                },
                board: Some(BoardKind::Virtual),
                grants: None,
                policy: None,
                queue: QueueConfig::default(),
                developer: true,
                updates: Some(UpdateConfig {
                    repository: format!("{}/repo/{}", cloud.http, project.project_id),
                    root: cloud.root.clone(),
                    ca: None,
                    login: false,
                    project: project.project_id,
                    group: Some(project.group_id),
                    board: "virtual".to_owned(),
                    capabilities: Vec::new(),
                    p256: false,
                    poll_seconds: POLL_SECONDS,
                }),
                enrolled: false,
            };
            let agent = Agent::start_with(config, &runtime)
                .await
                .with_context(|| format!("cannot start {}", device.name))?;
            self.agents.push(agent);
        }
        Ok(())
    }

    /// Resolves when every agent runs its firmware and the cloud knows it: online, with a report that says
    /// so.
    pub(crate) async fn wait_until_up(
        &mut self,
        services: &Services,
        project: &DemoProject,
    ) -> anyhow::Result<()> {
        let mut statuses: Vec<_> = self.agents.iter().map(AgentHandle::status).collect();
        let all_running = async {
            for status in &mut statuses {
                status
                    .wait_for(|status| status.firmware == FirmwareStatus::Running)
                    .await
                    .context("an agent stopped")?;
            }
            anyhow::Ok(())
        };
        let seen_by_cloud = async {
            loop {
                let devices = services.store.devices(project.project_id).await?;
                let up = |id| {
                    devices.iter().any(|device| {
                        let running = device
                            .firmware
                            .as_ref()
                            .is_some_and(|firmware| firmware.state == FirmwareState::Running);
                        device.scope.device == id && device.online && running
                    })
                };
                if project.devices.iter().all(|device| up(device.id)) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let both = async {
            all_running.await?;
            seen_by_cloud.await
        };
        match tokio::time::timeout(PATIENCE, both).await {
            Ok(result) => result?,
            Err(_) => bail!(
                "the devices were not up within {} s: {:?}",
                PATIENCE.as_secs(),
                self.states()
            ),
        }
        self.up = true;
        Ok(())
    }

    fn states(&self) -> Vec<String> {
        self.agents
            .iter()
            .map(|agent| format!("{:?}", *agent.status().borrow()))
            .collect()
    }

    /// Stops all agents at the same time.
    pub(crate) async fn shutdown(&mut self) {
        let mut stopping: JoinSet<()> = self.agents.drain(..).map(AgentHandle::shutdown).collect();
        while stopping.join_next().await.is_some() {}
    }
}
