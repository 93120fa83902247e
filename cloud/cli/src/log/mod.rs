//! The log on standard error. Text from strangers reaches it, so fields are cut and escaped, and the lines of
//! one kind are limited: no stranger can forge, flood or fill it.

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

/// Default of `IOTTLY_LOG`. The broker's crate warns about every mistake of a stranger.
const DEFAULT: &str = "warn,mqtt5=error,mqtt5_protocol=error";

/// Starts the log. Colour codes are written to a terminal only, and not when `NO_COLOR` is set.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("IOTTLY_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
        // An internal error would be printed to standard error as well, and panic when that cannot be
        // written.
        .log_internal_errors(false)
        .fmt_fields(Clipped)
        .map_event_format(Limited::around)
        .with_env_filter(filter)
        .init();
}

/// A format that limits the lines of each kind.
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
