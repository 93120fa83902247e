//! Arguments of `iottly-agent enroll`.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, bail};
use iottly_agent::{EnrollCode, EnrollOptions, EnrollTrust};
use iottly_protocol::enroll::{EnrollUrl, Fingerprint, PairCode};

/// Parses the arguments after the word `enroll`.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> anyhow::Result<EnrollOptions> {
    use lexopt::Arg::{Long, Value};
    let mut parser = lexopt::Parser::from_args(args);
    let (mut string, mut address, mut code) = (None, None, None);
    let (mut fingerprint, mut first_use) = (None, false);
    let (mut data, mut name, mut rekey) = (None, None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Long("name") => name = Some(text(parser.value()?)?),
            Long("url") => address = Some(text(parser.value()?)?),
            Long("pair-code") => code = Some(text(parser.value()?)?),
            Long("ca-fingerprint") => fingerprint = Some(text(parser.value()?)?),
            Long("trust-on-first-use") => first_use = true,
            Long("rekey") => rekey = true,
            Value(value) if string.is_none() => string = Some(text(value)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let data = data.context("enroll needs --data DIR")?;
    let (code, url, trust) = match (string, address) {
        (Some(string), None) => {
            if code.is_some() || fingerprint.is_some() || first_use {
                bail!("--pair-code, --ca-fingerprint and --trust-on-first-use go with --url");
            }
            // Arguments can be seen by other users of the machine, standard input cannot.
            let string = match string.as_str() {
                "-" => first_line(io::stdin().lock())?,
                _ => string,
            };
            let url: EnrollUrl = string.trim().parse().context("enrolment URL")?;
            let trust = url
                .fingerprint()
                .map_or(EnrollTrust::Public, EnrollTrust::Fingerprint);
            (Some(EnrollCode::Pair(url.code())), url, trust)
        }
        (None, Some(address)) => {
            let code = code.as_deref().map(enroll_code).transpose()?;
            if code.is_none() && rekey {
                bail!("--rekey needs a pair code or an enrolment key");
            }
            let place = address
                .strip_prefix("https://")
                .context("--url is not of the form https://HOST[:PORT]")?;
            // The same grammar reads the address.
            let any = PairCode::from_bytes([0; 16]);
            let url: EnrollUrl = format!("iottly://{}/{any}", place.trim_end_matches('/'))
                .parse()
                .context("--url")?;
            let trust = match (fingerprint, first_use) {
                (Some(_), true) => bail!("--ca-fingerprint and --trust-on-first-use exclude each other"),
                (Some(text), false) => {
                    let print: Fingerprint = text.parse().context("--ca-fingerprint")?;
                    EnrollTrust::Fingerprint(print)
                }
                (None, true) => EnrollTrust::FirstUse,
                (None, false) => EnrollTrust::Public,
            };
            (code, url, trust)
        }
        (Some(_), Some(_)) => bail!("the enrolment URL and --url exclude each other"),
        (None, None) => bail!("enroll needs the string that `iottly device enroll` prints, or --url"),
    };
    Ok(EnrollOptions {
        host: url.host().to_owned(),
        port: url.port(),
        code,
        trust,
        name,
        data,
        rekey,
    })
}

/// Maximum size of the line on standard input, in bytes; longer than any enrolment URL.
const MAX_LINE_BYTES: u64 = 1024;

/// Returns the first line, or what there is of it.
fn first_line(from: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(MAX_LINE_BYTES)
        .read_to_string(&mut text)
        .context("failed to read the enrolment URL from standard input")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Parses a pair code, an enrolment key, or a short code as people type it.
fn enroll_code(text: &str) -> anyhow::Result<EnrollCode> {
    match text.parse() {
        Ok(code) => Ok(EnrollCode::Short(code)),
        Err(_) => Ok(EnrollCode::Pair(text.parse().context("--pair-code")?)),
    }
}

fn text(value: OsString) -> anyhow::Result<String> {
    value
        .into_string()
        .map_err(|_| anyhow::anyhow!("an argument is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<EnrollOptions, String> {
        parse(line.split(' ').map(OsString::from)).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_line_of_standard_input_is_read_up_to_its_end_or_a_limit() {
        for (input, line) in [("iottly://h/c\nname\n", "iottly://h/c"), ("", ""), ("a", "a")] {
            assert_eq!(first_line(input.as_bytes()).expect("text"), line);
        }
        assert_eq!(
            first_line(io::repeat(b'a')).expect("cut").len() as u64,
            MAX_LINE_BYTES
        );
    }

    #[test]
    fn trust_is_named_or_that_of_the_public_web() {
        let (code, print) = ("ab".repeat(16), "cd".repeat(32));
        let pinned = EnrollTrust::Fingerprint(print.parse().expect("hex"));
        for (line, trust, port) in [
            (format!("iottly://h:8443/{code}#{print} --data d"), pinned, 8443),
            (format!("iottly://h/{code} --data d"), EnrollTrust::Public, 443),
            (
                format!("--url https://h --pair-code {code} --data d"),
                EnrollTrust::Public,
                443,
            ),
            (
                format!("--url https://h:1/ --pair-code {code} --ca-fingerprint {print} --data d"),
                pinned,
                1,
            ),
            (
                format!("--url https://h --pair-code {code} --trust-on-first-use --data d"),
                EnrollTrust::FirstUse,
                443,
            ),
        ] {
            let options = parsed(&line).expect(&line);
            assert_eq!((options.trust, options.port), (trust, port), "{line}");
        }
        let short = parsed("--url https://h --pair-code 7k3m-9pqx --data d").expect("a short code");
        let typed = "7K3M-9PQX".parse().map(EnrollCode::Short).expect("a code");
        assert_eq!(short.code, Some(typed));
        let bare = parsed("--url https://h:8443 --data d").expect("waits for approval");
        assert_eq!(
            (bare.code, bare.port, bare.trust),
            (None, 8443, EnrollTrust::Public)
        );
        for (line, word) in [
            (format!("iottly://h/{code}"), "--data"),
            ("--data d".to_owned(), "iottly device enroll"),
            (format!("iottly://h/{code} --url https://h --data d"), "exclude"),
            (
                format!("iottly://h/{code} --trust-on-first-use --data d"),
                "go with --url",
            ),
            ("--url https://h --data d --rekey".to_owned(), "--rekey needs"),
            (format!("--url http://h --pair-code {code} --data d"), "https://"),
            ("iottly://h/nonsense --data d".to_owned(), "32 lower-case hex"),
        ] {
            let error = parsed(&line).map(drop).expect_err(&line);
            assert!(error.contains(word), "{line}: {error}");
            assert!(!error.contains(&code), "no code in an error: {error}");
        }
    }
}
