//! Boards with Linux: a profile says which device of the system a label means.
//!
//! The kernel bounds the time of an I2C or SPI transaction (one second for most controllers). Opening a device and
//! reading an analog input run on threads of their own and are abandoned after some seconds. What cannot be bounded:
//! setting and reading a GPIO line and writing a PWM setting, if a profile names a chip that is itself on a bus that
//! hangs; those of a system on the chip answer at once.

mod adc;
mod bound;
mod edges;
mod gpio;
mod i2c;
mod inventory;
mod pwm;
mod spi;
mod sys;
pub(crate) mod system;
mod uart;

use std::io;
use std::path::Path;
use std::time::Duration;

use bound::Bounded;
use gpio::Parked;
use system::{Claims, System};

use crate::profile::file::{is_below, is_name};
use crate::profile::{self, Channel, Node, Pin, Profile, Spi, Wiring};
use crate::{
    AnalogPort, Board, BoardError, I2cBus, InputPort, OutputPort, Part, Pull, PwmPort, SerialPort,
    SerialSettings, SpiPort,
};

/// Maximum time of opening a device.
const OPEN_WAIT: Duration = Duration::from_secs(3);

/// Board of a machine with Linux.
pub struct LinuxBoard {
    profile: Profile,
    system: System,
    claims: Claims,
    parked: Parked,
    bounded: Bounded,
}

impl LinuxBoard {
    /// Creates the board of a profile. Nothing is opened.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self::below(profile, Path::new("/"))
    }

    /// Creates a board whose system is a folder with `dev`, `sys`, `proc` and `etc`.
    #[must_use]
    pub fn below(profile: Profile, root: &Path) -> Self {
        Self {
            profile,
            system: System::new(root),
            claims: Claims::default(),
            parked: Parked::default(),
            bounded: Bounded::default(),
        }
    }

    /// Returns the machine's model as the device tree names it, and the name of the profile for it.
    #[must_use]
    pub fn detect() -> (String, &'static str) {
        let model = System::new(Path::new("/")).model();
        let name = profile::detect(&model);
        (model, name)
    }

    /// Returns the profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    fn pin(&self, label: &str) -> Result<Pin, BoardError> {
        let named = |pin: &&Pin| pin.label == label || pin.alias.as_deref() == Some(label);
        let of_system = || {
            let (chip, line) = label.rsplit_once('/')?;
            Some(Pin {
                label: label.to_owned(),
                alias: None,
                chip: chip.to_owned(),
                line: line.parse().ok()?,
                wiring: Wiring::default(),
            })
        };
        let found = self.profile.pins.iter().find(named).cloned();
        found
            .or_else(|| self.discovered(label, of_system))
            .ok_or_else(|| missing("pin", label))
    }

    fn node(
        &self,
        nodes: &[Node],
        what: &'static str,
        begin: &[&str],
        label: &str,
    ) -> Result<Node, BoardError> {
        let of_system = || {
            let fits = begin.iter().any(|begin| label.starts_with(begin)) && is_below(label);
            fits.then(|| Node {
                label: label.to_owned(),
                node: label.to_owned(),
                needs: None,
            })
        };
        let found = nodes.iter().find(|node| node.label == label).cloned();
        found
            .or_else(|| self.discovered(label, of_system))
            .ok_or_else(|| missing(what, label))
    }

    fn channel<C: Clone + std::str::FromStr>(
        &self,
        channels: &[Channel<C>],
        what: &'static str,
        label: &str,
    ) -> Result<Channel<C>, BoardError> {
        let of_system = || {
            let (device, channel) = label.split_once('/')?;
            (!device.starts_with('.') && !channel.contains('/')).then_some(())?;
            Some(Channel {
                label: label.to_owned(),
                device: device.to_owned(),
                channel: channel.parse().ok()?,
                needs: None,
            })
        };
        let found = channels.iter().find(|channel| channel.label == label).cloned();
        found
            .or_else(|| self.discovered(label, of_system))
            .ok_or_else(|| missing(what, label))
    }

    /// Returns the part that a name of the system means, if the profile allows such labels.
    fn discovered<T>(&self, label: &str, part: impl FnOnce() -> Option<T>) -> Option<T> {
        (self.profile.discover && is_name(label)).then(part).flatten()
    }

    /// Opens a device within the bound in time, and names what refuses it.
    fn open<T: Send + 'static>(
        &self,
        label: &str,
        path: &Path,
        needs: Option<&str>,
        open: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, BoardError> {
        let (system, path, needs) = (self.system.clone(), path.to_owned(), needs.map(str::to_owned));
        let named = label.to_owned();
        self.bounded.run(label, OPEN_WAIT, move || {
            open().map_err(|error| system.refusal(&named, &path, needs.as_deref(), &error))
        })
    }

    fn line(&self, label: &str) -> Result<(Pin, std::path::PathBuf, system::Claim), BoardError> {
        let pin = self.pin(label)?;
        let claim = self
            .claims
            .take(format!("gpio {} {}", pin.chip, pin.line), label)?;
        let (system, profile) = (self.system.clone(), self.profile.name.clone());
        let (wanted, named) = (pin.clone(), label.to_owned());
        let chip = self.bounded.run(label, OPEN_WAIT, move || {
            gpio::chip_of(&system, &profile, &named, &wanted)
        })?;
        Ok((pin, chip, claim))
    }
}

fn missing(what: &'static str, label: &str) -> BoardError {
    BoardError::Missing {
        what,
        label: label.to_owned(),
    }
}

impl Board for LinuxBoard {
    fn kind(&self) -> &str {
        &self.profile.name
    }

    fn parts(&self) -> Vec<Part> {
        self.inventory()
    }

    fn names(&self, interface: &str, label: &str) -> Vec<String> {
        let Some(hardware) = self.hardware(interface, label) else {
            return vec![label.to_owned()];
        };
        let same = |other: &String| {
            self.hardware(interface, other)
                .is_some_and(|other| other == hardware)
        };
        let mut names: Vec<_> = self.labels(interface).into_iter().filter(same).collect();
        names.push(label.to_owned());
        names
    }

    fn output(&self, label: &str, high: bool) -> Result<OutputPort, BoardError> {
        let (pin, chip, claim) = self.line(label)?;
        let (parked, named) = (self.parked.clone(), label.to_owned());
        self.bounded.run(label, OPEN_WAIT, move || {
            gpio::output(chip, &pin, &named, high, &parked, claim)
        })
    }

    fn input(&self, label: &str, pull: Pull) -> Result<InputPort, BoardError> {
        let (pin, chip, claim) = self.line(label)?;
        let (parked, named) = (self.parked.clone(), label.to_owned());
        self.bounded.run(label, OPEN_WAIT, move || {
            let request = gpio::request_input(&chip, &pin, &named, pull, &parked)?;
            Ok(Box::new(edges::Input::new(request, pin.line, &named, claim)) as InputPort)
        })
    }

    fn i2c(&self, label: &str) -> Result<I2cBus, BoardError> {
        let node = self.node(&self.profile.i2c, "I2C bus", &["i2c-"], label)?;
        let (path, devices) = (self.system.dev(&node.node), self.system.sys("bus/i2c/devices"));
        let opened = path.clone();
        let bus = self.open(label, &path, node.needs.as_deref(), move || {
            i2c::Bus::open(&opened, devices)
        })?;
        Ok(Box::new(bus))
    }

    fn spi(&self, label: &str) -> Result<SpiPort, BoardError> {
        let Spi { at, hertz, mode } = self.spi_part(label)?;
        let claim = self.claims.take(format!("spi {}", at.node), label)?;
        let path = self.system.dev(&at.node);
        let opened = path.clone();
        let device = self.open(label, &path, at.needs.as_deref(), move || {
            spi::Device::open(&opened, mode, hertz, claim)
        })?;
        Ok(Box::new(device))
    }

    fn uart(&self, label: &str, settings: SerialSettings) -> Result<SerialPort, BoardError> {
        let node = self.node(&self.profile.uart, "serial port", &["tty", "serial"], label)?;
        let claim = self.claims.take(format!("uart {}", node.node), label)?;
        let speed = uart::speed(settings.baud).filter(|_| (1..=2).contains(&settings.stop_bits));
        let speed = speed.ok_or_else(|| {
            BoardError::Unsupported(format!(
                "{label:?} cannot do {} baud with {} stop bits",
                settings.baud, settings.stop_bits
            ))
        })?;
        let path = self.system.dev(&node.node);
        let opened = path.clone();
        let port = self.open(label, &path, node.needs.as_deref(), move || {
            uart::Port::open(&opened, &settings, speed, claim)
        })?;
        Ok(Box::new(port))
    }

    fn pwm(&self, label: &str, hertz: u32) -> Result<PwmPort, BoardError> {
        let part = self.channel(&self.profile.pwm, "PWM output", label)?;
        let claim = self
            .claims
            .take(format!("pwm {} {}", part.device, part.channel), label)?;
        let class = self.system.sys("class/pwm");
        let path = class.join(&part.device);
        let named = label.to_owned();
        let (system, needs) = (self.system.clone(), part.needs.clone());
        self.bounded.run(label, OPEN_WAIT, move || {
            let opened = pwm::chip(&class, &part.device)
                .and_then(|chip| pwm::Output::open(&chip, part.channel, hertz, &named, claim));
            match opened {
                Ok(output) => Ok(Box::new(output) as PwmPort),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    Err(pwm::unsupported(&named, hertz))
                }
                Err(error) => Err(system.refusal(&named, &path, needs.as_deref(), &error)),
            }
        })
    }

    fn analog(&self, label: &str) -> Result<AnalogPort, BoardError> {
        let part = self.channel(&self.profile.adc, "analog input", label)?;
        let claim = self
            .claims
            .take(format!("adc {} {}", part.device, part.channel), label)?;
        let devices = self.system.sys("bus/iio/devices");
        let path = devices.join(&part.device);
        let (bounded, named) = (self.bounded.clone(), label.to_owned());
        let input = self.open(label, &path, part.needs.as_deref(), move || {
            let folder = adc::converter(&devices, &part.device)?;
            adc::Input::open(folder, &part.channel, &named, bounded, claim)
        })?;
        Ok(Box::new(input))
    }
}

impl LinuxBoard {
    /// Returns a text that is the same for all labels of one device.
    fn hardware(&self, interface: &str, label: &str) -> Option<String> {
        let profile = &self.profile;
        match interface {
            "gpio" => {
                let pin = self.pin(label).ok()?;
                // A label of the system may name the chip by its number.
                let (chips, _) = gpio::chips(&self.system);
                let chip = chips.into_iter().find(|chip| chip.name == pin.chip);
                let chip = chip.map_or(pin.chip, |chip| chip.label);
                Some(format!("{chip} {}", pin.line))
            }
            "i2c" => self
                .node(&profile.i2c, "", &["i2c-"], label)
                .ok()
                .map(|node| node.node),
            "spi" => self.spi_part(label).ok().map(|spi| spi.at.node),
            "uart" => self
                .node(&profile.uart, "", &["tty", "serial"], label)
                .ok()
                .map(|node| node.node),
            "pwm" => {
                let part = self.channel(&profile.pwm, "", label).ok()?;
                Some(format!("{} {}", part.device, part.channel))
            }
            "adc" => {
                let part = self.channel(&profile.adc, "", label).ok()?;
                Some(format!("{} {}", part.device, part.channel))
            }
            _ => None,
        }
    }

    /// Returns the labels of the profile.
    fn labels(&self, interface: &str) -> Vec<String> {
        let profile = &self.profile;
        let nodes = |nodes: &[Node]| nodes.iter().map(|node| node.label.clone()).collect();
        match interface {
            "gpio" => {
                let names = |pin: &Pin| [Some(pin.label.clone()), pin.alias.clone()];
                profile.pins.iter().flat_map(names).flatten().collect()
            }
            "i2c" => nodes(&profile.i2c),
            "spi" => profile.spi.iter().map(|spi| spi.at.label.clone()).collect(),
            "uart" => nodes(&profile.uart),
            "pwm" => profile.pwm.iter().map(|part| part.label.clone()).collect(),
            "adc" => profile.adc.iter().map(|part| part.label.clone()).collect(),
            _ => Vec::new(),
        }
    }

    fn spi_part(&self, label: &str) -> Result<Spi, BoardError> {
        if let Some(found) = self.profile.spi.iter().find(|spi| spi.at.label == label) {
            return Ok(found.clone());
        }
        Ok(Spi {
            at: self.node(&[], "SPI device", &["spidev"], label)?,
            hertz: profile::DEFAULT_SPI_HERTZ,
            mode: 0,
        })
    }
}
