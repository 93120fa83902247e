//! Wi-Fi of a board: name, password and country, from options and a file.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::exit::Failure;

#[derive(Args)]
pub(super) struct Options {
    /// Name of the Wi-Fi network that the board joins
    #[arg(long = "wifi", value_name = "SSID", requires_all = ["wifi_password_file", "wifi_country"])]
    ssid: Option<String>,
    /// File with its password in the first line
    #[arg(long, value_name = "FILE", requires = "ssid")]
    wifi_password_file: Option<PathBuf>,
    /// Country, which decides on the permitted channels, such as IT
    #[arg(long, value_name = "CC", requires = "ssid")]
    wifi_country: Option<String>,
}

/// Wi-Fi network with WPA2 or WPA3.
pub(super) struct Wifi {
    pub(super) ssid: String,
    pub(super) password: String,
    pub(super) country: String,
}

impl Options {
    /// Returns the network, if one is named.
    pub(super) fn read(&self) -> Result<Option<Wifi>, Failure> {
        let (Some(ssid), Some(file), Some(country)) =
            (&self.ssid, &self.wifi_password_file, &self.wifi_country)
        else {
            return Ok(None);
        };
        let text =
            fs::read_to_string(file).with_context(|| format!("--wifi-password-file {}", file.display()))?;
        let password = text.lines().next().unwrap_or_default();
        Wifi::new(ssid, password, country)
            .map(Some)
            .map_err(Failure::Invalid)
    }
}

impl Wifi {
    /// Creates a network.
    ///
    /// # Errors
    /// The reason, which does not contain the password.
    pub(super) fn new(ssid: &str, password: &str, country: &str) -> Result<Self, String> {
        let printable = |text: &str| text.chars().all(|character| !character.is_control());
        if !(1..=32).contains(&ssid.len()) || !printable(ssid) {
            return Err("--wifi: 1 to 32 bytes without control characters".to_owned());
        }
        // WPA gives these lengths; 64 would be the hashed form.
        if !(8..=63).contains(&password.len()) || !password.is_ascii() || !printable(password) {
            return Err(
                "--wifi-password-file: the first line is not a password of 8 to 63 ASCII characters"
                    .to_owned(),
            );
        }
        if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err("--wifi-country: two upper-case letters, such as IT".to_owned());
        }
        Ok(Self {
            ssid: ssid.to_owned(),
            password: password.to_owned(),
            country: country.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_named_and_the_password_is_not() {
        assert!(Wifi::new("home", "correct horse", "IT").is_ok());
        for (ssid, password, country, word) in [
            ("", "correct horse", "IT", "--wifi:"),
            (&*"x".repeat(33), "correct horse", "IT", "--wifi:"),
            ("a\nb", "correct horse", "IT", "--wifi:"),
            ("home", "short77", "IT", "password"),
            ("home", &*"p".repeat(64), "IT", "password"),
            ("home", "correct horse", "it", "country"),
            ("home", "correct horse", "ITA", "country"),
        ] {
            let error = Wifi::new(ssid, password, country).map(drop).expect_err(word);
            assert!(error.contains(word) && !error.contains(password), "{error}");
        }
    }
}
