//! `iottly doctor`: checks the way from this machine to the cloud step by step, and says what to do about what is wrong.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use iottly_protocol::proxy::scheme_and_host;
use iottly_web::answers::{LoginShown, WhoAmI};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::remote::{Api, Place};
use crate::time_text::at;
use crate::time_text::now;

/// Difference of the clocks from which it is a fault, in milliseconds.
const CLOCKS_MS: i64 = 30_000;
/// Validity of a login below which it is said, in milliseconds.
const SOON_MS: i64 = 3 * 24 * 60 * 60 * 1000;
/// Longest wait for the broker's port.
const PATIENCE: Duration = Duration::from_secs(5);
/// Port of a broker without TLS.
const MQTT: u16 = 1883;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    call: Call,
    /// Address of the broker, to which devices connect [default: the port of an https cloud, port 1883 of another]
    #[arg(long, value_name = "HOST:PORT")]
    broker: Option<String>,
}

/// Outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Check {
    /// Thing that is checked.
    check: String,
    /// `ok`, `warn`, `failed`, or `skipped` because of an earlier failure.
    state: String,
    /// Facts that were found.
    detail: String,
    /// Advice, unless it is ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Check {
    fn ok(check: &str, detail: impl Into<String>) -> Self {
        Self::of(check, "ok", detail.into(), None)
    }

    fn warn(check: &str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self::of(check, "warn", detail.into(), Some(next.into()))
    }

    fn failed(check: &str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self::of(check, "failed", detail.into(), Some(next.into()))
    }

    fn skipped(check: &str) -> Self {
        Self::of(check, "skipped", "the cloud is not reached".to_owned(), None)
    }

    fn of(check: &str, state: &str, detail: String, next: Option<String>) -> Self {
        Self {
            check: check.to_owned(),
            state: state.to_owned(),
            detail,
            next,
        }
    }

    fn line(&self) -> String {
        let next = self.next.as_ref().map(|next| format!("\n{:19}→ {next}", ""));
        format!(
            "{:7}  {:8}  {}{}\n",
            self.state,
            self.check,
            self.detail,
            next.unwrap_or_default()
        )
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let place = options.call.remote().place()?;
    let checks = checks(options, &place);
    let failed = checks.iter().filter(|check| check.state == "failed").count();
    options
        .call
        .print_lines("checks", &json!({ "checks": checks }), Check::line)?;
    match failed {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow!("1 check has failed"))),
        many => Err(Failure::Failed(anyhow!("{many} checks have failed"))),
    }
}

fn checks(options: &Options, place: &Place) -> Vec<Check> {
    let url = &place.url;
    let mut checks = vec![address(url)];
    let anonymous = Api::anonymous(options.call.remote(), url);
    let asked = now();
    let alive = anonymous.probe(&format!("{url}/healthz"));
    let answered = now();
    let is_reached = alive.is_ok();
    checks.push(match &alive {
        Ok(answer) if answer.status == 200 => Check::ok("cloud", format!("{url} answers")),
        Ok(answer) => Check::failed(
            "cloud",
            format!("{url}/healthz answered {}", answer.status),
            "check --url: another server or a proxy answers at this address",
        ),
        Err(error) => unreached(url, error),
    });
    let (Ok(alive), true) = (alive, is_reached) else {
        let rest = ["ready", "clock", "token", "project", "broker"];
        checks.extend(rest.map(Check::skipped));
        return checks;
    };
    checks.push(match anonymous.probe(&format!("{url}/readyz")) {
        Ok(answer) if answer.status == 200 => {
            Check::ok("ready", "the database responds, messages of devices are stored")
        }
        Ok(answer) => Check::failed(
            "ready",
            answer
                .reason
                .unwrap_or_else(|| format!("the cloud answered {}", answer.status)),
            "look at the log of `iottly serve`, and at the database and the disk of its machine",
        ),
        Err(error) => Check::failed(
            "ready",
            error.to_string(),
            "try again; the connection is unstable",
        ),
    });
    checks.push(clock(alive.date, asked, answered));
    checks.push(token(options, place));
    checks.push(project(options, place));
    checks.push(broker(options.broker.as_deref(), url));
    checks
}

fn address(url: &str) -> Check {
    let is_here = |host: &str| {
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    };
    match scheme_and_host(url) {
        Some(("https", _)) => Check::ok("address", format!("{url}, encrypted")),
        Some(("http", host)) if is_here(host) => Check::ok("address", format!("{url}, on this machine")),
        Some(("http", _)) => Check::warn(
            "address",
            format!("{url} is not encrypted: others in the network can read your token"),
            "start the cloud with --listen or --tls-cert, and use its https address",
        ),
        _ => Check::failed(
            "address",
            format!("{url} is not an http or https address"),
            "set --url, IOTTLY_URL or `iottly login --url URL`",
        ),
    }
}

/// Returns the check of a cloud that does not answer, with the likely cause.
fn unreached(url: &str, error: &ureq::Error) -> Check {
    let text = error.to_string();
    let next = match error {
        ureq::Error::HostNotFound => {
            "the name is not known: check the spelling of --url, and the DNS of this machine".to_owned()
        }
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {url}: start the cloud with `iottly serve`, or check the port of --url")
        }
        ureq::Error::Timeout(_) => {
            "no answer: check that the machine of the cloud is on, and that no firewall drops the port".to_owned()
        }
        _ if ["certificate", "UnknownIssuer", "tls", "TLS"].iter().any(|word| text.contains(word)) => {
            "the certificate is not accepted: --ca FILE names the authority of a cloud with its own (tls/ca.pem in its data \
             folder); a https address needs a TLS port"
                .to_owned()
        }
        _ => "check --url, and the network and proxy of this machine".to_owned(),
    };
    Check::failed("cloud", format!("cannot reach {url}: {text}"), next)
}

fn clock(date: Option<i64>, asked: i64, answered: i64) -> Check {
    let Some(date) = date else {
        return Check::warn(
            "clock",
            "the cloud did not say its time",
            "compare `date` on both machines: tokens and releases expire by it",
        );
    };
    // The cloud's time has whole seconds.
    let off = if date + 1000 < asked {
        asked - date - 1000
    } else if date > answered {
        date - answered
    } else {
        0
    };
    if off <= CLOCKS_MS {
        return Check::ok("clock", "the clocks of the cloud and this machine agree");
    }
    Check::failed(
        "clock",
        format!(
            "the clocks of the cloud and this machine differ by {} s",
            off / 1000
        ),
        "set the clock of the wrong one by NTP, such as with `timedatectl set-ntp true`",
    )
}

fn token(options: &Options, place: &Place) -> Check {
    let sign_in = format!("iottly login --url {}", place.url);
    let source = if place.is_saved {
        "`iottly login`"
    } else {
        "--token or IOTTLY_TOKEN"
    };
    let shown = Api::root(options.call.remote(), place)
        .and_then(|api| api.get("/login"))
        .and_then(|answer| read::<LoginShown>(&answer));
    match shown {
        Ok(LoginShown { about, .. }) => {
            let detail = format!("{} {}, from {source}", about.kind, about.name);
            match about.expires {
                Some(expires) if expires.at() - now() < SOON_MS => Check::warn(
                    "token",
                    format!("{detail}, until {}", at(expires)),
                    format!("renew it soon: `{sign_in}`"),
                ),
                Some(expires) => Check::ok("token", format!("{detail}, until {}", at(expires))),
                None => Check::ok("token", detail),
            }
        }
        Err(failure) => Check::failed("token", failure.to_string(), format!("sign in: `{sign_in}`")),
    }
}

fn project(options: &Options, place: &Place) -> Check {
    let who = options
        .call
        .api()
        .and_then(|api| api.get("/whoami"))
        .and_then(|answer| read::<WhoAmI>(&answer));
    match who {
        Ok(who) => Check::ok(
            "project",
            format!(
                "{} {}, with the rights {}",
                who.project,
                who.project_name,
                who.scopes.names().collect::<Vec<_>>().join(", ")
            ),
        ),
        Err(failure) if place.token.is_none() => {
            Check::failed("project", failure.to_string(), "sign in first")
        }
        Err(failure) => Check::failed(
            "project",
            failure.to_string(),
            "choose one: `iottly project list`, then `iottly project use NAME` or --project ID",
        ),
    }
}

/// Checks that something listens where devices connect to.
fn broker(given: Option<&str>, url: &str) -> Check {
    let (address, next) = match given {
        Some(address) => (
            address.to_owned(),
            "check the address, that `iottly serve` listens there, and the firewall",
        ),
        None => (
            usual(url),
            "name another with --broker HOST:PORT, or start the cloud with --mqtt or --listen",
        ),
    };
    let addresses = match address.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return Check::failed("broker", format!("{address}: {error}"), next),
    };
    let mut last = "the name has no address".to_owned();
    for one in addresses {
        match TcpStream::connect_timeout(&one, PATIENCE) {
            Ok(_) => return Check::ok("broker", format!("{address} accepts connections")),
            Err(error) => last = error.to_string(),
        }
    }
    match given {
        Some(_) => Check::failed("broker", format!("cannot connect to {address}: {last}"), next),
        // Where the broker listens is not known.
        None => Check::warn("broker", format!("cannot connect to {address}: {last}"), next),
    }
}

/// Returns the usual address of a cloud's broker.
fn usual(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => {
            (host, port.parse().ok())
        }
        _ => (authority, None),
    };
    let port = match scheme {
        "https" => port.unwrap_or(443),
        _ => MQTT,
    };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_broker_is_at_the_port_of_https_or_at_1883() {
        for (url, broker) in [
            ("https://cloud.example:8443", "cloud.example:8443"),
            ("https://cloud.example", "cloud.example:443"),
            ("http://127.0.0.1:8080", "127.0.0.1:1883"),
            ("http://[::1]:8080/x", "[::1]:1883"),
            ("http://[::1]", "[::1]:1883"),
        ] {
            assert_eq!(usual(url), broker, "{url}");
        }
    }

    #[test]
    fn clocks_may_differ_by_the_time_of_the_request_and_a_second() {
        let state = |date: i64| clock(Some(date), 100_000, 101_000).state;
        assert_eq!(state(100_000), "ok");
        assert_eq!(state(99_000), "ok");
        assert_eq!(state(131_000), "ok");
        assert_eq!(state(132_000), "failed");
        assert_eq!(state(60_000), "failed");
        assert_eq!(clock(None, 0, 0).state, "warn");
    }

    #[test]
    fn an_address_that_others_can_listen_to_is_said() {
        assert_eq!(address("https://cloud.example").state, "ok");
        assert_eq!(address("http://127.0.0.1:8080").state, "ok");
        assert_eq!(address("http://cloud.example").state, "warn");
        assert_eq!(address("cloud.example").state, "failed");
    }
}
