//! Readers of a project's releases: its devices, tokens and members; everyone only if the project says so.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iottly_protocol::DeviceId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::board::{SECRET, act, cloud, group, save};
use crate::enrolment::{enrolled, post, request};
use crate::support::{Answer, TIMEOUT, TestCloud, project_id, tenant};

const PROJECT: &str = "/v1.0/project/<project id>";
const TIMESTAMP: &str = "/repo/<project id>/metadata/timestamp.json";

fn login(device: DeviceId, secret: &str) -> String {
    let login = STANDARD.encode(format!("{device}:{secret}"));
    format!("Authorization: Basic {login}")
}

async fn read(cloud: &TestCloud, headers: &[&str]) -> Answer {
    cloud.request("GET", TIMESTAMP, headers, b"").await
}

#[tokio::test]
async fn releases_are_for_the_projects_devices_tokens_and_members() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "0123456789").await;
    act(&cloud, &group, "flashfw", "").await.ok();

    read(&cloud, &[&login(ids[0], SECRET)]).await.ok();
    read(&cloud, &[&cloud.bearer()]).await.ok();
    read(&cloud, &[]).await.error(401);
    read(&cloud, &[&login(ids[0], "wrong")]).await.error(401);
    read(&cloud, &[&login(DeviceId::random(), SECRET)])
        .await
        .error(401);

    // A device and a token of another project.
    let other = tenant(&cloud.services, "other").await;
    read(&cloud, &[&login(other.scope.device, "device secret")])
        .await
        .error(401);
    let token = format!("Authorization: Bearer {}", other.token);
    read(&cloud, &[&token]).await.error(403);

    // A project that does not exist is answered like one that is not theirs.
    let nowhere = format!("/repo/{}/metadata/timestamp.json", project_id());
    let ask = async |headers: &[&str]| cloud.request("GET", &nowhere, headers, b"").await;
    for headers in [&[] as &[&str], &[&login(ids[0], SECRET)], &[&token]] {
        let theirs = match headers {
            [header] if *header == token => read(&cloud, headers).await,
            _ => read(&cloud, &[]).await,
        };
        let unknown = ask(headers).await;
        assert_eq!(unknown.status, theirs.status, "{headers:?}");
        assert_eq!(
            unknown.error(unknown.status),
            theirs.error(theirs.status),
            "{headers:?}"
        );
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_token_of_a_group_reads_no_releases_because_they_are_the_projects() {
    let cloud = cloud().await;
    let (group, _) = group(&cloud, 1).await;
    save(&cloud, "0123456789").await;
    act(&cloud, &group, "flashfw", "").await.ok();
    let body = format!(r#"{{"name": "bound", "scopes": ["read", "deploy"], "deployment_group": "{group}"}}"#);
    let made = cloud.post(&format!("{PROJECT}/tokens"), &body).await.ok();
    let bound = format!(
        "Authorization: Bearer {}",
        made["token"].as_str().expect("a token")
    );
    read(&cloud, &[&bound]).await.error(403);
    for path in ["targets/any", "metadata/1.root.json", "metadata/none.json"] {
        let path = format!("/repo/<project id>/{path}");
        cloud.request("GET", &path, &[&bound], b"").await.error(403);
    }
    read(&cloud, &[&cloud.bearer()]).await.ok();
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_project_may_make_its_releases_public_and_private_again() {
    let cloud = cloud().await;
    let (group, _) = group(&cloud, 1).await;
    save(&cloud, "0123456789").await;
    act(&cloud, &group, "flashfw", "").await.ok();
    let set = async |body: &str| {
        let headers = [&*cloud.bearer(), "Content-Type: application/json"];
        cloud.request("PUT", PROJECT, &headers, body.as_bytes()).await
    };
    assert_eq!(cloud.get(PROJECT).await.ok()["public_releases"], false);
    let answer = set(r#"{"public_releases": true}"#).await.ok();
    assert_eq!(answer["public_releases"], true);
    read(&cloud, &[]).await.ok();
    set(r#"{"public_releases": "yes"}"#).await.error(400);
    set(r#"{"public_releases": false}"#).await.ok();
    read(&cloud, &[]).await.error(401);

    let log = cloud.get(&format!("{PROJECT}/auditlog")).await.ok();
    let changes = log["entries"].as_array().expect("entries");
    let changes = changes
        .iter()
        .filter(|entry| entry["action"] == "project.releases")
        .map(|entry| entry["detail"].as_str().unwrap_or_default())
        .collect::<Vec<_>>();
    assert_eq!(changes, ["private", "public"]);
    cloud.shutdown().await;
}

/// Starts to read a file; returns the stream, of which nothing is read yet.
async fn begin(cloud: &TestCloud, path: &str, header: &str) -> TcpStream {
    let mut stream = TcpStream::connect(cloud.http_addr()).await.expect("connected");
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n",
        cloud.path(path)
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

/// Reads the rest of an answer; returns the number of bytes.
async fn rest(mut stream: TcpStream) -> usize {
    let (mut total, mut piece) = (0, vec![0; 64 << 10]);
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            total += count;
        }
        total
    };
    timeout(TIMEOUT, reading).await.expect("an end")
}

#[tokio::test]
async fn a_download_ends_when_its_device_is_deleted_or_has_another_secret() {
    const SIZE: usize = 15 << 20;
    let cloud = cloud().await;
    let (_, ids) = group(&cloud, 3).await;
    let project = cloud.tenant.scope.project;
    // More than the buffers of both sides hold, so that the server has not sent it when the permission ends.
    let folder = cloud.services.rollouts.repositories().folder(project);
    std::fs::create_dir_all(folder.join("targets")).expect("a folder");
    std::fs::write(folder.join("targets/large"), vec![7; SIZE]).expect("written");
    let path = "/repo/<project id>/targets/large";
    let mut downloads = Vec::new();
    for id in &ids {
        let mut stream = begin(&cloud, path, &login(*id, SECRET)).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200");
        downloads.push(stream);
    }
    let gone = format!("{PROJECT}/device/{}", ids[0]);
    cloud.request("DELETE", &gone, &[&cloud.bearer()], b"").await.ok();
    let replaced = format!("{PROJECT}/device/{}/replace", ids[1]);
    let made = cloud.post(&replaced, "{}").await.ok();
    let code = made["pair_code"].as_str().expect("a code");
    enrolled(&post(&cloud, "/v1.0/enroll", &request(code, 1)).await);
    // The time after which a download is checked again.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut read = Vec::new();
    for stream in downloads {
        read.push(rest(stream).await);
    }
    assert!(read[0] < SIZE, "{read:?}: the device was deleted");
    assert!(read[1] < SIZE, "{read:?}: another board is the device");
    assert!(read[2] >= SIZE, "{read:?}: the others are not disturbed");
    cloud.shutdown().await;
}
