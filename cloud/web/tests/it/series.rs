//! Series over the API: their list, their points as JSON and CSV, and refusals with their reason.

use crate::support;
use iottly_cloud::clock;
use serde_json::Value;

const SERIES: &str = "/v1.0/project/<project id>/series";

/// Stores three messages: two in one minute, and one of an hour before.
async fn cloud() -> support::TestCloud {
    let cloud = support::start().await;
    let (scope, now) = (cloud.tenant.scope, clock::now());
    let hour = 60 * 60 * 1000;
    cloud.store(scope, now - hour, &[r#"{"room":{"t":20}}"#]).await;
    cloud
        .store(
            scope,
            now,
            &[r#"{"room":{"t":21.5},"text":"7"}"#, r#"{"room":{"t":22.5}}"#],
        )
        .await;
    cloud
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_of_a_message_is_a_series() {
    let cloud = cloud().await;
    let list = cloud.get(SERIES).await.ok();
    assert_eq!(list["series"][0]["path"], "room.t", "{list}");
    assert_eq!(
        (list["series"].as_array().map(Vec::len), &list["filling"]),
        (Some(1), &Value::from(0))
    );
    for (query, count, value) in [
        ("since=24h", 3, Value::Null),
        ("since=24h&agg=count&points=2&by=group", 3, Value::Null),
        ("since=90d&agg=max&by=device", 3, 22.5.into()),
        ("since=90d&agg=sum", 3, Value::Null),
        ("since=90d&agg=p95&group=_orphaned", 3, Value::Null),
        ("since=15m&device=<device id>", 2, 22.0.into()),
    ] {
        let answer = cloud
            .get(&format!("{SERIES}/points?path=room.t&{query}"))
            .await
            .ok();
        let line = &answer["lines"][0];
        assert_eq!(line["count"], count, "{query}: {answer}");
        if !value.is_null() {
            let values: Vec<_> = line["points"]
                .as_array()
                .expect("points")
                .iter()
                .map(|point| &point["value"])
                .collect();
            assert!(values.contains(&&value), "{query}: {answer}");
        }
    }
    let raw = cloud
        .get(&format!(
            "{SERIES}/points?path=room.t&since=15m&device=<device id>"
        ))
        .await
        .ok();
    assert_eq!(raw["resolution"], "raw");
    let csv = cloud
        .get(&format!(
            "{SERIES}/points?path=room.t&since=90d&agg=sum&format=csv"
        ))
        .await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let rows: Vec<_> = csv.text.lines().collect();
    assert_eq!(rows[0], "time,id,name,value,min,max,missing");
    let sum: f64 = rows[1..]
        .iter()
        .filter_map(|row| row.split(',').nth(3)?.parse::<f64>().ok())
        .sum();
    assert!((sum - 64.0).abs() < 1e-9, "{}", csv.text);
    let none = cloud.get(&format!("{SERIES}/points?path=other")).await.ok();
    assert_eq!(none["lines"].as_array().map(Vec::len), Some(0));
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_with_the_reason() {
    let cloud = cloud().await;
    for (query, reason) in [
        ("", "path is missing"),
        ("path=t&agg=median", "agg is not avg, min, max, sum, count or p95"),
        ("path=t&by=colour", "by is not none, device or group"),
        ("path=t&since=2w", "since is not a time such as 15m, 24h or 90d"),
        (
            "path=t&since=9999d",
            "the range has 9999 days; at most 730 are drawn at once",
        ),
        (
            "path=t&from=2026-01-02T00:00:00.000Z&to=2026-01-01T00:00:00.000Z",
            "the range must be at least a minute, and its end after its beginning",
        ),
        (
            "path=t&points=5001",
            "5001 points were asked for; a line has 2 to 5000",
        ),
        ("path=t&format=xml", "format is not json or csv"),
    ] {
        let answer = cloud.get(&format!("{SERIES}/points?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
        assert!(answer.text.contains(reason), "{query}: {}", answer.text);
    }
    for query in [
        "path=t&group=none",
        "path=t&device=00000000-0000-0000-0000-000000000000",
    ] {
        cloud.get(&format!("{SERIES}/points?{query}")).await.error(404);
    }
    let long = "x".repeat(129);
    cloud
        .get(&format!("{SERIES}/points?path={long}"))
        .await
        .error(400);
    cloud.shutdown().await;
}
