//! Errors of a configuration without any of its text: a secret may be anywhere in it by mistake.

/// Keys of a configuration, which an error may name.
const KEYS: [&str; 35] = [
    "device_id",
    "secret",
    "broker",
    "proxy",
    "firmware",
    "data_dir",
    "cache_dir",
    "compiler",
    "developer",
    "board",
    "grants",
    "queue",
    "updates",
    "program",
    "args",
    "memory_bytes",
    "disk_bytes",
    "when_full",
    "ttl_seconds",
    "firmware_bytes_per_day",
    "repository",
    "root",
    "ca",
    "project",
    "group",
    "capabilities",
    "p256",
    "login",
    "poll_seconds",
    "gpio",
    "i2c",
    "spi",
    "uart",
    "pwm",
    "adc",
];

/// Returns line and kind of an error in a configuration, with known keys and no values.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> String {
    let message = reason(error.message());
    let Some(span) = error.span() else { return message };
    let before = &text.as_bytes()[..span.start.min(text.len())];
    let number = before.iter().filter(|byte| **byte == b'\n').count();
    let key = text
        .lines()
        .nth(number)
        .and_then(|line| line.split_once('='))
        .map(|(key, _)| key.trim());
    match key.filter(|key| KEYS.contains(key) && !message.starts_with("unknown key")) {
        Some(key) => format!("line {}: `{key}`: {message}", number + 1),
        None => format!("line {}: {message}", number + 1),
    }
}

/// Returns the parser's message without quotes from the file; expected values come from this program and
/// stay.
fn reason(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    if message.starts_with("missing field") {
        return message.replacen("missing field", "missing key", 1);
    }
    // The expected values are at the end; the found value may contain anything.
    let expected = message
        .rsplit_once(", expected ")
        .map_or(String::new(), |(_, expected)| format!(", expected {expected}"));
    let kinds = [
        ("unknown field", "unknown key"),
        ("unknown variant", "unknown value"),
        ("invalid type", "a value of another type"),
        ("invalid value", "a value that cannot be used"),
        ("invalid length", "a list of another length"),
    ];
    match kinds.iter().find(|(found, _)| message.starts_with(found)) {
        Some((_, kind)) => format!("{kind}{expected}"),
        None => unquoted(message),
    }
}

/// Returns the text without everything between its first and last quotation mark.
fn unquoted(text: &str) -> String {
    let quotes = ['"', '`', '\''];
    match (text.find(quotes), text.rfind(quotes)) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &text[..first], &text[last + 1..]),
        (Some(first), _) => format!("{}…", &text[..first]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::AgentConfig;

    /// Configuration with every key.
    const WHOLE: &str = r#"device_id = "a2792ce8-216f-477c-a5cc-4f7e9f407e29"
secret = "x"
broker = "localhost:1883"
firmware = "f.wasm"
data_dir = "d"
cache_dir = "c"
board = "virtual"
developer = true
[compiler]
program = "p"
args = ["a"]
[queue]
disk_bytes = 5
when_full = "drop_oldest"
ttl_seconds = 5
firmware_bytes_per_day = 5
[grants]
gpio = []
i2c = []
spi = []
uart = []
pwm = []
adc = []
[updates]
repository = "r"
root = "r.json"
ca = "ca.pem"
project = "58f73b41c3cc4800078010c5"
group = "a2792ce8-216f-477c-a5cc-4f7e9f407e29"
board = "b"
capabilities = ["x"]
p256 = true
poll_seconds = 5
"#;

    #[test]
    fn every_key_is_named() {
        for (number, line) in WHOLE.lines().enumerate() {
            let Some((key, _)) = line.split_once(" = ") else {
                continue;
            };
            let wrong = format!("{key} = 1979-05-27");
            let mut lines: Vec<&str> = WHOLE.lines().collect();
            lines[number] = &wrong;
            let error = AgentConfig::parse(&lines.join("\n"), Path::new("")).expect_err(key);
            let named = format!("line {}: `{key}`: ", number + 1);
            assert!(error.to_string().contains(&named), "{error}");
        }
    }

    #[test]
    fn a_secret_anywhere_is_never_printed() {
        AgentConfig::parse(WHOLE, Path::new("")).expect("valid");
        let mut refused = 0;
        for (number, line) in WHOLE.lines().enumerate() {
            let Some((key, value)) = line.split_once(" = ") else {
                continue;
            };
            for wrong in [
                format!("{key} = \"s3cr3t-VALUE\""),
                format!("{key} = 's3cr3t-VALUE \" ` more'"),
                format!("{key} = \"x, expected s3cr3t-VALUE\""),
                format!("{key} = s3cr3t-VALUE"),
                format!("{key} = [\"s3cr3t-VALUE\"]"),
                format!("{key} = {{ s3cr3t-VALUE = 1 }}"),
                format!("{key} = \"\"\"\ns3cr3t-VALUE\n\"\"\""),
                format!("{key} = \"s3cr3t-VALUE"),
                format!("{key} = {value} s3cr3t-VALUE"),
                format!("{key} s3cr3t-VALUE = {value}"),
                format!("s3cr3t-VALUE = {value}"),
                format!("\"s3cr3t-VALUE\" = {value}\n{line}"),
                format!("{line}\n{key} = \"s3cr3t-VALUE\""),
                format!("[s3cr3t-VALUE]\n{line}"),
                format!("{key}.s3cr3t-VALUE = 1"),
            ] {
                let mut lines: Vec<&str> = WHOLE.lines().collect();
                lines[number] = &wrong;
                if let Err(error) = AgentConfig::parse(&lines.join("\n"), Path::new("")) {
                    assert!(!error.to_lowercase().contains("s3cr3t"), "{wrong}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 200, "{refused}");
    }
}
