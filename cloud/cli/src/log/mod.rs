//! The log on standard error. What strangers send ends up in it, so that it cannot be forged, flooded or
//! filled by them: fields are cut and escaped, and lines of one kind are counted.

mod clip;
mod flood;

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::Instant;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use clip::Clipped;
use flood::{Flood, Verdict};

/// What is logged unless `IOTTLY_LOG` says otherwise. The broker's crate warns of everything that a stranger
/// does wrong.
const DEFAULT: &str = "warn,mqtt5=error,mqtt5_protocol=error";

/// Begins to log.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("IOTTLY_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
        // It would be told on standard error too, and panic there, in the middle of whatever wanted to log.
        .log_internal_errors(false)
        .fmt_fields(Clipped)
        .map_event_format(Limited::around)
        .with_env_filter(filter)
        .init();
}

/// Lines in a format, of which only so many of one kind are written.
struct Limited<F> {
    format: F,
    flood: Mutex<Flood>,
}

impl<F> Limited<F> {
    fn around(format: F) -> Self {
        Self {
            format,
            flood: Mutex::default(),
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let verdict = match self.flood.lock() {
            Ok(mut flood) => flood.ask(event.metadata(), Instant::now()),
            Err(_) => Verdict::Write { left_out: 0 },
        };
        let Verdict::Write { left_out } = verdict else {
            return Ok(());
        };
        if left_out > 0 {
            writeln!(writer, "({left_out} lines like the next one were left out)")?;
        }
        self.format.format_event(context, writer, event)
    }
}
