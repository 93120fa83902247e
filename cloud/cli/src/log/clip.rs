//! Fields of log lines: cut, and with characters escaped that could forge a line.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Longest text of one field, in bytes before escapes.
const MAX_FIELD: usize = 200;
/// Longest message, in bytes before escapes; libraries put fields into it.
const MAX_MESSAGE: usize = 400;
/// Largest number of fields of one line.
const MAX_FIELDS: usize = 32;

/// Writes fields as `message name=value name=value`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clipped;

impl<'writer> FormatFields<'writer> for Clipped {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Visitor {
            writer,
            count: 0,
            result: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'writer> {
    writer: Writer<'writer>,
    count: usize,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn write(&mut self, field: &Field, value: &dyn Debug) -> fmt::Result {
        let name = field.name();
        if self.count > 0 {
            self.writer.write_char(' ')?;
        }
        self.count += 1;
        let limit = if name == "message" {
            MAX_MESSAGE
        } else {
            write!(self.writer, "{}=", name.strip_prefix("r#").unwrap_or(name))?;
            MAX_FIELD
        };
        let mut cut = Cut {
            target: &mut self.writer,
            left: limit,
            dropped: 0,
        };
        write!(cut, "{value:?}")?;
        let dropped = cut.dropped;
        if dropped > 0 {
            write!(self.writer, "… ({dropped} bytes more)")
        } else {
            Ok(())
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() && self.count < MAX_FIELDS {
            self.result = self.write(field, value);
        }
    }
}

/// Writes up to `left` bytes and counts the rest.
struct Cut<'a, W> {
    target: &'a mut W,
    left: usize,
    dropped: usize,
}

impl<W: Write> Write for Cut<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, character) in text.char_indices() {
            let size = character.len_utf8();
            if self.dropped > 0 || size > self.left {
                self.left = 0;
                self.dropped += text.len() - at;
                return Ok(());
            }
            self.left -= size;
            if misleads(character) {
                write!(self.target, "{}", character.escape_unicode())?
            } else {
                self.target.write_char(character)?
            }
        }
        Ok(())
    }
}

/// Returns whether a character could end a line, control a terminal or change the direction of text.
fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, left: usize) -> (String, usize) {
        let mut out = String::new();
        let mut cut = Cut {
            target: &mut out,
            left,
            dropped: 0,
        };
        write!(cut, "{text}").expect("a string takes all");
        let dropped = cut.dropped;
        (out, dropped)
    }

    #[test]
    fn nothing_passes_for_a_line_of_the_log() {
        let (text, _) = cut(
            "x\n2026-01-01 ERROR forged\r\u{1b}[31m\u{85}\u{2028}\u{202e}\0é🔥",
            200,
        );
        assert_eq!(
            text,
            r"x\u{a}2026-01-01 ERROR forged\u{d}\u{1b}[31m\u{85}\u{2028}\u{202e}\u{0}é🔥"
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut(&"x".repeat(60_000), 200), ("x".repeat(200), 59_800));
        assert_eq!(cut("ééé", 3), ("é".to_owned(), 4));
        assert_eq!(cut("", 3), (String::new(), 0));
        let mut out = String::new();
        let mut pieces = Cut {
            target: &mut out,
            left: 4,
            dropped: 0,
        };
        for piece in ["ab", "cdef", "gh"] {
            pieces.write_str(piece).expect("a string takes all");
        }
        assert_eq!((pieces.dropped, out.as_str()), (4, "abcd"));
    }
}
