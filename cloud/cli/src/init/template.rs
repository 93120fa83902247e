//! Files of a new firmware's folder.

use iottly_manifest::Lang;

use super::sdk;

const GITIGNORE: &str = "/target\n";

const MAIN_JS: &str = include_str!("../../templates/js/main.js");
const JSCONFIG: &str = include_str!("../../templates/js/jsconfig.json");

const CARGO_TOML: &str = include_str!("../../templates/rust/Cargo.toml");
const LIB_RS: &str = include_str!("../../templates/rust/lib.rs");

/// Returns paths, relative to the firmware's folder, and texts.
pub(super) fn files(language: Lang, name: &str) -> Vec<(&'static str, String)> {
    let manifest = |lang: &str| ("firmware.toml", format!("name = \"{name}\"\nlang = \"{lang}\"\n"));
    let fill = |text: &str| text.replace("NAME", name);
    match language {
        Lang::Js => vec![
            manifest("js"),
            ("main.js", fill(MAIN_JS)),
            ("iottly.d.ts", iottly_builder::DECLARATIONS.to_owned()),
            ("jsconfig.json", JSCONFIG.to_owned()),
            (".gitignore", GITIGNORE.to_owned()),
        ],
        Lang::Rust => {
            let own = [
                manifest("rust"),
                ("Cargo.toml", fill(CARGO_TOML)),
                ("src/lib.rs", fill(LIB_RS)),
                (".gitignore", GITIGNORE.to_owned()),
            ];
            own.into_iter()
                .chain(sdk::FILES.map(|(path, text)| (path, text.to_owned())))
                .collect()
        }
    }
}
