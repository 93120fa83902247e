//! Latest values of devices: in filters of every kind, in the API, as columns of lists, and on pages; and messages a minute.

use iottly_core::model::Scope;
use iottly_protocol::DeviceId;
use iottly_store::NewDevice;
use serde_json::{Value, json};

use crate::support::{TestCloud, start};

const PROJECT: &str = "/v1.0/project/<project id>";

async fn another(cloud: &TestCloud, name: &str) -> Scope {
    let scope = Scope {
        device: DeviceId::random(),
        ..cloud.tenant.scope
    };
    let device = NewDevice {
        scope,
        name: name.to_owned(),
        group: cloud.tenant.group,
        secret: iottly_web::auth::hash_secret(name.as_bytes()),
    };
    cloud
        .services
        .store
        .create_device(&device)
        .await
        .expect("a device");
    scope
}

async fn names(cloud: &TestCloud, filter: &str) -> Vec<String> {
    let listed = cloud
        .get(&format!("{PROJECT}/devices/props?limit=10&filter={filter}"))
        .await
        .ok();
    let all = cloud
        .get(&format!("{PROJECT}/devices/props?filter={filter}"))
        .await
        .ok();
    assert_eq!(listed["devices"], all["devices"], "{filter}");
    let devices = listed["devices"].as_array().expect("devices");
    let name = |device: &Value| device["name"].as_str().expect("a name").to_owned();
    devices.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_select_devices_in_lists_groups_and_jobs() {
    let cloud = start().await;
    let now = iottly_cloud::clock::now();
    let (warm, cold) = (another(&cloud, "warm").await, another(&cloud, "cold").await);
    cloud
        .store(warm, now, &[r#"{"temp":20}"#, r#"{"temp":31,"door":"open"}"#])
        .await;
    cloud
        .store(cold, now, &[r#"{"temp":-4,"room":{"on":true}}"#])
        .await;
    for (filter, expected) in [
        ("temp%3E30", vec!["warm"]),
        ("payload.temp%3E30", vec!["warm"]),
        ("temp%3E-10", vec!["cold", "warm"]),
        ("-temp%3E30", vec!["cold"]),
        ("temp%3E30%20group%3Anone", vec![]),
        ("name%3Aw*%20temp%3E30%20presence%3Aoffline", vec!["warm"]),
        ("door%3Aopen%20or%20room.on%3Atrue", vec!["cold", "warm"]),
        ("hum%3C5", vec![]),
        ("-hum%3C5", vec![]),
        ("%7B%22payload.temp%22%3A%7B%22%24lt%22%3A0%7D%7D", vec!["cold"]),
    ] {
        assert_eq!(names(&cloud, filter).await, expected, "{filter}");
    }
    // The same filter moves devices, in a request and by a job.
    let group = json!({"name": "hot"});
    let group = cloud
        .post(&format!("{PROJECT}/deploymentgroups"), &group.to_string())
        .await
        .ok();
    let id = group["deployment_group"]["id"].as_str().expect("an id");
    let moved = cloud
        .post(
            &format!("{PROJECT}/deploymentgroups/{id}/devices"),
            r#"{"filter": "temp>30"}"#,
        )
        .await
        .ok();
    assert_eq!(moved["filter"], json!({"payload.temp": {"$gt": 30}}), "{moved}");
    assert_eq!(names(&cloud, "group%3Ahot").await, ["warm"]);
    let job = json!({"kind": "tag", "filter": "temp<0", "add": ["frost"]});
    cloud
        .post(&format!("{PROJECT}/jobs"), &job.to_string())
        .await
        .ok();
    crate::support::eventually("the job has tagged the device", async || {
        let path = format!("{PROJECT}/devices/props?filter=tag%3Afrost");
        cloud.get(&path).await.ok()["devices"][0]["name"] == "cold"
    })
    .await;
    assert_eq!(names(&cloud, "tag%3Afrost").await, ["cold"]);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_are_examined_in_parts() {
    let cloud = start().await;
    let now = iottly_cloud::clock::now();
    // More than are read by their ids.
    for n in 0..520 {
        let scope = another(&cloud, &format!("n{n}")).await;
        if n % 100 == 7 {
            cloud.store(scope, now, &[&format!(r#"{{"n":{n}}}"#)]).await;
        }
    }
    assert_eq!(
        names(&cloud, "n%3E100").await,
        ["n107", "n207", "n307", "n407", "n507"]
    );
    assert_eq!(names(&cloud, "n%3Anull%20name%3An30*").await.len(), 10);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_shown_by_the_api_as_columns_and_on_the_page() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = async |path: &str| {
        cloud
            .request("GET", &format!("/p/<project id>{path}"), &[&cookie], b"")
            .await
    };
    let nothing = cloud
        .get(&format!("{PROJECT}/device/<device id>/latest"))
        .await
        .ok();
    assert_eq!(nothing["values"], json!([]));
    let empty = page("/devices/<device id>").await.text;
    assert!(!empty.contains("Latest values"), "{empty}");
    let now = iottly_cloud::clock::now();
    cloud
        .store(
            cloud.tenant.scope,
            now,
            &[r#"{"temp":21.5,"hum":40,"door":"<b>open</b>","on":true}"#],
        )
        .await;
    let latest = cloud
        .get(&format!("{PROJECT}/device/<device id>/latest"))
        .await
        .ok();
    let at = json!({"$date": now - 5});
    assert_eq!(
        latest["values"],
        json!([
            {"path": "door", "value": "<b>open</b>", "at": at},
            {"path": "hum", "value": 40, "at": at},
            {"path": "on", "value": true, "at": at},
            {"path": "temp", "value": 21.5, "at": at},
        ])
    );
    let listed = cloud
        .get(&format!("{PROJECT}/devices/props?columns=temp,none"))
        .await
        .ok();
    assert_eq!(
        listed["devices"][0]["values"],
        json!({"temp": {"value": 21.5, "at": at}})
    );
    let plain = cloud.get(&format!("{PROJECT}/devices/props")).await.ok();
    assert!(plain["devices"][0]["values"].is_null());
    cloud
        .get(&format!("{PROJECT}/devices/props?columns=a,b,c,d,e,f,g,h,i"))
        .await
        .error(400);

    let shown = page("/devices/<device id>").await.text;
    for part in [
        "Latest values",
        "&lt;b&gt;open&lt;/b&gt;",
        "/plots?path=temp",
        r#"data-on="entry""#,
        "21.5",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("/plots?path=door"), "a text has no plot");
    let list = page("/devices?columns=temp,door&filter=temp%3E20").await.text;
    for part in [
        ">temp<",
        "21.5",
        "1 of 1 devices",
        "--columns 'temp,door'",
        "&amp;columns=temp%2Cdoor",
    ] {
        assert!(list.contains(part), "{part}: {list}");
    }
    for filter in ["", "temp%3E20"] {
        let csv = page(&format!("/devices?format=csv&columns=temp,on&filter={filter}")).await;
        // Without a filter the file comes in parts.
        let csv = if filter.is_empty() {
            csv.unchunked()
        } else {
            csv.text
        };
        let lines: Vec<_> = csv.lines().collect();
        assert!(
            lines[0].ends_with(",temp,on") && lines[1].ends_with(",21.5,true"),
            "{csv}"
        );
    }
    let offered = page("/suggestions?of=devices").await.ok();
    assert_eq!(offered["paths"], json!(["door", "hum", "on", "temp"]));
    assert_eq!(offered["values"]["on"], json!(["true"]));
    let explained = page("/suggestions?of=devices&filter=-temp%3E30").await.ok();
    assert_eq!(
        explained["json"]
            .as_str()
            .map(|text| text.parse::<Value>().expect("JSON")),
        Some(json!({"payload.temp": {"$not": {"$gt": 30}, "$exists": true}}))
    );
    let explained = page("/suggestions?of=devices&filter=channel%3Ax").await.ok();
    assert!(
        explained["problem"]
            .as_str()
            .is_some_and(|problem| problem.contains("payload.channel"))
    );
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_counted_by_the_minute() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let overview = async || {
        cloud
            .request("GET", "/p/<project id>/", &[&cookie], b"")
            .await
            .text
    };
    assert!(overview().await.contains("No messages in the last hour"));
    let now = iottly_cloud::clock::now();
    cloud
        .store(cloud.tenant.scope, now - 3 * 60_000, &["1", "2", "3"])
        .await;
    cloud.store(cloud.tenant.scope, now, &["4"]).await;
    let counted = cloud.get(&format!("{PROJECT}/usage/minutes")).await.ok();
    let counts: Vec<_> = counted["minutes"]
        .as_array()
        .expect("minutes")
        .iter()
        .map(|minute| minute["messages"].as_u64().expect("a number"))
        .collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (60, 4), "{counts:?}");
    assert!(counts.iter().filter(|count| **count > 0).count() <= 3);
    let few = cloud
        .get(&format!("{PROJECT}/usage/minutes?minutes=2"))
        .await
        .ok();
    assert_eq!(few["minutes"].as_array().map(Vec::len), Some(2));
    let shown = overview().await;
    assert!(
        shown.contains("<b>4</b> in the last hour") && shown.contains("<rect"),
        "{shown}"
    );
    let csv = cloud
        .request("GET", "/p/<project id>/csv/minutes", &[&cookie], b"")
        .await
        .text;
    assert_eq!(csv.lines().count(), 1 + 24 * 60);
    cloud.shutdown().await;
}
