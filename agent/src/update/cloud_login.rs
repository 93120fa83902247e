//! Login of the device at its repository's server: the secret of the broker login, for the cloud's own repository only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iottly_protocol::proxy::scheme_and_host;
use iottly_protocol::{DeviceId, Secret};
use iottly_update::Login;
use std::sync::Arc;
use tokio::sync::watch;

use crate::config::{BrokerAddress, UpdateConfig};

/// Returns the login of a device at its repository; `None` if the repository is not the cloud whose broker the device
/// uses, or if its line is worse than the broker's: no one else gets the secret.
pub(crate) fn cloud_login(
    config: &UpdateConfig,
    broker: &BrokerAddress,
    device: DeviceId,
    secret: watch::Receiver<Secret>,
) -> Option<Login> {
    is_the_cloud(config, broker).then(|| {
        Arc::new(move || {
            let login = format!("{device}:{}", secret.borrow().expose());
            format!("Basic {}", STANDARD.encode(login))
        }) as Login
    })
}

fn is_the_cloud(config: &UpdateConfig, broker: &BrokerAddress) -> bool {
    let Some((scheme, host)) = scheme_and_host(&config.repository) else {
        return false;
    };
    let line = match scheme {
        "https" => true,
        "http" => !broker.is_encrypted(),
        _ => false,
    };
    line && (config.login || host.eq_ignore_ascii_case(&broker.host))
}

#[cfg(test)]
mod tests {
    use iottly_protocol::ProjectId;

    use super::*;

    fn config(repository: &str) -> UpdateConfig {
        UpdateConfig::new(repository, "root.json".into(), ProjectId::from_bytes([1; 12]))
    }

    #[test]
    fn only_the_cloud_gets_the_secret_and_never_on_a_worse_line() {
        let repositories = [
            "https://cloud.example:8443/repo/1",
            "http://cloud.example:8080/repo/1",
            "https://cloud.example@other.example/repo/1",
            "https://other.example/cloud.example",
            "/repo/1",
        ];
        for (broker, expected) in [
            ("mqtts://Cloud.example", [true, false, false, false, false]),
            ("cloud.example:1883", [true, true, false, false, false]),
        ] {
            let broker = BrokerAddress::try_from(broker.to_owned()).expect("an address");
            let found = repositories.map(|repository| is_the_cloud(&config(repository), &broker));
            assert_eq!(found, expected, "{broker:?}");
            let named = |repository| UpdateConfig {
                login: true,
                ..config(repository)
            };
            assert!(is_the_cloud(&named("https://api.example/repo/1"), &broker));
            let plain = is_the_cloud(&named("http://api.example/repo/1"), &broker);
            assert_eq!(plain, !broker.is_encrypted());
        }
    }

    #[test]
    fn the_login_has_the_latest_secret() {
        let broker = BrokerAddress::try_from("mqtts://c".to_owned()).expect("an address");
        let (sender, secret) = watch::channel(Secret::new("one"));
        let device = DeviceId::from_bytes([7; 16]);
        let login = cloud_login(&config("https://c/repo/1"), &broker, device, secret).expect("the cloud");
        let sent = |secret: &str| format!("Basic {}", STANDARD.encode(format!("{device}:{secret}")));
        assert_eq!(login(), sent("one"));
        sender.send_replace(Secret::new("two"));
        assert_eq!(login(), sent("two"));
    }
}
