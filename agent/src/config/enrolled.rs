//! Completion of a configuration with the identity of an enrolled board.

use std::path::Path;

use toml::{Table, Value};

use crate::identity::Identity;

/// File of the authority that the cloud's certificate must come from, in the data folder.
pub(crate) const CA_FILE: &str = "ca.pem";
/// File of the root of releases that is trusted first, in the data folder.
pub(crate) const ROOT_FILE: &str = "root.json";

/// Returns the table with device, secret, addresses and source of releases of the identity. Other keys stay, and so does
/// a source of releases that the table has. The identity's files are in the data folder, wherever the configuration is.
pub(super) fn completed(mut table: Table, identity: &Identity, data: &Path) -> Table {
    let host = if identity.host.contains(':') {
        format!("[{}]", identity.host)
    } else {
        identity.host.clone()
    };
    let authority = format!("{host}:{}", identity.port);
    let file = |name| Value::from(data.join(name).display().to_string());
    let ca = identity.own_authority.then(|| file(CA_FILE));
    let mut updates = Table::new();
    updates.insert(
        "repository".into(),
        format!("https://{authority}/repo/{}", identity.project_id).into(),
    );
    updates.insert("root".into(), file(ROOT_FILE));
    updates.insert("project".into(), identity.project_id.to_string().into());
    updates.insert("group".into(), identity.group_id.to_string().into());
    if let Some(ca) = &ca {
        updates.insert("ca".into(), ca.clone());
        table.insert("ca".into(), ca.clone());
    }
    table.insert("device_id".into(), identity.device_id.to_string().into());
    table.insert("secret".into(), identity.login.secret.expose().into());
    table.insert("broker".into(), format!("mqtts://{authority}").into());
    table.entry("updates").or_insert_with(|| updates.into());
    table
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};

    use super::super::AgentConfig;
    use crate::identity::{Identity, IdentityStore, Keys, Login};

    fn identity() -> Identity {
        Identity {
            device_id: DeviceId::from_bytes([1; 16]),
            project_id: ProjectId::from_bytes([2; 12]),
            group_id: GroupId::from_bytes([3; 16]),
            host: "2001:db8::1".into(),
            port: 8443,
            own_authority: true,
            keys: Keys::new([4; 32], [5; 32]),
            login: Login {
                secret: Secret::new("hunter2"),
                given: 1,
                valid_ms: 2,
            },
        }
    }

    #[test]
    fn an_enrolled_board_needs_no_file_and_may_have_one() {
        let dir = tempfile::tempdir().expect("dir");
        let (data, path) = (dir.path(), dir.path().join("agent.toml"));
        let error = AgentConfig::of_board(&path, data)
            .expect_err("not enrolled")
            .to_string();
        assert!(error.contains("iottly-agent enroll"), "{error}");
        let (mut store, _) = IdentityStore::open(data).expect("opened");
        store.write(&identity()).expect("written");

        let config = AgentConfig::of_board(&path, data).expect("enrolled");
        assert!(config.enrolled);
        assert_eq!(config.device_id, identity().device_id);
        assert_eq!(
            (config.broker.host.as_str(), config.broker.port),
            ("2001:db8::1", 8443)
        );
        assert_eq!(config.ca.as_deref(), Some(data.join("ca.pem").as_path()));
        let updates = config.updates.expect("releases");
        assert!(
            updates
                .repository
                .starts_with("https://[2001:db8::1]:8443/repo/0202")
        );
        assert_eq!(config.data_dir, data.join(""));

        std::fs::write(&path, "board = \"virtual\"\ndeveloper = false\n").expect("file");
        let config = AgentConfig::of_board(&path, data).expect("with settings");
        assert!(config.enrolled && config.board.is_some() && !config.developer);

        std::fs::write(&path, "boart = 1\n").expect("file");
        let error = AgentConfig::of_board(&path, data)
            .expect_err("a typing error")
            .to_string();
        assert!(
            error.contains("unknown key") && !error.contains("hunter2"),
            "{error}"
        );

        let own = "device_id = \"a2792ce8-216f-477c-a5cc-4f7e9f407e29\"\nsecret = \"s\"\nbroker = \"h:1\"\n";
        std::fs::write(&path, own).expect("file");
        let config = AgentConfig::of_board(&path, data).expect("of release 0.1");
        assert!(!config.enrolled && config.device_id != identity().device_id);
    }

    #[test]
    fn the_identitys_files_are_in_the_data_folder_wherever_the_configuration_is() {
        let dir = tempfile::tempdir().expect("dir");
        let (etc, data) = (dir.path().join("etc"), dir.path().join("data"));
        std::fs::create_dir(&etc).expect("a folder");
        let (mut store, _) = IdentityStore::open(&data).expect("opened");
        store.write(&identity()).expect("written");
        let path = etc.join("agent.toml");
        std::fs::write(&path, "firmware = \"first.wasm\"\n").expect("a file");
        let config = AgentConfig::of_board(&path, &data).expect("enrolled");
        let updates = config.updates.expect("releases");
        assert_eq!(config.ca, Some(data.join("ca.pem")));
        assert_eq!(updates.ca, Some(data.join("ca.pem")));
        assert_eq!(updates.root, data.join("root.json"));
        assert_eq!(
            config.firmware,
            Some(etc.join("first.wasm")),
            "a path of the file"
        );
    }
}
