//! `iottly cmd`: sends a command to a device, and waits for its end if asked to.

use std::collections::HashSet;

use clap::Args;
use iottly_core::model::CommandStatus;
use iottly_web::answers::{Accepted, OneDefinition};
use serde_json::{Map, Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::{Api, escaped};
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
    /// Values, such as `content="hi there"`; a value that is JSON (a number, true, {…}) is sent as JSON unless its option is text, any other as text
    #[arg(value_name = "KEY=VALUE", value_parser = typed)]
    values: Vec<(String, String)>,
    /// Time after which the command expires, in seconds [default: a day]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
}

/// Reads `key=value`, with the value as JSON if it is JSON.
pub(crate) fn pair(text: &str) -> Result<(String, Value), String> {
    typed(text).map(|(key, value)| (key, json_of(&value)))
}

fn typed(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("not of the form KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
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

/// Returns the command's part of a request. Keys get the prefix of the type unless they have it. A number or truth value is
/// sent as text if the definition says that its option is text.
pub(crate) fn body(api: &Api, command: &CommandText) -> Map<String, Value> {
    let is_scalar = |(_, text): &(String, String)| {
        let value = json_of(text);
        value.is_number() || value.is_boolean()
    };
    let texts = match command.values.iter().any(is_scalar) {
        true => text_options(api, &command.kind),
        false => HashSet::new(),
    };
    body_with(command, &texts)
}

/// Returns the names of the options that are text. None if the definition cannot be read: the cloud checks the values anyway.
fn text_options(api: &Api, kind: &str) -> HashSet<String> {
    let answer = api.get(&format!("/messagedefinitions/{}", escaped(kind))).ok();
    let definition = answer.and_then(|answer| read::<OneDefinition>(&answer).ok());
    let options = definition.and_then(|definition| definition.messagedefinition.get(kind).cloned());
    let options = options.as_ref().and_then(Value::as_object).into_iter().flatten();
    options
        .filter(|(_, option)| option["value_type"] == "text")
        .map(|(key, _)| key.clone())
        .collect()
}

fn body_with(command: &CommandText, texts: &HashSet<String>) -> Map<String, Value> {
    let kind = &command.kind;
    let prefix = format!("{kind}.");
    let values: Map<String, Value> = command
        .values
        .iter()
        .map(|(key, text)| {
            let name = key.strip_prefix(&prefix).unwrap_or(key);
            let value = match json_of(text) {
                Value::Number(_) | Value::Bool(_) if texts.contains(name) => Value::String(text.clone()),
                value => value,
            };
            (format!("{prefix}{name}"), value)
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
    let sent = api.post(&path, &Value::Object(body(&api, &options.command)))?;
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
            .map(|text| typed(text).expect("a pair"))
            .collect();
        assert_eq!(
            Value::Object(body_with(
                &command("echo", values.clone(), Some(5)),
                &HashSet::new()
            )),
            json!({
                "cmd_type": "echo",
                "values": {"echo.content": "hi there", "echo.times": 3, "echo.flag": true, "echo.odd": "a=b"},
                "ttl_ms": 5000,
            })
        );
        assert_eq!(
            Value::Object(body_with(&command("reboot", Vec::new(), None), &HashSet::new())),
            json!({"cmd_type": "reboot", "values": {}})
        );
        let texts = HashSet::from(["times".to_owned(), "content".to_owned()]);
        let sent = body_with(&command("echo", values, None), &texts);
        assert_eq!(
            sent["values"],
            json!({"echo.content": "hi there", "echo.times": "3", "echo.flag": true, "echo.odd": "a=b"}),
            "an option that is text gets text"
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
