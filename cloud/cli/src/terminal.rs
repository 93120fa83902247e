//! Terminals of this program: their width, and if colours are wanted.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use clap::ValueEnum;

use crate::say::is_quiet;

/// Width of a terminal that does not tell it, in columns.
const USUAL: u16 = 80;

/// Wish for styled texts, as the option `--color` has it.
static COLOR: OnceLock<Color> = OnceLock::new();

/// Choice of styled texts, such as bold headings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also where NO_COLOR is set
    Always,
    /// Never
    Never,
}

/// Sets the wish for styled texts; the first one stays.
pub(crate) fn choose_color(color: Color) {
    // Set once, at the start of the program.
    let _ = COLOR.set(color);
}

/// Standard output as a place for tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Width in columns; none if it is not a terminal.
    pub(crate) width: Option<u16>,
    /// True if texts may be bold.
    pub(crate) is_styled: bool,
}

impl Screen {
    /// Returns what standard output is.
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let is_styled = match COLOR.get() {
            Some(Color::Always) => true,
            Some(Color::Never) => false,
            Some(Color::Auto) | None => is_terminal && !is_set("NO_COLOR") && !is_dumb(),
        };
        Self {
            width: is_terminal.then(width),
            is_styled,
        }
    }
}

/// Returns true if progress bars can be drawn: standard error is a terminal that can move its cursor.
pub(crate) fn draws_bars() -> bool {
    !is_quiet() && std::io::stderr().is_terminal() && !is_dumb()
}

/// Returns true if the terminal can neither move its cursor nor style texts.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn width() -> u16 {
    // SAFETY: the struct is plain numbers, for which zero is a value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `winsize`, which this request fills in, and it is not kept.
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if done == 0 && size.ws_col > 0 {
        size.ws_col
    } else {
        USUAL
    }
}
