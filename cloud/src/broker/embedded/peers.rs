//! Addresses of connected devices and of their copies, by client id.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use iottly_protocol::{BootId, DeviceId};

/// Client id of a connection: the device, or one of several boards that share its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientId {
    pub(super) device: DeviceId,
    /// Process of a board that connects as a copy; none for the device itself.
    pub(super) copy: Option<BootId>,
}

impl FromStr for ClientId {
    type Err = ();

    /// Parses `DEVICE` or `DEVICE.BOOT`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (device, copy) = match text.split_once('.') {
            Some((device, boot)) => (device, Some(boot.parse().map_err(drop)?)),
            None => (text, None),
        };
        Ok(Self {
            device: device.parse().map_err(drop)?,
            copy,
        })
    }
}

/// Addresses of connections after their login; bounded by the connections.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<ClientId, IpAddr>>);

impl Peers {
    pub(super) fn arrived(&self, client: ClientId, address: IpAddr) {
        self.map().insert(client, address.to_canonical());
    }

    pub(super) fn left(&self, client: ClientId) {
        self.map().remove(&client);
    }

    pub(super) fn address(&self, client: ClientId) -> Option<IpAddr> {
        self.map().get(&client).copied()
    }

    /// Returns the client ids of the connected copies of a device.
    pub(super) fn copies(&self, device: DeviceId) -> Vec<String> {
        let map = self.map();
        let copies = map.keys().filter(|client| client.device == device);
        copies
            .filter_map(|client| Some(format!("{device}.{}", client.copy?)))
            .collect()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<ClientId, IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_have_one_spelling() {
        let (device, boot) = (DeviceId::from_bytes([1; 16]), BootId::from_bytes([2; 16]));
        let own = ClientId { device, copy: None };
        let copy = ClientId {
            device,
            copy: Some(boot),
        };
        assert_eq!(device.to_string().parse(), Ok(own));
        assert_eq!(format!("{device}.{boot}").parse(), Ok(copy));
        for bad in [
            String::new(),
            format!("{device}."),
            format!("{device}.{boot}.{boot}"),
            format!(".{boot}"),
            format!("{device}.x"),
            device.to_string().to_uppercase() + "A",
        ] {
            assert_eq!(bad.parse::<ClientId>(), Err(()), "{bad}");
        }
        let peers = Peers::default();
        peers.arrived(copy, "::ffff:192.0.2.1".parse().expect("an address"));
        assert_eq!(peers.copies(device), [format!("{device}.{boot}")]);
        assert_eq!(peers.address(copy), "192.0.2.1".parse().ok());
        peers.left(copy);
        assert_eq!((peers.copies(device).len(), peers.address(copy)), (0, None));
    }
}
