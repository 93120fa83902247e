//! Screen of a board that a person has to approve: an address, a code, and both as a QR code if it is a terminal.

use std::fmt::Write as _;

use iottly_agent::Screen;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// Form of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text alone, for files and pipes.
    Plain,
    /// With a QR code of block characters, for terminals with light text on a dark ground.
    Blocks,
    /// With a QR code in black and white, whatever the colours of the terminal are.
    Colours,
}

impl Form {
    /// Returns the form for an output.
    pub(crate) const fn of(is_terminal: bool, no_color: bool) -> Self {
        match (is_terminal, no_color) {
            (false, _) => Self::Plain,
            (true, true) => Self::Blocks,
            (true, false) => Self::Colours,
        }
    }
}

/// Returns the text of a screen.
pub(crate) fn text(screen: &Screen, form: Form) -> String {
    let mut out = String::new();
    if form != Form::Plain
        && let Some(code) = qr_code(&screen.complete_address(), form)
    {
        out.push_str(&code);
    }
    let minutes = screen.valid.as_secs().div_ceil(60);
    writeln!(
        out,
        "Approve this board at {}\nwith the code         {}\n\nThe code is valid for {minutes} minutes. Waiting for the approval.",
        screen.address, screen.code
    )
    .expect("a string takes all");
    out
}

fn qr_code(address: &str, form: Form) -> Option<String> {
    // An address that is too long for a QR code is shown as text only.
    let code = QrCode::new(address).ok()?;
    let picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    let mut out = String::new();
    for line in picture.lines() {
        match form {
            // White blocks on black.
            Form::Colours => writeln!(out, "\x1b[97;40m{line}\x1b[0m"),
            Form::Plain | Form::Blocks => writeln!(out, "{line}"),
        }
        .expect("a string takes all");
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pipes_get_text_and_terminals_a_qr_code() {
        let screen = Screen {
            address: "https://cloud.example/enroll".into(),
            code: "7K3M-9PQX".parse().expect("a code"),
            valid: Duration::from_secs(600),
        };
        let plain = text(&screen, Form::of(false, false));
        assert!(plain.is_ascii() && !plain.contains('\x1b'), "{plain}");
        for part in [screen.address.as_str(), "7K3M-9PQX", "10 minutes"] {
            assert!(plain.contains(part), "{part}: {plain}");
        }
        let blocks = text(&screen, Form::of(true, true));
        assert!(blocks.contains('█') && !blocks.contains('\x1b'), "{blocks}");
        assert!(blocks.ends_with(&plain));
        let coloured = text(&screen, Form::of(true, false));
        assert!(
            coloured.contains("\x1b[97;40m") && coloured.ends_with(&plain),
            "{coloured}"
        );
        let lines: Vec<usize> = blocks.lines().take(10).map(|line| line.chars().count()).collect();
        assert!(lines.iter().all(|length| *length == lines[0]), "{lines:?}");
    }
}
