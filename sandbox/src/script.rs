//! The files of a script, as its engine asks for them. Reads nothing from disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use iottly_manifest::Manifest;

/// Path under which the engine asks where the sections of `main.js` begin.
const SECTIONS: &str = "__iottly/sections";
/// Path under which the engine asks which hardware interfaces the manifest names labels of.
const INTERFACES: &str = "__iottly/interfaces";
/// Beginning of all paths that are not the author's.
const RESERVED: &str = "__iottly/";

/// A script: its files by path, `main.js` first of all, and the sections that `main.js` was put together from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Texts of the files by their paths, for example `main.js` and `lib/math.js`.
    pub files: BTreeMap<String, String>,
    /// Names of the sections and the lines of `main.js` at which they begin, counted from 1, in their order; empty
    /// when `main.js` is a file of its author's.
    pub sections: Vec<(String, usize)>,
}

impl Script {
    /// Returns the text behind a path: a file, or what is known of the script.
    pub(crate) fn source(&self, path: &str, manifest: &Manifest) -> Option<String> {
        match path {
            SECTIONS => {
                let lines = self
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
            path => self.files.get(path).cloned(),
        }
    }
}
