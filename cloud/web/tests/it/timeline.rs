//! The timeline of a device: what is stored about it as one line of time, over REST and as a page.

use iottly_core::alerts::Effect;
use iottly_core::ingest::Write;
use iottly_core::model::{AlertRule, AlertRuleId, AlertSubject, AlertTarget, Condition};
use iottly_core::model::{Change, Packet, Principal, Proof};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{TestCloud, start};

const PATH: &str = "/v1.0/project/<project id>/device/<device id>/timeline";

async fn note(cloud: &TestCloud, at: i64, payload: &str) {
    let payload = RawValue::from_string(payload.to_owned()).expect("JSON");
    let write = Write::Notice {
        scope: cloud.tenant.scope,
        at,
        payload,
    };
    cloud.services.store.commit(vec![write]).await.expect("stored");
}

async fn online(cloud: &TestCloud, at: i64, online: bool) {
    let write = Write::Device {
        scope: cloud.tenant.scope,
        at,
        online: Some(online),
        proof: Some(Proof {
            packet: Packet::Publish,
            at,
        }),
        agent_version: None,
    };
    cloud.services.store.commit(vec![write]).await.expect("stored");
}

/// Writes a history of one hour and returns the time of its end.
async fn hour(cloud: &TestCloud) -> i64 {
    let end = iottly_cloud::clock::now();
    let at = |minute: i64| end - (60 - minute) * 60_000;
    online(cloud, at(5), true).await;
    note(
        cloud,
        at(10),
        r#"{"gap":{"stream":"a","from":1,"to":3,"count":3,"reason":"budget"}}"#,
    )
    .await;
    note(cloud, at(20), r#"{"process":{"name":"MainProcess","function":"loop","status":{"error":"trap"},"description":"unreachable"}}"#).await;
    online(cloud, at(30), false).await;
    online(cloud, at(40), true).await;
    let (store, scope) = (&cloud.services.store, cloud.tenant.scope);
    let by = Principal::system(scope.project, "ada");
    let settings = RawValue::from_string(r#"{"led":true}"#.to_owned()).expect("JSON");
    let rule = AlertRule {
        id: AlertRuleId::random(),
        project: scope.project,
        name: "stays away".to_owned(),
        condition: Condition::Offline(60_000),
        target: AlertTarget::Project,
        mails: Vec::new(),
        muted_until: None,
        created: 1,
        unexamined: 0,
    };
    let raise = Effect::Raise {
        rule: rule.id,
        subject: AlertSubject::Device(scope.device),
        detail: "offline for a minute".to_owned(),
    };
    for (change, minute) in [
        (Change::SetDeviceSettings(scope.device, settings), 45),
        (Change::CreateAlertRule(Box::new(rule)), 46),
    ] {
        store
            .change(scope.project, &by, change, at(minute))
            .await
            .expect("applies");
    }
    store
        .apply_alerts(scope.project, vec![raise], at(47))
        .await
        .expect("raised");
    let sent = cloud
        .post(
            "/v1.0/project/<project id>/device/<device id>/command",
            r#"{"cmd_type":"echo","values":{"echo.content":"hi"}}"#,
        )
        .await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    end
}

fn lanes(answer: &Value) -> Vec<&str> {
    let events = answer["events"].as_array().expect("events");
    events
        .iter()
        .map(|event| event["lane"].as_str().expect("a lane"))
        .collect()
}

#[tokio::test]
async fn all_that_is_known_of_a_device_is_one_line_of_time() {
    let cloud = start().await;
    // Messages of firmware are no part of it.
    cloud
        .store(cloud.tenant.scope, iottly_cloud::clock::now(), &[r#"{"t":1}"#])
        .await;
    let end = hour(&cloud).await;
    let answer = cloud.get(&format!("{PATH}?since=2h")).await.ok();
    assert_eq!(
        lanes(&answer),
        [
            "commands", "alerts", "settings", "presence", "presence", "failures", "gaps", "presence"
        ],
        "newest first: {answer}"
    );
    let events = &answer["events"];
    assert_eq!(events[0]["title"], "Command echo: queued");
    assert!(
        events[0]["lasts"] == true && events[0]["command"].is_string(),
        "{}",
        events[0]
    );
    assert_eq!(events[1]["title"], "Alert stays away");
    assert_eq!(
        (&events[2]["title"], &events[2]["author"]),
        (&json!("Settings were changed"), &json!("ada"))
    );
    assert_eq!(events[5]["title"], "loop failed: trap");
    assert_eq!(
        (&events[6]["title"], &events[6]["detail"]),
        (&json!("3 records are missing"), &json!("budget"))
    );
    let spans: Vec<_> = answer["presence"]
        .as_array()
        .expect("spans")
        .iter()
        .map(|span| span["state"].as_str().expect("a state"))
        .collect();
    assert_eq!(spans, ["offline", "online", "offline", "online"]);
    assert_eq!(answer["presence"][1]["from"]["$date"], end - 55 * 60_000);
    assert!(answer["next"].is_null());
    // A range without a change knows the presence from the change before or after it.
    for (from, to, state) in [
        (21, 29, "online"),
        (31, 39, "offline"),
        (1, 4, "offline"),
        (50, 59, "online"),
    ] {
        let (from, to) = (end - (60 - from) * 60_000, end - (60 - to) * 60_000);
        let answer = cloud.get(&format!("{PATH}?from={from}&to={to}")).await.ok();
        assert_eq!(answer["presence"].as_array().map(Vec::len), Some(1), "{answer}");
        assert_eq!(answer["presence"][0]["state"], state, "{answer}");
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn pages_of_a_timeline_follow_each_other() {
    let cloud = start().await;
    hour(&cloud).await;
    let whole = cloud.get(&format!("{PATH}?since=2h")).await.ok();
    let (mut seen, mut path) = (Vec::new(), format!("{PATH}?since=2h&numEvents=3"));
    loop {
        let page = cloud.get(&path).await.ok();
        let events = page["events"].as_array().expect("events");
        assert!(!events.is_empty() && events.len() <= 3, "{page}");
        seen.extend(events.clone());
        let Some(next) = page["next"].as_i64() else { break };
        assert_eq!(page["from"]["$date"], next);
        path = format!("{PATH}?from={}&to={next}&numEvents=3", whole["from"]["$date"]);
    }
    assert_eq!(Value::from(seen), whole["events"]);
    for bad in [
        "since=soon",
        "since=400d",
        "from=5&to=5",
        "to=yesterday",
        "numEvents=0",
    ] {
        cloud.get(&format!("{PATH}?{bad}")).await.error(400);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_page_draws_the_lanes_and_lists_the_same_events() {
    let cloud = start().await;
    hour(&cloud).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let base = cloud.path("/p/<project id>/devices/<device id>");
    let page = async |query: &str| {
        let answer = cloud
            .request("GET", &format!("{base}/timeline{query}"), &[&cookie], b"")
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    };
    let text = page("?since=6h").await;
    assert!(
        !text.contains("style=") && !text.contains("<script>"),
        "nothing inline"
    );
    assert_eq!(
        text.matches("<svg class=\"plot-frame lanes\"").count(),
        2,
        "for wide windows and phones"
    );
    assert_eq!(text.matches("lane-on").count(), 4, "two spans in each picture");
    assert!(
        text.contains("the same events are listed below"),
        "a name of the picture"
    );
    for (event, place) in [
        ("Came online", "/history?filter="),
        ("loop failed: trap", "/history?filter="),
        ("Settings were changed", "/settings"),
        ("Command echo: queued", "/commands?until="),
        ("Alert stays away", "/alerts"),
    ] {
        let (before, _) = text
            .split_once(&format!(">{event}</a>"))
            .unwrap_or_else(|| panic!("{event}: {text}"));
        let link = before.rsplit("href=\"").next().expect("a link");
        assert!(link.contains(place), "{event}: {link}");
    }
    // The links lead to the objects.
    let (before, _) = text.split_once(">Command echo: queued</a>").expect("a command");
    let link = before
        .rsplit("href=\"")
        .next()
        .expect("a link")
        .trim_end_matches('"')
        .replace("&amp;", "&");
    let (address, id) = link.split_once('#').expect("an anchor");
    let commands = cloud.request("GET", address, &[&cookie], b"").await;
    assert!(
        commands.text.contains(&format!("id=\"{id}\"")),
        "{}",
        commands.text
    );
    let (before, _) = text.split_once(">loop failed: trap</a>").expect("a failure");
    let link = before
        .rsplit("href=\"")
        .next()
        .expect("a link")
        .trim_end_matches('"')
        .replace("&amp;", "&");
    let history = cloud.request("GET", &link, &[&cookie], b"").await;
    assert!(
        history.text.contains("unreachable") && history.text.contains("1 messages"),
        "{}",
        history.text
    );

    let nothing = page("?from=1000000&to=2000000").await;
    assert!(nothing.contains("Nothing happened in this time"), "{nothing}");
    let wrong = page("?from=5&to=4").await;
    assert!(wrong.contains("This is no range of time"), "{wrong}");
    let file = cloud
        .request(
            "GET",
            &format!("{base}/timeline?since=6h&format=csv"),
            &[&cookie],
            b"",
        )
        .await;
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"timeline.csv\"")
    );
    assert_eq!(file.text.lines().count(), 9, "{}", file.text);
    cloud.shutdown().await;
}
