//! Enrolment by the environment: `iottly-agent run` enrols a board that is not a device yet with the URL that its
//! environment names, as containers are configured. Neither firmware nor a child process can read the URL.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use iottly_agent::{EnrollCode, EnrollOptions, EnrollTrust, enroll_when_new};
use iottly_protocol::enroll::EnrollUrl;

/// Variable with an enrolment URL.
pub(crate) const URL: &str = "IOTTLY_ENROLL";
/// Variable with the path of a file that holds an enrolment URL.
const URL_FILE: &str = "IOTTLY_ENROLL_FILE";
/// Variable with the name of the device; without it the name of the machine, which is that of a container.
const NAME: &str = "IOTTLY_NAME";
/// File in which the kernel shows the machine's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Maximum size of the file of an enrolment URL, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 10;

/// Values of the three variables.
#[derive(Default)]
struct Given {
    url: Option<OsString>,
    file: Option<OsString>,
    name: Option<OsString>,
}

/// Returns the enrolment that the environment asks for, into this data folder.
///
/// # Errors
/// The URL is malformed; the error does not contain it.
pub(crate) fn wanted(data: Option<&Path>) -> anyhow::Result<Option<EnrollOptions>> {
    // A variable that is set to nothing is not set: compose files cannot leave one out.
    let value = |name| env::var_os(name).filter(|value| !value.is_empty());
    let given = Given {
        url: value(URL),
        file: value(URL_FILE),
        name: value(NAME),
    };
    given.options(data, || std::fs::read_to_string(HOST_NAME).ok())
}

impl Given {
    fn options(
        self,
        data: Option<&Path>,
        host: impl FnOnce() -> Option<String>,
    ) -> anyhow::Result<Option<EnrollOptions>> {
        let (from, text) = match (self.url, self.file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => bail!("{URL} and {URL_FILE} exclude each other"),
            (Some(url), None) => (
                URL,
                url.into_string().ok().context("not UTF-8 text").context(URL)?,
            ),
            (None, Some(file)) => (URL_FILE, read(Path::new(&file)).context(URL_FILE)?),
        };
        let data = data.with_context(|| format!("{from} needs --data DIR"))?;
        let url: EnrollUrl = text.trim().parse().context(from)?;
        let name = match self.name {
            Some(name) => Some(name.into_string().ok().context("not UTF-8 text").context(NAME)?),
            None => host()
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty()),
        };
        Ok(Some(EnrollOptions {
            host: url.host().to_owned(),
            port: url.port(),
            code: Some(EnrollCode::Pair(url.code())),
            trust: url
                .fingerprint()
                .map_or(EnrollTrust::Public, EnrollTrust::Fingerprint),
            name,
            data: data.to_owned(),
            rekey: false,
        }))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let name = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(name)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .with_context(name)?;
    Ok(text)
}

/// Enrols the board unless it is a device already.
///
/// # Errors
/// See [`enroll_when_new`].
pub(crate) async fn enroll(options: EnrollOptions) -> anyhow::Result<()> {
    let host = options.host.clone();
    if let Some((device, name)) = enroll_when_new(options).await? {
        tracing::info!(device.id = %device, device.name = name, cloud.host = host, "enrolled");
    }
    Ok(())
}

/// Starts this program again without the URL if the environment has one: what a process was started with stays readable in
/// `/proc` for its user, and children have the same user. Returns only if there is none.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn forget() -> anyhow::Result<()> {
    if env::var_os(URL).is_none() {
        return Ok(());
    }
    let program = env::current_exe().context("cannot find this program")?;
    let mut args = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    let error = again.args(args).env_remove(URL).exec();
    Err(error).with_context(|| format!("cannot start again without {URL}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str, name: Option<&str>, data: Option<&str>) -> Result<Option<EnrollOptions>, String> {
        let given = Given {
            url: Some(url.into()),
            name: name.map(OsString::from),
            ..Given::default()
        };
        given
            .options(data.map(Path::new), || Some("0123456789ab\n".to_owned()))
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_environment_names_cloud_and_device() {
        let (code, print) = ("ab".repeat(16), "cd".repeat(32));
        let url = format!("iottly://cloud:8443/{code}#{print}\n");
        let found = options(&url, None, Some("d")).expect("read").expect("wanted");
        assert_eq!((found.host.as_str(), found.port), ("cloud", 8443));
        assert_eq!(found.trust, EnrollTrust::Fingerprint(print.parse().expect("hex")));
        assert_eq!(found.name.as_deref(), Some("0123456789ab"), "the machine's name");
        let found = options(&url, Some("porch"), Some("d"))
            .expect("read")
            .expect("wanted");
        assert_eq!(found.name.as_deref(), Some("porch"));
        let none = Given::default().options(None, || None).expect("nothing");
        assert!(none.is_none());

        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("url");
        std::fs::write(&file, &url).expect("file");
        let from_file = |file: &Path| {
            let given = Given {
                file: Some(file.into()),
                ..Given::default()
            };
            given.options(Some(Path::new("d")), || None)
        };
        assert_eq!(from_file(&file).expect("read").expect("wanted").host, "cloud");
        let error = format!("{:#}", from_file(dir.path()).expect_err("a folder"));
        assert!(error.contains("IOTTLY_ENROLL_FILE: cannot read"), "{error}");
    }

    #[test]
    fn no_error_shows_the_code() {
        let code = "ab".repeat(16);
        for (url, data, word) in [
            (format!("iottly://cloud/{code}"), None, "--data"),
            (
                format!("https://cloud/{code}"),
                Some("d"),
                "IOTTLY_ENROLL: not of the form",
            ),
        ] {
            let error = options(&url, None, data).map(drop).expect_err(&url);
            assert!(error.contains(word) && !error.contains(&code), "{error}");
        }
    }
}
