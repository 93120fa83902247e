//! Output of the demo: its steps, then commands to try.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context;
use iottly_web::WebServices;
use serde_json::json;

use super::home::DemoProject;

/// Prints text for people, or one line for programs.
pub(crate) struct Announcer {
    json: bool,
    began: Instant,
}

impl Announcer {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            began: Instant::now(),
        }
    }

    /// Prints that a part is up.
    pub(crate) fn step(&self, what: &str, detail: &str) {
        if !self.json {
            say(&format!(
                "  ✔ {what:<20} {detail}  ({:.1} s)\n",
                self.began.elapsed().as_secs_f32()
            ));
        }
    }

    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            say(&format!("  {text}\n"));
        }
    }

    /// Prints that everything is up.
    pub(crate) async fn ready(
        &self,
        http: SocketAddr,
        mqtt: SocketAddr,
        project: &DemoProject,
        services: &WebServices,
    ) -> anyhow::Result<()> {
        let devices: Vec<_> = project.devices.iter().map(|device| device.id).collect();
        let url = format!("http://{http}");
        let text = if self.json {
            let line = json!({
                "http": url,
                "mqtt": mqtt.to_string(),
                "token": project.token,
                "project_id": project.project_id,
                "group_id": project.group_id,
                "devices": devices,
            });
            format!("{line}\n")
        } else {
            let login = iottly_web::login_link(services, project.token.expose(), &url).await;
            let first = devices.first().context("a demo has at least one device")?;
            people(&url, &login, mqtt, project, &first.to_string())
        };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("cannot write to standard output")
    }
}

fn people(url: &str, login: &str, mqtt: SocketAddr, project: &DemoProject, device: &str) -> String {
    let (token, id) = (project.token.expose(), project.project_id);
    format!(
        r#"
  Dashboard  {login}
  REST API   {url}/v1.0
  MQTT       {mqtt}
  Token      {token}

Paste this into another terminal:

  export IOTTLY_URL={url} IOTTLY_TOKEN={token} IOTTLY_PROJECT={id} IOTTLY_DEVICE={device}

and try:

  curl -s -H "Authorization: Bearer $IOTTLY_TOKEN" "$IOTTLY_URL/v1.0/project/$IOTTLY_PROJECT/messages/$IOTTLY_DEVICE?numMessages=3"
  curl -s -H "Authorization: Bearer $IOTTLY_TOKEN" -d '{{"cmd_type": "echo", "values": {{"echo.content": "hi there!"}}}}' "$IOTTLY_URL/v1.0/project/$IOTTLY_PROJECT/device/$IOTTLY_DEVICE/command"
  curl -s -H "Authorization: Bearer $IOTTLY_TOKEN" --get --data-urlencode 'queryJson={{"ECHO": {{"$exists": true}}}}' "$IOTTLY_URL/v1.0/project/$IOTTLY_PROJECT/messages/$IOTTLY_DEVICE"

or give the devices other firmware (iottly init porch --lang js creates it):

  iottly push porch && iottly group flash demo --watch

Ctrl-C stops everything.
"#
    )
}

/// Prints to standard error. A closed pipe or a full disk does not stop the demo.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
