//! File of the logins on this machine: for each cloud its token and the chosen project. Only its owner can read it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;

use anyhow::Context as _;
use iottly_protocol::{ProjectId, Secret};
use serde_json::{Map, Value, json};

use crate::exit::Failure;

/// Maximum size of the file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Logins on this machine.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    /// Address of the cloud that commands use without an option.
    current: Option<String>,
    logins: BTreeMap<String, Login>,
}

/// Login at a cloud.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// Token that the cloud has given.
    pub(crate) token: Secret,
    /// Project that commands use without an option.
    pub(crate) project: Option<ProjectId>,
}

/// Returns the path of the file: `iottly/logins.json` in the user's configuration folder.
fn path() -> Result<PathBuf, Failure> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = named("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| named("HOME").map(|home| PathBuf::from(home).join(".config")));
    let folder = folder.ok_or_else(|| {
        Failure::Invalid(
            "there is no configuration folder for logins: neither XDG_CONFIG_HOME nor HOME is set; set IOTTLY_TOKEN"
                .to_owned(),
        )
    })?;
    Ok(folder.join("iottly").join("logins.json"))
}

impl Logins {
    /// Reads the file; one that does not exist has no login.
    ///
    /// # Errors
    /// If the file cannot be read, or other users can read it.
    pub(crate) fn read() -> Result<Self, Failure> {
        let Ok(path) = path() else {
            return Ok(Self::default());
        };
        let shown = path.display();
        let facts = match std::fs::metadata(&path) {
            Ok(facts) => facts,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(anyhow::Error::new(error)
                    .context(format!("cannot read {shown}"))
                    .into());
            }
        };
        if facts.permissions().mode() & 0o077 != 0 {
            return Err(Failure::Invalid(format!(
                "other users may read {shown}, which holds tokens; type `chmod 600 {shown}`"
            )));
        }
        if facts.len() > MAX_BYTES {
            return Err(Failure::Invalid(format!(
                "{shown} is larger than a file of logins"
            )));
        }
        let text = std::fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
        let value: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{shown} is damaged; remove it and sign in again"))?;
        Ok(Self::from_json(&value))
    }

    fn from_json(value: &Value) -> Self {
        let logins = value["logins"].as_object().into_iter().flatten();
        let logins = logins.filter_map(|(url, login)| {
            let login = Login {
                token: Secret::new(login["token"].as_str()?),
                project: login["project"].as_str().and_then(|id| id.parse().ok()),
            };
            Some((url.clone(), login))
        });
        Self {
            logins: logins.collect(),
            current: value["current"].as_str().map(str::to_owned),
        }
    }

    /// Returns the clouds with a login, with the project that is chosen there.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Option<ProjectId>)> {
        self.logins
            .iter()
            .map(|(url, login)| (url.as_str(), login.project))
    }

    fn to_json(&self) -> Value {
        let logins: Map<String, Value> = self
            .logins
            .iter()
            .map(|(url, login)| {
                let project = login.project.map(|project| project.to_string());
                (
                    url.clone(),
                    json!({"token": login.token.expose(), "project": project}),
                )
            })
            .collect();
        json!({"current": self.current, "logins": logins})
    }

    /// Replaces the file; other users get no rights to it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let path = path()?;
        let folder = path.parent().unwrap_or(&path);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let failed = || format!("cannot write {}", path.display());
        // Temporary files are for their owner only.
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
        file.write_all(format!("{:#}\n", self.to_json()).as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .with_context(failed)?;
        file.persist(&path).with_context(failed)?;
        Ok(())
    }

    /// Returns the address of the cloud that commands use without an option.
    pub(crate) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// Returns the login at a cloud.
    pub(crate) fn of(&self, url: &str) -> Option<&Login> {
        self.logins.get(url)
    }

    /// Sets the login at a cloud, which commands then use without an option.
    pub(crate) fn set(&mut self, url: &str, login: Login) {
        self.logins.insert(url.to_owned(), login);
        self.current = Some(url.to_owned());
    }

    /// Sets the cloud that commands use without an option; false if there is no login at it.
    pub(crate) fn choose(&mut self, url: &str) -> bool {
        let is_known = self.logins.contains_key(url);
        if is_known {
            self.current = Some(url.to_owned());
        }
        is_known
    }

    /// Removes the login at a cloud.
    pub(crate) fn remove(&mut self, url: &str) {
        self.logins.remove(url);
        if self.current.as_deref() == Some(url) {
            self.current = self.logins.keys().next().cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_its_cloud_only() {
        let (token, project) = (Secret::new("iotm_x"), "58f73b41c3cc4800078010c5".parse().ok());
        let mut logins = Logins::default();
        logins.set(
            "https://a.example",
            Login {
                token: token.clone(),
                project,
            },
        );
        logins.set("https://b.example", Login { token, project: None });
        let mut read = Logins::from_json(&logins.to_json());
        assert_eq!(read.current(), Some("https://b.example"));
        assert_eq!(
            read.of("https://a.example").and_then(|login| login.project),
            project
        );
        assert!(read.of("https://c.example").is_none());
        read.remove("https://b.example");
        assert!(read.of("https://b.example").is_none());
        assert_eq!(read.current(), Some("https://a.example"));
        assert!(Logins::from_json(&json!({"logins": {"x": {}}})).of("x").is_none());
    }
}
