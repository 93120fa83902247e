//! Signing of developer orders, and the role for them in a project's root.

use iottly_protocol::ProjectId;
use iottly_protocol::release::{DeveloperOrder, developer_role};
use iottly_protocol::tuf::Instant;

use super::keys::DEVELOPER;
use super::renew::developer_keys;
use super::{ReleaseError, ReleaseRepositories, locks};

impl ReleaseRepositories {
    /// Returns true if a project's root names a key for developer orders. Creates the project's keys and repository
    /// unless they exist; new ones do.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn signs_orders(&self, project: ProjectId, now: Instant) -> Result<bool, ReleaseError> {
        self.ensure(project, now)?;
        Ok(developer_role(&self.repository(project).root()?).is_some())
    }

    /// Signs a root that names a key for developer orders. Returns false if the root does already.
    ///
    /// # Errors
    /// If a key is missing or a file cannot be written.
    pub fn allow_orders(&self, project: ProjectId, now: Instant) -> Result<bool, ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        self.prepare(project, now)?;
        let (repository, keys) = (self.repository(project), self.keys(project)?);
        if developer_role(&repository.root()?).is_some() {
            return Ok(false);
        }
        developer_keys(&keys)?;
        repository.rotate(DEVELOPER, &keys, &keys, now)?;
        Ok(true)
    }

    /// Signs a developer order.
    ///
    /// # Errors
    /// If the order breaks a bound, or the key cannot be read.
    pub fn sign_order(&self, project: ProjectId, order: &DeveloperOrder) -> Result<Vec<u8>, ReleaseError> {
        order.check().map_err(ReleaseError::Input)?;
        let keys = self
            .repository(project)
            .signers(DEVELOPER, &self.keys(project)?)?;
        order
            .sign(&keys.iter().collect::<Vec<_>>())
            .map_err(|error| ReleaseError::Input(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use iottly_protocol::DeviceId;
    use iottly_protocol::release::{LeaseId, OrderAction, ROLES_KEY, directive_role};
    use iottly_protocol::tuf::{Root, Schemes};

    use super::*;
    use crate::releases::repository::DAY;

    const NOW: Instant = Instant::from_unix(1_800_000_000);
    const PROJECT: ProjectId = ProjectId::from_bytes([1; 12]);

    fn order() -> DeveloperOrder {
        DeveloperOrder {
            id: "o-1".into(),
            lease: LeaseId::random(),
            project: PROJECT,
            devices: vec![DeviceId::from_bytes([1; 16])],
            action: OrderAction::End,
            sha256: String::new(),
            size: 0,
            approved: Vec::new(),
            not_before: NOW,
            expires: NOW.plus(60),
            counter: 1,
            extra: std::collections::BTreeMap::default(),
        }
    }

    fn root(repositories: &ReleaseRepositories) -> Root {
        repositories.repository(PROJECT).root().expect("a root")
    }

    /// Makes the repository one of before the role existed: its root does not name it, and its key is gone.
    fn forget_role(repositories: &ReleaseRepositories, data: &Path) {
        let mut before = root(repositories);
        before
            .extra
            .get_mut(ROLES_KEY)
            .and_then(|roles| roles.as_object_mut()?.remove(DEVELOPER));
        let keys = repositories.keys(PROJECT).expect("keys");
        let signers = keys.of("root").expect("root key");
        repositories
            .repository(PROJECT)
            .put("root", 1, &before, &signers)
            .expect("written");
        let folder = data.join("releases").join(PROJECT.to_string()).join("keys");
        for entry in std::fs::read_dir(folder).expect("keys").flatten() {
            if entry.file_name().to_string_lossy().starts_with(DEVELOPER) {
                std::fs::remove_file(entry.path()).expect("removed");
            }
        }
    }

    #[test]
    fn new_projects_sign_orders_with_a_key_of_their_own() {
        let dir = tempfile::tempdir().expect("dir");
        let repositories = ReleaseRepositories::new(dir.path(), None);
        assert!(repositories.signs_orders(PROJECT, NOW).expect("made"));
        let document = repositories.sign_order(PROJECT, &order()).expect("signed");
        let root = root(&repositories);
        DeveloperOrder::verify(&document, &root, Schemes::ED25519).expect("valid");
        let key = |role: Option<iottly_protocol::tuf::RoleKeys>| role.expect("named").keyids;
        assert_ne!(key(developer_role(&root)), key(directive_role(&root)));
        assert!(!repositories.allow_orders(PROJECT, NOW).expect("nothing to do"));
        let long = DeveloperOrder {
            expires: NOW.plus(9 * 3600),
            ..order()
        };
        assert!(
            repositories.sign_order(PROJECT, &long).is_err(),
            "nothing over the bounds is signed"
        );
    }

    #[test]
    fn an_older_root_gets_the_role_on_request_and_when_it_is_renewed() {
        for by_renewal in [false, true] {
            let dir = tempfile::tempdir().expect("dir");
            let repositories = ReleaseRepositories::new(dir.path(), None);
            repositories.ensure(PROJECT, NOW).expect("made");
            forget_role(&repositories, dir.path());
            assert!(!repositories.signs_orders(PROJECT, NOW).expect("read"));
            assert!(repositories.sign_order(PROJECT, &order()).is_err());
            let then = if by_renewal {
                let then = NOW.plus(200 * DAY);
                repositories.refresh(then).expect("renewed");
                then
            } else {
                assert!(repositories.allow_orders(PROJECT, NOW).expect("added"));
                NOW
            };
            assert!(repositories.signs_orders(PROJECT, then).expect("read"));
            let document = repositories.sign_order(PROJECT, &order()).expect("signed");
            let root = root(&repositories);
            assert_eq!(root.header.version, 2);
            DeveloperOrder::verify(&document, &root, Schemes::ED25519).expect("valid");
            assert!(directive_role(&root).is_some(), "the other role stays");
        }
    }
}
