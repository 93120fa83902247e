//! Profiles that are compiled in, and the one for a machine.

use super::Profile;

const ALL: [(&str, &str); 6] = [
    (
        "raspberry-pi-zero",
        include_str!("../../profiles/raspberry-pi-zero.toml"),
    ),
    (
        "raspberry-pi-zero-2",
        include_str!("../../profiles/raspberry-pi-zero-2.toml"),
    ),
    (
        "raspberry-pi-3",
        include_str!("../../profiles/raspberry-pi-3.toml"),
    ),
    (
        "raspberry-pi-4",
        include_str!("../../profiles/raspberry-pi-4.toml"),
    ),
    (
        "raspberry-pi-5",
        include_str!("../../profiles/raspberry-pi-5.toml"),
    ),
    (GENERIC, include_str!("../../profiles/generic-linux.toml")),
];
/// Profile of a machine that no other profile is for.
const GENERIC: &str = "generic-linux";
/// Lines and positions of the header of 40 pins.
const RASPBERRY_PI_40: &str = include_str!("../../profiles/header-raspberry-pi-40.toml");

/// Returns the names of all profiles that are compiled in.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|(name, _)| *name).collect()
}

pub(super) fn text(name: &str) -> Option<&'static str> {
    ALL.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// Returns the text with lines and positions of a header.
pub(super) fn header(layout: &str) -> Option<&'static str> {
    (layout == "raspberry-pi-40").then_some(RASPBERRY_PI_40)
}

/// Returns the name of the profile for a machine whose `/proc/device-tree/model` has this text: the one with the longest
/// beginning of it in whole words, else `generic-linux`.
#[must_use]
pub fn detect(model: &str) -> &'static str {
    let model = model.trim_end_matches(['\0', '\n']);
    let fits = |wanted: &str| {
        model
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    ALL.iter()
        .filter_map(|(name, text)| {
            let profile = Profile::parse(name, text).ok()?;
            let longest = profile
                .models
                .iter()
                .filter(|wanted| fits(wanted))
                .map(String::len)
                .max()?;
            Some((longest, *name))
        })
        .max()
        .map_or(GENERIC, |(_, name)| name)
}
