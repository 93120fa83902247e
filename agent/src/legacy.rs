//! The way of a board with the configuration of release 0.1 to a key of its own: once the cloud offers it, the board makes its
//! keys and proves its old secret to the cloud, behind TLS. The old secret stays valid until the new one was renewed, so a
//! power cut at any time leaves the board a login.

use std::path::Path;

use iottly_protocol::enroll::{EnrollAnswer, EnrollOffer, EnrollRequest, LegacyRequest};

use crate::config::{AgentConfig, BrokerAddress, CA_FILE, ProxyAddress, ROOT_FILE};
use crate::datadir::DataDir;
use crate::enroll::{EnrollError, board_facts, new_keys, pem, put, reason};
use crate::identity::{Identity, IdentityStore, Login};
use crate::link::{Found, Pin, Route, Trust};
use crate::time::BoardClock;

/// Path of the request.
const PATH: &str = "/v1.0/enroll/legacy";

/// Makes keys for a board that has none, and stores its identity in the data folder. No agent may use the folder.
///
/// # Errors
/// See [`EnrollError`]; the board stays as it is.
pub async fn upgrade(config: &AgentConfig, offer: EnrollOffer) -> Result<(), EnrollError> {
    let folder: &Path = &config.data_dir;
    let data = DataDir::open(folder)?;
    let (mut store, _) = IdentityStore::open(folder)?;
    let keys = new_keys()?;
    let request = LegacyRequest {
        device_id: config.device_id,
        secret: config.secret.clone(),
        keys: EnrollRequest::signed(None, &keys.signer(), &keys.sealing(), board_facts(None), None),
    };
    let pin = offer.fingerprint.map(|fingerprint| Pin::new(Some(fingerprint)));
    let trust = pin.as_ref().map_or(Trust::Public, Trust::Pin);
    let broker = BrokerAddress::secure(&config.broker.host, offer.port);
    let proxy = config.proxy.clone().or_else(ProxyAddress::of_environment);
    let clock = BoardClock::open(data.join("clock"));
    let route = Route::new(&broker, trust, proxy.as_ref(), clock)
        .map_err(|error| EnrollError::Cloud(error.to_string()))?;
    let body = serde_json::to_vec(&request).expect("a request has string keys");
    let answer = route.post(PATH, &body).await?;
    if answer.status != 200 {
        return Err(EnrollError::Refused(answer.status, reason(&answer.body)));
    }
    let found = pin.map_or(Some(Found::Public), |pin| pin.found());
    let found = found.ok_or_else(|| EnrollError::Cloud("the cloud's certificate was not checked".into()))?;
    let enrolled = match serde_json::from_slice(&answer.body) {
        Ok(EnrollAnswer::Enrolled(enrolled)) => enrolled,
        Ok(EnrollAnswer::Waiting(_)) => {
            return Err(EnrollError::Answer("the cloud waits for approval".into()));
        }
        Err(error) => return Err(EnrollError::Answer(error.to_string())),
    };
    if enrolled.device_id != config.device_id {
        return Err(EnrollError::Other(enrolled.device_id, config.device_id));
    }
    let own_authority = match &found {
        Found::Authority(der) => {
            put(&data, CA_FILE, pem(der).as_bytes())?;
            true
        }
        Found::Public => false,
    };
    put(&data, ROOT_FILE, enrolled.root.as_bytes())?;
    store.write(&Identity {
        device_id: enrolled.device_id,
        project_id: enrolled.project_id,
        group_id: enrolled.group_id,
        host: config.broker.host.clone(),
        port: offer.port,
        own_authority,
        keys,
        login: Login {
            secret: enrolled.login.secret,
            given: enrolled.login.time,
            valid_ms: enrolled.login.valid_ms,
        },
    })?;
    Ok(())
}
