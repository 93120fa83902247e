//! Turns the engine's error texts into ones for the author: with the author's file and line, without our folders.

use std::path::Path;

use crate::Source;
use crate::source::{MAIN, OURS};

/// Longest message, in characters.
const MAX_CHARS: usize = 2000;

/// Returns the error of a script, which begins with its place: `main.js:3:5: SyntaxError: …`.
pub(crate) fn script(raw: &str, source: &Source, dir: &Path) -> String {
    let raw = without_paths(raw, dir);
    if let Some((_, trap)) = raw.rsplit_once("wasm trap: ") {
        return clip(&format!(
            "{MAIN}: the top level of the script was stopped: {}",
            trap.trim()
        ));
    }
    let (message, stack) = split(&raw);
    let unresolved = imported(&raw);
    let message = unresolved.as_deref().unwrap_or(message);
    let kind = if raw.contains("Failed to declare JavaScript module") {
        "SyntaxError"
    } else {
        "Error"
    };
    clip(&match stack.lines().find_map(place) {
        Some((MAIN, row, _)) if row > source.main().lines().count() => {
            let last = located(source, source.main().lines().count().max(1), None);
            format!("{last}: {kind}: the script ends too early, something before is not closed")
        }
        Some((MAIN, row, column)) => format!("{}: {kind}: {message}", located(source, row, Some(column))),
        Some((file, row, column)) => format!("{file}:{row}:{column}: {kind}: {message}"),
        None => format!("{MAIN}: {message}"),
    })
}

/// Returns the error for an import that the engine did not resolve; none for other errors.
///
/// The text does not depend on whether a file outside of the firmware exists, which the author must not learn.
fn imported(raw: &str) -> Option<String> {
    const MARKS: [&str; 4] = [
        "failed to resolve JavaScript import",
        "failed to canonicalize JavaScript import",
        "is not under module root",
        "escapes module root",
    ];
    if !MARKS.iter().any(|mark| raw.contains(mark)) {
        return None;
    }
    let named = raw
        .split_once("JavaScript import \"")
        .and_then(|(_, rest)| rest.split_once("\" from "));
    Some(match named {
        Some((specifier, rest)) if stays_inside(specifier, rest.lines().next().unwrap_or_default()) => {
            format!("there is no module \"{specifier}\" in the firmware")
        }
        _ => "an import names nothing in the firmware: only its own files can be imported, by paths that begin with ./ or ../"
            .to_owned(),
    })
}

/// Returns whether a relative specifier in a module names a place inside the firmware's folder.
fn stays_inside(specifier: &str, referrer: &str) -> bool {
    if !specifier.starts_with("./") && !specifier.starts_with("../") {
        return false;
    }
    let folders = referrer
        .trim()
        .trim_start_matches('/')
        .trim_start_matches("src/")
        .split('/')
        .count()
        .saturating_sub(1);
    let mut depth = folders;
    for part in specifier.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    true
}

/// Removes the build's own folder from a text.
pub(crate) fn without_paths(text: &str, dir: &Path) -> String {
    let mut text = text.to_owned();
    for folder in [Some(dir.to_owned()), dir.canonicalize().ok()]
        .into_iter()
        .flatten()
    {
        text = text
            .replace(&format!("{}/src/", folder.display()), "")
            .replace(&format!("{}/", folder.display()), "");
    }
    text
}

/// Returns the message at the end of a chain of causes, and the stack after it.
fn split(raw: &str) -> (&str, &str) {
    let cause = raw
        .rsplit_once("Caused by:")
        .map_or(raw, |(_, cause)| cause)
        .trim();
    let (head, stack) = match cause.find("\n") {
        Some(at) => cause.split_at(at),
        None => (cause, ""),
    };
    let message = ["module evaluation: ", "JavaScript module: "]
        .iter()
        .find_map(|mark| head.rsplit_once(mark))
        .map_or(head, |(_, rest)| rest);
    (message.strip_prefix("Error: ").unwrap_or(message).trim(), stack)
}

/// Returns file, row and column of a line `at f (/main.js:2:1)` of a stack; none for our own modules.
fn place(line: &str) -> Option<(&str, usize, usize)> {
    let line = line.trim().strip_prefix("at ")?.trim_end_matches(')');
    let (_, path) = line.split_once('/')?;
    let (path, column) = path.rsplit_once(':')?;
    let (file, row) = path.rsplit_once(':')?;
    (!file.starts_with(OURS)).then_some((file, row.parse().ok()?, column.parse().ok()?))
}

/// Returns a place of `main.js` as the author knows it: in the file, or in the section.
fn located(source: &Source, row: usize, column: Option<usize>) -> String {
    let section = source.section_starts().iter().rfind(|(_, first)| *first <= row);
    let (name, row) = section.map_or((MAIN, row), |(name, first)| (name.as_str(), row - first + 1));
    match column {
        Some(column) => format!("{name}:{row}:{column}"),
        None => format!("{name}:{row}"),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_outside_is_answered_alike_whatever_is_there() {
        let outside = [
            "filesystem module not found: failed to resolve JavaScript import \"../x\" from main.js",
            "filesystem module not found: failed to resolve JavaScript import \"/etc/x\" from main.js",
            "filesystem module not found: failed to resolve JavaScript import \"react\" from lib/a.js",
            "resolved JavaScript module /etc/passwd is not under module root /src",
        ];
        for raw in outside {
            assert!(
                imported(raw)
                    .expect("an import")
                    .starts_with("an import names nothing in the firmware"),
                "{raw}"
            );
        }
        let inside =
            "filesystem module not found: failed to resolve JavaScript import \"../gone.js\" from lib/a.js";
        assert_eq!(
            imported(inside).as_deref(),
            Some("there is no module \"../gone.js\" in the firmware")
        );
        assert_eq!(imported("ReferenceError: x is not defined"), None);
    }

    const SYNTAX: &str = "\n\nCaused by:\n    Failed to evaluate user JavaScript module: Failed to declare JavaScript module: Error: variable name expected\n        at /main.js:5:7\n    \n";

    fn at(raw: &str, source: &Source) -> String {
        script(raw, source, Path::new("/tmp/build"))
    }

    #[test]
    fn a_place_in_the_file_or_in_the_section() {
        let file = Source::script("\n\n\n\n\n\n");
        assert_eq!(
            at(SYNTAX, &file),
            "main.js:5:7: SyntaxError: variable name expected"
        );
        let sections = Source::sections([("global", "\n"), ("loop", "\n\n\n")]);
        assert_eq!(
            at(SYNTAX, &sections),
            "loop:3:7: SyntaxError: variable name expected"
        );
    }

    #[test]
    fn our_own_frames_and_lines_are_not_the_authors() {
        let raw = "Caused by:\n    Failed to finish JavaScript module evaluation: Error: no\n        at f (/__iottly/prelude.js:14:36)\n        at <anonymous> (/lib/a.js:2:1)";
        assert_eq!(at(raw, &Source::script("")), "lib/a.js:2:1: Error: no");
        assert_eq!(
            at(SYNTAX, &Source::script("{\n{\n")),
            "main.js:2: SyntaxError: the script ends too early, something before is not closed"
        );
    }

    #[test]
    fn folders_of_the_build_are_taken_out() {
        assert_eq!(
            without_paths(
                "cannot read /tmp/build/src/a.js and /tmp/build/wit",
                Path::new("/tmp/build")
            ),
            "cannot read a.js and wit"
        );
        assert_eq!(
            at("cannot find /tmp/build/src/a.js", &Source::script("")),
            "main.js: cannot find a.js"
        );
    }

    #[test]
    fn a_trap_needs_no_place() {
        let raw = "error while executing at wasm backtrace:\n    0: x\n\nCaused by:\n    wasm trap: call stack exhausted\n";
        assert_eq!(
            at(raw, &Source::script("")),
            "main.js: the top level of the script was stopped: call stack exhausted"
        );
    }
}
