//! Last refusal of a device that cannot get in.

use iottly_core::model::UnixMs;
use iottly_core::refusals::{Refused, RefusedStep};
use maud::{Markup, html};

use super::super::text;
use super::age::ago;
use super::notice::{Tone, notice};

/// Returns the refusal of a known device.
pub(in super::super) fn refusal(refused: &Refused, now: UnixMs) -> Markup {
    notice(Tone::Bad, &sentence("The board", refused, now))
}

/// Returns the refusal of a device that could not be told apart from others.
pub(in super::super) fn stranger(refused: &Refused, now: UnixMs) -> Markup {
    notice(Tone::Warn, &sentence("A board, perhaps this one,", refused, now))
}

fn sentence(subject: &str, refused: &Refused, now: UnixMs) -> Markup {
    let step = match refused.step {
        RefusedStep::Tls => "could not open an encrypted connection",
        RefusedStep::Enrolment => "was refused at its enrolment",
        RefusedStep::Renewal => "got no new secret",
        RefusedStep::Login => "was refused at its login",
    };
    html! {
        (subject) " " (step) ": " b.break { (refused.reason) } ". "
        span.soft { (ago(refused.at, now)) " ago, from " code { (refused.from) } ", " time datetime=(text::iso(refused.at)) { (text::clock(refused.at)) } }
    }
}
