//! `iottly init`: creates a folder with new firmware.

pub(crate) mod name;
mod sdk;
mod template;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use iottly_manifest::Lang;

use crate::exit::Failure;
use crate::say::say;

#[derive(Args)]
pub(crate) struct Options {
    /// Name of the firmware and of its folder
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// Language of the firmware
    #[arg(long, value_enum, default_value_t = Language::Js)]
    lang: Language,
}

/// Language of firmware.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    /// JavaScript: nothing to install
    Js,
    /// Rust: needs the target wasm32-unknown-unknown
    Rust,
}

impl From<Language> for Lang {
    fn from(language: Language) -> Self {
        match language {
            Language::Js => Self::Js,
            Language::Rust => Self::Rust,
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    name::check(&options.name).map_err(Failure::Invalid)?;
    let dir = PathBuf::from(&options.name);
    match fs::create_dir(&dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failure::Invalid(format!(
                "{} already exists; choose another name or remove it",
                dir.display()
            )));
        }
        made => made.with_context(|| format!("cannot create the folder {}", dir.display()))?,
    }
    for (path, text) in template::files(options.lang.into(), &options.name) {
        put(&dir.join(path), &text)?;
    }
    say(&format!(
        "created {0}; continue with\n  cd {0}\n  iottly run --watch",
        dir.display()
    ));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", dir.display())
        .and_then(|()| out.flush())
        .map_err(anyhow::Error::from)?;
    Ok(())
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .expect("every file of a template is in the firmware's folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}
