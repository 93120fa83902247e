//! `iottly device absent`: plans the absence of a device, so that it is not taken for a fault.

use clap::Args;
use iottly_web::answers::Props;
use serde_json::json;

use super::presence_text::presence;
use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::time_text::{moment, now};

#[derive(Args)]
pub(super) struct AbsentOptions {
    /// Device, by name or id
    device: String,
    #[command(flatten)]
    call: Call,
    /// Beginning of the absence, in the same forms [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "end")]
    from: Option<String>,
    /// End of the absence: a time such as 2026-12-24T18:00:00Z or 2026-12-24, or from now on such as 90m, 2h or 3d
    #[arg(long, value_name = "TIME", required_unless_present = "end")]
    until: Option<String>,
    /// Reason, for people
    #[arg(long, required_unless_present = "end")]
    reason: Option<String>,
    /// End the planned absence now
    #[arg(long, conflicts_with_all = ["until", "reason"])]
    end: bool,
}

pub(super) fn run(options: &AbsentOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let path = format!("/device/{}/absence", escaped(&device_id(&api, &options.device)?));
    let answer = match (&options.until, &options.reason) {
        (Some(until), Some(reason)) => {
            let until = moment(until, now()).map_err(Failure::Invalid)?;
            let mut body = json!({"until": until, "reason": reason});
            if let Some(from) = &options.from {
                body["from"] = json!(moment(from, now()).map_err(Failure::Invalid)?);
            }
            api.put(&path, "application/json", body.to_string().as_bytes())?
        }
        _ => api.delete(&path)?,
    };
    options.call.print_as(&answer, |answer: &Props| {
        format!("{}\n", presence(&answer.presence))
    })
}
