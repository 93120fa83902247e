//! Enrolment at the first start: repeats the enrolment until the cloud answers. Trust is the enrolment's matter.

use std::time::Duration;

use iottly_protocol::DeviceId;

use crate::enroll::{EnrollError, EnrollOptions, enroll};
use crate::link::Backoff;

/// End of one attempt.
#[derive(Debug)]
enum Next {
    /// The board is a device: a new one with this name, or the one that it was before.
    Done(Option<(DeviceId, String)>),
    /// The cloud cannot be reached, or has no time now.
    Again(EnrollError),
    /// Another attempt would end in the same way.
    Stop(EnrollError),
}

/// Enrols a board that is not a device yet, with the code of the options, and waits for a cloud that cannot be reached or
/// is too busy. Returns the id and the name of the new device; none if the board was a device before.
///
/// # Errors
/// See [`EnrollError`]: the cloud refuses the board, or the data folder cannot be used.
pub async fn enroll_when_new(options: EnrollOptions) -> Result<Option<(DeviceId, String)>, EnrollError> {
    let mut backoff = Backoff::new(getrandom::u64()?);
    loop {
        match next(enroll(options.clone(), &mut |_| {}).await) {
            Next::Done(device) => return Ok(device),
            Next::Stop(error) => return Err(error),
            Next::Again(error) => {
                let pause = Duration::from_millis(match error {
                    EnrollError::Refused(..) => backoff.busy_ms(None),
                    _ => backoff.next_ms(),
                });
                tracing::warn!(cloud.host = options.host, %error, retry_ms = pause.as_millis(), "failed to enrol; retrying");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Decides what follows an attempt.
fn next(attempt: Result<(DeviceId, String), EnrollError>) -> Next {
    match attempt {
        Ok(device) => Next::Done(Some(device)),
        Err(EnrollError::Enrolled(..) | EnrollError::Configured(_)) => Next::Done(None),
        Err(error @ (EnrollError::Cloud(_) | EnrollError::Refused(429 | 500..=599, _))) => Next::Again(error),
        Err(error) => Next::Stop(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cloud_that_may_answer_later_is_asked_again() {
        let device = DeviceId::from_bytes([1; 16]);
        assert!(matches!(next(Ok((device, "porch".into()))), Next::Done(Some(_))));
        for known in [
            EnrollError::Enrolled("data".into(), device),
            EnrollError::Configured("agent.toml".into()),
        ] {
            assert!(matches!(next(Err(known)), Next::Done(None)));
        }
        for busy in [
            EnrollError::Cloud("connection refused".into()),
            EnrollError::Refused(429, "too many".into()),
            EnrollError::Refused(503, "no room".into()),
        ] {
            assert!(matches!(next(Err(busy)), Next::Again(_)));
        }
        for last in [
            EnrollError::Refused(403, "the key is used up".into()),
            EnrollError::Answer("nonsense".into()),
            EnrollError::Other(device, device),
        ] {
            assert!(matches!(next(Err(last)), Next::Stop(_)));
        }
    }
}
