//! Text of a profile, and what is refused in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Channel, Drive, Node, Pin, Profile, Spi, Wiring, builtin};

/// Maximum number of parts of one kind.
const MAX_PARTS: usize = 1024;
/// Maximum length of a label or name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Clock rate of an SPI device that names none, in hertz; slow enough for long wires.
pub(crate) const DEFAULT_SPI_HERTZ: u32 = 500_000;

/// GPIO chip that pins refer to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chip {
    label: String,
    lines: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    discover: bool,
    #[serde(default)]
    header: Option<Header>,
    #[serde(default)]
    chip: Vec<Chip>,
    #[serde(default)]
    pin: Vec<PinPart>,
    #[serde(default)]
    i2c: Vec<NodePart>,
    #[serde(default)]
    spi: Vec<SpiPart>,
    #[serde(default)]
    uart: Vec<NodePart>,
    #[serde(default)]
    pwm: Vec<ChannelPart<u32>>,
    #[serde(default)]
    adc: Vec<ChannelPart<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    layout: String,
    chip: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinPart {
    label: String,
    chip: String,
    line: u32,
    #[serde(default)]
    active_low: bool,
    #[serde(default)]
    drive: Drive,
    #[serde(default)]
    debounce_us: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodePart {
    label: String,
    node: String,
    #[serde(default)]
    needs: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpiPart {
    label: String,
    node: String,
    #[serde(default)]
    needs: Option<String>,
    #[serde(default)]
    hertz: Option<u32>,
    #[serde(default)]
    mode: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelPart<C> {
    label: String,
    device: String,
    channel: C,
    #[serde(default)]
    needs: Option<String>,
}

pub(super) fn parse(text: &str) -> Result<Profile, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let mut profile = match &file.base {
        Some(base) => builtin::text(base)
            .ok_or_else(|| format!("base {base:?} is none of {}", builtin::names().join(", ")))
            .and_then(parse)?,
        None => Profile::default(),
    };
    if file.base.is_some() {
        // A profile of one's own is chosen by its file, never by the machine's model.
        profile.models.clear();
    }
    add(&mut profile, file)?;
    check(&profile)?;
    Ok(profile)
}

fn add(profile: &mut Profile, file: File) -> Result<(), String> {
    if let Some(name) = file.name {
        profile.name = name;
    }
    profile.models.extend(file.models);
    profile.discover |= file.discover;
    profile.chips.extend(file.chip);
    if let Some(header) = file.header {
        profile.pins.extend(header_pins(&header)?);
    }
    profile.pins.extend(file.pin.into_iter().map(|pin| Pin {
        label: pin.label,
        alias: None,
        chip: pin.chip,
        line: pin.line,
        wiring: Wiring {
            active_low: pin.active_low,
            drive: pin.drive,
            debounce_us: pin.debounce_us,
        },
    }));
    profile.i2c.extend(file.i2c.into_iter().map(NodePart::into_node));
    profile
        .uart
        .extend(file.uart.into_iter().map(NodePart::into_node));
    profile.spi.extend(file.spi.into_iter().map(|spi| Spi {
        at: Node {
            label: spi.label,
            node: spi.node,
            needs: spi.needs,
        },
        hertz: spi.hertz.unwrap_or(DEFAULT_SPI_HERTZ),
        mode: spi.mode,
    }));
    profile
        .pwm
        .extend(file.pwm.into_iter().map(ChannelPart::into_channel));
    profile
        .adc
        .extend(file.adc.into_iter().map(ChannelPart::into_channel));
    Ok(())
}

impl NodePart {
    fn into_node(self) -> Node {
        Node {
            label: self.label,
            node: self.node,
            needs: self.needs,
        }
    }
}

impl<C> ChannelPart<C> {
    fn into_channel(self) -> Channel<C> {
        Channel {
            label: self.label,
            device: self.device,
            channel: self.channel,
            needs: self.needs,
        }
    }
}

fn header_pins(header: &Header) -> Result<Vec<Pin>, String> {
    let text = builtin::header(&header.layout).ok_or_else(|| {
        format!(
            "header layout {:?} is not known; there is raspberry-pi-40",
            header.layout
        )
    })?;
    let positions: BTreeMap<String, u32> =
        toml::from_str(text).map_err(|error| format!("header {}: {error}", header.layout))?;
    let mut pins = Vec::with_capacity(positions.len());
    for (line, position) in positions {
        let line: u32 = line
            .parse()
            .map_err(|_| format!("header line {line:?} is not a number"))?;
        pins.push(Pin {
            label: format!("GPIO{line}"),
            alias: Some(format!("pin{position}")),
            chip: header.chip.clone(),
            line,
            wiring: Wiring::default(),
        });
    }
    pins.sort_by_key(|pin| pin.line);
    Ok(pins)
}

/// Refuses labels that are used twice or cannot be labels, and parts that cannot exist.
fn check(profile: &Profile) -> Result<(), String> {
    let labels = |pin: &Pin| [Some(pin.label.clone()), pin.alias.clone()];
    unique("pin", profile.pins.iter().flat_map(labels).flatten())?;
    unique("i2c", profile.i2c.iter().map(|part| part.label.clone()))?;
    unique("spi", profile.spi.iter().map(|part| part.at.label.clone()))?;
    unique("uart", profile.uart.iter().map(|part| part.label.clone()))?;
    unique("pwm", profile.pwm.iter().map(|part| part.label.clone()))?;
    unique("adc", profile.adc.iter().map(|part| part.label.clone()))?;
    unique("chip", profile.chips.iter().map(|chip| chip.label.clone()))?;
    for pin in &profile.pins {
        let lines = profile.chips.iter().find(|chip| chip.label == pin.chip);
        let lines = lines
            .ok_or_else(|| format!("pin {:?}: chip {:?} has no [[chip]]", pin.label, pin.chip))?
            .lines;
        if pin.line >= lines {
            return Err(format!(
                "pin {:?}: chip {:?} has {lines} lines from 0, none {}",
                pin.label, pin.chip, pin.line
            ));
        }
    }
    let spi = profile.spi.iter().map(|spi| ("spi", &spi.at));
    let nodes = (profile.i2c.iter().map(|node| ("i2c", node)))
        .chain(profile.uart.iter().map(|node| ("uart", node)))
        .chain(spi);
    for (kind, node) in nodes {
        if !is_below(&node.node) {
            return Err(format!(
                "{kind} {:?}: {:?} is no path below /dev",
                node.label, node.node
            ));
        }
    }
    for spi in &profile.spi {
        if spi.mode > 3 || spi.hertz == 0 {
            let label = &spi.at.label;
            return Err(format!("spi {label:?}: mode is 0 to 3, hertz is more than 0"));
        }
    }
    let devices = (profile.pwm.iter().map(|part| ("pwm", &part.label, &part.device)))
        .chain(profile.adc.iter().map(|part| ("adc", &part.label, &part.device)))
        .chain(profile.adc.iter().map(|part| ("adc", &part.label, &part.channel)));
    for (kind, label, name) in devices {
        if !is_name(name) || name.contains('/') {
            return Err(format!(
                "{kind} {label:?}: {name:?} is not the name of a device or channel"
            ));
        }
    }
    Ok(())
}

fn unique(kind: &str, labels: impl Iterator<Item = String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for label in labels {
        if !is_name(&label) {
            return Err(format!(
                "{kind} {label:?}: a label has 1 to {MAX_NAME_BYTES} letters, digits and . _ - : / @"
            ));
        }
        if seen.len() >= 2 * MAX_PARTS {
            return Err(format!("more than {MAX_PARTS} parts of the kind {kind}"));
        }
        if !seen.insert(label.clone()) {
            return Err(format!("{kind} {label:?}: the label is used twice"));
        }
    }
    Ok(())
}

pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-:/@".contains(c))
}

/// Returns `true` for a relative path that does not leave its folder.
pub(crate) fn is_below(path: &str) -> bool {
    is_name(path)
        && std::path::Path::new(path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
}
