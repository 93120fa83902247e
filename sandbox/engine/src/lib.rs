//! The script engine: QuickJS-ng with our glue and prelude, as one WebAssembly component of the world
//! `iottly:firmware/engine`. A script is data that it asks its host for. Runs nothing itself.

use std::fmt::Write as _;

/// The component.
pub const ENGINE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/engine.wasm"));

/// sha256 of [`ENGINE`], 64 hex digits. Another compiler gives another digest of an engine that behaves alike.
pub const DIGEST: &str = env!("IOTTLY_ENGINE_DIGEST");

/// Name of what scripts can rely on: the language, the names of the prelude and the interface `script`. A script that
/// ran on one engine of this name runs on every other.
pub const ABI: &str = "script 1";

/// Name and version of the compiler that built [`ENGINE`].
pub const COMPILER: &str = env!("IOTTLY_ENGINE_COMPILER");

/// Licences of what [`ENGINE`] contains beside this crate: the name of the software and the text.
pub const LICENCES: [(&str, &str); 2] = [
    (
        "QuickJS-ng",
        include_str!(concat!(env!("OUT_DIR"), "/quickjs-licence")),
    ),
    ("wasi-libc", include_str!("../LICENCE-wasi-libc")),
];

/// Returns what a program that carries the engine says of it with its versions, in one line.
#[must_use]
pub fn version() -> String {
    format!("script engine: {ABI}, sha256 {DIGEST}, built with {COMPILER}")
}

/// Returns the [`LICENCES`], each under the name of its software.
#[must_use]
pub fn notices() -> String {
    let mut text = String::new();
    for (name, licence) in LICENCES {
        let _ = write!(
            text,
            "\nThe script engine contains {name}:\n\n{}\n",
            licence.trim()
        );
    }
    text
}
