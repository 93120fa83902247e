//! `iottly crashes`: failures of firmware in a project, by release and place.

use clap::Args;
use iottly_web::answers::CrashDto;
use serde_json::json;

use crate::call::Call;
use crate::exit::Failure;
use crate::table::plain;
use crate::time_text::at;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    call: Call,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let answer = options.call.api()?.get("/crashes")?;
    options.call.print_lines("crashes", &answer, line)
}

fn line(crash: &CrashDto) -> String {
    let release = crash
        .firmware
        .as_deref()
        .map_or("went on", |digest| digest.get(..8).unwrap_or(digest));
    format!(
        "{}  {release:8}  {} x on {} devices  {}: {}: {}\n",
        at(crash.last),
        crash.count,
        crash.devices.len(),
        plain(&crash.function),
        plain(&crash.error),
        json!(crash.description)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::read;

    #[test]
    fn a_place_is_one_line() {
        let device = json!({"device": "16825a35-0000-4000-8000-000000000001", "name": "porch"});
        let crash = json!({"last": {"$date": 0}, "firmware": "0123456789ab", "count": 3, "devices": [device, device],
            "function": "setup", "error": "trap", "description": "a\nb"});
        assert_eq!(
            line(&read(&crash).expect("a place")),
            "1970-01-01T00:00:00.000Z  01234567  3 x on 2 devices  setup: trap: \"a\\nb\"\n"
        );
    }
}
