//! Identity of a board that is made on the cloud's own machine, for a folder that is copied onto the board: the same files as
//! an enrolment leaves. Knows no network.

use std::path::Path;

use iottly_protocol::enroll::{BoardFacts, EnrollRequest, Enrolled, PairCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{EnrollError, file, new_keys, settle};
use crate::datadir::DataDir;
use crate::identity::{IdentityStore, Keys};
use crate::link::Found;

/// Keys of a board whose identity is made elsewhere.
pub struct MadeIdentity {
    keys: Keys,
}

impl MadeIdentity {
    /// Makes new keys.
    ///
    /// # Errors
    /// [`EnrollError::Random`].
    pub fn new() -> Result<Self, EnrollError> {
        Ok(Self { keys: new_keys()? })
    }

    /// Returns the request that asks for the place of a pair code. It says nothing about the hardware, which is not known yet.
    #[must_use]
    pub fn request(&self, code: PairCode) -> EnrollRequest {
        let board = BoardFacts {
            profile: "generic".to_owned(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            ..BoardFacts::default()
        };
        EnrollRequest::signed(Some(code), &self.keys.signer(), &self.keys.sealing(), board, None)
    }

    /// Stores the place that the cloud at this host and port has given to the board in a data folder, which is created if
    /// needed. `authority` is the file (PEM) of the authority that the cloud's certificate comes from; without it, the certificate
    /// comes from an authority of the public web.
    ///
    /// # Errors
    /// See [`EnrollError`]. A folder that holds a device stays as it is.
    pub fn store(
        self,
        folder: &Path,
        cloud: (String, u16),
        authority: Option<&Path>,
        enrolled: Enrolled,
    ) -> Result<(), EnrollError> {
        let data = DataDir::open(folder)?;
        let (mut store, known) = IdentityStore::open(folder)?;
        if let Some(known) = known {
            return Err(EnrollError::Enrolled(
                folder.display().to_string(),
                known.device_id,
            ));
        }
        let found = match authority {
            None => Found::Public,
            Some(path) => Found::Authority(certificate(path)?.to_vec()),
        };
        settle(&data, &mut store, cloud, self.keys, (enrolled, found))
    }
}

/// Returns the first certificate of a file.
fn certificate(path: &Path) -> Result<CertificateDer<'static>, EnrollError> {
    let text = std::fs::read(path).map_err(|reason| file(path, reason))?;
    CertificateDer::from_pem_slice(&text).map_err(|reason| file(path, std::io::Error::other(reason)))
}

#[cfg(test)]
mod tests {
    use iottly_protocol::enroll::RenewedSecret;
    use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};

    use super::*;
    use crate::config::AgentConfig;

    fn place() -> Enrolled {
        Enrolled {
            device_id: DeviceId::from_bytes([1; 16]),
            project_id: ProjectId::from_bytes([2; 12]),
            group_id: GroupId::from_bytes([3; 16]),
            name: "porch".into(),
            login: RenewedSecret {
                secret: Secret::new("hunter2"),
                valid_ms: 2,
                time: 1,
            },
            root: "{}".into(),
        }
    }

    #[test]
    fn a_made_identity_is_that_of_an_enrolled_board() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = dir.path().join("porch");
        let made = MadeIdentity::new().expect("keys");
        let request = made.request(PairCode::from_bytes([7; 16]));
        assert_eq!(request.board.hardware, None);
        assert!(request.proven().is_ok());
        let cloud = ("cloud.example".to_owned(), 8443);
        made.store(&folder, cloud.clone(), None, place()).expect("stored");
        let config = AgentConfig::of_board(&folder.join("agent.toml"), &folder).expect("a device");
        assert!(config.enrolled && config.ca.is_none());
        assert_eq!(config.device_id, place().device_id);

        let other = MadeIdentity::new().expect("keys");
        let error = other.store(&folder, cloud, None, place()).expect_err("a device");
        assert!(matches!(error, EnrollError::Enrolled(..)), "{error}");
    }
}
