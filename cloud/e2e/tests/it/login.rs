//! `iottly login` with the real program, a real cloud and the forms of its pages; and what the program shows on a terminal.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use iottly_e2e::{Process, beside_others, free_port, iottly, program, secrets};
use serde_json::Value;

const PASSWORD: &str = "correct+horse";

/// A cloud with a person, and a machine of that person with a configuration folder of its own.
struct Desk {
    dir: tempfile::TempDir,
    port: u16,
    cloud: Process,
    cookie: String,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for device in ["porch", "cellar"] {
            let out = dir.path().join(device);
            let out = out.to_str().expect("a path");
            let data = dir.path().join("cloud");
            let data = data.to_str().expect("a path");
            let words = [
                "provision",
                "--data",
                data,
                "--project",
                "home",
                "--device",
                device,
                "--out",
                out,
            ];
            let (code, _, error) = iottly(&words, "");
            assert_eq!(code, Some(0), "{error}");
        }
        let port = free_port();
        let (cloud, ready) = serve(dir.path(), port);
        let link = ready["login"].as_str().expect("a link for the first person");
        let (_, key) = link.split_once("key=").expect("a key");
        let body = format!("key={key}&name=ada&password={PASSWORD}&again={PASSWORD}");
        let cookie = cookie(port, "/join", &body);
        Self {
            dir,
            port,
            cloud,
            cookie,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// Returns a command of a machine that knows nothing but its configuration folder.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        for name in ["IOTTLY_URL", "IOTTLY_TOKEN", "IOTTLY_PROJECT", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.env("XDG_CONFIG_HOME", self.config()).env("TERM", "xterm");
    }

    /// Runs a command; returns its exit code and both outputs.
    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        texts(self.command(words).output().expect("iottly starts"))
    }

    /// Runs a command line in a pseudo-terminal of 60 columns; returns what appears there.
    fn on_terminal(&self, line: &str, environment: &str) -> String {
        let line = format!("stty cols 60 rows 24; {environment} {} {line}", program());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
        self.surround(&mut command);
        let (code, out, _) = texts(command.output().expect("script(1) starts"));
        assert_eq!(code, Some(0), "{out}");
        out.replace('\r', "\n")
    }

    /// Starts `iottly login`; returns it with the code that it shows.
    fn login(&self) -> (Child, BufReader<std::process::ChildStdout>, String) {
        let mut command = self.command(&["login", "--url", &self.url(), "--name", "laptop"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("iottly starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line, format!("open {}/login/machine\n", self.url()));
        line.clear();
        out.read_line(&mut line).expect("a line");
        let code = line.trim_end().strip_prefix("code ").expect("a code").to_owned();
        (child, out, code)
    }

    fn decide(&self, body: &str) {
        let (status, _, text) = post(self.port, "/login/machine", Some(&self.cookie), body);
        assert_eq!(status, 303, "{text}");
    }
}

fn serve(dir: &Path, port: u16) -> (Process, Value) {
    let mut command = Command::new(program());
    command
        .args(["serve", "--json", "--mqtt", "127.0.0.1:0", "--http"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--data")
        .arg(dir.join("cloud"));
    Process::start_until_ready("the cloud", &mut command)
}

/// Posts a form; returns the status, the cookie that is set and the body.
fn post(port: u16, path: &str, cookie: Option<&str>, body: &str) -> (u16, String, String) {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .build();
    let agent: ureq::Agent = config.into();
    let mut request = agent
        .post(format!("http://127.0.0.1:{port}{path}"))
        .header("Content-Type", "application/x-www-form-urlencoded");
    if let Some(cookie) = cookie {
        request = request.header("Cookie", cookie);
    }
    let mut answer = request.send(body).expect("an answer");
    let set = answer.headers().get("set-cookie");
    let set = set.and_then(|value| value.to_str().ok()?.split(';').next().map(str::to_owned));
    let text = answer.body_mut().read_to_string().expect("a text");
    (answer.status().as_u16(), set.unwrap_or_default(), text)
}

fn cookie(port: u16, path: &str, body: &str) -> String {
    let (status, cookie, text) = post(port, path, None, body);
    assert_eq!(status, 303, "{text}");
    cookie
}

fn texts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Waits for the end of `iottly login`; returns its exit code and the rest of both outputs.
fn ended(
    (mut child, mut out, _): (Child, BufReader<std::process::ChildStdout>, String),
) -> (Option<i32>, String, String) {
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("a text");
    let mut errors = String::new();
    let mut pipe = child.stderr.take().expect("piped");
    pipe.read_to_string(&mut errors).expect("a text");
    (child.wait().expect("an end").code(), rest, errors)
}

#[test]
fn a_machine_is_signed_in_on_a_page_and_signed_out() {
    let _turn = beside_others();
    let desk = Desk::new();
    let (code, _, error) = desk.run(&["device", "list"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("iottly login --url http://127.0.0.1:8080"),
        "{error}"
    );

    let login = desk.login();
    desk.decide(&format!(
        "code={}&do=approve&scope=read&scope=write&days=1",
        login.2
    ));
    let (code, out, error) = ended(login);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        out.contains(&format!("signed in as ada at {}", desk.url())),
        "{out}"
    );
    assert!(out.contains("project home"), "{out}");
    let file = desk.config().join("iottly/logins.json");
    let mode = |path: &Path| std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().expect("a folder")), 0o700);
    let stored: Value = serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("json");
    let token = stored["logins"][desk.url()]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    secrets::remember(&token);

    let (code, out, error) = desk.run(&["device", "list"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        out.contains("porch") && out.contains("cellar") && !out.contains("NAME"),
        "{out}"
    );
    let (_, out, _) = desk.run(&["whoami", "--output", "json"]);
    let who: Value = serde_json::from_str(&out).expect("json");
    assert_eq!(
        (
            &who["kind"],
            &who["name"],
            &who["project_name"],
            &who["credentials"]
        ),
        (
            &"person".into(),
            &"ada (laptop)".into(),
            &"home".into(),
            &"login".into()
        )
    );
    assert_eq!(who["scopes"], serde_json::json!(["read", "write"]));
    assert!(
        who["expires"]["$date"].is_i64() && who["url"] == desk.url(),
        "{who}"
    );
    let (_, out, _) = desk.run(&["whoami"]);
    assert!(
        out.contains("person ada (laptop)") && out.contains("by `iottly login`"),
        "{out}"
    );
    let (code, _, error) = desk.run(&["token", "list"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("lacks the scope admin"), "{error}");
    let (code, out, error) = desk.run(&["project", "use", "home"]);
    assert_eq!(code, Some(0), "{out}{error}");
    let (code, _, error) = desk.run(&["project", "use", "nowhere"]);
    assert!(
        code == Some(4) && error.contains("iottly project list"),
        "{error}"
    );

    // A token in the environment wins over the file.
    let mut given = desk.command(&["device", "list"]);
    given
        .env("IOTTLY_TOKEN", "wrong")
        .env("IOTTLY_PROJECT", who["project"].as_str().expect("an id"));
    assert_eq!(given.output().expect("iottly starts").status.code(), Some(3));
    // A file that others can read is not used.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("changed");
    let (code, _, error) = desk.run(&["device", "list"]);
    assert!(code == Some(2) && error.contains("chmod 600"), "{error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("changed");

    let (code, out, error) = desk.run(&["logout"]);
    assert_eq!(
        (code, out),
        (Some(0), format!("signed out at {}\n", desk.url())),
        "{error}"
    );
    assert_eq!(desk.run(&["logout", "--url", &desk.url()]).0, Some(4));
    let mut revoked = desk.command(&["device", "list", "--url", &desk.url()]);
    revoked
        .env("IOTTLY_TOKEN", &token)
        .env("IOTTLY_PROJECT", who["project"].as_str().expect("an id"));
    assert_eq!(
        revoked.output().expect("iottly starts").status.code(),
        Some(3),
        "it is revoked"
    );
}

#[test]
fn a_login_that_is_rejected_or_forgotten_stores_nothing() {
    let _turn = beside_others();
    let desk = Desk::new();
    let login = desk.login();
    desk.decide(&format!("code={}&do=reject", login.2));
    let (code, _, error) = ended(login);
    assert!(code == Some(3) && error.contains("rejected"), "{code:?} {error}");

    // The cloud forgets the code with its process, as it does after ten minutes.
    let login = desk.login();
    let Desk { dir, port, cloud, .. } = desk;
    cloud.kill();
    let (_cloud, _) = serve(dir.path(), port);
    let (code, _, error) = ended(login);
    assert!(code == Some(1) && error.contains("expired"), "{code:?} {error}");
    assert!(!dir.path().join("config/iottly/logins.json").exists());
}

#[test]
fn a_terminal_gets_tables_that_fit_and_progress_with_counts() {
    let _turn = beside_others();
    let desk = Desk::new();
    let login = desk.login();
    desk.decide(&format!("code={}&do=approve&scope=read&scope=write", login.2));
    assert_eq!(ended(login).0, Some(0));

    let table = desk.on_terminal("device list", "");
    assert!(table.contains("\u{1b}[1mID") && table.contains("NAME"), "{table}");
    assert!(table.contains("porch"), "{table}");
    let plain = desk.on_terminal("device list", "NO_COLOR=1");
    assert!(plain.contains("ID") && !plain.contains('\u{1b}'), "{plain}");
    let widest = plain.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(60), "{widest:?}: {plain}");

    let (code, made, error) = desk.run(&["group", "create", "north"]);
    assert_eq!(code, Some(0), "{made}{error}");
    let moved = desk.on_terminal("device move porch cellar --to north", "");
    assert!(
        moved.contains("2/2") && moved.contains("moved 2 to north"),
        "{moved}"
    );
    let (code, out, error) = desk.run(&["device", "move", "porch", "cellar", "--to", "north"]);
    assert_eq!(
        (code, out.as_str(), error.as_str()),
        (Some(0), "moved 0 to north\n", "")
    );

    let (code, out, error) = desk.run(&["group", "rename", "north", "south"]);
    assert!(code == Some(0) && out.contains("south"), "{out}{error}");
    let (_, out, _) = desk.run(&["group", "list", "--output", "jsonl"]);
    assert!(out.lines().count() == 2 && out.contains("\"south\""), "{out}");
    let (code, _, error) = desk.run(&["group", "delete", "south"]);
    assert!(code == Some(2) && error.contains("--yes"), "{error}");
    let (code, out, error) = desk.run(&["group", "delete", "south", "--yes"]);
    assert_eq!((code, out.as_str()), (Some(0), "deleted\n"), "{error}");
    assert_eq!(desk.run(&["group", "delete", "south", "--yes"]).0, Some(4));
}
