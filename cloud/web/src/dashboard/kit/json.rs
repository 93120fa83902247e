//! JSON of devices on pages: a line, and behind it the whole, indented.

use iottly_protocol::limits::clip;
use maud::{Markup, html};

use super::super::text::MAX_SHOWN_BYTES;

/// Maximum length of the line of a message, in bytes; the rest is behind it.
const LINE_BYTES: usize = 240;
/// Maximum length of the white space before a line, in characters.
const MAX_INDENT: usize = 32;
/// Length of an indented text, in bytes, after which no further value is shown: white space can be many times the text.
const MAX_INDENTED_BYTES: usize = 8 << 10;

/// Returns JSON as one line that opens to the indented whole. A long text is cut, and says so.
pub(in super::super) fn json(text: &str) -> Markup {
    let line = clip(text, LINE_BYTES);
    let (shown, length) = indented(clip(text, MAX_SHOWN_BYTES));
    let is_cut = length < text.len();
    html! {
        details.json {
            summary { code { (line) @if line.len() < text.len() { "…" } } }
            pre { (shown) @if is_cut { "…" } }
            @if is_cut { p.soft.small data-cut { "The first " (length) " of " (text.len()) " bytes. The history of the API has all." } }
        }
    }
}

/// Returns JSON with a line for each value. Strings and numbers stay as they are written; a text that was cut is indented
/// as far as it goes. Returns the length of what was indented as well, in bytes.
fn indented(json: &str) -> (String, usize) {
    let mut lines = String::with_capacity(json.len() * 2);
    let (mut depth, mut rest) = (0_usize, json);
    let new_line = |lines: &mut String, depth: usize| {
        lines.push('\n');
        lines.extend(std::iter::repeat_n(' ', (2 * depth).min(MAX_INDENT)));
    };
    while let Some(next) = rest.chars().next() {
        if lines.len() >= MAX_INDENTED_BYTES {
            break;
        }
        let length = match next {
            '"' => string_length(rest),
            _ => next.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match next {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                lines.push(next);
                let inside = rest.trim_start();
                if inside.starts_with(['}', ']']) {
                    lines.extend(inside.chars().next());
                    rest = &inside[1..];
                } else {
                    depth += 1;
                    new_line(&mut lines, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut lines, depth);
                lines.push(next);
            }
            ',' => {
                lines.push(next);
                new_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            _ => lines.push_str(token),
        }
    }
    (lines, json.len() - rest.len())
}

/// Returns the length of the string at the beginning of a text, with its quotation marks, in bytes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_get_lines_of_their_own_and_stay_as_they_are_written() {
        let text = r#"{"a":1.50,"b":[true, null],"c":{},"d":[ ],"e":"x{,:\"]\\","big":12345678901234567890}"#;
        let expected = "{\n  \"a\": 1.50,\n  \"b\": [\n    true,\n    null\n  ],\n  \"c\": {},\n  \"d\": [],\n  \
                        \"e\": \"x{,:\\\"]\\\\\",\n  \"big\": 12345678901234567890\n}";
        assert_eq!(indented(text), (expected.to_owned(), text.len()));
        assert_eq!(indented("5").0, "5");
    }

    #[test]
    fn hostile_texts_stay_bounded() {
        let deep = "[".repeat(30) + &"1,".repeat(5000);
        let shown = json(&deep).into_string();
        assert!(
            shown.len() < MAX_INDENTED_BYTES + 1000 && shown.contains(" of 10030 bytes"),
            "{} bytes: {shown}",
            shown.len()
        );
        for cut in [r#"{"a":"x\"#, r#"{"a":"é"#, "{\"a", "]]]}", "\"", "{", ""] {
            indented(cut);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let shown = json(&format!(r#"{{"a":"{}"}}"#, "é".repeat(5000))).into_string();
        assert!(shown.contains("of 10008 bytes") && shown.len() < 5000, "{shown}");
        assert!(!json("{}").into_string().contains("bytes"));
    }
}
