//! A device and the folder of its board. Behind TLS the folder holds what an enrolment leaves: keys of the board's own and the
//! cloud's certificate. Otherwise it holds the configuration of release 0.1, with a secret that does not expire.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use iottly_agent::{BrokerAddress, MadeIdentity};
use iottly_cloud::releases::ReleaseRepositories;
use iottly_cloud::{KeyPlaces, clock};
use iottly_core::enrol::SECRET_MS;
use iottly_core::model::{Change, ORPHANED, Principal, Scope, SecretHash};
use iottly_protocol::enroll::{Enrolled, PairCode, RenewedSecret};
use iottly_protocol::proxy::scheme_and_host;
use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};
use iottly_store::{Enrolment, Grant, NewDevice, NewSecret, ProjectStore, Store};
use iottly_web::auth;

use super::{CA_FILE, CA_LINE, random, random_secret};
use crate::say::say;

/// Validity of the pair code that is used at once, in milliseconds.
const PAIR_CODE_MS: i64 = 60_000;
/// Setting of both forms.
const FIRMWARE_LINE: &str = "firmware = \"firmware.wasm\"\n";
/// Origin of the enrolment in the audit log.
const HERE: &str = "the cloud's machine";

/// Device that is wanted, and its board's folder.
pub(super) struct Board<'a> {
    pub(super) name: &'a str,
    pub(super) out: &'a Path,
    /// Address of the broker.
    pub(super) broker: &'a str,
    /// Address of the cloud, if it is given.
    pub(super) cloud: Option<&'a str>,
}

impl Board<'_> {
    /// Creates the device and writes the folder. Returns the device's id.
    pub(super) async fn make(
        &self,
        store: &dyn Store,
        project: ProjectId,
        data: &Path,
        keys: KeyPlaces,
    ) -> anyhow::Result<DeviceId> {
        let broker = BrokerAddress::try_from(self.broker.to_owned());
        let broker = broker.map_err(|error| anyhow::anyhow!("--broker {:?}: {error}", self.broker))?;
        let authority = keys.tls().join(CA_FILE);
        let authority = (broker.is_encrypted() && authority.exists()).then_some(authority);
        let repositories = ReleaseRepositories::with_keys(data, keys);
        if broker.is_encrypted() {
            if self.is_one_port(&broker) {
                return self
                    .with_keys(store, project, &repositories, broker, authority.as_deref())
                    .await;
            }
            say(
                "the broker and the cloud have different addresses: the device gets a secret, and keys at its first contact",
            );
        }
        self.with_secret(store, project, &repositories, authority.as_deref())
            .await
    }

    /// Returns true if the cloud is at the address of the broker, or no address of the cloud is given.
    fn is_one_port(&self, broker: &BrokerAddress) -> bool {
        self.cloud
            .is_none_or(|cloud| https(cloud).is_some_and(|cloud| cloud == (broker.host.clone(), broker.port)))
    }

    /// Pairs the device with keys that are made here.
    async fn with_keys(
        &self,
        store: &dyn Store,
        project: ProjectId,
        repositories: &ReleaseRepositories,
        cloud: BrokerAddress,
        authority: Option<&Path>,
    ) -> anyhow::Result<DeviceId> {
        let (now, device) = (clock::now(), DeviceId::random());
        let root = first_root(repositories, project)?;
        let code = PairCode::from_bytes(random()?);
        let by = Principal::system(project, "provision");
        let change = Change::CreateDevice {
            device,
            name: self.name.to_owned(),
            group: None,
            secret: SecretHash::NONE,
            code: code.to_string().into(),
            expires: now + PAIR_CODE_MS,
        };
        store.change(project, &by, change, now).await?;
        let identity = MadeIdentity::new()?;
        let request = identity.request(code).proven()?;
        let secret = random_secret()?;
        let grant = Grant {
            device,
            secret: NewSecret {
                hash: SecretHash::of(secret.expose().as_bytes()),
                nonce: random()?,
                expires: now + SECRET_MS,
            },
            from: HERE.to_owned(),
        };
        let hash = SecretHash::of(code.to_string().as_bytes());
        match store.enrol(&request, Some(hash), &grant, now).await? {
            Ok(Enrolment::Admitted(..)) => {}
            Ok(Enrolment::Waiting(_)) => {
                bail!("device {device} was not paired with its keys: it has to be approved")
            }
            Err(refusal) => bail!("device {device} was not paired with its keys: {refusal}"),
        }
        let known = store.device(Scope { project, device }).await?;
        let known = known.with_context(|| format!("device {device} was deleted"))?;
        let enrolled = Enrolled {
            device_id: device,
            project_id: project,
            group_id: known.group,
            name: known.name,
            login: RenewedSecret {
                secret,
                valid_ms: SECRET_MS.unsigned_abs(),
                time: now,
            },
            root,
        };
        identity.store(self.out, (cloud.host, cloud.port), authority, enrolled)?;
        write_new(&self.out.join("agent.toml"), FIRMWARE_LINE)?;
        Ok(device)
    }

    /// Gives the device a secret that does not expire.
    async fn with_secret(
        &self,
        store: &dyn Store,
        project: ProjectId,
        repositories: &ReleaseRepositories,
        authority: Option<&Path>,
    ) -> anyhow::Result<DeviceId> {
        let secret = random_secret()?;
        let group = orphaned(store, project).await?;
        let id = create(store, project, group, self.name, &secret).await?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.out)
            .with_context(|| format!("cannot create the folder {}", self.out.display()))?;
        let ca = if authority.is_some() { CA_LINE } else { "" };
        let mut text = format!(
            "device_id = \"{id}\"\nsecret = \"{}\"\nbroker = {}\n{ca}{FIRMWARE_LINE}",
            secret.expose(),
            toml::Value::from(self.broker),
        );
        if let Some(cloud) = self.cloud {
            let root = first_root(repositories, project)?;
            write_new(&self.out.join("root.json"), &root)?;
            text += &updates(cloud, self.broker, project, ca);
        }
        write_new(&self.out.join("agent.toml"), &text)?;
        if let Some(ca) = authority {
            std::fs::copy(ca, self.out.join(CA_FILE))
                .with_context(|| format!("cannot copy {}", ca.display()))?;
        }
        Ok(id)
    }
}

/// Returns host and port of an address that begins with `https://`.
fn https(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("https://")?.trim_end_matches('/');
    let address = BrokerAddress::try_from(rest.to_owned())
        .or_else(|_| BrokerAddress::try_from(format!("{rest}:443")))
        .ok()?;
    Some((address.host, address.port))
}

/// Creates a device that logs in with `secret`.
pub(crate) async fn create(
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

async fn orphaned(store: &dyn ProjectStore, project: ProjectId) -> anyhow::Result<GroupId> {
    let groups = store.groups(project).await?;
    groups
        .into_iter()
        .find(|group| group.name == ORPHANED)
        .map(|group| group.id)
        .context("the project has no default group")
}

/// Returns the root of the project's releases that a device trusts first; makes the repository if there is none.
fn first_root(repositories: &ReleaseRepositories, project: ProjectId) -> anyhow::Result<String> {
    let make = || -> anyhow::Result<String> {
        let (now, _) = crate::release::now()?;
        repositories.ensure(project, now)?;
        Ok(std::fs::read_to_string(repositories.first_root(project))?)
    };
    make().context("cannot configure the source of the device's releases")
}

/// Returns the section of a configuration that names the project's releases.
fn updates(cloud: &str, broker: &str, project: ProjectId, ca: &str) -> String {
    let repository = toml::Value::from(format!("{}/repo/{project}", cloud.trim_end_matches('/')));
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
    format!(
        "\n[updates]\nrepository = {repository}\nroot = \"root.json\"\nproject = \"{project}\"\n{ca}{login}"
    )
}

/// Writes a file that only this user can read; never replaces one.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_on_one_port_has_the_brokers_address() {
        let one_port = |broker: &str, cloud| {
            let board = Board {
                name: "porch",
                out: Path::new("porch"),
                broker,
                cloud,
            };
            board.is_one_port(&BrokerAddress::try_from(broker.to_owned()).expect("an address"))
        };
        assert!(one_port("mqtts://cloud.example", None));
        assert!(one_port(
            "mqtts://cloud.example",
            Some("https://cloud.example:8443/")
        ));
        assert!(one_port("wss://[2001:db8::1]:443", Some("https://[2001:db8::1]")));
        assert!(!one_port("mqtts://cloud.example", Some("https://cloud.example")));
        assert!(!one_port(
            "mqtts://mqtt.example:443",
            Some("https://cloud.example")
        ));
        assert!(!one_port(
            "mqtts://cloud.example:80",
            Some("http://cloud.example:80")
        ));
    }
}
