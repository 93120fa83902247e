//! Signing in with a real identity provider on another site, in a real Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use iottly_e2e::{Process, beside_others, free_port, iottly, program, wait_for};
use serde_json::{Value, json};

use crate::webdriver::{Browser, is_installed};

const CLIENT: &str = "cloud";
const SECRET: &str = "a secret of the client, for tests only";

/// Returns the folder of the provider's program; `None` if it is not installed. Under CI it must be.
fn provider_folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/fixtures/oidc");
    let node = Command::new("node").arg("--version").output();
    let installed = folder.join("node_modules/oidc-provider").is_dir()
        && node.is_ok_and(|output| output.status.success());
    assert!(
        installed || std::env::var("CI").as_deref() != Ok("true"),
        "node or oidc-provider is missing: npm ci in .ci/fixtures/oidc"
    );
    installed.then_some(folder)
}

/// The provider at `localhost`, and the cloud at `127.0.0.1`: for browsers these are two sites.
struct Sites {
    folder: tempfile::TempDir,
    program: PathBuf,
    provider: Process,
    cloud: Process,
    url: String,
    provider_url: String,
}

impl Sites {
    fn start(program_folder: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (provider_port, cloud_port) = (free_port(), free_port());
        let (provider_url, url) = (
            format!("http://localhost:{provider_port}"),
            format!("http://127.0.0.1:{cloud_port}"),
        );
        let settings = json!({
            "port": provider_port,
            "client": CLIENT,
            "secret": SECRET,
            "redirect": format!("{url}/login/provider/callback"),
        });
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("a path").to_owned()
        };
        write("settings.json", &settings.to_string());
        write("people.json", "{}");
        let secret = write("secret", &format!("{SECRET}\n"));
        let data = folder.path().join("cloud");
        let data = data.to_str().expect("a path");
        let out = folder.path().join("board");
        let device = [
            "provision",
            "--data",
            data,
            "--project",
            "home",
            "--device",
            "porch",
            "--out",
        ];
        let device = [&device[..], &[out.to_str().expect("a path")]].concat();
        let (code, _, error) = iottly(&device, "");
        assert_eq!(code, Some(0), "{error}");
        let program_file = program_folder.join("provider.mjs");
        let provider = start_provider(&program_file, folder.path());
        let mut command = Command::new(program());
        command.args([
            "serve",
            "--json",
            "--data",
            data,
            "--mqtt",
            "127.0.0.1:0",
            "--http",
        ]);
        command.arg(format!("127.0.0.1:{cloud_port}"));
        command.args(["--oidc-issuer", &provider_url, "--oidc-client-id", CLIENT]);
        command.args(["--oidc-client-secret-file", &secret]);
        command.args(["--oidc-role", "owners=owner", "--oidc-role", "staff=viewer"]);
        let (cloud, _) = Process::start_until_ready("the cloud", &mut command);
        Self {
            folder,
            program: program_file,
            provider,
            cloud,
            url,
            provider_url,
        }
    }

    /// Puts a person into groups at the provider.
    fn put(&self, name: &str, groups: &[&str]) {
        let people = json!({name: groups}).to_string();
        std::fs::write(self.folder.path().join("people.json"), people).expect("written");
    }

    /// Restarts the provider, which makes a new signing key and forgets its logins.
    fn rotate(self) -> Self {
        self.provider.kill();
        let provider = start_provider(&self.program, self.folder.path());
        Self { provider, ..self }
    }

    /// Goes through the provider's pages as a person.
    fn sign_in(&self, browser: &Browser, name: &str) {
        browser.open(&format!("{}/login", self.url));
        browser.click(&browser.find("a.by-provider"));
        let field = browser.find("input[name='login']");
        assert!(browser.url().starts_with(&self.provider_url), "{}", browser.url());
        browser.write(&field, name);
        browser.write(&browser.find("input[name='password']"), "any");
        browser.click(&browser.find("button[type='submit']"));
        // The second page asks for consent.
        wait_for("the page of consent", || {
            browser.try_find("input[name='password']").is_none().then_some(())
        });
        browser.click(&browser.find("button[type='submit']"));
        // After a rotation, the cloud reads the new key no earlier than ten seconds after the former one.
        wait_for("the devices", || {
            if browser.try_find("nav.side").is_some() {
                return Some(());
            }
            if browser.try_find(".field-problem").is_some() {
                std::thread::sleep(Duration::from_secs(4));
                browser.open(&format!("{}/login/provider", self.url));
            }
            None
        });
    }
}

fn start_provider(program: &Path, folder: &Path) -> Process {
    let mut command = Command::new("node");
    command
        .arg(program)
        .arg(folder)
        .stderr(std::process::Stdio::null());
    let (process, ready): (_, Value) = Process::start_until_ready("the identity provider", &mut command);
    assert!(ready["port"].is_u64(), "{ready}");
    process
}

#[test]
fn a_person_signs_in_with_a_provider_on_another_site() {
    let _turn = beside_others();
    let (true, Some(program)) = (is_installed(), provider_folder()) else {
        eprintln!("not tried: chromium, node or oidc-provider is not installed");
        return;
    };
    let mut sites = Sites::start(&program);
    for javascript in [false, true] {
        sites.put("ada", &["owners"]);
        let browser = Browser::start(javascript);
        sites.sign_in(&browser, "ada");
        browser.find("nav.side");
        assert!(
            browser.url().starts_with(&format!("{}/p/", sites.url)),
            "{}",
            browser.url()
        );
        browser.open(&format!("{}devices", browser.url()));
        browser.shows("porch");
        browser.open(&format!("{}/account", sites.url));
        browser.shows("default, owner");
        browser.picture(&format!("signed-in-{javascript}"));
        browser.open(&sites.url);
        browser.click(&browser.find("form[action='/logout'] button"));
        browser.find("a.by-provider");

        // The provider remembers the person, whose groups have changed.
        sites.put("ada", &["staff"]);
        browser.click(&browser.find("a.by-provider"));
        browser.find("nav.side");
        browser.open(&format!("{}/account", sites.url));
        browser.shows("default, viewer");
        sites.put("ada", &["visitors"]);
        browser.open(&format!("{}/login", sites.url));
        browser.click(&browser.find("a.by-provider"));
        browser.shows("none of your groups has a role here");
        browser.open(&sites.url);
        browser.find("a.by-provider");
        sites = sites.rotate();
    }
    sites.cloud.terminate();
    sites.provider.kill();
}
