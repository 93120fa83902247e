//! `iottly cmd`: sends a command to a device, and waits for its end if asked to.

use clap::Args;
use iottly_core::model::CommandStatus;
use iottly_web::answers::Accepted;
use serde_json::{Map, Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::table::plain;

#[derive(Args)]
pub(crate) struct Options {
    /// Device, by name or id
    device: String,
    #[command(flatten)]
    command: CommandText,
    #[command(flatten)]
    call: Call,
    /// Time to wait for the end of the command, such as 5s or 500ms; 25 s at most [default: none]
    #[arg(long, value_name = "TIME", value_parser = patience)]
    wait: Option<String>,
}

/// Command as it is typed.
#[derive(Args)]
pub(crate) struct CommandText {
    /// Type of the message definition, such as `echo`
    kind: String,
    /// Values, such as `content="hi there"`; a value that is JSON (a number, true, {…}) is sent as JSON, any other as text
    #[arg(value_name = "KEY=VALUE", value_parser = pair)]
    values: Vec<(String, Value)>,
    /// Time after which the command expires, in seconds [default: a day]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
}

/// Reads `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("not of the form KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((key.to_owned(), value))
}

fn patience(text: &str) -> Result<String, String> {
    let digits = text
        .strip_suffix("ms")
        .or_else(|| text.strip_suffix('s'))
        .ok_or("not of the form 5s or 500ms")?;
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not of the form 5s or 500ms".to_owned());
    }
    Ok(text.to_owned())
}

/// Returns the command's part of a request. Keys get the prefix of the type unless they have it.
pub(crate) fn body(command: &CommandText) -> Map<String, Value> {
    let kind = &command.kind;
    let prefix = format!("{kind}.");
    let values: Map<String, Value> = command
        .values
        .iter()
        .map(|(key, value)| {
            let key = if key.starts_with(&prefix) {
                key.clone()
            } else {
                format!("{prefix}{key}")
            };
            (key, value.clone())
        })
        .collect();
    let mut body = Map::new();
    body.insert("cmd_type".to_owned(), json!(kind));
    body.insert("values".to_owned(), Value::Object(values));
    if let Some(seconds) = command.ttl {
        body.insert("ttl_ms".to_owned(), json!(u64::from(seconds) * 1000));
    }
    body
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let api = options.call.api()?;
    let id = device_id(&api, &options.device)?;
    let mut path = format!("/device/{}/command", escaped(&id));
    if let Some(wait) = &options.wait {
        path = format!("{path}?wait={wait}");
    }
    let sent = api.post(&path, &Value::Object(body(&options.command)))?;
    let Accepted {
        id, state, detail, ..
    } = read(&sent)?;
    options.call.print(&sent, |_| match &detail {
        None => format!("{}  {id}\n", state.as_str()),
        Some(detail) => format!("{}  {id}  {}\n", state.as_str(), plain(detail)),
    })?;
    match state {
        CommandStatus::Answered => Ok(()),
        // Without a wait the cloud has accepted it, which is all that was asked for.
        open if !open.is_final() && options.wait.is_none() => Ok(()),
        open if !open.is_final() => Err(Failure::Failed(anyhow::anyhow!(
            "the device has not finished the command in time; the command stays {}",
            open.as_str()
        ))),
        ended => Err(Failure::Failed(anyhow::anyhow!(
            "the command is {}",
            ended.as_str()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_get_the_prefix_of_the_type() {
        let command = |kind: &str, values, ttl| CommandText {
            kind: kind.to_owned(),
            values,
            ttl,
        };
        let values: Vec<_> = ["content=hi there", "echo.times=3", "flag=true", "odd=a=b"]
            .iter()
            .map(|text| pair(text).expect("a pair"))
            .collect();
        assert_eq!(
            Value::Object(body(&command("echo", values, Some(5)))),
            json!({
                "cmd_type": "echo",
                "values": {"echo.content": "hi there", "echo.times": 3, "echo.flag": true, "echo.odd": "a=b"},
                "ttl_ms": 5000,
            })
        );
        assert_eq!(
            Value::Object(body(&command("reboot", Vec::new(), None))),
            json!({"cmd_type": "reboot", "values": {}})
        );
        assert!(pair("content").is_err() && pair("=x").is_err());
    }

    #[test]
    fn a_wait_has_a_unit() {
        assert!(patience("5s").is_ok() && patience("500ms").is_ok());
        for bad in ["5", "s", "ms", "-1s", "5 s", "1234567s", "5m"] {
            assert!(patience(bad).is_err(), "{bad}");
        }
    }
}
