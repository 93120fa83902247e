//! The way of a board with the configuration of release 0.1 to a key of its own: once the cloud offers it, the board makes its
//! keys and proves its old secret to the cloud, behind TLS. The old secret stays valid until the new one was renewed, so a
//! power cut at any time leaves the board a login.

use std::path::Path;

use iottly_protocol::enroll::{EnrollAnswer, EnrollOffer, EnrollRequest, LegacyRequest};

use crate::config::{AgentConfig, BrokerAddress, ProxyAddress};
use crate::datadir::DataDir;
use crate::enroll::{EnrollError, board_facts, new_keys, post, settle};
use crate::identity::IdentityStore;
use crate::link::{Pin, Route, Trust};
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
    let (answer, found): (EnrollAnswer, _) = post(&route, PATH, &request, pin.as_ref()).await?;
    let EnrollAnswer::Enrolled(enrolled) = answer else {
        return Err(EnrollError::Answer(
            "the cloud gave no place to a device that it knows".into(),
        ));
    };
    if enrolled.device_id != config.device_id {
        return Err(EnrollError::Other(enrolled.device_id, config.device_id));
    }
    let cloud = (config.broker.host.clone(), offer.port);
    settle(&data, &mut store, cloud, keys, (enrolled, found))
}
