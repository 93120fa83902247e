//! Properties of this board that its enrolment carries.

use std::fs;
use std::path::{Path, PathBuf};

use iottly_protocol::enroll::BoardFacts;
use iottly_protocol::tuf;
use sha2::{Digest, Sha256};

/// Places of a number that is the board's own and stays when its disk is copied, best first.
const SERIALS: [&str; 2] = ["/sys/firmware/devicetree/base/serial-number", "/etc/machine-id"];
/// Folder of the network interfaces.
const INTERFACES: &str = "/sys/class/net";

/// Returns what the board says about itself.
pub(crate) fn facts(name: Option<String>) -> BoardFacts {
    BoardFacts {
        name,
        mac: mac(Path::new(INTERFACES)),
        hardware: of_this_board(),
        profile: "generic".to_owned(),
        agent: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Returns the MAC address of the first interface that has one, by name.
fn mac(interfaces: &Path) -> Option<String> {
    let mut folders: Vec<PathBuf> = fs::read_dir(interfaces)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    folders.into_iter().find_map(|folder| {
        let text = fs::read_to_string(folder.join("address")).ok()?;
        let mac = text.trim().to_ascii_uppercase();
        let facts = BoardFacts {
            mac: Some(mac.clone()),
            ..BoardFacts::default()
        };
        (facts.check().is_ok() && mac != "00:00:00:00:00:00").then_some(mac)
    })
}

/// Returns the hash of this board's serial number or machine id.
pub(crate) fn of_this_board() -> Option<String> {
    hardware(&SERIALS)
}

/// Returns the hash of the first of these files that says anything.
fn hardware(files: &[&str]) -> Option<String> {
    let text = files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        let text = text.trim_matches(['\0', '\n', ' ']).to_owned();
        (!text.is_empty()).then_some(text)
    })?;
    let mut hasher = Sha256::new();
    hasher.update(b"iottly hardware v1\0");
    hasher.update(text.as_bytes());
    Some(tuf::encode_hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_board_says_about_itself_is_well_formed() {
        let dir = tempfile::tempdir().expect("dir");
        for (name, address) in [
            ("lo", "00:00:00:00:00:00"),
            ("can0", "x"),
            ("wlan0", "00:00:5e:00:53:01"),
        ] {
            fs::create_dir(dir.path().join(name)).expect("folder");
            fs::write(dir.path().join(name).join("address"), format!("{address}\n")).expect("file");
        }
        assert_eq!(mac(dir.path()).as_deref(), Some("00:00:5E:00:53:01"));
        let serial = dir.path().join("serial");
        fs::write(&serial, "10000000abcdef\0").expect("file");
        let hash = hardware(&["/nonexistent", serial.to_str().expect("text")]).expect("hashed");
        assert_eq!(hash.len(), 64);
        assert!(!hash.contains("abcdef"));
    }
}
