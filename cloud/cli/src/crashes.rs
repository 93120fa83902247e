//! `iottly crashes`: failures of firmware in a project, by release and place.

use clap::Args;
use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::time_text::time;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    call: Call,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let answer = options.call.api()?.get("/crashes")?;
    options.call.print_list("crashes", &answer, |answer| {
        answer["crashes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(line)
            .collect()
    })
}

fn line(crash: &Value) -> String {
    let text = |key: &str| crash[key].as_str().unwrap_or_default();
    let release = crash["firmware"]
        .as_str()
        .map_or("went on", |digest| digest.get(..8).unwrap_or(digest));
    let devices = crash["devices"].as_array().map_or(0, Vec::len);
    format!(
        "{}  {release:8}  {} x on {devices} devices  {}: {}: {}\n",
        time(&crash["last"]),
        crash["count"],
        text("function"),
        text("error"),
        json!(text("description"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_line() {
        let crash = json!({"last": {"$date": 0}, "firmware": "0123456789ab", "count": 3, "devices": [{}, {}],
            "function": "setup", "error": "trap", "description": "a\nb"});
        assert_eq!(
            line(&crash),
            "1970-01-01T00:00:00.000Z  01234567  3 x on 2 devices  setup: trap: \"a\\nb\"\n"
        );
    }
}
