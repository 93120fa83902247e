//! `iottly image`: what an operating system's image needs so that the board enrols at its first start. Asks no cloud; writes
//! onto a mounted boot partition, or prints.

mod cloud_init;
mod first_run;
mod wifi;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use iottly_protocol::enroll::EnrollUrl;

use self::wifi::Wifi;
use crate::exit::Failure;
use crate::say::say;

/// Name of the package on the boot partition.
const PACKAGE: &str = "iottly-agent.deb";
/// Maximum size of a package that is copied, in bytes.
const MAX_PACKAGE_BYTES: u64 = 128 << 20;
/// Maximum length of a host name.
const MAX_HOSTNAME: usize = 63;

#[derive(Args)]
#[command(after_help = "\
Raspberry Pi OS from Trixie on, and every system with cloud-init:
  iottly image --enroll 'iottly://…' --boot /media/me/bootfs --package iottly-agent_0.1.0_arm64.deb
Raspberry Pi OS Bookworm: the same with --bookworm.")]
pub(crate) struct Options {
    /// Enrolment URL, as `iottly device enroll` or `iottly enrolment-key create` prints it
    #[arg(long, value_name = "URL")]
    enroll: String,
    /// Print the file user-data for cloud-init, which needs the package on the boot partition
    #[arg(long)]
    user_data: bool,
    /// Write the files onto this mounted boot partition
    #[arg(long, value_name = "DIR", required_unless_present = "user_data")]
    boot: Option<PathBuf>,
    /// Package of the agent for the board; copied onto the boot partition
    #[arg(long, value_name = "FILE", requires = "boot")]
    package: Option<PathBuf>,
    /// Write firstrun.sh for Raspberry Pi OS Bookworm, which has no cloud-init
    #[arg(long, requires = "boot", conflicts_with = "user_data")]
    bookworm: bool,
    /// Host name of the board
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    #[command(flatten)]
    wifi: wifi::Options,
}

/// Contents of an image.
struct Image<'a> {
    enroll: &'a str,
    hostname: Option<&'a str>,
    wifi: Option<Wifi>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let invalid = |reason: String| Failure::Invalid(reason);
    options
        .enroll
        .parse::<EnrollUrl>()
        .map_err(|error| invalid(format!("--enroll: {error}")))?;
    if let Some(name) = &options.hostname
        && !is_hostname(name)
    {
        return Err(invalid(
            "--hostname: at most 63 letters, digits and hyphens, and no hyphen at an end".to_owned(),
        ));
    }
    let image = Image {
        enroll: &options.enroll,
        hostname: options.hostname.as_deref(),
        wifi: options.wifi.read()?,
    };
    if options.user_data {
        std::io::stdout()
            .write_all(cloud_init::user_data(&image).as_bytes())
            .context("failed to write to standard output")?;
    }
    let Some(boot) = &options.boot else { return Ok(()) };
    // A wrong folder would be filled with secrets.
    if !boot.join("cmdline.txt").is_file() {
        return Err(invalid(format!(
            "{} holds no cmdline.txt, so it is not the boot partition of a Raspberry Pi",
            boot.display()
        )));
    }
    match &options.package {
        Some(package) => copy(package, &boot.join(PACKAGE))?,
        None if !boot.join(PACKAGE).is_file() => {
            return Err(invalid(format!(
                "--package FILE is needed: {} holds no {PACKAGE}",
                boot.display()
            )));
        }
        None => {}
    }
    let files = if options.bookworm {
        first_run::write(&image, boot)?
    } else {
        cloud_init::write(&image, boot)?
    };
    say(&format!(
        "{} holds {}: the board enrols at its first start",
        boot.display(),
        files.join(", ")
    ));
    Ok(())
}

fn copy(package: &Path, to: &Path) -> Result<(), Failure> {
    let named = || format!("--package {}", package.display());
    let meta = fs::metadata(package).with_context(named)?;
    if !meta.is_file() || meta.len() > MAX_PACKAGE_BYTES {
        return Err(Failure::Invalid(format!(
            "{}: not a file of at most 128 MiB",
            named()
        )));
    }
    let bytes = fs::read(package).with_context(named)?;
    if !bytes.starts_with(b"!<arch>\ndebian-binary") {
        return Err(Failure::Invalid(format!("{}: not a Debian package", named())));
    }
    put(to, &bytes)
}

/// Writes a file whole and to the disk: people pull out cards early.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    Ok(write().with_context(|| format!("failed to write {}", path.display()))?)
}

fn is_hostname(name: &str) -> bool {
    (1..=MAX_HOSTNAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_those_of_the_internet() {
        for name in ["a", "porch-2", &"x".repeat(63)] {
            assert!(is_hostname(name), "{name}");
        }
        for name in ["", "-a", "a-", "a.b", "a b", "ä", "a\n", &"x".repeat(64)] {
            assert!(!is_hostname(name), "{name:?}");
        }
    }
}
