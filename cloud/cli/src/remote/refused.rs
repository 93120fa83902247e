//! Answers of the cloud: what was asked for, or the failure with what to type next.

use anyhow::anyhow;
use serde_json::Value;
use ureq::Body;
use ureq::http::Response;

use super::MAX_ANSWER;
use crate::exit::Failure;

/// Reads an answer; `again` is the command that signs in again, if the token is the one of `iottly login`.
///
/// # Errors
/// A [`Failure`] according to the status of the answer.
pub(super) fn read(
    mut answer: Response<Body>,
    url: &str,
    cloud: &str,
    again: Option<&str>,
) -> Result<Value, Failure> {
    let status = answer.status().as_u16();
    let retry = answer.headers().get("retry-after");
    let retry: Option<u64> = retry.and_then(|value| value.to_str().ok()?.parse().ok());
    let text = text(&mut answer, url)?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let Some(reason) = body["error"].as_str().map(str::to_owned) else {
        return match status {
            200 if body.is_object() => Ok(body),
            200 => Err(Failure::Failed(anyhow!(
                "{url} did not answer with JSON, so it may not be the address of a cloud; check --url"
            ))),
            status => Err(without_reason(status, url)),
        };
    };
    Err(match status {
        400 | 413 | 422 => Failure::Invalid(reason),
        401 => Failure::NotAuthorised(match again {
            Some(again) => format!("your login is over or was revoked; type `{again}`"),
            None => format!("{reason}; check --token or IOTTLY_TOKEN, or type `iottly login --url {cloud}`"),
        }),
        403 if reason.starts_with("device is unknown") => {
            Failure::NotFound(format!("{reason}; `iottly device list` shows all"))
        }
        403 => Failure::NotAuthorised(reason.clone() + next_of_refused(&reason)),
        404 if reason == "path not found" => too_old(url, cloud),
        404 => Failure::NotFound(reason),
        405 => too_old(url, cloud),
        429 => Failure::Failed(anyhow!(
            "{reason}; {}",
            match retry {
                Some(seconds) => format!("wait {seconds} s and type it again"),
                None => "wait a little and type it again".to_owned(),
            }
        )),
        status => {
            let request = body["request_id"].as_str();
            let logged = request
                .filter(|_| status == 500)
                .map(|request| format!("; the log of the cloud has the cause, with the request {request}"));
            Failure::Failed(anyhow!(
                "{url} answered {status}: {reason}{}",
                logged.unwrap_or_default()
            ))
        }
    })
}

/// Returns what a person who lacks a right can do next.
fn next_of_refused(reason: &str) -> &'static str {
    if reason.contains("lacks the scope") {
        "; `iottly whoami` shows what you may do here, and an owner of the organization can grant more"
    } else if reason.contains("permission for this project") {
        "; `iottly project list` shows the projects that you reach"
    } else {
        ""
    }
}

fn too_old(url: &str, cloud: &str) -> Failure {
    Failure::Failed(anyhow!(
        "the cloud at {cloud} has no {url}: it is older than this program, or --url has a path too many; update the cloud, or \
         use the program of its version"
    ))
}

fn without_reason(status: u16, url: &str) -> Failure {
    let reason = format!(
        "{url} answered {status} without a reason, so a proxy may have answered in place of the cloud; check --url"
    );
    match status {
        400 | 413 | 422 => Failure::Invalid(reason),
        401 | 403 => Failure::NotAuthorised(reason),
        404 => Failure::NotFound(reason),
        _ => Failure::Failed(anyhow!("{reason}")),
    }
}

/// Reads the whole text of an answer.
pub(super) fn text(answer: &mut Response<Body>, url: &str) -> Result<String, Failure> {
    let read = answer
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .lossy_utf8(true)
        .read_to_string();
    read.map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(limit) => {
            Failure::Failed(anyhow!("the answer of {url} is longer than {} MiB", limit >> 20))
        }
        error => {
            Failure::Failed(anyhow::Error::new(error).context(format!("the answer of {url} is incomplete")))
        }
    })
}
