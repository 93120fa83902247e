//! `iottly series`: the numbers in devices' messages over time.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use iottly_core::model::PlotSettings;
use iottly_web::answers::{Date, PointsDto, SeriesDto, SkippedDto};

use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::{Api, escaped};
use crate::saved_plots;
use crate::table::{Table, plain};
use crate::terminal::Screen;
use crate::time_text::at;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the paths of numbers in the project's messages
    List {
        /// Only the paths that this device has sent, by name or id
        #[arg(long)]
        device: Option<String>,
        #[command(flatten)]
        call: Call,
    },
    /// Show the points of a series, of one device, of groups, or of all devices
    Points(Box<PointsOptions>),
    /// Save a plot under a name
    Save {
        /// Name of the plot
        name: String,
        #[command(flatten)]
        points: Box<PointsOptions>,
    },
    /// List the saved plots
    Saved {
        #[command(flatten)]
        call: Call,
    },
    /// Show the points of a saved plot
    Plot {
        /// Saved plot, by name or id
        name: String,
        #[command(flatten)]
        call: Call,
        /// Print CSV
        #[arg(long)]
        csv: bool,
    },
    /// Delete a saved plot; its series stay
    Forget {
        /// Saved plot, by name or id
        name: String,
        #[command(flatten)]
        call: Call,
    },
}

#[derive(Args)]
struct PointsOptions {
    /// Path of the series, such as room.temperature
    path: String,
    #[command(flatten)]
    call: Call,
    /// Device, by name or id; may be repeated
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// Deployment group, by name or id; may be repeated
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Value of a point
    #[arg(long, value_enum, default_value_t = Agg::Avg)]
    agg: Agg,
    /// Division into lines
    #[arg(long, value_enum, default_value_t = By::None)]
    by: By,
    /// Length of the time before now, such as 15m, 24h or 90d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// Beginning, in place of --since: ISO 8601 or Unix milliseconds
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End; now by default
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Maximum number of points of a line
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=5000))]
    points: u32,
    /// Print CSV
    #[arg(long)]
    csv: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Agg {
    Avg,
    Min,
    Max,
    Sum,
    Count,
    P95,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    None,
    Device,
    Group,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::List { device, call } => {
            let api = call.api()?;
            let of = match device {
                Some(device) => format!("?device={}", escaped(&device_id(&api, device)?)),
                None => String::new(),
            };
            let answer = api.get(&format!("/series{of}"))?;
            if call.is_table() {
                return call.print_as(&answer, list);
            }
            call.print_list("series", &answer, |_| String::new())
        }
        Command::Points(options) => points(options),
        Command::Save { name, points } => {
            let api = points.call.api()?;
            saved_plots::save(&points.call, &api, name, &settings(&api, points)?)
        }
        Command::Saved { call } => saved_plots::show(call),
        Command::Plot { name, call, csv } => {
            let api = call.api()?;
            let query = saved_plots::query(&saved_plots::find(&api, name)?.plot);
            print(call, &api, &format!("/series/points{query}"), *csv)
        }
        Command::Forget { name, call } => saved_plots::remove(call, name),
    }
}

/// Returns the options as a plot to save.
fn settings(api: &Api, options: &PointsOptions) -> Result<PlotSettings, Failure> {
    if options.from.is_some() || options.to.is_some() {
        return Err(Failure::Invalid("a saved plot ends now: use --since".to_owned()));
    }
    let devices = options.device.iter().map(|device| device_id(api, device));
    Ok(PlotSettings {
        path: options.path.clone(),
        agg: options.agg.name(),
        by: options.by.name(),
        since: options.since.clone(),
        devices: devices.collect::<Result<Vec<_>, _>>()?,
        groups: options.group.clone(),
    })
}

fn list(answer: &SeriesDto) -> String {
    let mut table = Table::new(&["SEEN", "PATH"]);
    for series in &answer.series {
        table.add(vec![at(series.seen), series.path.clone()]);
    }
    let mut out = table.render(Screen::of_stdout());
    let SkippedDto {
        deep,
        named,
        many,
        great,
        paths,
    } = answer.skipped;
    let reasons = [
        (deep, "nested too deeply"),
        (named, "with a name that cannot be a path"),
        (many, "beyond the limit of a message"),
        (great, "of too great a magnitude"),
        (paths, "of paths beyond the limit of the project"),
    ];
    let skipped: Vec<_> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    if !skipped.is_empty() {
        writeln!(out, "numbers that became no points: {}", skipped.join(", ")).expect("a string takes all");
    }
    if answer.filling > 0 {
        writeln!(
            out,
            "older messages of {} devices are still being added",
            answer.filling
        )
        .expect("a string takes all");
    }
    out
}

fn points(options: &PointsOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let path = address(&api, options)?;
    print(&options.call, &api, &path, options.csv)
}

fn print(call: &Call, api: &Api, path: &str, csv: bool) -> Result<(), Failure> {
    if csv {
        let mut body = api.download(&format!("{path}&format=csv"))?;
        let mut out = std::io::stdout().lock();
        std::io::copy(&mut body, &mut out)
            .context("the table is incomplete: the cloud or the network ended it")?;
        return Ok(out.flush().context("cannot write to standard output")?);
    }
    let answer = api.get(path)?;
    if call.is_table() {
        return call.print_as(&answer, table);
    }
    call.print_list("lines", &answer, |_| String::new())
}

fn address(api: &Api, options: &PointsOptions) -> Result<String, Failure> {
    let name = |value: &dyn ValueName| value.name();
    let mut path = format!(
        "/series/points?path={}&agg={}&by={}&points={}",
        escaped(&options.path),
        name(&options.agg),
        name(&options.by),
        options.points
    );
    let mut add = |key: &str, value: &str| {
        write!(path, "&{key}={}", escaped(value)).expect("a string takes all");
    };
    match &options.from {
        Some(from) => add("from", from),
        None => add("since", &options.since),
    }
    if let Some(to) = &options.to {
        add("to", to);
    }
    if !options.device.is_empty() {
        let ids = options.device.iter().map(|device| device_id(api, device));
        add("device", &ids.collect::<Result<Vec<_>, _>>()?.join(","));
    }
    if !options.group.is_empty() {
        add("group", &options.group.join(","));
    }
    Ok(path)
}

/// A value of an option with its name on the command line, which is its name in requests.
trait ValueName {
    fn name(&self) -> String;
}

impl<T: ValueEnum> ValueName for T {
    fn name(&self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// Returns the points as a table: for each line a heading with its numbers, then a row for each point.
fn table(answer: &PointsDto) -> String {
    let mut out = String::new();
    for line in &answer.lines {
        writeln!(
            out,
            "{}: {} values, average {}, {} to {}, {} messages missing",
            plain(&line.name),
            line.count,
            line.avg,
            line.min,
            line.max,
            line.missing
        )
        .expect("a string takes all");
        for point in &line.points {
            let time = at(Date::from(point.at));
            match (point.value, point.missing) {
                (Some(value), _) => writeln!(out, "  {time}  {value}"),
                (None, 0) => writeln!(out, "  {time}  pause"),
                (None, missing) => writeln!(out, "  {time}  pause, {missing} messages missing"),
            }
            .expect("a string takes all");
        }
    }
    if out.is_empty() {
        out += "no values in this time\n";
    }
    out
}
