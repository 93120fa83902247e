//! The folder a build works in: the author's modules, ours beside them, and the world.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::source::{MAIN, OURS, Source};

const PRELUDE: &str = include_str!("../js/prelude.js");
const ENTRY: &str = include_str!("../js/entry.js");

/// Follows the author's last line: lets our entry see the functions of a script that exports nothing.
const FOOTER: &str = "\nexport const __iottly_find = (__iottly_name) => eval(__iottly_name);\n";

/// The interfaces that scripts use; an engine that takes a whole world would import the others as well.
const WORLD_TEXT: &str =
    "world firmware {\n  import telemetry;\n  import log;\n  import clock;\n  import random;\n  export app;\n}\n";

const WIT: [(&str, &str); 7] = [
    ("types.wit", include_str!("../../../sandbox/wit/types.wit")),
    ("telemetry.wit", include_str!("../../../sandbox/wit/telemetry.wit")),
    ("log.wit", include_str!("../../../sandbox/wit/log.wit")),
    ("clock.wit", include_str!("../../../sandbox/wit/clock.wit")),
    ("random.wit", include_str!("../../../sandbox/wit/random.wit")),
    ("app.wit", include_str!("../../../sandbox/wit/app.wit")),
    ("world.wit", WORLD_TEXT),
];

/// Folder of all modules; relative to the folder of a build.
pub(crate) const MODULES: &str = "src";
/// Folder of the world.
pub(crate) const WORLD: &str = "wit";

/// The module that everything hangs from.
pub(crate) fn entry() -> PathBuf {
    Path::new(MODULES).join(OURS).join("entry.js")
}

/// Names this builder: with another version the same source gives another firmware.
#[must_use]
pub fn version() -> String {
    let mut hash = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    for text in [PRELUDE, ENTRY, FOOTER].into_iter().chain(WIT.map(|(_, text)| text)) {
        hash.update([0]);
        hash.update(text);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Puts everything a build reads into `dir`.
pub(crate) fn write(source: &Source, dir: &Path) -> io::Result<()> {
    let modules = dir.join(MODULES);
    for (path, text) in source.files() {
        put(&modules.join(path), text)?;
    }
    put(&modules.join(MAIN), &format!("{}{FOOTER}", source.main()))?;
    let sections = serde_json::to_string(source.section_starts())?;
    let ours = modules.join(OURS);
    put(&ours.join("prelude.js"), PRELUDE)?;
    put(&ours.join("entry.js"), ENTRY)?;
    put(&ours.join("sections.js"), &format!("export default {sections};\n"))?;
    WIT.iter().try_for_each(|(name, text)| put(&dir.join(WORLD).join(name), text))
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().expect("every path here has a folder");
    fs::create_dir_all(folder)?;
    fs::write(path, text)
}
