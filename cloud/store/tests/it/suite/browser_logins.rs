//! Requirements on the logins of browsers.

use iottly_core::model::{
    BROWSER_LOGINS, BROWSER_LOGINS_OF_PROJECT, BrowserLogin, Change, LoginHolder, LoginsOf, Principal,
    Scopes, SecretHash, TokenId, UserId,
};
use iottly_protocol::ProjectId;

use super::Setup;

const NOW: i64 = 1_700_000_000_000;

fn hash(n: u64) -> SecretHash {
    SecretHash::of(&n.to_be_bytes())
}

fn of_token(project: ProjectId, token: u8, created: i64) -> BrowserLogin {
    BrowserLogin {
        holder: LoginHolder::Token {
            project,
            token: TokenId::from_bytes([token; 16]),
            scopes: Scopes::READ,
        },
        round: 3,
        created,
        used: created,
        expires: created + 1000,
    }
}

fn of_user(user: u8, created: i64) -> BrowserLogin {
    BrowserLogin {
        holder: LoginHolder::User(UserId::from_bytes([user; 16])),
        ..of_token(ProjectId::from_bytes([1; 12]), 0, created)
    }
}

pub(crate) async fn a_login_is_found_by_the_hash_of_its_secret_at_every_cloud(setup: Setup) {
    let (store, project) = (&setup.store, setup.scope.project);
    for (n, login) in [(1, of_token(project, 1, NOW)), (2, of_user(1, NOW))] {
        store.add_browser_login(hash(n), login).await.expect("added");
        let other = setup.another().await;
        assert_eq!(other.browser_login(hash(n)).await.expect("reads"), Some(login));
        other
            .touch_browser_login(hash(n), NOW + 60_000)
            .await
            .expect("touched");
        let used = store
            .browser_login(hash(n))
            .await
            .expect("reads")
            .map(|login| login.used);
        assert_eq!(used, Some(NOW + 60_000));
        other.end_browser_login(hash(n)).await.expect("ended");
        assert_eq!(store.browser_login(hash(n)).await.expect("reads"), None);
        other.end_browser_login(hash(n)).await.expect("once more");
        other.close().await;
    }
    assert_eq!(store.browser_login(hash(3)).await.expect("reads"), None);
}

pub(crate) async fn one_token_or_person_ends_its_own_oldest_login(setup: Setup) {
    let (store, project) = (&setup.store, setup.scope.project);
    let add = async |n, login| store.add_browser_login(hash(n), login).await.expect("added");
    let found = async |n| store.browser_login(hash(n)).await.expect("reads").is_some();
    add(1000, of_user(9, NOW)).await;
    add(2000, of_token(ProjectId::from_bytes([2; 12]), 9, NOW)).await;
    let limit = BROWSER_LOGINS as u64;
    for n in 0..limit + 5 {
        add(n, of_user(1, NOW + n as i64)).await;
    }
    for n in 0..limit + 5 {
        assert_eq!(found(n).await, n >= 5, "{n}: the newest stay");
    }
    // The tokens of a project have a share, of which the busiest gives way.
    add(3000, of_token(project, 100, NOW)).await;
    let mut n = 4000;
    for token in 1..=6 {
        for _ in 0..BROWSER_LOGINS {
            add(n, of_token(project, token, NOW + n as i64)).await;
            n += 1;
        }
    }
    assert!(
        found(1000).await && found(2000).await && found(3000).await,
        "others are not concerned"
    );
    let ended = store
        .end_browser_logins(LoginsOf::Project(project))
        .await
        .expect("ended");
    assert_eq!(ended, BROWSER_LOGINS_OF_PROJECT as u64);
}

pub(crate) async fn logins_go_with_what_they_belong_to(setup: Setup) {
    let (store, project) = (&setup.store, setup.scope.project);
    let add = async |n, login| store.add_browser_login(hash(n), login).await.expect("added");
    let found = async |n| store.browser_login(hash(n)).await.expect("reads").is_some();
    add(1, of_token(project, 1, NOW)).await;
    add(2, of_token(project, 2, NOW)).await;
    add(3, of_user(1, NOW)).await;
    add(4, of_user(2, NOW + 500)).await;
    let end = async |of| store.end_browser_logins(of).await.expect("ended");
    assert_eq!(end(LoginsOf::User(UserId::from_bytes([2; 16]))).await, 1);
    assert_eq!(
        end(LoginsOf::Token(TokenId::from_bytes([1; 16]))).await,
        1,
        "not the person of the same bytes"
    );
    assert!(!found(1).await && found(2).await && found(3).await && !found(4).await);
    assert_eq!(
        store
            .forget_browser_logins(NOW + 1000, 10)
            .await
            .expect("forgets"),
        0
    );
    add(5, of_user(2, NOW + 500)).await;
    assert_eq!(
        store.forget_browser_logins(NOW + 1001, 1).await.expect("forgets"),
        1,
        "in steps"
    );
    assert_eq!(
        store
            .forget_browser_logins(NOW + 1001, 10)
            .await
            .expect("forgets"),
        1
    );
    assert!(found(5).await);
    add(6, of_token(project, 2, NOW)).await;
    let by = Principal::system(project, "test");
    store
        .change(project, &by, Change::DeleteProject, NOW)
        .await
        .expect("deleted");
    assert!(!found(6).await && found(5).await);
}
