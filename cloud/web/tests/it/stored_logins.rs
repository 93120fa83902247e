//! Logins of browsers outlive a restart of the cloud, and end at every cloud of a database.

use std::time::Duration;

use iottly_cloud::{CloudConfig, clock};
use iottly_core::model::{BrowserLogin, SecretHash};

use crate::cluster;
use crate::support::{TIMEOUT, Tenant, TestCloud, start, start_config};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const PAGE: &str = "/p/<project id>/devices";

async fn is_logged_in(cloud: &TestCloud, cookie: &str) -> bool {
    let answer = cloud.request("GET", &cloud.path(PAGE), &[cookie], b"").await;
    let asked = cloud
        .request("GET", "/v1.0/project/<project id>/inspect", &[cookie], b"")
        .await;
    assert_eq!(
        answer.status == 200,
        asked.status == 200,
        "pages and API agree: {}",
        asked.text
    );
    answer.status == 200
}

fn hash_of(cookie: &str) -> SecretHash {
    let (_, secret) = cookie.split_once('=').expect("a cookie");
    SecretHash::of(secret.as_bytes())
}

async fn stored(cloud: &TestCloud, cookie: &str) -> Option<BrowserLogin> {
    let found = cloud.services.store.browser_login(hash_of(cookie)).await;
    found.expect("reads")
}

async fn log_out(cloud: &TestCloud, cookie: &str) {
    let origin = format!("Origin: http://{}", cloud.address);
    let answer = cloud
        .request("POST", "/logout", &[cookie, FORM, &origin], b"")
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text);
}

/// Joins the second person, by the link of the first start.
async fn person(cloud: &TestCloud) -> String {
    let link = iottly_web::first_login_link(&cloud.services, "").await;
    let link = link.expect("a store").expect("a link");
    let (path, key) = link.split_once("?key=").expect("a key");
    let body = format!("key={key}&name=ada&password=correct horse&again=correct horse");
    let joined = cloud.request("POST", path, &[FORM], body.as_bytes()).await;
    assert_eq!(joined.status, 303, "{}", joined.text);
    joined.cookie()
}

#[tokio::test]
async fn a_restart_of_the_cloud_ends_no_login() {
    let cloud = start().await;
    let (token, person) = (cloud.login(&cloud.tenant.token).await, person(&cloud).await);
    let over = cloud.login(&cloud.tenant.token).await;
    for cookie in [&token, &person, &over] {
        assert!(is_logged_in(&cloud, cookie).await);
    }
    log_out(&cloud, &over).await;
    let cloud = cloud.restart().await;
    assert!(is_logged_in(&cloud, &token).await && is_logged_in(&cloud, &person).await);
    assert!(
        cloud.home(&person).await.contains("ada"),
        "the name is looked up again"
    );
    assert!(!is_logged_in(&cloud, &over).await, "a log-out is for good");
    // The person ends all logins; nothing of them is left.
    let origin = format!("Origin: http://{}", cloud.address);
    let ended = cloud
        .request("POST", "/account/logins", &[&person, FORM, &origin], b"")
        .await;
    assert_eq!(ended.status, 303, "{}", ended.text);
    assert!(!is_logged_in(&cloud, &person).await && stored(&cloud, &person).await.is_none());
    assert!(is_logged_in(&cloud, &token).await);
    let revoked = cloud
        .request(
            "DELETE",
            "/v1.0/project/<project id>/logins",
            &[&cloud.bearer()],
            b"",
        )
        .await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    assert!(stored(&cloud, &token).await.is_none());
    let cloud = cloud.restart().await;
    assert!(!is_logged_in(&cloud, &token).await && !is_logged_in(&cloud, &person).await);
    cloud.shutdown().await;
}

#[tokio::test]
async fn what_is_not_stored_is_no_login() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let (name, secret) = cookie.split_once('=').expect("a cookie");
    let hash: String = hash_of(&cookie)
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let last = secret.chars().last().expect("a secret");
    let other = if last == 'A' { 'B' } else { 'A' };
    let changed = format!("{}{other}", &secret[..secret.len() - 1]);
    for forged in [hash.as_str(), changed.as_str(), "", "guess", &"x".repeat(4000)] {
        assert!(
            !is_logged_in(&cloud, &format!("{name}={forged}")).await,
            "{forged}"
        );
    }
    assert!(is_logged_in(&cloud, &cookie).await);
    // A login that expired while no cloud ran.
    let login = stored(&cloud, &cookie).await.expect("stored");
    let now = clock::now();
    let left = login.expires - now;
    assert!((11 * 3_600_000..=12 * 3_600_000).contains(&left), "{left}");
    let expired = BrowserLogin {
        expires: now,
        ..login
    };
    let stale = SecretHash::of(b"stale");
    cloud
        .services
        .store
        .add_browser_login(stale, expired)
        .await
        .expect("added");
    assert!(!is_logged_in(&cloud, &format!("{name}=stale")).await);
    let found = cloud.services.store.browser_login(stale).await.expect("reads");
    assert_eq!(found, None, "it is removed, so that no clock brings it back");
    // The use is recorded once a minute.
    let before = login.used;
    assert!(is_logged_in(&cloud, &cookie).await);
    assert_eq!(
        stored(&cloud, &cookie).await.map(|login| login.used),
        Some(before)
    );
    let store = &cloud.services.store;
    store
        .touch_browser_login(hash_of(&cookie), now - 61_000)
        .await
        .expect("touched");
    assert!(is_logged_in(&cloud, &cookie).await);
    assert!(
        stored(&cloud, &cookie)
            .await
            .is_some_and(|login| login.used >= now)
    );
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_holds_and_ends_at_both_clouds_of_a_database() {
    let Some(url) = cluster::database().await else {
        return;
    };
    // All clouds of a database have the same seal key.
    let folder = tempfile::tempdir().expect("a folder");
    let configure = |config: &mut CloudConfig| {
        config.database_url = Some(url.clone());
        config.webhooks.seal_key = Some(folder.path().join("seal.key"));
    };
    let one = start_config(configure).await;
    let mut two = start_config(configure).await;
    let Tenant { scope, group, token } = &one.tenant;
    two.tenant = Tenant {
        scope: *scope,
        group: *group,
        token: token.clone(),
    };
    let cookie = one.login(&one.tenant.token).await;
    assert!(is_logged_in(&one, &cookie).await && is_logged_in(&two, &cookie).await);
    let path = two.path("/p/<project id>/events?devices=<device id>");
    let mut stream = two.listen(&path, &[&cookie, "Connection: close"]).await;
    stream.read_until("presence").await;
    log_out(&one, &cookie).await;
    assert!(!is_logged_in(&two, &cookie).await);
    tokio::time::timeout(TIMEOUT + Duration::from_secs(10), stream.read_to_end())
        .await
        .expect("the stream ends with its login");
    // Ended at one cloud with all logins of the project.
    let cookie = two.login(&two.tenant.token).await;
    assert!(is_logged_in(&one, &cookie).await);
    let ended = one
        .request(
            "DELETE",
            "/v1.0/project/<project id>/logins",
            &[&one.bearer()],
            b"",
        )
        .await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert!(!is_logged_in(&two, &cookie).await);
    one.shutdown().await;
    two.shutdown().await;
}
