//! The trait of a firmware, and the calls that the device makes.

use core::cell::RefCell;
use core::time::Duration;

use crate::{Fault, bindings, log};

/// Firmware: implement this trait and name the type in [`firmware!`](crate::firmware). Calls never overlap.
pub trait Firmware: Sized + 'static {
    /// Sets the firmware up; called once, before everything else.
    ///
    /// # Errors
    /// A fault keeps the firmware from starting: for conditions without which it cannot work, such as a
    /// missing pin.
    fn init() -> Result<Self, Fault>;

    /// Runs one pass of the loop. Returns the time to the next pass, at least a millisecond, at most a day.
    ///
    /// # Errors
    /// A fault is reported, and the device calls again after a second.
    fn tick(&mut self, now_ms: u64) -> Result<Duration, Fault> {
        let _ = now_ms;
        Ok(LONGEST)
    }

    /// Runs a command. The command `echo` works in every firmware that does not handle it here.
    ///
    /// # Errors
    /// A fault is sent to the command's sender; [`Command::unsupported`] if there is no such command.
    fn handle(&mut self, command: &Command) -> Result<(), Fault> {
        Err(command.unsupported())
    }

    /// Handles an event that the firmware subscribed to.
    ///
    /// # Errors
    /// A fault is reported.
    fn event(&mut self, event: Event) -> Result<(), Fault> {
        let _ = event;
        Ok(())
    }

    /// Checks the firmware's health.
    ///
    /// # Errors
    /// A fault with the reason for which the firmware is not healthy.
    fn health(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Ends the firmware; the last call. `reason` is for people.
    ///
    /// # Errors
    /// A fault is reported.
    fn shutdown(&mut self, reason: &str) -> Result<(), Fault> {
        let _ = reason;
        Ok(())
    }
}

/// Longest pause between two passes of the loop.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Command sent to the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Type of the command, for example `set_target`.
    pub name: String,
    /// JSON text of the object with its parameters.
    pub values: String,
}

impl Command {
    /// Returns the fault of a command without a handler.
    #[must_use]
    pub fn unsupported(&self) -> Fault {
        Fault::Unsupported(format!("no handler for {:?}", self.name))
    }

    /// Parses the parameters as a type of the firmware.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with what does not fit.
    #[cfg(feature = "json")]
    pub fn values<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&self.values).map_err(|error| Fault::Invalid(format!("{}: {error}", self.name)))
    }
}

impl From<bindings::iottly::firmware::types::Command> for Command {
    fn from(command: bindings::iottly::firmware::types::Command) -> Self {
        Self {
            name: command.name,
            values: command.values,
        }
    }
}

/// Source of an [`Event`]: a timer, a watched pin, a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(pub(crate) u32);

/// Event that the firmware subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Source of the event.
    pub source: Source,
    /// Time of the event since the firmware's start, as [`clock::now`](crate::clock::now) counts.
    pub at: Duration,
}

/// Holds a firmware between the device's calls.
#[doc(hidden)]
pub struct App<T>(RefCell<Option<T>>);

impl<T: Firmware> App<T> {
    #[must_use]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    pub fn init(&self) -> Result<(), Fault> {
        if crate::device::present() {
            std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
        }
        *self.0.borrow_mut() = Some(T::init()?);
        Ok(())
    }

    pub fn handle(&self, command: &Command) -> Result<(), Fault> {
        match self.with(|app| app.handle(command)) {
            Err(Fault::Unsupported(_)) if command.name == "echo" => {
                crate::send(&format!(r#"{{"ECHO":{{"echo":{}}}}}"#, command.values))
            }
            answer => answer,
        }
    }

    pub fn tick(&self, now_ms: u64) -> Result<u32, Fault> {
        let pause = self
            .with(|app| app.tick(now_ms))?
            .clamp(Duration::from_millis(1), LONGEST);
        Ok(u32::try_from(pause.as_millis()).expect("a day has fewer milliseconds than 2^32"))
    }

    pub fn event(&self, source: u32, at_ns: u64) -> Result<(), Fault> {
        self.with(|app| {
            app.event(Event {
                source: Source(source),
                at: Duration::from_nanos(at_ns),
            })
        })
    }

    pub fn health(&self) -> Result<(), Fault> {
        self.with(T::health)
    }

    pub fn shutdown(&self, reason: &str) -> Result<(), Fault> {
        self.with(|app| app.shutdown(reason))
    }

    fn with<R>(&self, call: impl FnOnce(&mut T) -> Result<R, Fault>) -> Result<R, Fault> {
        match self.0.borrow_mut().as_mut() {
            Some(app) => call(app),
            None => Err(Fault::Failed("init has not run".to_owned())),
        }
    }
}

impl<T: Firmware> Default for App<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u32);

    impl Firmware for Counter {
        fn init() -> Result<Self, Fault> {
            Ok(Self(0))
        }

        fn tick(&mut self, now_ms: u64) -> Result<Duration, Fault> {
            self.0 += 1;
            Ok(Duration::from_micros(now_ms))
        }

        fn event(&mut self, event: Event) -> Result<(), Fault> {
            assert_eq!(
                event,
                Event {
                    source: Source(7),
                    at: Duration::from_secs(2)
                }
            );
            Err(Fault::failed(self.0))
        }
    }

    fn command(name: &str) -> Command {
        Command {
            name: name.to_owned(),
            values: r#"{"celsius":21.5}"#.to_owned(),
        }
    }

    #[test]
    fn nothing_runs_before_init() {
        let app = App::<Counter>::new();
        assert_eq!(app.tick(0), Err(Fault::Failed("init has not run".to_owned())));
        app.init().unwrap();
        assert_eq!(app.tick(0), Ok(1), "never without a pause");
        assert_eq!(app.tick(1_500_000), Ok(1500));
        assert_eq!(app.tick(u64::MAX), Ok(86_400_000), "a day at most");
        assert_eq!(app.event(7, 2_000_000_000), Err(Fault::Failed("3".to_owned())));
        assert_eq!((app.health(), app.shutdown("")), (Ok(()), Ok(())));
    }

    #[test]
    fn commands_are_unsupported_by_name_and_echo_is_answered() {
        let app = App::<Counter>::new();
        app.init().unwrap();
        assert_eq!(
            app.handle(&command("fly")),
            Err(Fault::Unsupported("no handler for \"fly\"".to_owned()))
        );
        assert_eq!(
            app.handle(&command("echo")),
            Err(Fault::Unsupported("sending a message needs a device".to_owned()))
        );
    }

    #[cfg(feature = "json")]
    #[test]
    fn parameters_become_a_type() {
        #[derive(serde::Deserialize)]
        struct SetTarget {
            celsius: f64,
        }
        assert_eq!(command("set_target").values::<SetTarget>().unwrap().celsius, 21.5);
        let fault = command("set_target").values::<Vec<u8>>().unwrap_err();
        assert!(matches!(fault, Fault::Invalid(text) if text.starts_with("set_target: ")));
    }
}
