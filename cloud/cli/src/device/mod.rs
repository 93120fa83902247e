//! `iottly device …`: enrols and lists the devices of a project over the REST API.

pub(crate) mod absence;
mod board;
mod bulk;
mod health_text;
mod presence_text;
mod settings;
mod timeline;

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use iottly_protocol::Secret;
use iottly_protocol::enroll::{EnrollUrl, PairCode};
use iottly_web::answers::{AllProps, CopyDto, CreatedDevice, OneWaitingBoard, Props, WaitingBoardDto};
use serde_json::{Value, json};

use crate::answer::{self, read};
use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::say::say;
use crate::table::{Table, plain};
use crate::terminal::Screen;
use crate::time_text::at;

/// Number of devices of a page of the API.
const PAGE: usize = 1000;
/// Headings of the list of waiting boards.
const WAITING: [&str; 5] = ["CODE", "ADDRESS", "MAC", "WAITS", "NAME"];

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Creates a device and prints the string that enrols its board, once, within a day
    #[command(
        after_help = "On the board: iottly-agent enroll 'iottly://…' --data DIR, then iottly-agent run --data DIR"
    )]
    Enroll(EnrollOptions),
    /// Prints a string that makes another board the device; the old board cannot log in after that
    #[command(
        after_help = "The same board gets new keys for the same device with: iottly-agent enroll 'iottly://…' --rekey --data DIR"
    )]
    Replace(ReplaceOptions),
    /// Lists the boards that wait with enrolment keys of the project; with a code, the board that shows it
    Waiting {
        /// Code on the board's screen
        code: Option<String>,
        #[command(flatten)]
        call: Call,
    },
    /// Makes the board that shows a code a device of the project
    Approve(ApproveOptions),
    /// Rejects the board that shows a code
    Reject {
        /// Code on the board's screen
        code: String,
        #[command(flatten)]
        call: Call,
    },
    /// Lists boards that log in with the keys of the same device
    Copies {
        #[command(flatten)]
        call: Call,
    },
    /// Keeps one of several boards that log in as one device; the others stay offline until they are enrolled for themselves
    Keep {
        /// Id of the device
        id: String,
        /// Number of the board, as `copies` lists it
        number: u32,
        #[command(flatten)]
        call: Call,
    },
    /// Lists the devices
    List(ListOptions),
    /// Shows all that the cloud knows of a device
    Show {
        /// Device, by name or id
        device: String,
        #[command(flatten)]
        call: Call,
    },
    /// Gives a device another name
    Rename(settings::RenameOptions),
    /// Shows and sets the settings of a device, which its firmware reads
    Config(settings::ConfigOptions),
    /// Shows the board of a virtual device: its pins, outputs and what its sensors measure
    Board(board::BoardOptions),
    /// Presses a button of a virtual device's board
    Press(board::PressOptions),
    /// Sets a value that a sensor of a virtual device's board measures
    Sensor(board::SensorOptions),
    /// Shows what happened to a device: presence, releases, settings, commands, gaps, failures and alerts, newest first
    Timeline(timeline::TimelineOptions),
    /// Plans the absence of a device: it is then not taken for a fault, and no alert is raised
    Absent(absence::AbsentOptions),
    /// Moves devices into a deployment group
    Move(bulk::MoveOptions),
    /// Adds tags to devices and removes them, by a job of the cloud
    Tag(bulk::TagOptions),
    /// Sends a command to many devices, by a job of the cloud; `iottly cmd` sends one and waits for its answer
    #[command(name = "command")]
    Send(bulk::CommandOptions),
    /// Deletes devices with their histories; their boards cannot log in any more
    #[command(name = "rm")]
    Remove(bulk::RemoveOptions),
}

#[derive(Args)]
struct EnrollOptions {
    #[command(flatten)]
    call: Call,
    /// Name of the device
    #[arg(long, default_value = "New device")]
    name: String,
    /// Deployment group of the device, by name or id [default: _orphaned]
    #[arg(long)]
    group: Option<String>,
    /// Address under which the board reaches the cloud, if it is not the one of --url
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
}

#[derive(Args)]
struct ListOptions {
    #[command(flatten)]
    call: Call,
    /// Text in the name, the id, the MAC address or a tag
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Tag of the devices
    #[arg(long)]
    tag: Option<String>,
    /// Deployment group, by name or id
    #[arg(long)]
    group: Option<String>,
    /// Connection of the devices: connected or disconnected
    #[arg(long, value_parser = ["connected", "disconnected"])]
    state: Option<String>,
    /// Conditions such as `group:demo offline>1h`, or a filter as JSON
    #[arg(long, value_name = "CONDITIONS")]
    filter: Option<String>,
}

#[derive(Args)]
struct ApproveOptions {
    /// Code on the board's screen
    code: String,
    #[command(flatten)]
    call: Call,
    /// Name of the device [default: the one that the board wants]
    #[arg(long)]
    name: Option<String>,
    /// Deployment group of the device, by name or id [default: the one of the board's enrolment key, or _orphaned]
    #[arg(long)]
    group: Option<String>,
}

#[derive(Args)]
struct ReplaceOptions {
    /// Device, by name or id
    device: String,
    #[command(flatten)]
    call: Call,
    /// Address under which the board reaches the cloud, if it is not the one of --url
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Enroll(options) => {
            let api = options.call.api()?;
            let mut body = json!({"name": options.name});
            if let Some(group) = &options.group {
                body["deployment_group"] = json!(api.group(group)?.id);
            }
            let made = api.post("/device/", &body)?;
            print(&options.call, &made, options.address.as_deref())
        }
        Command::Replace(options) => {
            let api = options.call.api()?;
            let id = device_id(&api, &options.device)?;
            let made = api.post(&format!("/device/{}/replace", escaped(&id)), &json!({}))?;
            print(&options.call, &made, options.address.as_deref())
        }
        Command::Waiting { code: None, call } => {
            call.print_table("boards", &call.api()?.get("/waiting")?, &WAITING, waiting)
        }
        Command::Waiting {
            code: Some(code),
            call,
        } => {
            let shown = call.api()?.get(&format!("/waiting/{}", escaped(code)))?;
            call.print_as(&shown, |shown: &OneWaitingBoard| {
                let mut table = Table::new(&WAITING);
                table.add(waiting(&shown.board));
                table.render(Screen::of_stdout())
            })
        }
        Command::Approve(options) => {
            let api = options.call.api()?;
            let mut body = json!({});
            if let Some(name) = &options.name {
                body["name"] = json!(name);
            }
            if let Some(group) = &options.group {
                body["deployment_group"] = json!(api.group(group)?.id);
            }
            let made = api.post(&format!("/waiting/{}", escaped(&options.code)), &body)?;
            options.call.print_as(&made, |made: &Props| {
                format!("approved {} {}\n", made.id, plain(&made.name))
            })
        }
        Command::Reject { code, call } => {
            let answer = call.api()?.delete(&format!("/waiting/{}", escaped(code)))?;
            call.print(&answer, |_| "rejected\n".to_owned())
        }
        Command::Copies { call } => {
            let head = ["DEVICE", "BOARD", "ADDRESS", "STATE", "NAME"];
            call.print_table("copies", &call.api()?.get("/copies")?, &head, copy)
        }
        Command::Keep { id, number, call } => {
            let path = format!("/device/{}/copies/{number}/keep", escaped(id));
            call.print(&call.api()?.post(&path, &json!({}))?, |_| "kept\n".to_owned())
        }
        Command::List(options) => listed(options),
        Command::Show { device, call } => show(device, call),
        Command::Rename(options) => settings::rename(options),
        Command::Config(options) => settings::config(options),
        Command::Board(options) => board::show(options),
        Command::Press(options) => board::press(options),
        Command::Sensor(options) => board::sensor(options),
        Command::Timeline(options) => timeline::run(options),
        Command::Absent(options) => absence::run(options),
        Command::Move(options) => bulk::move_devices(options),
        Command::Tag(options) => bulk::tag(options),
        Command::Send(options) => bulk::command(options),
        Command::Remove(options) => bulk::remove(options),
    }
}

/// Prints the devices that match, page by page.
fn listed(options: &ListOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let group = match &options.group {
        Some(group) => Some(api.group(group)?.id.to_string()),
        None => None,
    };
    let asked = [
        ("search", options.search.as_deref()),
        ("filter", options.filter.as_deref()),
        ("tag", options.tag.as_deref()),
        ("deployment_group", group.as_deref()),
        ("operatingstatus", options.state.as_deref()),
    ];
    let mut path = format!("/devices/props?limit={PAGE}");
    for (name, value) in asked {
        if let Some(value) = value {
            write!(path, "&{name}={}", escaped(value)).expect("a string takes all");
        }
    }
    let mut table = Table::new(&["ID", "STATE", "SINCE", "NAME"]);
    let mut pages = options.call.pages("devices");
    let mut after = String::new();
    loop {
        let page = api.get(&format!("{path}{after}"))?;
        if options.call.is_table() {
            let AllProps { devices, .. } = read(&page)?;
            // All rows have columns of the same widths.
            devices.iter().for_each(|device| table.add(listed_device(device)));
        }
        pages.print_json(answer::list(&page, "devices")?)?;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", escaped(next)),
            None => break,
        }
    }
    if options.call.is_table() {
        return options
            .call
            .print(&Value::Null, |_| table.render(Screen::of_stdout()));
    }
    let rest = json!({"count": pages.printed(), "errors": null, "status": 200});
    pages.end_with(&rest)
}

fn show(device: &str, call: &Call) -> Result<(), Failure> {
    let api = call.api()?;
    let id = device_id(&api, device)?;
    let answer = api.get(&format!("/device/{}/props", escaped(&id)))?;
    call.print_as(&answer, properties)
}

/// Returns the properties of a device, each in a line with the name that it has in the API.
fn properties(device: &Props) -> String {
    let firmware = device.firmware.as_ref();
    let firmware = firmware.map(|report| json!(report).to_string());
    let rows = [
        ("ID", Some(device.id.to_string())),
        ("agent_version", Some(device.agent_version.clone())),
        ("deployment_group", Some(device.deployment_group.to_string())),
        ("firmware", firmware),
        ("health", Some(health_text::health(device.health.as_ref()))),
        ("legacy", device.legacy.then(|| "true".to_owned())),
        ("macaddress", Some(device.macaddress.clone())),
        ("name", Some(device.name.clone())),
        ("operatingstatus", Some(device.operatingstatus.to_string())),
        ("operatingstatus_since", device.operatingstatus_since.map(at)),
        ("presence", Some(presence_text::presence(&device.presence))),
        ("refusal", device.refusal.as_ref().map(presence_text::refusal)),
        ("tags", Some(device.tags.join(", "))),
        ("token", Some(device.token.clone())),
    ];
    let mut out = String::new();
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(out, "{}", format!("{name:22} {}", plain(&value)).trim_end())
                .expect("a string takes all");
        }
    }
    out
}

/// Prints the URL that enrols a board, with what belongs to it.
fn print(call: &Call, made: &Value, address: Option<&str>) -> Result<(), Failure> {
    let made: CreatedDevice = read(made)?;
    let url = url(made.url.as_ref().map(Secret::expose), address)?;
    if let Some(code) = &made.short_code {
        // Standard output has the one string that scripts read.
        say(&typed(&url, &code.to_string())?);
    }
    let shown = json!({
        "url": url,
        "pair_code": made.pair_code.expose(),
        "short_code": made.short_code,
        "expires": made.expires.at(),
        "device_id": made.id,
    });
    call.print(&shown, |_| format!("{url}\n"))
}

/// Returns the command for a board on which the long string cannot be pasted.
fn typed(url: &str, code: &str) -> Result<String, Failure> {
    let url: EnrollUrl = url
        .parse()
        .map_err(|error| Failure::Invalid(format!("the cloud's enrolment URL: {error}")))?;
    let host = if url.host().contains(':') {
        format!("[{}]", url.host())
    } else {
        url.host().to_owned()
    };
    let trust = url
        .fingerprint()
        .map(|fingerprint| format!(" --ca-fingerprint {fingerprint}"))
        .unwrap_or_default();
    Ok(format!(
        "to type it on the board, within 10 minutes: iottly-agent enroll --url https://{host}:{} --pair-code {code}{trust} --data DIR",
        url.port()
    ))
}

/// Returns the URL that the cloud made, with another address if one is given.
pub(crate) fn url(made: Option<&str>, address: Option<&str>) -> Result<String, Failure> {
    let url = made.ok_or_else(|| {
        Failure::Invalid(
            "the cloud has no TLS listener, so no board can be enrolled; start it with iottly serve --listen ADDR"
                .to_owned(),
        )
    })?;
    let Some(address) = address else {
        return Ok(url.to_owned());
    };
    let made: EnrollUrl = url
        .parse()
        .map_err(|error| Failure::Invalid(format!("the cloud's enrolment URL: {error}")))?;
    // The same grammar reads the address.
    let place: EnrollUrl = format!("iottly://{address}/{}", PairCode::from_bytes([0; 16]))
        .parse()
        .map_err(|error| Failure::Invalid(format!("--address {address:?}: {error}")))?;
    let moved = EnrollUrl::new(place.host(), place.port(), made.code(), made.fingerprint());
    moved
        .map(|url| url.to_string())
        .map_err(|error| Failure::Invalid(format!("--address {address:?}: {error}")))
}

fn copy(copy: &CopyDto) -> Vec<String> {
    let state = if copy.connected {
        "connected"
    } else {
        "disconnected"
    };
    vec![
        copy.device.to_string(),
        copy.number.to_string(),
        copy.address.clone(),
        state.to_owned(),
        copy.name.clone(),
    ]
}

fn waiting(board: &WaitingBoardDto) -> Vec<String> {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        board.code.to_string(),
        board.address.clone(),
        known(&board.mac),
        format!("{} s", board.waits_s),
        known(&board.name),
    ]
}

fn listed_device(device: &Props) -> Vec<String> {
    let legacy = if device.legacy { "  (legacy)" } else { "" };
    vec![
        device.id.to_string(),
        device.presence.state.to_string(),
        at(device.presence.since),
        device.name.clone() + legacy,
    ]
}
