//! The files of a script, as its engine asks for them. Reads nothing from disk.

use std::fmt::Write as _;

use crate::profile::Profile;

/// Path under which the engine asks where the sections of `main.js` begin.
const SECTIONS: &str = "__iottly/sections";
/// Path under which the engine asks which hardware interfaces the manifest names labels of.
const INTERFACES: &str = "__iottly/interfaces";
/// Path that an engine finds if it is to run no more than the top level.
const TOP_LEVEL_ONLY: &str = "__iottly/top-level-only";
/// Beginning of all paths that are not the author's.
const RESERVED: &str = "__iottly/";

/// Returns the text behind a path that an engine asks for: a file, or what is known of the script.
pub(crate) fn source(profile: &Profile, path: &str) -> Option<String> {
    let script = profile.script.as_ref()?;
    match path {
        SECTIONS => {
            let lines = script
                .sections
                .iter()
                .fold(String::new(), |mut lines, (name, first)| {
                    writeln!(lines, "{first} {name}").expect("writing to a string cannot fail");
                    lines
                });
            Some(lines).filter(|lines| !lines.is_empty())
        }
        INTERFACES => Some(
            profile
                .manifest
                .interfaces()
                .filter(|interface| interface.is_hardware())
                .map(|interface| format!("{interface}\n"))
                .collect(),
        ),
        TOP_LEVEL_ONLY => profile.top_level_only.then(String::new),
        path if path.starts_with(RESERVED) => None,
        path => script.files.get(path).cloned(),
    }
}
