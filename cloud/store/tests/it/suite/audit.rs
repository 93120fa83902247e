//! The audit log is bounded, and so is the rate of changes.

use iottly_core::model::{AuditEntry, Change, RolloutCommand, Scopes};
use iottly_protocol::GroupId;
use iottly_store::StoreError;
use iottly_web::auth::mint_token;

use super::{Setup, principal, renamed, tagged};

/// Number of entries of an action that are kept, and maximum number of changes of an action per hour.
const KEPT: usize = 5_000;
const HOUR_MS: i64 = 60 * 60 * 1000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * HOUR_MS;
/// Date of the entries of [`fill`].
const THEN: i64 = 1_700_000_000_000;

/// Writes `count` entries of an action, all at one time, with numbers from `first` on.
async fn fill(setup: &Setup, action: &str, first: usize, count: usize) {
    let project = "x'010101010101010101010101'";
    let token = "x'09090909090909090909090909090909'";
    setup
        .vandalise(&format!(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) \
             INSERT INTO audit (project, n, k, at, actor, token, action, target, detail) \
             SELECT {project}, {first} + n - 1, n, {THEN}, 'writer', {token}, '{action}', 'device', '' FROM c"
        ))
        .await;
}

async fn all(setup: &Setup) -> Vec<AuditEntry> {
    setup
        .store
        .audit(setup.scope.project, None, 20_000)
        .await
        .expect("reads")
}

pub(crate) async fn a_flood_of_one_change_drops_nothing_of_another(setup: Setup) {
    let (store, scope, by) = (&setup.store, setup.scope, principal(setup.scope));
    let minted = mint_token(scope.project, "SUSPICIOUS", Scopes::ADMIN, None, THEN).expect("randomness");
    store
        .change(
            scope.project,
            &by,
            Change::CreateToken(minted.hash, minted.token),
            THEN,
        )
        .await
        .expect("creates");
    fill(&setup, "device.rename", 100, KEPT - 1).await;
    let rename = async |name: &str, now| {
        store
            .change(scope.project, &by, renamed(scope.device, name), now)
            .await
    };
    rename("a", THEN + HOUR_MS).await.expect("renames");
    let entries = all(&setup).await;
    assert_eq!(entries.len(), KEPT + 1);
    assert!(
        entries.iter().all(|entry| entry.action != "audit.dropped"),
        "so many are kept"
    );
    for (name, dropped) in [("b", 1), ("c", 2), ("d", 3)] {
        rename(name, THEN + HOUR_MS).await.expect("renames");
        let entries = all(&setup).await;
        assert_eq!(entries.len(), KEPT + 2);
        let marks: Vec<_> = entries
            .iter()
            .filter(|entry| entry.action == "audit.dropped")
            .collect();
        let [mark] = marks[..] else { panic!("{marks:?}") };
        assert_eq!(
            (mark.target.as_str(), mark.actor.as_str()),
            ("device.rename", "cloud")
        );
        assert_eq!(mark.detail, format!("{dropped} entries up to this one"));
        assert_eq!(mark.number, 99 + dropped, "it stands where they stood");
        assert!(
            entries
                .iter()
                .any(|entry| entry.action == "token.create" && entry.detail == "SUSPICIOUS")
        );
        assert_eq!(entries[0].detail, name);
    }
}

pub(crate) async fn a_change_is_made_so_often_in_an_hour(setup: Setup) {
    let (store, scope, by) = (&setup.store, setup.scope, principal(setup.scope));
    let rename = async |name: &str, now| {
        store
            .change(scope.project, &by, renamed(scope.device, name), now)
            .await
    };
    fill(&setup, "device.rename", 100, KEPT).await;
    for now in [THEN, THEN + HOUR_MS - 1] {
        let refused = rename("a", now).await.expect_err("too often");
        assert!(
            matches!(
                refused,
                StoreError::TooOften {
                    action: "device.rename",
                    ..
                }
            ),
            "{refused}"
        );
        assert_eq!(
            refused.to_string(),
            "device.rename was done 5000 times within an hour"
        );
    }
    assert_eq!(all(&setup).await.len(), KEPT, "what is refused leaves nothing");
    let tag = tagged(scope.device, "t");
    store
        .change(scope.project, &by, tag, THEN)
        .await
        .expect("other changes are not concerned");
    // A wall clock that was set back or ahead refuses nothing for longer than an hour.
    for now in [
        THEN + HOUR_MS,
        THEN - 1,
        THEN - 3 * HOUR_MS,
        THEN - TEN_YEARS_MS,
        THEN + TEN_YEARS_MS,
    ] {
        rename(&now.to_string(), now).await.expect("renames");
    }
}

pub(crate) async fn what_ends_something_is_always_done(setup: Setup) {
    let (store, scope, by) = (&setup.store, setup.scope, principal(setup.scope));
    let minted = mint_token(scope.project, "leaked", Scopes::ADMIN, None, THEN).expect("randomness");
    store
        .change(
            scope.project,
            &by,
            Change::CreateToken(minted.hash, minted.token.clone()),
            THEN,
        )
        .await
        .expect("creates");
    for (first, action) in [
        (100, "token.revoke"),
        (10_000, "deploymentgroup.cancel"),
        (20_000, "project.end_logins"),
    ] {
        fill(&setup, action, first, KEPT).await;
    }
    store
        .change(scope.project, &by, Change::RevokeToken(minted.token.id), THEN)
        .await
        .expect("revokes");
    store
        .change(scope.project, &by, Change::EndLogins, THEN)
        .await
        .expect("ends");
    let cancel = Change::SteerRollout(GroupId::from_bytes([1; 16]), RolloutCommand::Cancel);
    let nothing_to_cancel = store.change(scope.project, &by, cancel, THEN).await;
    assert!(
        !matches!(nothing_to_cancel, Err(StoreError::TooOften { .. })),
        "{nothing_to_cancel:?}"
    );
}
