//! The folder of a build: the author's modules, ours beside them, and the world.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use iottly_manifest::{Interface, Manifest};
use sha2::{Digest, Sha256};

use crate::source::{MAIN, OURS, Source};

/// Code after the author's last line, through which our entry finds the functions of a script without exports.
const FOOTER: &str = "\nexport const __iottly_find = (__iottly_name) => eval(__iottly_name);\n";

/// Our own modules, by file name.
const MODULES_OF_OURS: [(&str, &str); 11] = [
    ("prelude.js", include_str!("../js/prelude.js")),
    ("pristine.js", include_str!("../js/pristine.js")),
    ("entry.js", include_str!("../js/entry.js")),
    ("timers.js", include_str!("../js/timers.js")),
    ("device.js", include_str!("../js/device.js")),
    ("gpio.js", include_str!("../js/gpio.js")),
    ("i2c.js", include_str!("../js/i2c.js")),
    ("spi.js", include_str!("../js/spi.js")),
    ("uart.js", include_str!("../js/uart.js")),
    ("pwm.js", include_str!("../js/pwm.js")),
    ("adc.js", include_str!("../js/adc.js")),
];

const WIT: [(&str, &str); 16] = [
    ("types.wit", include_str!("../../../sandbox/wit/types.wit")),
    (
        "telemetry.wit",
        include_str!("../../../sandbox/wit/telemetry.wit"),
    ),
    ("log.wit", include_str!("../../../sandbox/wit/log.wit")),
    ("clock.wit", include_str!("../../../sandbox/wit/clock.wit")),
    ("random.wit", include_str!("../../../sandbox/wit/random.wit")),
    ("timers.wit", include_str!("../../../sandbox/wit/timers.wit")),
    ("state.wit", include_str!("../../../sandbox/wit/state.wit")),
    ("config.wit", include_str!("../../../sandbox/wit/config.wit")),
    ("identity.wit", include_str!("../../../sandbox/wit/identity.wit")),
    ("gpio.wit", include_str!("../../../sandbox/wit/gpio.wit")),
    ("i2c.wit", include_str!("../../../sandbox/wit/i2c.wit")),
    ("spi.wit", include_str!("../../../sandbox/wit/spi.wit")),
    ("uart.wit", include_str!("../../../sandbox/wit/uart.wit")),
    ("pwm.wit", include_str!("../../../sandbox/wit/pwm.wit")),
    ("adc.wit", include_str!("../../../sandbox/wit/adc.wit")),
    ("app.wit", include_str!("../../../sandbox/wit/app.wit")),
];

/// Folder of all modules; relative to the folder of a build.
pub(crate) const MODULES: &str = "src";
/// Folder of the world.
pub(crate) const WORLD: &str = "wit";

/// Returns the path of the module that the engine starts.
pub(crate) fn entry() -> PathBuf {
    Path::new(MODULES).join(OURS).join("entry.js")
}

/// Returns the version of the builder; with another one the same source gives another component.
#[must_use]
pub fn version() -> String {
    let mut hash = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    for text in MODULES_OF_OURS
        .into_iter()
        .chain(WIT)
        .map(|(_, text)| text)
        .chain([FOOTER])
    {
        hash.update([0]);
        hash.update(text);
    }
    hash.finalize()
        .iter()
        .take(8)
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })
}

/// Writes everything that a build reads into `dir`.
pub(crate) fn write(source: &Source, dir: &Path) -> io::Result<()> {
    let modules = dir.join(MODULES);
    for (path, text) in source.files() {
        put(&modules.join(path), text)?;
    }
    put(&modules.join(MAIN), &format!("{}{FOOTER}", source.main()))?;
    let sections = serde_json::to_string(source.section_starts())?;
    let ours = modules.join(OURS);
    MODULES_OF_OURS
        .iter()
        .try_for_each(|(name, text)| put(&ours.join(name), text))?;
    put(
        &ours.join("sections.js"),
        &format!("export default {sections};\n"),
    )?;
    put(&ours.join("board.js"), &board(source.manifest()))?;
    WIT.iter()
        .try_for_each(|(name, text)| put(&dir.join(WORLD).join(name), text))?;
    put(&dir.join(WORLD).join("world.wit"), &world(source.manifest()))
}

/// Returns the world of a firmware. The engine makes a component that imports all of it, so it holds only what the
/// manifest asks for.
fn world(manifest: &Manifest) -> String {
    let imports: String = manifest
        .interfaces()
        .map(|interface| format!("  import {interface};\n"))
        .collect();
    format!("world firmware {{\n{imports}  export app;\n}}\n")
}

/// Returns the module that loads the interfaces of the manifest; using another one is a fault that names the reason.
fn board(manifest: &Manifest) -> String {
    let mut text =
        String::from("import { Fault } from './prelude.js';\nimport './timers.js';\nimport './device.js';\n");
    let asked: Vec<_> = manifest.interfaces().collect();
    for interface in Interface::ALL
        .into_iter()
        .filter(|interface| interface.is_hardware())
    {
        let line = if asked.contains(&interface) {
            format!("import './{interface}.js';\n")
        } else {
            format!(
                "globalThis.{interface} = new Proxy({{}}, {{ get() {{ throw new Fault('denied', \
                 '{interface}: firmware.toml names no label of it, see [capabilities]'); }} }});\n"
            )
        };
        text.push_str(&line);
    }
    text
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().expect("every path here has a folder");
    fs::create_dir_all(folder)?;
    fs::write(path, text)
}
