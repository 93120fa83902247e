//! `iottly healthcheck`: asks the cloud on this machine whether it can serve requests, for container engines and service
//! managers.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use iottly_protocol::proxy::scheme_and_host;
use ureq::tls::TlsConfig;

use crate::exit::Failure;

/// Longest wait for the answer.
const PATIENCE: Duration = Duration::from_secs(4);

#[derive(Args)]
pub(crate) struct Options {
    /// Address of the cloud, on this machine; its certificate is not checked, as nothing secret is sent
    #[arg(long, value_name = "URL", default_value = "https://127.0.0.1:8443")]
    url: String,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let url = question(&options.url).map_err(Failure::Invalid)?;
    let answer = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build()
        .new_agent()
        .get(&url)
        .call();
    match answer {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => Err(Failure::Failed(anyhow!(
            "the cloud is not ready: {url} answered {}",
            answer.status().as_u16()
        ))),
        Err(error) => Err(Failure::Failed(anyhow!("cannot reach {url}: {error}"))),
    }
}

/// Returns the address that is asked, below the one of a cloud on this machine.
fn question(cloud: &str) -> Result<String, String> {
    let is_here = scheme_and_host(cloud).is_some_and(|(scheme, host)| {
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        here && ["http", "https"].contains(&scheme)
    });
    if !is_here {
        return Err(format!(
            "--url {cloud}: not an http or https address of this machine"
        ));
    }
    Ok(format!("{}/readyz", cloud.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked() {
        let asked = |cloud: &str| question(cloud);
        let ready = |text: &str| Ok(text.to_owned());
        assert_eq!(
            asked("https://127.0.0.1:8443"),
            ready("https://127.0.0.1:8443/readyz")
        );
        assert_eq!(asked("http://localhost:80/"), ready("http://localhost:80/readyz"));
        assert_eq!(asked("https://[::1]:1"), ready("https://[::1]:1/readyz"));
        for elsewhere in [
            "https://cloud.example",
            "https://192.0.2.1",
            "file:///etc/passwd",
            "8443",
        ] {
            assert!(asked(elsewhere).is_err(), "{elsewhere}");
        }
    }
}
