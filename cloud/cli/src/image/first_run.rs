//! `firstrun.sh` for Raspberry Pi OS Bookworm, which has no cloud-init: a script that systemd runs at the first start in
//! place of the system, before there is a network, and the words on the kernel's command line that ask for it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::{Image, PACKAGE, put};
use crate::exit::Failure;

/// Words that are added to the kernel's command line; the script removes them.
const WORDS: &str = "systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target";
/// Maximum size of a command line that is read, in bytes.
const MAX_CMDLINE_BYTES: usize = 4 << 10;

/// Writes the script and the command line. Returns the names of the files.
pub(super) fn write(image: &Image<'_>, boot: &Path) -> Result<Vec<&'static str>, Failure> {
    let path = boot.join("cmdline.txt");
    let before = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let line = command_line(&before).map_err(|why| Failure::Invalid(format!("{}: {why}", path.display())))?;
    put(&boot.join("firstrun.sh"), script(image).as_bytes())?;
    put(&path, line.as_bytes())?;
    Ok(vec!["firstrun.sh", "cmdline.txt"])
}

/// Returns the command line with the words that run the script, once.
fn command_line(before: &str) -> Result<String, &'static str> {
    if before.len() > MAX_CMDLINE_BYTES {
        return Err("longer than a command line");
    }
    // One line; the firmware ignores all others.
    let line = before.lines().next().unwrap_or_default();
    if line.contains("systemd.run") && !line.contains(WORDS) {
        return Err("another script runs at the first start already");
    }
    let kept = line.replace(WORDS, "");
    Ok(format!("{} {WORDS}\n", kept.trim()))
}

/// Returns the script. It installs the package, which enrols after the restart, when there is a network.
fn script(image: &Image<'_>) -> String {
    let mut text = format!(
        "#!/bin/bash
# Written by iottly image: installs the agent at the first start of Raspberry Pi OS Bookworm.
set +e
install -d -m 755 /etc/iottly
(umask 077; printf '%s\\n' {} >/etc/iottly/enroll)
dpkg --install /boot/firmware/{PACKAGE}
",
        quoted(image.enroll)
    );
    if let Some(name) = image.hostname {
        let name = quoted(name);
        writeln!(
            text,
            "if [ -x /usr/lib/raspberrypi-sys-mods/imager_custom ]; then
    /usr/lib/raspberrypi-sys-mods/imager_custom set_hostname {name}
else
    echo {name} >/etc/hostname
fi"
        )
        .expect("a string takes all");
    }
    if let Some(wifi) = &image.wifi {
        writeln!(
            text,
            "/usr/lib/raspberrypi-sys-mods/imager_custom set_wlan {} {} {}",
            quoted(&wifi.ssid),
            quoted(&wifi.password),
            quoted(&wifi.country)
        )
        .expect("a string takes all");
    }
    text.push_str(
        "rm -f /boot/firmware/firstrun.sh
sed -i 's| systemd.run=.*systemd.unit=kernel-command-line.target||' /boot/firmware/cmdline.txt
exit 0
",
    );
    text
}

/// Returns a text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::wifi::Wifi;
    use super::*;

    #[test]
    fn the_words_are_added_once_and_another_script_is_kept() {
        let line = command_line("console=tty1 root=PARTUUID=1 rootwait\n").expect("a line");
        assert_eq!(line, format!("console=tty1 root=PARTUUID=1 rootwait {WORDS}\n"));
        assert_eq!(command_line(&line).expect("again"), line);
        assert!(command_line("quiet systemd.run=/boot/firmware/other.sh").is_err());
        assert!(command_line(&"x".repeat(MAX_CMDLINE_BYTES + 1)).is_err());
    }

    #[test]
    fn the_script_is_one_for_a_shell_whatever_the_names_are() {
        let image = Image {
            enroll: "iottly://cloud.example/00#11",
            hostname: Some("porch"),
            wifi: Wifi::new("it's $(reboot)", "pass`word`'", "IT").ok(),
        };
        let text = script(&image);
        let checked = Command::new("sh")
            .args(["-n", "-c", &text])
            .status()
            .expect("a shell");
        assert!(checked.success(), "{text}");
        let said = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "printf '%s|' {} {}",
                quoted("it's $(reboot)"),
                quoted("pass`word`'")
            ))
            .output()
            .expect("a shell");
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            "it's $(reboot)|pass`word`'|"
        );
    }
}
