//! Memory of a real cloud that reads histories with long messages.

use iottly_e2e::{Api, CloudHome, beside_others};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

/// Number of messages in the history, and approximate length of each, in bytes.
const MESSAGES: u64 = 510;
const MESSAGE_BYTES: u64 = 1_040_000;
/// Largest memory of the answers, in bytes; the history is almost twice as long.
const MOST_BYTES: u64 = 300 << 20;

/// Writes the long history of the one device.
fn fill(database: &std::path::Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .expect("the cloud's database");
        let body = "'{\"s\":\"' || hex(zeroblob($1)) || '\"}'";
        let sql = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
             INSERT INTO messages (project, device, ts, id, kind, device_ts, body) \
             SELECT project, id, 1000 + i, CAST(printf('%012d', i) AS BLOB), 0, 1000, {body} FROM devices, n"
        );
        let insert = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind((MESSAGE_BYTES / 2) as i64)
            .bind(MESSAGES as i64);
        assert_eq!(
            insert
                .execute(&mut connection)
                .await
                .expect("written")
                .rows_affected(),
            MESSAGES
        );
        connection.close().await.expect("closed");
    });
}

/// Reads an answer to its end; returns its status.
fn drain(api: &Api, path: &str) -> u16 {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let request = ureq::Agent::from(config).get(format!("{}{path}", api.url));
    let response = request
        .header("Authorization", format!("Bearer {}", api.token))
        .call()
        .expect("an answer");
    let status = response.status().as_u16();
    std::io::copy(&mut response.into_body().into_reader(), &mut std::io::sink()).expect("the whole answer");
    status
}

#[test]
fn long_histories_are_read_in_bounded_memory() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("p", "d", "function loop() { return 1000; }");
    fill(&home.database());
    let process = home.start();
    let path = |query: &str| {
        format!(
            "/v1.0/project/{}/messages/{}?{query}",
            device.api.project, device.id
        )
    };
    assert_eq!(drain(&device.api, &path("numMessages=1")), 200);
    let idle = process.peak_memory();

    // A filter that matches nothing, so that each page reads all entries; as many requests as may wait.
    let pages = [
        (8, path("queryJson=%7B%22nothing%22%3A1%7D")),
        (8, path("numMessages=100")),
        (
            4,
            format!(
                "/v1.0/project/{}/device/{}/messages/paginated?l=100",
                device.api.project, device.id
            ),
        ),
        (
            2,
            format!(
                "/v1.0/project/{}/device/{}/messages/export?queryJson=%7B%22nothing%22%3A1%7D",
                device.api.project, device.id
            ),
        ),
    ];
    for (at_once, page) in &pages {
        let requests: Vec<_> = (0..*at_once)
            .map(|_| {
                let (api, page) = (device.api.clone(), page.clone());
                std::thread::spawn(move || drain(&api, &page))
            })
            .collect();
        let statuses: Vec<_> = requests
            .into_iter()
            .map(|request| request.join().expect("no panic"))
            .collect();
        assert!(
            statuses.contains(&200) && statuses.iter().all(|status| [200, 429].contains(status)),
            "{page}: {statuses:?}"
        );
        let grown = process.peak_memory().saturating_sub(idle);
        assert!(grown < MOST_BYTES, "{page}: {} MiB more", grown >> 20);
    }
    process.terminate();
}
