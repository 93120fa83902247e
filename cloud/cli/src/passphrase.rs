//! Passphrases: from a file, from a credential of systemd, or typed. Never from an argument, which other users of the machine
//! can read.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;
use iottly_protocol::Secret;

/// Name of the credential of systemd (`LoadCredential=`).
const CREDENTIAL: &str = "iottly-passphrase";
/// Maximum size of a file with a passphrase, in bytes.
const MAX_BYTES: u64 = 4096;
/// Character that Ctrl-C sends.
const INTERRUPT: char = '\x03';
/// The terminal of this process.
const TERMINAL: &str = "/dev/tty";

/// Source of a passphrase.
#[derive(Clone, Args)]
pub(crate) struct Passphrase {
    /// File whose first line is the passphrase [default: the credential iottly-passphrase of systemd; else it is asked for
    /// at the terminal]
    #[arg(long, value_name = "FILE", env = "IOTTLY_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Passphrase {
    /// Returns the passphrase of the file or the credential, if there is one.
    pub(crate) fn given(&self) -> anyhow::Result<Option<Secret>> {
        let path = match &self.passphrase_file {
            Some(path) => path.clone(),
            None => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(folder) if PathBuf::from(&folder).join(CREDENTIAL).exists() => {
                    PathBuf::from(folder).join(CREDENTIAL)
                }
                _ => return Ok(None),
            },
        };
        let read = || -> std::io::Result<Secret> {
            let mut text = String::new();
            File::open(&path)?.take(MAX_BYTES).read_to_string(&mut text)?;
            let line = text.lines().next().unwrap_or_default().to_owned();
            // Overwrites the rest of the file in memory.
            drop(Secret::new(text));
            Ok(Secret::new(line))
        };
        let secret = read().with_context(|| format!("cannot read the passphrase in {}", path.display()))?;
        Ok(Some(secret))
    }

    /// Returns the passphrase that is given, or asks for it; twice for a new one.
    pub(crate) fn get(&self, what: &str, new: bool) -> anyhow::Result<Secret> {
        if let Some(given) = self.given()? {
            return Ok(given);
        }
        if !std::io::stdin().is_terminal() {
            bail!("{what} needs a passphrase: name its file with --passphrase-file");
        }
        let typed = ask(&format!("Passphrase of {what}: "))?;
        if new && ask("The same once more: ")? != typed {
            bail!("the two passphrases differ");
        }
        Ok(typed)
    }
}

/// Asks at the terminal, which does not show what is typed.
fn ask(question: &str) -> anyhow::Result<Secret> {
    let open = || File::options().read(true).write(true).open(TERMINAL);
    let mut terminal = open().context("cannot open the terminal")?;
    terminal
        .write_all(question.as_bytes())
        .context("cannot write to the terminal")?;
    let hidden = Hidden::start()?;
    let mut line = String::new();
    let read = BufReader::new(open()?.take(MAX_BYTES)).read_line(&mut line);
    drop(hidden);
    let _ = terminal.write_all(b"\n");
    read.context("cannot read from the terminal")?;
    if line.ends_with(INTERRUPT) {
        drop(Secret::new(line));
        bail!("interrupted");
    }
    let secret = Secret::new(line.trim_end_matches(['\r', '\n']));
    drop(Secret::new(line));
    Ok(secret)
}

/// A terminal that does not show what is typed, until this is dropped. Ctrl-C ends the line in place of the process, which
/// would leave the terminal as it is now.
struct Hidden {
    /// Settings of before, as `stty` prints and reads them.
    before: String,
}

impl Hidden {
    fn start() -> anyhow::Result<Self> {
        let before = stty(&["-g"]).map(|text| text.trim().to_owned());
        let hidden = before.map(|before| Self { before });
        if let Some(hidden) = hidden
            && stty(&["-echo", "-isig", "eol", "^C"]).is_some()
        {
            return Ok(hidden);
        }
        bail!("cannot hide what is typed at the terminal; name a file with --passphrase-file")
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        stty(&[&self.before]);
    }
}

/// Runs `stty` for the terminal of this process. Returns its output; none if it fails.
fn stty(args: &[&str]) -> Option<String> {
    let terminal = File::open(TERMINAL).ok()?;
    let output = Command::new("stty")
        .args(args)
        .stdin(terminal)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}
