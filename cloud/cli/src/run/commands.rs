//! Commands on standard input, one JSON object a line: `{"set_target": {"celsius": 22}}`.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::SyncSender;
use std::thread;

use serde_json::{Map, Value};

use super::tape::Recorder;
use super::worker::Input;
use super::{BYTE_ORDER_MARK, board, say};

/// Longest line, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// A command for its handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Type of the command, which is the handler's name.
    pub(super) name: String,
    /// JSON text of the object with its parameters.
    pub(super) values: String,
}

/// Reads commands on a thread of its own until standard input ends; the firmware continues without them.
pub(super) fn listen(inputs: SyncSender<Input>, mut recorder: Option<Recorder>) -> io::Result<()> {
    thread::Builder::new()
        .name("commands".to_owned())
        .spawn(move || {
            let mut stdin = BufReader::new(io::stdin());
            let mut first = true;
            loop {
                let line = line(&mut stdin).map(|line| {
                    let mark = std::mem::take(&mut first);
                    line.map(|line| {
                        if mark {
                            line.trim_start_matches(BYTE_ORDER_MARK).to_owned()
                        } else {
                            line
                        }
                    })
                });
                match line {
                    Ok(Some(line)) if line.trim().is_empty() => {}
                    Ok(Some(line)) => match parse(&line) {
                        Ok(input) => {
                            if let Some(error) =
                                recorder.as_mut().and_then(|recorder| recorder.keep(&line).err())
                            {
                                say(&format!("recording stopped: {error}"));
                                recorder = None;
                            }
                            if inputs.send(input).is_err() {
                                return;
                            }
                        }
                        Err(reason) => say(&format!("not a command: {reason}")),
                    },
                    Ok(None) => return,
                    Err(error) => {
                        return say(&format!(
                            "failed to read standard input: {error}; reading no further commands"
                        ));
                    }
                }
            }
        })?;
    Ok(())
}

/// Returns the next line; in place of one that is too long, a text that is not a command.
fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.len() as u64 == MAX_LINE && !bytes.ends_with(b"\n") {
        input.skip_until(b'\n')?;
        return Ok(Some(format!("a line of more than {MAX_LINE} bytes")));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads one line.
pub(super) fn parse(line: &str) -> Result<Input, String> {
    const SHAPE: &str = "write {\"name\": {\"parameter\": value}}";
    let object: Map<String, Value> =
        serde_json::from_str(line.trim()).map_err(|error| format!("{error}; {SHAPE}"))?;
    let mut entries = object.into_iter();
    match (entries.next(), entries.next()) {
        (Some((name, Value::Object(values))), None) => match board::inputs(&name, &values) {
            Some(inputs) => inputs.map(Input::World),
            None => Ok(Input::Command(Command {
                name,
                values: Value::Object(values).to_string(),
            })),
        },
        (Some((name, _)), None) => Err(format!("the parameters of {name:?} are not an object; {SHAPE}")),
        _ => Err(format!("one command a line; {SHAPE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_object_with_one_name() {
        let Ok(Input::Command(command)) = parse(" {\"set_target\": {\"celsius\": 22, \"a\": 1}}\n") else {
            panic!("no command")
        };
        assert_eq!(
            command,
            Command {
                name: "set_target".to_owned(),
                values: r#"{"celsius":22,"a":1}"#.to_owned()
            }
        );
        for (wrong, reason) in [
            ("nonsense", "expected ident"),
            ("[]", "expected a map"),
            ("{}", "one command a line"),
            ("{\"a\":{},\"b\":{}}", "one command a line"),
            ("{\"a\": 1}", "parameters of \"a\" are not an object"),
        ] {
            let Err(text) = parse(wrong) else {
                panic!("{wrong} is taken")
            };
            assert!(
                text.contains(reason) || text.contains("invalid type"),
                "{wrong}: {text}"
            );
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_is_read() {
        let mut input = vec![b'x'; usize::try_from(MAX_LINE).unwrap() * 3];
        input.extend(b"\n{\"a\":{}}\nlast");
        let mut input = input.as_slice();
        assert!(parse(&line(&mut input).unwrap().unwrap()).is_err());
        assert_eq!(line(&mut input).unwrap().as_deref(), Some("{\"a\":{}}\n"));
        assert_eq!(line(&mut input).unwrap().as_deref(), Some("last"));
        assert_eq!(line(&mut input).unwrap(), None);
    }
}
