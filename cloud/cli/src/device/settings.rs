//! `iottly device rename` and `iottly device config`: the name of a device, and the settings that its firmware reads.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use iottly_web::answers::{Props, SettingsDto};
use serde_json::{Map, Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::cmd::pair;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::table::plain;
use crate::time_text::at;

/// Maximum size of a file with settings, in bytes; the API takes less.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Args)]
pub(super) struct RenameOptions {
    /// Device, by name or id
    device: String,
    /// New name: 1 to 128 bytes
    name: String,
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
pub(super) struct ConfigOptions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the settings as JSON, and if the device has applied them
    Get {
        /// Device, by name or id
        device: String,
        #[command(flatten)]
        call: Call,
    },
    /// Sets settings; a device that is online gets them at once, others at their next connection
    Set(SetOptions),
}

#[derive(Args)]
struct SetOptions {
    /// Device, by name or id
    device: String,
    /// Settings to change, the others keep their values; a value that is JSON (a number, true, {…}) is sent as JSON, any
    /// other as text
    #[arg(value_name = "KEY=VALUE", value_parser = pair, required_unless_present_any = ["file", "remove"])]
    values: Vec<(String, Value)>,
    /// Setting to remove; can be given several times
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// File with all settings as one JSON object, which replaces them; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["values", "remove"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    call: Call,
}

pub(super) fn rename(options: &RenameOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let id = device_id(&api, &options.device)?;
    let body = json!({ "name": options.name }).to_string();
    let path = format!("/device/{}/props", escaped(&id));
    let answer = api.put(&path, "application/json", body.as_bytes())?;
    options.call.print_as(&answer, |device: &Props| {
        format!("{} is named {}\n", device.id, plain(&device.name))
    })
}

pub(super) fn config(options: &ConfigOptions) -> Result<(), Failure> {
    match &options.command {
        Command::Get { device, call } => {
            let api = call.api()?;
            let answer = api.get(&path(&device_id(&api, device)?))?;
            call.print_as(&answer, shown)
        }
        Command::Set(options) => set(options),
    }
}

fn path(id: &str) -> String {
    format!("/device/{}/config", escaped(id))
}

fn set(options: &SetOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let path = path(&device_id(&api, &options.device)?);
    let values = match &options.file {
        Some(file) => from_file(file)?,
        None => {
            let present: SettingsDto = read(&api.get(&path)?)?;
            merged(&present, &options.values, &options.remove)?
        }
    };
    let body = Value::Object(values).to_string();
    let answer = api.put(&path, "application/json", body.as_bytes())?;
    options.call.print_as(&answer, shown)
}

fn from_file(file: &Path) -> Result<Map<String, Value>, Failure> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_BYTES).read_to_string(&mut text))
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    serde_json::from_str(&text).map_err(|error| {
        Failure::Invalid(format!(
            "{} is not one JSON object with the settings: {error}",
            file.display()
        ))
    })
}

/// Returns the present settings with those that change, and without those to remove.
fn merged(
    present: &SettingsDto,
    values: &[(String, Value)],
    remove: &[String],
) -> Result<Map<String, Value>, Failure> {
    let mut all: Map<String, Value> = match &present.desired {
        Some(desired) => serde_json::from_str(desired.values.get())
            .context("the settings in the cloud are not a JSON object; replace them with --file")?,
        None => Map::new(),
    };
    for key in remove {
        if all.remove(key).is_none() {
            return Err(Failure::NotFound(format!(
                "the device has no setting {key:?}; `iottly device config get` shows all"
            )));
        }
    }
    all.extend(values.iter().cloned());
    Ok(all)
}

/// Returns the settings as JSON, and below them what the device has applied.
fn shown(settings: &SettingsDto) -> String {
    let Some(desired) = &settings.desired else {
        return "no settings were ever set\n".to_owned();
    };
    let values: Value = serde_json::from_str(desired.values.get()).unwrap_or_default();
    let applied = match (&settings.reported, settings.in_sync) {
        (Some(reported), true) => format!("applied at {}", at(reported.at)),
        (Some(reported), false) => format!("not applied yet; the device has version {}", reported.version),
        (None, _) => "not applied yet".to_owned(),
    };
    format!(
        "{values:#}\nversion {}, set at {}, {applied}\n",
        desired.version,
        at(desired.changed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &str) -> SettingsDto {
        let values: Value = serde_json::from_str(values).expect("json");
        read(
            &json!({"desired": {"version": 3, "values": values, "changed": {"$date": 0}},
            "reported": {"version": 2, "at": {"$date": 0}}, "in_sync": false, "status": 200}),
        )
        .expect("settings")
    }

    #[test]
    fn settings_are_merged_and_shown() {
        let present = settings(r#"{"rate": 5, "mode": "eco"}"#);
        let change = [("rate".to_owned(), json!(9)), ("led".to_owned(), json!(true))];
        let all = merged(&present, &change, &["mode".to_owned()]).expect("settings");
        assert_eq!(Value::Object(all), json!({"rate": 9, "led": true}));
        assert!(merged(&present, &[], &["gone".to_owned()]).is_err());
        let text = shown(&settings(r#"{"rate": 5}"#));
        assert_eq!(
            text,
            "{\n  \"rate\": 5\n}\nversion 3, set at 1970-01-01T00:00:00.000Z, not applied yet; the device has version 2\n"
        );
    }
}
