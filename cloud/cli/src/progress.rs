//! Progress bars with counts, on terminals only: elsewhere a command prints what it prints without a bar.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::draws_bars;

/// Interval in which a bar of unknown length moves.
const TICK: Duration = Duration::from_millis(120);
/// Maximum number of times per second that a bar is drawn.
const PER_SECOND: u8 = 10;

/// Bar on standard error; nothing if that is not a terminal.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Returns a bar of `total` items of a kind, such as devices; nothing for a single one.
    pub(crate) fn of_items(what: &str, total: usize) -> Self {
        if total < 2 {
            return Self(None);
        }
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        Self::start(
            Some(total),
            &format!("{what} [{{bar:30}}] {{pos}}/{{len}}  {{msg}}"),
        )
    }

    /// Returns a bar of bytes; without a length if it is not known.
    pub(crate) fn of_bytes(what: &str, total: Option<u64>) -> Self {
        let place = if total.is_some() {
            "[{bar:30}] {bytes}/{total_bytes}"
        } else {
            "{spinner} {bytes}"
        };
        Self::start(total, &format!("{what} {place}  {{bytes_per_sec}}  {{msg}}"))
    }

    fn start(total: Option<u64>, template: &str) -> Self {
        if !draws_bars() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(PER_SECOND));
        let style = ProgressStyle::with_template(template).map(|style| style.progress_chars("=> "));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if total.is_none() {
            bar.enable_steady_tick(TICK);
        }
        Self(Some(bar))
    }

    /// Returns true if there is a bar.
    pub(crate) fn is_drawn(&self) -> bool {
        self.0.is_some()
    }

    /// Sets the number of finished items and the text beside it.
    pub(crate) fn set(&self, done: u64, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
            bar.set_position(done);
        }
    }

    /// Counts further items.
    pub(crate) fn add(&self, more: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(more);
        }
    }

    /// Does what prints to the terminal, with the bar out of the way.
    pub(crate) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    /// Clears the line of the bar: the command says what came of it.
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
