//! Bytes that an update of a script costs a device in a project with many releases.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use iottly_protocol::release::Directive;
use iottly_protocol::tuf::{Schemes, Start, refresh};
use iottly_update::{Repository, TrustFolder};
use serde_json::json;

use crate::board::{Board, act, cloud, group, login_of, save, until};

/// Script of the example `thermostat-js`.
const THERMOSTAT: &str = include_str!("../../../../firmware-examples/thermostat-js/main.js");
/// Number of releases of the project.
const RELEASES: usize = 200;
/// Maximum size of an update of the thermostat with everything that is signed, in bytes.
const MOST: u64 = 10_000;

/// Passes connections on to `to` and counts the bytes of both directions.
fn counting_proxy(to: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, bytes) = (
        listener.local_addr().expect("an address"),
        Arc::<AtomicU64>::default(),
    );
    let counted = Arc::clone(&bytes);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(to).expect("connected");
            for (from, to) in [(&client, &server), (&server, &client)] {
                let mut from = from.try_clone().expect("a socket");
                let mut to = to.try_clone().expect("a socket");
                let bytes = Arc::clone(&counted);
                thread::spawn(move || {
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        bytes.fetch_add(count as u64, Ordering::SeqCst);
                        if to.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    (address, bytes)
}

/// Reads what a device reads for a directive. Returns the size of the release.
fn update(repository: &Repository, folder: &Path, first_root: &[u8], directive: &Directive) -> u64 {
    let trust = TrustFolder::new(&folder.join("trust"));
    let start = Start {
        clock: directive.not_before,
        vouched: None,
        first_root,
        schemes: Schemes::ED25519,
    };
    let mut fresh = refresh(repository, &trust, &start, |_| {}).expect("metadata");
    let located = fresh.client.find(&directive.target).expect("the release");
    let content = repository.range(&located.served_path(true), 0, located.file.length);
    content.expect("the component").len() as u64
}

#[expect(clippy::print_stdout, reason = "the test prints what it measured")]
#[tokio::test]
async fn an_update_of_a_script_is_small_however_many_releases_the_project_has() {
    let cloud = cloud().await;
    let (field, ids) = group(&cloud, 1).await;
    // Most of the releases go to a group without devices, which is done at once.
    let desk = cloud
        .post(
            "/v1.0/project/<project id>/deploymentgroups",
            r#"{"name": "desk", "branch": "main"}"#,
        )
        .await
        .ok();
    let desk = desk["deployment_group"]["id"].as_str().expect("an id").to_owned();
    for n in 0..RELEASES - 2 {
        save(&cloud, &format!("{THERMOSTAT}// {n}\n")).await;
        act(&cloud, &desk, "flashfw", "").await.ok();
    }
    until(&cloud, &desk, "deployed").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let (project, folder) = (cloud.tenant.scope.project, tempfile::tempdir().expect("a folder"));
    let (proxy, bytes) = counting_proxy(cloud.http_addr());
    let repository = Repository::at(&format!("http://{proxy}/repo/{project}")).with_login(login_of(&cloud));
    let root = std::fs::read(cloud.services.rollouts.repositories().first_root(project)).expect("a root");
    let mut sizes = Vec::new();
    for n in 0..2 {
        save(&cloud, &format!("{THERMOSTAT}// field {n}\n")).await;
        let begun = act(&cloud, &field, "flashfw", "").await.ok();
        let (directive, sent) = board.directive_and_size(&cloud).await;
        let before = bytes.load(Ordering::SeqCst);
        let (repository, folder, root) = (repository.clone(), folder.path().to_owned(), root.clone());
        let seen = directive.clone();
        let reading = tokio::task::spawn_blocking(move || update(&repository, &folder, &root, &seen));
        let release = reading.await.expect("read");
        assert_eq!(json!(release), begun["release"]["size"]);
        board.tell(&directive, "committed", None).await;
        until(&cloud, &field, "deployed").await;
        let wire = bytes.load(Ordering::SeqCst) - before;
        sizes.push((release, sent, wire));
    }
    let (release, sent, wire) = sizes[1];
    let total = wire + sent;
    println!(
        "component {release}, directive {sent}, repository with HTTP's headers {wire}, together {total} bytes"
    );
    assert!(total <= MOST, "{sizes:?}");
    let list = cloud.services.rollouts.repositories().folder(project);
    let metadata = list.join("metadata");
    let largest = std::fs::read_dir(&metadata).expect("a folder").flatten();
    let largest = largest.map(|entry| entry.metadata().expect("a file").len()).max();
    assert!(largest.is_some_and(|bytes| bytes <= MOST / 2), "{largest:?}");
    cloud.shutdown().await;
}
