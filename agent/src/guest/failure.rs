//! Failures that end a firmware, and whether the firmware or the device has caused them. Pure.

use std::fmt;

use iottly_sandbox::{CallError, Cause, Instance, LoadError, TrapCode};

/// Failure that ended a firmware.
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// Function that failed, as named in messages.
    pub(super) function: &'static str,
    pub(super) error: String,
    pub(super) description: String,
    /// The sandbox stopped a call.
    pub(super) trapped: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function,
            error,
            description,
            ..
        } = self;
        match error.as_str() {
            // The description is the whole text of a fault.
            "fault" => write!(f, "{function}: {description}"),
            error => write!(f, "{function}: {error}: {description}"),
        }
    }
}

impl Failure {
    /// Creates a failure that the firmware itself has caused.
    pub(super) fn of_firmware(function: &'static str, error: impl Into<String>, description: String) -> Self {
        Self {
            cause: Cause::Firmware,
            function,
            error: error.into(),
            description,
            trapped: false,
        }
    }
}

/// Returns the cause of a failure to load.
pub(super) fn cause(error: &LoadError) -> Cause {
    match error {
        LoadError::TooLarge { .. }
        | LoadError::Invalid(_)
        | LoadError::World(_)
        | LoadError::Manifest(_)
        | LoadError::Script(_)
        | LoadError::NoEngine { .. } => Cause::Firmware,
        LoadError::Compile(_) | LoadError::Cache { .. } => Cause::Device,
    }
}

/// Returns the failure for a call that ended the instance.
pub(super) fn failure(function: &'static str, error: &CallError, instance: &mut Instance) -> Failure {
    let lacking = instance.device_failure();
    let mut failure = match error {
        CallError::Trap(report) => {
            let mut description = report.message.clone();
            if !report.functions.is_empty() {
                description = format!("{description} (in {})", report.functions.join(" < "));
            }
            let mut failure =
                Failure::of_firmware(report.export, format!("trap {}", report.code), description);
            failure.trapped = true;
            if report.code == TrapCode::Device {
                failure.cause = Cause::Device;
            }
            failure
        }
        CallError::Fault(_) | CallError::Dead(_) => {
            Failure::of_firmware(function, "fault", error.to_string())
        }
    };
    if let Some(lacking) = lacking {
        failure.cause = Cause::Device;
        failure.description = format!("{lacking}; {}", failure.description);
    }
    failure
}
