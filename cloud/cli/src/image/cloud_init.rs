//! The three files that cloud-init reads from the boot partition: `user-data`, `meta-data` and `network-config`.

use std::fmt::Write as _;
use std::path::Path;

use iottly_protocol::tuf::encode_hex;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Image, PACKAGE, put};
use crate::exit::Failure;

/// Folder of the boot partition on the running board.
const BOOT: &str = "/boot/firmware";

/// Writes the files. Returns their names.
pub(super) fn write(image: &Image<'_>, boot: &Path) -> Result<Vec<&'static str>, Failure> {
    let mut files = vec![("user-data", user_data(image)), ("meta-data", meta_data(image))];
    if let Some(network) = network_config(image) {
        files.push(("network-config", network));
    }
    for (name, text) in &files {
        put(&boot.join(name), text.as_bytes())?;
    }
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// Returns `user-data`: the enrolment URL in a file that root alone can read, then the package, which enrols with it.
///
/// Values are written as JSON, which YAML contains, so that no text can become anything but a value.
pub(super) fn user_data(image: &Image<'_>) -> String {
    let mut text = "#cloud-config\n".to_owned();
    if let Some(name) = image.hostname {
        writeln!(text, "hostname: {}", json!(name)).expect("a string takes all");
    }
    writeln!(
        text,
        "write_files:\n- path: /etc/iottly/enroll\n  permissions: \"0600\"\n  content: {}",
        json!(format!("{}\n", image.enroll))
    )
    .expect("a string takes all");
    let install = json!(["dpkg", "--install", format!("{BOOT}/{PACKAGE}")]);
    writeln!(text, "runcmd:\n- {install}").expect("a string takes all");
    text
}

/// Returns `meta-data`. Other contents are another instance, for which cloud-init does its work again.
fn meta_data(image: &Image<'_>) -> String {
    let all = user_data(image) + &network_config(image).unwrap_or_default();
    let digest = encode_hex(&Sha256::digest(all));
    format!("instance-id: iottly-{}\n", &digest[..16])
}

/// Returns `network-config`, if the board joins a Wi-Fi network. Ethernet works beside it.
fn network_config(image: &Image<'_>) -> Option<String> {
    let wifi = image.wifi.as_ref()?;
    Some(format!(
        "network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      optional: true
  wifis:
    wlan0:
      dhcp4: true
      optional: true
      regulatory-domain: {}
      access-points:
        {}:
          password: {}
",
        json!(wifi.country),
        json!(wifi.ssid),
        json!(wifi.password)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::wifi::Wifi;
    use super::*;

    #[test]
    fn files_hold_what_was_given_and_nothing_else() {
        let url = "iottly://cloud.example:8443/00#11";
        let image = Image {
            enroll: url,
            hostname: Some("porch"),
            wifi: Wifi::new("my \"home\": #1", "pass: {word}", "IT").ok(),
        };
        assert_eq!(
            user_data(&image),
            "#cloud-config\nhostname: \"porch\"\nwrite_files:\n- path: /etc/iottly/enroll\n  permissions: \"0600\"\n  \
             content: \"iottly://cloud.example:8443/00#11\\n\"\nruncmd:\n- \
             [\"dpkg\",\"--install\",\"/boot/firmware/iottly-agent.deb\"]\n"
        );
        let network = network_config(&image).expect("a network");
        assert!(
            network.contains("        \"my \\\"home\\\": #1\":\n          password: \"pass: {word}\"\n"),
            "{network}"
        );
        let other = Image {
            enroll: "iottly://cloud.example:8443/01#11",
            hostname: None,
            wifi: None,
        };
        assert!(network_config(&other).is_none());
        assert_ne!(meta_data(&image), meta_data(&other), "another instance");
        assert_eq!(meta_data(&other), meta_data(&other));
    }
}
