//! `iottly whoami`: shows the project and what the token may do there.

use clap::Args;

use crate::call::Call;
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    call: Call,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let answer = options.call.api().get("/whoami")?;
    options.call.print(&answer, |answer| {
        let text = |key: &str| answer[key].as_str().unwrap_or("-");
        let scopes: Vec<_> = answer["scopes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .collect();
        format!(
            "{} {}\nproject {} {}\ngroup {}\nmay {}\n",
            text("kind"),
            text("name"),
            text("project"),
            text("project_name"),
            answer["deployment_group"].as_str().unwrap_or("any"),
            scopes.join(", ")
        )
    })
}
