//! Jobs of the cloud with real processes: killed in mid-job, left by the tab that started them, and from the command line.

use iottly_e2e::{Api, CloudHome, beside_others, wait_for};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::webdriver::{Browser, is_installed};

const QUIET: &str = "function loop() { return 60000; }";

/// Runs a statement on the cloud's database; returns the first column of the first row, if there is one.
pub(crate) fn sql(home: &CloudHome, text: &str) -> Option<i64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(home.database());
        let mut connection = SqliteConnection::connect_with(&options).await.expect("connects");
        let query = sqlx::query(AssertSqlSafe(text.to_owned()));
        let row = query.fetch_optional(&mut connection).await.expect("runs");
        connection.close().await.expect("closes");
        row.map(|row| row.get::<i64, _>(0))
    })
}

/// Adds devices to the group of the first one.
pub(crate) fn many(home: &CloudHome, count: u32) {
    let text = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO devices (project, id, group_id, name, secret) \
         SELECT d.project, randomblob(16), d.group_id, 'many-' || i, randomblob(32) FROM n, (SELECT * FROM devices LIMIT 1) d"
    );
    sql(home, &text);
}

fn path(api: &Api, rest: &str) -> String {
    format!("/project/{}{rest}", api.project)
}

fn start(api: &Api, body: &Value) -> String {
    let (status, answer) = api.post(&path(api, "/jobs"), body);
    assert_eq!(status, 200, "{answer}");
    answer["job"]["id"].as_str().expect("an id").to_owned()
}

fn show(api: &Api, id: &str) -> Option<Value> {
    let (status, answer) = api.try_get(&path(api, &format!("/jobs/{id}")))?;
    (status == 200).then(|| answer["job"].clone())
}

fn ended(api: &Api, id: &str) -> Value {
    wait_for("the end of the job", || {
        show(api, id).filter(|job| !job["ended"].is_null())
    })
}

fn group(api: &Api, name: &str) -> String {
    let (status, made) = api.post(&path(api, "/deploymentgroups"), &json!({ "name": name }));
    assert_eq!(status, 200, "{made}");
    made["deployment_group"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_cloud_that_is_killed_in_mid_job_reaches_every_device_exactly_once() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("plant", "one", QUIET);
    many(&home, 800);
    let (api, mut cloud) = (device.api, home.start());
    let body = json!({"kind": "command", "filter": "", "cmd_type": "echo", "values": {"echo.content": "hi"}});
    let id = start(&api, &body);
    for more in [100, 400] {
        wait_for("some commands", || {
            show(&api, &id).filter(|job| job["done"].as_u64() > Some(more))
        });
        cloud.kill();
        cloud = home.start();
    }
    let job = ended(&api, &id);
    assert_eq!(
        (&job["state"], &job["done"], &job["failed"]),
        (&json!("finished"), &json!(801), &json!(0)),
        "{job}"
    );
    assert_eq!(sql(&home, "SELECT count(*) FROM commands"), Some(801));
    assert_eq!(
        sql(&home, "SELECT count(DISTINCT device) FROM commands"),
        Some(801)
    );
    cloud.terminate();
}

#[test]
fn a_job_goes_on_after_its_tab_is_closed() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let home = CloudHome::new();
    let device = home.device("plant", "one", QUIET);
    many(&home, 10_000);
    let (api, cloud) = (device.api, home.start());
    group(&api, "field");
    let pages = format!("{}/p/{}", api.url, api.project);
    let browser = Browser::start(true);
    log_in(&browser, &api);
    browser.open(&format!("{pages}/jobs"));
    browser.shows("No jobs yet");
    browser.open(&format!("{pages}/devices?filter=name:many-*"));
    browser.click(&browser.find("input[name='all']"));
    browser.run("document.querySelector('select#to').selectedIndex = [...document.querySelectorAll('select#to option')].findIndex((option) => option.text === 'field')");
    browser.click(&browser.find("div.bulk button"));
    browser.shows("Move 10000 devices to field?");
    browser.click(&browser.find("form.dialog button[data-kind='final']"));
    browser.find("[data-job] progress");
    browser.find(".link[data-state='live']");
    browser.run("window.stays = true");
    let id = browser.url().rsplit('/').next().expect("an id").to_owned();
    wait_for("progress without a reload", || {
        let done = browser.run("return Number(document.querySelector('[data-live=done]').textContent)");
        (done.as_u64() > Some(200)).then_some(())
    });
    browser.picture("job-running");
    // The tab, and the browser with it.
    drop(browser);
    let before = show(&api, &id).expect("a job");
    assert!(before["ended"].is_null(), "closed in mid-job: {before}");
    let job = ended(&api, &id);
    assert_eq!(
        (&job["state"], &job["done"]),
        (&json!("finished"), &json!(10_000)),
        "{job}"
    );
    let (_, moved) = api.get(&path(&api, "/devices/props?filter=group:field"));
    assert_eq!(moved["count"], 10_000);
    let browser = Browser::start(true);
    log_in(&browser, &api);
    browser.open(&format!("{pages}/jobs/{id}"));
    browser.shows("10000 of 10000 devices done");
    browser.picture("job-finished");
    browser.open(&format!("{pages}/jobs?filter=open"));
    browser.shows("No job matches");
    // A list shows jobs that start after it was loaded, beside those that were there.
    browser.open(&format!("{pages}/jobs"));
    browser.find(".link[data-state='live']");
    browser.run("window.stays = true");
    let later = start(
        &api,
        &json!({"kind": "tag", "filter": "name:many-1", "add": ["later"]}),
    );
    browser.shows("Tags: add later");
    let row = format!("tr[data-job='{later}']");
    browser.find(&format!("{row} [data-live=state][data-tone=good]"));
    let seen = browser.run(&format!(
        "const row = document.querySelector(\"{row}\");
         return [window.stays, row.querySelector('a').pathname.split('/').pop(), document.querySelectorAll('tr[data-job]').length,
             [...document.querySelectorAll('[data-count]')].map((count) => count.textContent).join(' '), row.textContent.includes('1 of 1')];"
    ));
    // The number beside the heading, and those of all, open and ended jobs.
    assert_eq!(seen, json!([true, later, 2, "2 2 0 2", true]));
    assert!(browser.console().is_empty(), "nothing is reported");
    browser.picture("jobs-later");
    cloud.terminate();
}

fn log_in(browser: &Browser, api: &Api) {
    browser.open(&api.url);
    if browser.try_find("form.by-token button").is_none() {
        browser.shows("Token");
    }
    if let Some(summary) = browser.try_find("summary") {
        browser.click(&summary);
    }
    browser.write(&browser.find("input#token"), &api.token);
    browser.click(&browser.find("form.by-token button"));
    browser.find("nav.side");
}

#[test]
fn jobs_from_the_command_line_have_codes_of_their_results() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("plant", "one", QUIET);
    many(&home, 250);
    let (api, cloud) = (device.api, home.start());
    group(&api, "field");
    let folder = home.dir.path();
    let run = |args: &[&str]| api.iottly(folder, args);
    let (code, out, errors) = run(&[
        "device",
        "move",
        "--filter",
        "name:many-*",
        "--to",
        "field",
        "--dry-run",
    ]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "would move 250 to field\n"),
        "{errors}"
    );
    // Without a terminal an action on all that match needs `--yes`, and says how many it would be.
    let to_field = ["device", "move", "--filter", "name:many-*", "--to", "field"];
    let (code, _, errors) = run(&to_field);
    assert_eq!(code, Some(2), "{errors}");
    assert!(
        errors.contains("this would affect 250 devices") && errors.contains("`--yes` runs without asking"),
        "{errors}"
    );
    let (code, _, errors) = run(&[
        "device",
        "move",
        "--filter",
        "name:gone-*",
        "--to",
        "field",
        "--yes",
    ]);
    assert_eq!(code, Some(4), "{errors}");
    let (code, out, errors) = run(&[&to_field[..], &["--yes"]].concat());
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("this affects 250 devices"), "{errors}");
    assert!(out.contains("finished") && out.contains("250/250"), "{out}");
    assert!(
        errors.contains("it continues if this command is ended"),
        "{errors}"
    );
    let (code, out, errors) = run(&["export", "--job", "--devices", "name:many-1*", "--file", "out.gz"]);
    assert_eq!(code, Some(0), "{out} {errors}");
    let bytes = std::fs::read(folder.join("out.gz")).expect("a file");
    assert!(
        bytes.starts_with(&[0x1f, 0x8b]),
        "compressed as it is in the cloud"
    );
    let tag = r#"{"kind":"tag","filter":"","add":["field"]}"#;
    let (code, id, errors) = run(&["job", "start", tag, "--no-wait"]);
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = run(&["job", "watch", id.trim()]);
    assert_eq!(code, Some(0), "{errors}");
    let (_, list, _) = run(&["job", "list"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    let (code, _, errors) = run(&["job", "cancel", id.trim()]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("the job has ended already"), "{errors}");
    let (code, _, errors) = run(&["job", "start", r#"{"kind":"delete","filter":""}"#]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("would be deleted, 251"), "{errors}");
    assert_eq!(
        run(&["job", "show", "a2792ce8-216f-477c-a5cc-4f7e9f407e29"]).0,
        Some(4)
    );
    many_without_json(&home, &api);
    // A job with failures fails.
    let full: Vec<String> = (10..42).map(|n| n.to_string()).collect();
    let props = path(&api, &format!("/device/{}/props", device.id));
    assert_eq!(api.put(&props, &json!({ "tags": full })).0, 200);
    let (code, out, errors) = run(&["job", "start", r#"{"kind":"tag","filter":"","add":["more"]}"#]);
    assert_eq!(code, Some(1), "{out} {errors}");
    assert!(
        errors.contains("1 of 240 devices failed") && out.contains("more than 32 tags"),
        "{out} {errors}"
    );
    cloud.terminate();
}

/// Acts on many devices in the short form of filters, and deletes only what was counted and agreed to.
fn many_without_json(home: &CloudHome, api: &Api) {
    let run = |args: &[&str]| api.iottly(home.dir.path(), args);
    let some = "name:many-20*";
    let tags = [
        "device", "tag", "--filter", some, "--add", "roof", "--remove", "field", "--yes",
    ];
    let (code, out, errors) = run(&tags);
    assert_eq!(code, Some(0), "{out} {errors}");
    assert!(out.contains("finished") && out.contains("11/11"), "{out}");
    assert!(
        errors.contains("finished 11 of 11, 0 failed"),
        "a line, not a bar: {errors}"
    );
    let (_, list, _) = run(&["device", "list", "--filter", "tag:roof"]);
    assert_eq!(list.lines().count(), 11, "{list}");
    let sent = [
        "device",
        "command",
        "echo",
        "content=hi",
        "--filter",
        "tag:roof",
        "--yes",
        "--output",
        "json",
    ];
    let (code, out, errors) = run(&sent);
    assert_eq!(code, Some(0), "{out} {errors}");
    let job: Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(
        (&job["job"]["title"], &job["job"]["done"]),
        (&json!("Send echo"), &json!(11))
    );
    assert_eq!(sql(home, "SELECT count(*) FROM commands"), Some(11));
    let (code, out, errors) = run(&["device", "tag", "many-1", "many-2", "--add", "pair"]);
    assert_eq!(code, Some(0), "{out} {errors}");
    assert!(out.contains("2/2"), "{out}");
    let (code, out, errors) = run(&["device", "rm", "--filter", "tag:roof", "--dry-run"]);
    assert_eq!((code, out.as_str()), (Some(0), "would delete 11\n"), "{errors}");
    // Without a terminal only `--yes` deletes, and the number is said before.
    let (code, _, errors) = run(&["device", "rm", "--filter", "tag:roof"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(
        errors.contains("11 devices would be deleted") && errors.contains("--yes"),
        "{errors}"
    );
    let (_, list, _) = run(&["device", "list", "--filter", "tag:roof"]);
    assert_eq!(list.lines().count(), 11, "none was deleted: {list}");
    let (code, _, errors) = run(&["device", "rm", "--filter", "tag:roof", "--yes"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.starts_with("deleting 11 devices"), "{errors}");
    let (_, list, _) = run(&["device", "list"]);
    assert_eq!(list.lines().count(), 251 - 11, "{list}");
    let (code, _, errors) = run(&["device", "rm", "--filter", "tag:roof", "--yes"]);
    assert_eq!(code, Some(4), "{errors}");
}
