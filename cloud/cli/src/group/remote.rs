use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where the cloud is, and who asks.
#[derive(Args)]
pub(crate) struct Remote {
    /// Address of the cloud
    #[arg(long, env = "IOTTLY_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Token with the scope to read
    #[arg(long, env = "IOTTLY_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: String,
    /// The project
    #[arg(long, env = "IOTTLY_PROJECT", value_name = "ID")]
    pub(super) project: ProjectId,
}

/// A deployment group as the API shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) name: String,
    pub(super) boards: Vec<DeviceId>,
}

/// What a device has said about an update.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Told {
    pub(super) state: String,
    #[serde(default)]
    pub(super) directive: Option<String>,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) detail: Option<String>,
}

/// The cloud's REST API.
pub(super) struct Api {
    agent: ureq::Agent,
    base: String,
    authorization: String,
}

impl Api {
    pub(super) fn new(remote: &Remote) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30)));
        Self {
            agent: config.build().new_agent(),
            base: format!("{}/v1.0/project/{}", remote.url.trim_end_matches('/'), remote.project),
            authorization: format!("Bearer {}", remote.token),
        }
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.get(&url).header("Authorization", &self.authorization).call();
        let mut answer = answer.with_context(|| format!("cannot reach {url}"))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().with_context(|| format!("{url} breaks off"))?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status != 200 {
            bail!("{url} answers {status}: {}", body["error"].as_str().unwrap_or("no reason"));
        }
        Ok(body)
    }

    /// A group by its name or id.
    pub(super) fn group(&self, wanted: &str) -> anyhow::Result<Option<Group>> {
        let groups: Vec<Group> = serde_json::from_value(self.get("/deploymentgroups")?["deployment_groups"].take())?;
        Ok(groups.into_iter().find(|group| group.name == wanted || group.id.to_string() == wanted))
    }

    /// The devices that are connected.
    pub(super) fn online(&self) -> anyhow::Result<BTreeSet<DeviceId>> {
        let body = self.get("/devices/props")?;
        let devices = body["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
        let online = devices.iter().filter(|device| device["operatingstatus"] == "connected");
        Ok(online.filter_map(|device| device["ID"].as_str()?.parse().ok()).collect())
    }

    /// What a device has said about a release, newest first.
    pub(super) fn told(&self, device: DeviceId, sha256: &str) -> anyhow::Result<Vec<Told>> {
        let query = json!({"payload.update.sha256": sha256}).to_string();
        let mut path = format!("/messages/{device}?numMessages=100&queryJson=");
        for byte in query.bytes() {
            write!(path, "%{byte:02X}").expect("a string takes all");
        }
        let body = self.get(&path)?;
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(messages.iter().filter_map(|message| Told::deserialize(&message["payload"]["update"]).ok()).collect())
    }
}
