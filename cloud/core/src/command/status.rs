//! The table of a command's status: which status may follow which, by a report of the device or by a step of
//! the cloud. Stores nothing.

use iottly_protocol::CommandState;

use crate::model::CommandStatus;
use CommandStatus::{Answered, Cancelled, Delivered, Expired, Failed, Interrupted, Queued, Sent};

impl CommandStatus {
    /// All statuses: the open ones, in the order in which a command passes through them, then the final ones.
    pub const ALL: [Self; 8] = [
        Queued,
        Sent,
        Delivered,
        Answered,
        Failed,
        Expired,
        Interrupted,
        Cancelled,
    ];
    /// Statuses in which a command that is cancelled is only marked: it was sent, so the device decides.
    pub const MARKED: &[Self] = &[Sent, Delivered];

    /// Returns the statuses that may directly precede this one. A command moves forwards only; a status that
    /// the cloud presumed is not listed, because any report of the device replaces it.
    #[must_use]
    pub const fn predecessors(self) -> &'static [Self] {
        match self {
            Queued => &[],
            Sent => &[Queued],
            Delivered => &[Queued, Sent],
            Answered | Failed | Expired | Interrupted | Cancelled => &[Queued, Sent, Delivered],
        }
    }

    /// Returns the status that a device's report stands for.
    #[must_use]
    pub const fn reported(report: CommandState) -> Self {
        match report {
            CommandState::Delivered => Delivered,
            CommandState::Done => Answered,
            CommandState::Failed => Failed,
            CommandState::Expired => Expired,
            CommandState::Interrupted => Interrupted,
            CommandState::Cancelled => Cancelled,
        }
    }
}

/// Change of a command's status that the cloud makes without a report of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudStep {
    /// The command was sent to the device's connection.
    Send,
    /// The command was cancelled before it was sent.
    Cancel,
    /// The command was sent and marked as being cancelled, and the cloud will not send it again.
    Withdraw,
    /// The time to live passed without a report.
    Expire,
}

impl CloudStep {
    /// Returns the statuses in which the step applies.
    #[must_use]
    pub const fn from(self) -> &'static [CommandStatus] {
        match self {
            Self::Send | Self::Cancel => &[Queued],
            Self::Withdraw => &[Sent],
            Self::Expire => &[Queued, Sent],
        }
    }

    /// Returns true if the step applies only to a command that is marked as being cancelled.
    #[must_use]
    pub const fn needs_mark(self) -> bool {
        matches!(self, Self::Withdraw)
    }

    /// Returns the status after the step.
    #[must_use]
    pub const fn to(self) -> CommandStatus {
        match self {
            Self::Send => Sent,
            Self::Cancel | Self::Withdraw => Cancelled,
            Self::Expire => Expired,
        }
    }

    /// Returns true if the status after the step is presumed: the device may have the command, and its report
    /// replaces the status.
    #[must_use]
    pub const fn presumes(self) -> bool {
        self.to().is_final()
    }

    /// Returns the detail that the command gets with the step.
    #[must_use]
    pub const fn detail(self) -> Option<&'static str> {
        match self {
            Self::Send => None,
            Self::Cancel | Self::Withdraw => Some("withdrawn before the device reported it"),
            Self::Expire => Some("the device did not report the command in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTS: [CommandState; 6] = [
        CommandState::Delivered,
        CommandState::Done,
        CommandState::Failed,
        CommandState::Expired,
        CommandState::Interrupted,
        CommandState::Cancelled,
    ];
    const STEPS: [CloudStep; 4] = [
        CloudStep::Send,
        CloudStep::Cancel,
        CloudStep::Withdraw,
        CloudStep::Expire,
    ];

    /// Returns the status of a command after a device's report; none if the report changes nothing.
    fn after(current: CommandStatus, presumed: bool, report: CommandState) -> Option<CommandStatus> {
        let next = CommandStatus::reported(report);
        (presumed || next.predecessors().contains(&current)).then_some(next)
    }

    #[test]
    fn a_command_moves_forwards_and_a_final_status_stays() {
        for current in CommandStatus::ALL {
            for report in REPORTS {
                let next = after(current, false, report);
                let forwards = !current.is_final() && current != CommandStatus::reported(report);
                assert_eq!(next.is_some(), forwards, "{current:?} {report:?}");
                assert!(next.is_none_or(|next| next == CommandStatus::reported(report)));
            }
        }
    }

    #[test]
    fn any_report_replaces_a_presumed_status() {
        for step in STEPS.into_iter().filter(|step| step.presumes()) {
            for report in REPORTS {
                let next = after(step.to(), true, report);
                assert_eq!(next, Some(CommandStatus::reported(report)), "{step:?} {report:?}");
            }
        }
    }

    #[test]
    fn steps_of_the_cloud_follow_the_same_order() {
        for step in STEPS {
            let possible = step.to().predecessors();
            assert!(step.from().iter().all(|from| possible.contains(from)), "{step:?}");
            assert_eq!(step.presumes(), step.detail().is_some(), "{step:?}");
        }
    }
}
