//! A client of the REST API.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::{program, secrets, wait_for};

/// A client with one token and one project.
#[derive(Clone)]
pub struct Api {
    /// Address of the API, without a path.
    pub url: String,
    /// Token of every request.
    pub token: String,
    /// Id of the project.
    pub project: String,
    agent: ureq::Agent,
}

/// Reads a body of JSON: remembers the secrets in it, and searches an error for secrets.
fn seen(status: u16, path: &str, text: &str) -> Option<Value> {
    let body = serde_json::from_str(text).ok()?;
    if status < 400 {
        secrets::remember_all(&body);
    } else {
        secrets::check(&format!("the error {status} of {path}"), text);
    }
    Some(body)
}

impl Api {
    /// Creates a client that waits 30 s for an answer.
    pub fn new(url: &str, token: &str, project: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        secrets::remember(token);
        Self {
            url: url.to_owned(),
            token: token.to_owned(),
            project: project.to_owned(),
            agent: config.into(),
        }
    }

    /// Returns status and body of a GET below `/v1.0`; none without an answer in JSON.
    pub fn try_get(&self, path: &str) -> Option<(u16, Value)> {
        let request = self
            .agent
            .get(format!("{}/v1.0{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token));
        let mut response = request.call().ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        Some((
            response.status().as_u16(),
            seen(response.status().as_u16(), path, &text)?,
        ))
    }

    /// Returns status and body of a GET below `/v1.0`.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.try_get(path)
            .unwrap_or_else(|| panic!("GET {path} was not answered with json"))
    }

    /// Returns status and body of a POST below `/v1.0`.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.agent.post(format!("{}/v1.0{path}", self.url)), path, body)
    }

    /// Returns status and body of a PUT below `/v1.0`.
    pub fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.agent.put(format!("{}/v1.0{path}", self.url)), path, body)
    }

    /// Runs `iottly` to its end in a folder, with this client's address, token and project; returns exit code,
    /// standard output and standard error.
    pub fn iottly(&self, folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self
            .program()
            .args(args)
            .current_dir(folder)
            .output()
            .unwrap_or_else(|error| panic!("iottly {args:?}: {error}"));
        let text = |bytes| String::from_utf8(bytes).expect("utf-8");
        let (out, errors) = (text(output.stdout), text(output.stderr));
        secrets::remember_all(&serde_json::from_str(&out).unwrap_or_default());
        secrets::check(&format!("what iottly {args:?} says"), &errors);
        (output.status.code(), out, errors)
    }

    /// Returns a command of `iottly` with this client's address, token and project.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(program());
        command
            .env("IOTTLY_URL", &self.url)
            .env("IOTTLY_TOKEN", &self.token)
            .env("IOTTLY_PROJECT", &self.project);
        command
    }

    fn send(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let request = request.header("Authorization", format!("Bearer {}", self.token));
        let request = request.header("Content-Type", "application/json");
        let mut response = request
            .send(body.to_string())
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = response.body_mut().read_to_string().expect("a text body");
        let status = response.status().as_u16();
        let body = seen(status, path, &text).unwrap_or_else(|| panic!("{path} answered {text:?}"));
        (status, body)
    }

    /// Sends a command to a device; returns status and body.
    pub fn command(&self, device: &str, body: &Value) -> (u16, Value) {
        self.post(
            &format!("/project/{}/device/{device}/command", self.project),
            body,
        )
    }

    /// Returns the whole history of a device, newest first.
    pub fn history(&self, device: &str) -> Vec<Value> {
        let (mut all, mut before) = (Vec::new(), String::new());
        loop {
            let (status, page) = self.get(&format!(
                "/project/{}/messages/{device}?numMessages=100{before}",
                self.project
            ));
            assert_eq!(status, 200, "{page}");
            all.extend(page["messages"].as_array().expect("messages").iter().cloned());
            match page["next"].as_str() {
                Some(next) => before = format!("&before={next}"),
                None => return all,
            }
        }
    }

    /// Waits for an entry of a device's history that passes; returns the newest.
    ///
    /// Every entry is seen, however many arrive between two requests: the pages are read back to one that was read before.
    pub fn wait_for_message(&self, device: &str, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
        let mut read = HashSet::new();
        wait_for(what, || {
            let (mut before, mut new) = (String::new(), Vec::new());
            loop {
                let (_, page) = self.try_get(&format!(
                    "/project/{}/messages/{device}?numMessages=100{before}",
                    self.project
                ))?;
                let messages = page["messages"].as_array()?;
                if let Some(found) = messages.iter().find(|message| passes(message)) {
                    return Some(found.clone());
                }
                let ids = messages.iter().map(|message| message["_id"].to_string());
                let known = new.len();
                new.extend(ids.filter(|id| !read.contains(id)));
                match page["next"].as_str() {
                    Some(next) if new.len() > known => before = format!("&before={next}"),
                    // Only now: an answer that fails in between must not hide the pages behind it.
                    _ => {
                        read.extend(new);
                        return None;
                    }
                }
            }
        })
    }
}
