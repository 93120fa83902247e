use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use iottly_protocol::ProjectId;
use serde_json::Value;

use crate::exit::Failure;

/// Longer than any answer of the cloud takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// Where the cloud is, who asks, and how answers are printed.
#[derive(Args)]
pub(super) struct Remote {
    /// Address of the cloud
    #[arg(long, env = "IOTTLY_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Token with the scopes to read and write
    #[arg(long, env = "IOTTLY_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: String,
    /// The project
    #[arg(long, env = "IOTTLY_PROJECT", value_name = "ID")]
    project: ProjectId,
    /// How answers are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

/// A request.
pub(super) enum Method<'a> {
    Get,
    Post(&'a Value),
    Delete,
}

impl Remote {
    /// Asks the project's API; a refusal ends with the exit code that stands for it.
    pub(super) fn ask(&self, method: &Method<'_>, path: &str) -> Result<Value, Failure> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = config.build().new_agent();
        let url = format!("{}/v1.0/project/{}{path}", self.url.trim_end_matches('/'), self.project);
        let authorization = format!("Bearer {}", self.token);
        let answer = match method {
            Method::Get => agent.get(&url).header("Authorization", &authorization).call(),
            Method::Delete => agent.delete(&url).header("Authorization", &authorization).call(),
            Method::Post(body) => {
                let request = agent.post(&url).header("Authorization", &authorization).header("Content-Type", "application/json");
                request.send(body.to_string())
            }
        };
        let mut answer = answer.with_context(|| format!("cannot reach {url}"))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().with_context(|| format!("{url} breaks off"))?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let reason = || body["error"].as_str().unwrap_or("no reason given").to_owned();
        match status {
            200 => Ok(body),
            400 => Err(Failure::Invalid(reason())),
            401 | 403 => Err(Failure::NotAuthorised(reason())),
            404 => Err(Failure::NotFound(reason())),
            other => Err(Failure::Failed(anyhow::anyhow!("{url} answers {other}: {}", reason()))),
        }
    }
}
