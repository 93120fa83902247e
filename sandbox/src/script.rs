//! The files of a script, as its engine asks for them. Reads nothing from disk.

use std::fmt::Write as _;

use iottly_manifest::{Manifest, Script};

/// Path under which the engine asks where the sections of `main.js` begin.
const SECTIONS: &str = "__iottly/sections";
/// Path under which the engine asks which hardware interfaces the manifest names labels of.
const INTERFACES: &str = "__iottly/interfaces";
/// Beginning of all paths that are not the author's.
const RESERVED: &str = "__iottly/";

/// Returns the text behind a path that an engine asks for: a file, or what is known of the script.
pub(crate) fn source(script: &Script, path: &str, manifest: &Manifest) -> Option<String> {
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
            manifest
                .interfaces()
                .filter(|interface| interface.is_hardware())
                .map(|interface| format!("{interface}\n"))
                .collect(),
        ),
        path if path.starts_with(RESERVED) => None,
        path => script.files.get(path).cloned(),
    }
}
