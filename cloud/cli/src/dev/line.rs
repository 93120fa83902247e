//! The lines that `iottly dev` prints, for people and as JSON. Pure.

use serde_json::{Value, json};

/// Digest of a line that the committed release has made.
const RELEASE: &str = "release";
/// Maximum number of characters of a message or text for people; JSON has all of it.
const MAX_CHARS: usize = 500;

/// Place in an author's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Place {
    /// Returns the first place that a text names, as `main.js:3:7`.
    pub(super) fn in_text(text: &str) -> Option<Self> {
        text.split([' ', '(', ')', ',', '\n']).find_map(|word| {
            let word = word.trim_end_matches([':', '.', ';']);
            let (rest, column) = word.rsplit_once(':')?;
            let (file, line) = rest.rsplit_once(':')?;
            let number = |digits: &str| digits.parse().ok().filter(|number| *number > 0);
            Some(Self {
                file: Some(file).filter(|file| !file.is_empty())?.to_owned(),
                line: number(line)?,
                column: number(column)?,
            })
        })
    }
}

/// Device and code that a line is about. None: this machine, for errors of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// Id of the device.
    pub(super) device: String,
    /// Name of the device, for people.
    pub(super) name: String,
    /// Beginning of the sha256 of the code, 12 hex digits; none for the committed release.
    pub(super) digest: Option<String>,
}

impl Origin {
    fn digest(&self) -> &str {
        self.digest.as_deref().unwrap_or(RELEASE)
    }
}

/// Line to print.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    /// New code runs; its first call was reported this long after its save was seen.
    Running { at: Origin, ms: u64 },
    /// Message of the firmware or of the agent.
    Message { at: Origin, payload: Value },
    /// Line of the firmware's log.
    Log { at: Origin, level: String, text: String },
    /// Error of the build, without an origin, or on a device.
    Error {
        at: Option<Origin>,
        place: Option<Place>,
        text: String,
    },
    /// The release runs again.
    Ended { at: Origin, text: String },
    /// The feed has skipped so many lines.
    Lagged { skipped: u64 },
}

impl Line {
    /// Returns the line as one JSON object.
    pub(super) fn json(&self) -> String {
        let value = match self {
            Self::Running { at, ms } => {
                json!({"event": "running", "device": at.device, "digest": at.digest(), "ms": ms})
            }
            Self::Message { at, payload } => {
                json!({"event": "message", "device": at.device, "digest": at.digest(), "payload": payload})
            }
            Self::Log { at, level, text } => {
                json!({"event": "log", "device": at.device, "digest": at.digest(), "level": level, "text": text})
            }
            Self::Error { at, place, text } => json!({
                "event": "error",
                "device": at.as_ref().map(|at| &at.device),
                "digest": at.as_ref().map(Origin::digest),
                "file": place.as_ref().map(|place| &place.file),
                "line": place.as_ref().map(|place| place.line),
                "column": place.as_ref().map(|place| place.column),
                "text": text,
            }),
            Self::Ended { at, text } => {
                json!({"event": "ended", "device": at.device, "digest": at.digest(), "text": text})
            }
            Self::Lagged { skipped } => json!({"event": "lagged", "skipped": skipped}),
        };
        value.to_string()
    }

    /// Returns the line for people: device and code first.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Running { at, ms } => format!("{}running, {ms} ms after it was saved", head(at)),
            Self::Message { at, payload } => format!("{}{}", head(at), clip(&payload.to_string())),
            Self::Log { at, level, text } => format!("{}{level}: {}", head(at), clip(text)),
            Self::Error { at, place, text } => {
                let head = at.as_ref().map(head).unwrap_or_default();
                let place = place
                    .as_ref()
                    .filter(|place| !text.contains(&place.to_string()))
                    .map(|place| format!("{place}: "));
                format!("{head}error: {}{}", place.unwrap_or_default(), clip(text))
            }
            Self::Ended { at, text } => format!("{}runs its release again: {}", head(at), clip(text)),
            Self::Lagged { skipped } => {
                format!(
                    "{skipped} lines were skipped: this terminal is too slow; messages are in the history"
                )
            }
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

fn head(at: &Origin) -> String {
    format!("{} {} ", at.name, at.digest())
}

/// Returns a text in one line without control characters, which a device could use to change what the terminal
/// shows.
fn clip(text: &str) -> String {
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    let mut out: String = text.chars().take(MAX_CHARS).map(plain).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(digest: Option<&str>) -> Origin {
        Origin {
            device: "08c602b1".to_owned(),
            name: "porch".to_owned(),
            digest: digest.map(str::to_owned),
        }
    }

    #[test]
    fn each_line_names_device_and_code() {
        let place = Some(Place {
            file: "main.js".to_owned(),
            line: 2,
            column: 3,
        });
        let lines = [
            Line::Running {
                at: at(Some("0123456789ab")),
                ms: 212,
            },
            Line::Message {
                at: at(None),
                payload: json!({"t": 21.5}),
            },
            Line::Log {
                at: at(Some("0123456789ab")),
                level: "info".to_owned(),
                text: "a\u{1b}[2J\nb".to_owned(),
            },
            Line::Error {
                at: None,
                place: place.clone(),
                text: "main.js:2:3: SyntaxError".to_owned(),
            },
            Line::Error {
                at: Some(at(Some("0123456789ab"))),
                place,
                text: "x is not defined".to_owned(),
            },
        ];
        let text: Vec<_> = lines.iter().map(Line::text).collect();
        assert_eq!(
            text,
            [
                "porch 0123456789ab running, 212 ms after it was saved",
                "porch release {\"t\":21.5}",
                "porch 0123456789ab info: a [2J b",
                "error: main.js:2:3: SyntaxError",
                "porch 0123456789ab error: main.js:2:3: x is not defined",
            ]
        );
        assert_eq!(
            lines[0].json(),
            r#"{"event":"running","device":"08c602b1","digest":"0123456789ab","ms":212}"#
        );
        assert_eq!(
            lines[3].json(),
            r#"{"event":"error","device":null,"digest":null,"file":"main.js","line":2,"column":3,"text":"main.js:2:3: SyntaxError"}"#
        );
    }

    #[test]
    fn places_are_found_in_errors_of_the_build() {
        let found = |text| Place::in_text(text).map(|place| place.to_string());
        assert_eq!(
            found("main.js:3:26: SyntaxError: x").as_deref(),
            Some("main.js:3:26")
        );
        assert_eq!(
            found("failed: Error: no at f (lib/a.js:1:2)").as_deref(),
            Some("lib/a.js:1:2")
        );
        assert_eq!(found("firmware.toml: no such file"), None);
    }
}
