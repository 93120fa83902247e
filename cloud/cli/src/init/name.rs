//! Names of firmware: a name becomes a folder, a file and, in Rust, a crate.

/// Longest name, in characters.
const MAX_CHARS: usize = 64;
/// Names that cargo or Rust reserve.
const TAKEN: [&str; 14] = [
    "core",
    "std",
    "alloc",
    "test",
    "proc_macro",
    "crate",
    "self",
    "super",
    "target",
    "build",
    "examples",
    "deps",
    "incremental",
    "iottly-firmware",
];

/// Checks a name.
///
/// # Errors
/// The reason why it is not valid, with the name.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let shown: String = name.chars().take(MAX_CHARS + 1).collect();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(format!(
            "{shown:?} is not a valid name for firmware: it must begin with a letter"
        ));
    }
    if name.chars().count() > MAX_CHARS {
        return Err(format!(
            "{shown:?}… is not a valid name for firmware: it is longer than {MAX_CHARS} characters"
        ));
    }
    if let Some(odd) = name
        .chars()
        .find(|letter| !letter.is_ascii_alphanumeric() && !matches!(letter, '-' | '_'))
    {
        return Err(format!(
            "{shown:?} is not a valid name for firmware: {odd:?} is neither a letter, a digit, '-' nor '_'"
        ));
    }
    if TAKEN.contains(&name) {
        return Err(format!(
            "{shown:?} is not a valid name for firmware: it is reserved"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn plain_names_pass() {
        for name in ["hello", "a", "Blink2", "door-sensor_3", &"x".repeat(64)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        for name in [
            "",
            "1st",
            "-rf",
            "../up",
            "a/b",
            "a b",
            "é",
            "naïve",
            "a.b",
            ".",
            "std",
            "a\0b",
            &"x".repeat(65),
        ] {
            let reason = check(name).unwrap_err();
            let shown: String = name.chars().take(20).collect();
            assert!(
                reason.contains(format!("{shown:?}").trim_end_matches('"')),
                "{reason}"
            );
        }
    }
}
