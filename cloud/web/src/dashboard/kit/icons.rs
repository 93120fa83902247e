//! Icons, drawn on a grid of 16. Each stands beside a text; alone only with a label of its button.

use maud::{Markup, html};

/// Outlines of an icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Icon {
    Add,
    Copy,
    Down,
    Download,
    Filter,
    Find,
    Info,
    Menu,
    Pause,
    Send,
    Script,
    Warning,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Add => "M8 3v10M3 8h10",
            Self::Copy => {
                "M5.5 7a1.5 1.5 0 0 1 1.5-1.5h5A1.5 1.5 0 0 1 13.5 7v5a1.5 1.5 0 0 1-1.5 1.5H7A1.5 1.5 0 0 1 5.5 12zM10.5 5.5v-1a2 2 0 \
                 0 0-2-2h-4a2 2 0 0 0-2 2v4a2 2 0 0 0 2 2h1"
            }
            Self::Down => "m4.5 6.5 3.5 3.5 3.5-3.5",
            Self::Download => "M8 2.5v8M4.5 7.5 8 11l3.5-3.5M3 13.5h10",
            Self::Filter => "M2.5 4h11M4.5 8h7M6.5 12h3",
            Self::Find => "M11.25 7a4.25 4.25 0 1 1-8.5 0 4.25 4.25 0 0 1 8.5 0m-1 3.25 3.25 3.25",
            Self::Info => "M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0M8 7.5v3.5M8 5h.01",
            Self::Menu => "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
            Self::Pause => "M5.5 3.5v9M10.5 3.5v9",
            Self::Send => "M2.5 8h9M8 4.5 11.5 8 8 11.5M13.5 3v10",
            Self::Script => "m3 5 3 3-3 3M8 11.5h5",
            Self::Warning => "M8 2.5 14.5 13h-13zM8 6.5V9.5M8 11.5h.01",
        }
    }
}

/// Returns an icon.
pub(in super::super) fn icon(icon: Icon) -> Markup {
    html! { svg.icon viewBox="0 0 16 16" aria-hidden="true" { path d=(icon.path()) {} } }
}

/// Returns the mark of the product: a trace with two pads.
pub(in super::super) fn brand() -> Markup {
    html! {
        svg viewBox="0 0 24 24" aria-hidden="true" {
            rect width="24" height="24" rx="6" fill="#3c45c2" {}
            path d="M6.5 8.5h3l5 7h3" fill="none" stroke="#fff" stroke-width="2" stroke-linejoin="round" {}
            circle cx="6.5" cy="8.5" r="2.25" fill="#3c45c2" stroke="#fff" stroke-width="1.75" {}
            circle cx="17.5" cy="15.5" r="2.25" fill="#fff" {}
        }
    }
}
