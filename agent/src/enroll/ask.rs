//! Exchange of an enrolment with the cloud: one request, or the same again until a person has approved the board.

use std::time::Duration;

use iottly_protocol::enroll::{
    EnrollAnswer, EnrollRequest, Enrolled, Fingerprint, PairCode, ShortCode, Waiting,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EnrollError, EnrollOptions, EnrollTrust, reason};
use crate::config::{BrokerAddress, ProxyAddress};
use crate::datadir::DataDir;
use crate::link::{Found, Pin, Route, Trust};
use crate::time::BoardClock;

/// Minimum and maximum interval between two requests, in milliseconds, whatever the cloud says.
const POLL_MS: (u64, u64) = (1_000, 5 * 60 * 1000);
/// Statuses of a cloud that cannot answer at the moment.
const BUSY: [u16; 4] = [429, 502, 503, 504];

/// Text for the screen of a board that a person has to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// Address of the page on which the board is approved.
    pub address: String,
    /// Code that the person types there.
    pub code: ShortCode,
    /// Validity of the code from now on.
    pub valid: Duration,
}

impl Screen {
    /// Returns the address with the code filled in, for a QR code.
    #[must_use]
    pub fn complete_address(&self) -> String {
        format!("{}?code={}", self.address, self.code)
    }
}

/// Asks until the board has its place. Returns the place and the authority that the cloud's certificate comes from.
pub(super) async fn ask(
    options: &EnrollOptions,
    trust: EnrollTrust,
    data: &DataDir,
    request: &EnrollRequest,
    show: &mut dyn FnMut(&Screen),
) -> Result<(Enrolled, Found), EnrollError> {
    let (answer, found) = once(options, trust, data, request).await?;
    // The cloud that answered first is asked again, and no other.
    let trust = same(&found);
    let (mut answer, mut shown) = (answer, None);
    loop {
        let waiting = match answer {
            EnrollAnswer::Enrolled(enrolled) => return Ok((enrolled, found)),
            EnrollAnswer::Denied => return Err(EnrollError::Denied),
            EnrollAnswer::Expired => return Err(EnrollError::Expired),
            EnrollAnswer::Waiting(waiting) | EnrollAnswer::SlowDown(waiting) => waiting,
        };
        if shown.replace(waiting.short_code) != Some(waiting.short_code) {
            show(&screen(options, &waiting));
        }
        answer = again(options, trust, data, request, waiting.poll_ms).await?;
    }
}

/// Asks again after an interval, which is longer after each failure.
async fn again(
    options: &EnrollOptions,
    trust: EnrollTrust,
    data: &DataDir,
    request: &EnrollRequest,
    poll_ms: u64,
) -> Result<EnrollAnswer, EnrollError> {
    let mut wait_ms = poll_ms.clamp(POLL_MS.0, POLL_MS.1);
    loop {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let error = match once(options, trust, data, request).await {
            Ok((answer, _)) => return Ok(answer),
            Err(error) => error,
        };
        let passes = match &error {
            EnrollError::Cloud(_) => true,
            EnrollError::Refused(status, _) => BUSY.contains(status),
            _ => false,
        };
        if !passes {
            return Err(error);
        }
        wait_ms = (2 * wait_ms).min(POLL_MS.1);
        tracing::warn!(%error, retry.seconds = wait_ms / 1000, "failed to ask the cloud for the approval; asking again");
    }
}

/// Returns the trust in the authority that was found, and in no other.
fn same(found: &Found) -> EnrollTrust {
    match found {
        Found::Public => EnrollTrust::Public,
        Found::Authority(der) => EnrollTrust::Fingerprint(Fingerprint(Sha256::digest(der).into())),
    }
}

fn screen(options: &EnrollOptions, waiting: &Waiting) -> Screen {
    let host = if options.host.contains(':') {
        format!("[{}]", options.host)
    } else {
        options.host.clone()
    };
    let port = match options.port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    Screen {
        address: format!("https://{host}{port}/enroll"),
        code: waiting.short_code,
        valid: Duration::from_millis(waiting.expires_ms),
    }
}

/// Asks for the pair code that a short code stands for. Returns it with the trust in the cloud that answered.
pub(super) async fn pair_code(
    options: &EnrollOptions,
    data: &DataDir,
    code: ShortCode,
) -> Result<(PairCode, EnrollTrust), EnrollError> {
    let (route, pin) = route(options, options.trust, data)?;
    let request = serde_json::json!({ "short_code": code });
    let (answer, found): (PairCodeAnswer, _) =
        post(&route, "/v1.0/enroll/short-code", &request, pin.as_ref()).await?;
    Ok((answer.pair_code, same(&found)))
}

/// Answer to a short code.
#[derive(Deserialize)]
struct PairCodeAnswer {
    pair_code: PairCode,
}

/// Posts the request once. Returns the answer and the authority that the cloud's certificate comes from.
async fn once(
    options: &EnrollOptions,
    trust: EnrollTrust,
    data: &DataDir,
    request: &EnrollRequest,
) -> Result<(EnrollAnswer, Found), EnrollError> {
    let (route, pin) = route(options, trust, data)?;
    post(&route, "/v1.0/enroll", request, pin.as_ref()).await
}

/// Returns the route to the cloud, and the authority that its certificate has to come from, if it is not a public one.
fn route(
    options: &EnrollOptions,
    trust: EnrollTrust,
    data: &DataDir,
) -> Result<(Route, Option<Pin>), EnrollError> {
    let pin = match trust {
        EnrollTrust::Public => None,
        EnrollTrust::Fingerprint(fingerprint) => Some(Pin::new(Some(fingerprint))),
        EnrollTrust::FirstUse => Some(Pin::new(None)),
    };
    let trust = pin.as_ref().map_or(Trust::Public, Trust::Pin);
    let broker = BrokerAddress::secure(&options.host, options.port);
    let proxy = ProxyAddress::of_environment();
    let clock = BoardClock::open(data.join("clock"));
    let route = Route::new(&broker, trust, proxy.as_ref(), clock)
        .map_err(|error| EnrollError::Cloud(error.to_string()))?;
    Ok((route, pin))
}

/// Posts a request for a place. Returns the answer and the authority that the cloud's certificate comes from.
pub(crate) async fn post<T: DeserializeOwned>(
    route: &Route,
    path: &str,
    request: &impl Serialize,
    pin: Option<&Pin>,
) -> Result<(T, Found), EnrollError> {
    let body = serde_json::to_vec(request).expect("a request has string keys");
    let answer = route.post(path, &body).await?;
    if answer.status != 200 {
        return Err(EnrollError::Refused(answer.status, reason(&answer.body)));
    }
    let found = pin.map_or(Some(Found::Public), Pin::found);
    let found = found.ok_or_else(|| EnrollError::Cloud("the cloud's certificate was not checked".into()))?;
    let answer =
        serde_json::from_slice(&answer.body).map_err(|error| EnrollError::Answer(error.to_string()))?;
    Ok((answer, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_names_the_page_as_a_browser_finds_it() {
        let options = |host: &str, port| EnrollOptions {
            host: host.to_owned(),
            port,
            code: None,
            trust: EnrollTrust::Public,
            name: None,
            data: "d".into(),
            rekey: false,
        };
        let waiting = Waiting {
            short_code: ShortCode::from_bytes([0; 5]),
            poll_ms: 5_000,
            expires_ms: 600_000,
        };
        for (host, port, wanted) in [
            ("cloud.example", 443, "https://cloud.example/enroll"),
            ("cloud.example", 8443, "https://cloud.example:8443/enroll"),
            ("::1", 8443, "https://[::1]:8443/enroll"),
        ] {
            let screen = screen(&options(host, port), &waiting);
            assert_eq!(screen.address, wanted);
            assert_eq!(screen.complete_address(), format!("{wanted}?code=0000-0000"));
        }
    }
}
