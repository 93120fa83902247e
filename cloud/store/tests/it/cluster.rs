//! PostgreSQL server for the tests: its cluster is in a temporary folder, it listens only on a socket in that
//! folder, and it ends when the tests end, however they end.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(60);

/// Running server.
struct Cluster {
    folder: PathBuf,
    _watchdog: Child,
}

static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Returns the address of a new, empty database; `None` where PostgreSQL is not installed, which under CI is
/// a failure.
pub(crate) async fn database() -> Option<String> {
    let cluster = tokio::task::spawn_blocking(|| CLUSTER.get_or_init(start))
        .await
        .expect("the cluster starts or says why");
    let Some(cluster) = cluster else {
        assert!(
            std::env::var("CI").is_err(),
            "PostgreSQL is not installed: apt-get install postgresql"
        );
        return None;
    };
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    cluster.run(&format!("CREATE DATABASE {name}")).await;
    Some(cluster.url(&name))
}

impl Cluster {
    fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.folder.display()
        )
    }

    async fn run(&self, sql: &str) {
        use sqlx::Connection as _;
        let mut connection = sqlx::PgConnection::connect(&self.url("postgres"))
            .await
            .expect("the server answers");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .expect("the server does it");
        connection.close().await.expect("closes");
    }
}

/// Returns the folder of the server's programs: Debian's, or the one in the path.
fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<_> = debian
        .chain(std::env::split_paths(&path))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort_by_key(|bin| !bin.starts_with("/usr/lib/postgresql"));
    found.into_iter().next()
}

fn start() -> Option<Cluster> {
    let programs = programs()?;
    let folder = tempfile::Builder::new()
        .prefix("iottly-pg-")
        .tempdir()
        .expect("a folder")
        .keep();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))
        .expect("the server's user may write");
    let watchdog = watch(&programs, &folder);
    let deadline = Instant::now() + START;
    while !folder.join("ready").exists() {
        assert!(
            Instant::now() < deadline,
            "PostgreSQL did not start: {}",
            log(&folder)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(Cluster {
        folder,
        _watchdog: watchdog,
    })
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Creates the cluster and runs the server until standard input ends, which happens when the tests have
/// ended. The server refuses to run as root, so root starts it as the user that Debian's package creates.
fn watch(programs: &Path, folder: &Path) -> Child {
    const SCRIPT: &str = r#"
        cd "$1"
        {
            "$2/initdb" -D data -U postgres -A trust -E UTF8 --no-locale --no-sync &&
            "$2/pg_ctl" -D data -w -t 60 -l server.log -o "-k '$1' -c listen_addresses= -c fsync=off -c max_connections=200" start &&
            touch ready
        } >log 2>&1 </dev/null
        cat >/dev/null
        "$2/pg_ctl" -D data -m immediate stop >/dev/null 2>&1
        rm -rf "$1" 2>/dev/null || rm -rf "$1"/*
    "#;
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", SCRIPT, "watchdog"]).arg(folder).arg(programs);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group_alone()
        .spawn()
        .expect("sh starts");
    child.stdin.as_mut().expect("piped").flush().expect("open");
    child
}

trait Alone {
    /// Keeps Ctrl-C at the terminal from ending the watchdog before it has cleaned up.
    fn process_group_alone(&mut self) -> &mut Self;
}

impl Alone for Command {
    fn process_group_alone(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}
