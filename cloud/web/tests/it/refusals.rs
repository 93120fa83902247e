//! A record that the database refuses affects only its device; an outage is waited for, and reported.

use crate::cluster;
use crate::device;
use crate::two_tenants::{Setup, setup};
use std::time::Duration;

use device::Raw;
use iottly_protocol::{Down, StreamClass, StreamId, encode_batch};
use iottly_store::ScanBounds;
use iottly_web::WebServices;
use iottly_web::http::Server;
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn record(seq: u64, channel: &str) -> String {
    format!(
        r#"{{"message":{{"type":"userdefined","at_ms":{seq},"channel":"{channel}","payload":{{"n":{seq}}}}}}}"#
    )
}

impl Setup {
    /// A hostile device sends records that the database refuses, one after the other, while another tenant's
    /// device is served.
    async fn poison(&self) -> (Raw, StreamId) {
        let (mut hostile, mut other) = (self.connect(self.hostile).await, self.connect(self.other).await);
        let (poisoned, clean, honest) = (StreamId::random(), StreamId::random(), StreamId::random());
        for seq in 1..=30u64 {
            let bad = record(seq * 2 - 1, "poison");
            let good = record(seq * 2, "good");
            hostile
                .up(encode_batch(
                    poisoned,
                    seq * 2 - 1,
                    [bad.as_bytes(), good.as_bytes()],
                ))
                .await;
            other.batch(honest, seq, 1).await;
            other.acked(honest, seq).await;
        }
        hostile.batch(clean, 1, 5).await;
        hostile.acked(clean, 5).await;
        (hostile, poisoned)
    }

    async fn numbers(&self, stream: StreamId) -> Vec<u64> {
        let history = self
            .services
            .store
            .scan(self.hostile, ScanBounds::default(), 10_000)
            .await
            .expect("reads");
        let mut numbers: Vec<_> = history
            .iter()
            .filter_map(|m| m.origin)
            .filter(|o| o.0 == stream)
            .map(|o| o.1)
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

/// A constraint: the database does not accept the record now, but its cause may be repaired.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_database_refuses_waits_alone() {
    let data = tempfile::tempdir().expect("a folder");
    let setup = setup(data.path(), None).await;
    let path = data.path().join("cloud.db");
    let run = async |sql: &'static str| {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut connection = sqlx::SqliteConnection::connect_with(&options)
            .await
            .expect("connects");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("runs");
        connection.close().await.expect("closes");
    };
    run("CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.channel = 'poison' BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    let (hostile, poisoned) = setup.poison().await;
    assert_eq!(
        setup.numbers(poisoned).await,
        (1..=30).map(|n| n * 2).collect::<Vec<_>>(),
        "its neighbours are kept"
    );
    assert_eq!(
        setup
            .services
            .store
            .stream_upto(setup.hostile, poisoned)
            .await
            .expect("reads"),
        0,
        "and nothing is acknowledged"
    );
    // Once it is repaired, the device's next attempt is stored.
    run("DROP TRIGGER poison").await;
    hostile.kill().await;
    let mut hostile = setup.connect(setup.hostile).await;
    hostile.hello(&[(poisoned, StreamClass::History, 1, 61)]).await;
    let records: Vec<_> = (1..=60)
        .map(|seq| record(seq, if seq % 2 == 1 { "poison" } else { "good" }))
        .collect();
    hostile
        .up(encode_batch(poisoned, 1, records.iter().map(String::as_bytes)))
        .await;
    hostile.acked(poisoned, 60).await;
    assert_eq!(setup.numbers(poisoned).await, (1..=60).collect::<Vec<_>>());
    setup.cloud.shutdown().await;
}

/// A value that no attempt can store: the record is refused, and a gap takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_database_refuses_becomes_a_gap() {
    let Some(url) = cluster::database().await else {
        return;
    };
    let data = tempfile::tempdir().expect("a folder");
    let setup = setup(data.path(), Some(url.clone())).await;
    let mut connection = sqlx::PgConnection::connect(&url).await.expect("connects");
    let sql = "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               RAISE EXCEPTION 'no' USING ERRCODE = '22021'; END $$; \
               CREATE TRIGGER poison BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.channel = 'poison') EXECUTE FUNCTION poison()";
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("runs");
    let (mut hostile, poisoned) = setup.poison().await;
    // Sent again after all others: every number is accounted for.
    let bad = record(59, "poison");
    hostile.up(encode_batch(poisoned, 59, [bad.as_bytes()])).await;
    let mut refused = 0;
    loop {
        match hostile.down().await {
            Down::Ack(ack) if ack.stream == poisoned && ack.upto == 60 => break,
            Down::Refuse(refuse) if refuse.stream == poisoned => {
                assert!(
                    refuse.seq % 2 == 1 && refuse.reason.contains("cannot keep"),
                    "{refuse:?}"
                );
                refused += 1;
            }
            _ => {}
        }
    }
    let history = setup
        .services
        .store
        .scan(setup.hostile, ScanBounds::default(), 10_000)
        .await
        .expect("reads");
    let gaps = history
        .iter()
        .filter(|entry| entry.payload.get().contains(r#""reason":"refused""#))
        .count();
    assert_eq!(gaps, 30);
    assert!(refused <= 31);
    assert_eq!(
        setup.numbers(poisoned).await,
        (1..=30).map(|n| n * 2).collect::<Vec<_>>()
    );
    setup.cloud.shutdown().await;
}

async fn ready(address: std::net::SocketAddr) -> u16 {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_for_and_told() {
    let data = tempfile::tempdir().expect("a folder");
    let setup = setup(data.path(), None).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = Server::start(listener, WebServices::new(setup.services.clone()));
    let mut device = setup.connect(setup.other).await;
    let stream = StreamId::random();
    device.hello(&[(stream, StreamClass::History, 1, 1)]).await;
    assert_eq!(ready(address).await, 200);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.path().join("cloud.db"));
    let mut lock = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("connects");
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut lock)
        .await
        .expect("locks");
    device.batch(stream, 1, 3).await;
    let told = async {
        while ready(address).await == 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told)
        .await
        .expect("the cloud says that it is not ready");
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut lock)
        .await
        .expect("unlocks");
    device.acked(stream, 3).await;
    assert_eq!(ready(address).await, 200);
    server.shutdown().await;
    setup.cloud.shutdown().await;
}
