//! Projects with their groups, devices and tokens: creation, changes and deletion.

use iottly_core::model::{
    Change, Definition, DefinitionOption, Direction, FollowedBranch, MAIN_BRANCH, ORPHANED, OptionFacts,
    OptionKind, Project, Scope, Scopes, SecretHash, SnippetEdit,
};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use iottly_store::{NewDevice, StoreError};
use iottly_web::auth::mint_token;

use super::{Setup, device, principal, project, tagged};

pub(crate) async fn names_and_ids_are_taken_once(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let again = Project {
        id: scope.project,
        name: "again".into(),
        created: 0,
        retention_days: None,
    };
    let taken = store
        .create_project(&again, GroupId::random(), &[])
        .await
        .expect_err("taken");
    assert_eq!(
        taken.to_string(),
        r#"project "010101010101010101010101" exists already"#
    );
    assert!(matches!(
        device(store.as_ref(), scope).await,
        Err(StoreError::Exists { what: "device", .. })
    ));
    let orphaned = store
        .create_group(scope.project, GroupId::random(), ORPHANED, None)
        .await;
    assert!(matches!(
        orphaned,
        Err(StoreError::Exists {
            what: "deployment group",
            ..
        })
    ));
    assert_eq!(
        store.projects().await.expect("reads").len(),
        1,
        "a refused project leaves nothing behind"
    );
}

pub(crate) async fn a_device_id_belongs_to_one_project(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    project(store.as_ref(), 2).await;
    let copied = Scope {
        project: ProjectId::from_bytes([2; 12]),
        ..scope
    };
    assert!(matches!(
        device(store.as_ref(), copied).await,
        Err(StoreError::Exists { .. })
    ));
    let group = GroupId::from_bytes([2; 16]);
    let scope = Scope {
        device: DeviceId::random(),
        ..scope
    };
    let foreign = NewDevice {
        scope,
        name: "d".into(),
        group,
        secret: SecretHash([0; 32]),
    };
    assert!(
        store.create_device(&foreign).await.is_err(),
        "a group of another project"
    );
}

pub(crate) async fn a_change_that_fails_leaves_nothing(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let (by, other) = (principal(scope), DeviceId::from_bytes([7; 16]));
    store
        .create_group(scope.project, GroupId::from_bytes([9; 16]), "g", None)
        .await
        .expect("created");
    let change = Change::MoveDevices(GroupId::from_bytes([9; 16]), vec![scope.device, other]);
    let error = store
        .change(scope.project, &by, change, 5)
        .await
        .expect_err("unknown");
    assert_eq!(
        error.to_string(),
        format!("device \"{other}\" is unknown in this project")
    );
    let device = store.device(scope).await.expect("reads").expect("exists");
    assert_eq!(device.group, GroupId::from_bytes([1; 16]), "all of them or none");
    assert!(
        store
            .audit(scope.project, None, 10)
            .await
            .expect("reads")
            .is_empty()
    );
    let stranger = ProjectId::from_bytes([2; 12]);
    let missing = store
        .change(stranger, &by, Change::RenameProject("x".into()), 5)
        .await;
    assert!(matches!(
        missing,
        Err(StoreError::Missing { what: "project", .. })
    ));
}

pub(crate) async fn properties_of_a_device_change_together_or_not_at_all(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (by, group) = (principal(*scope), GroupId::from_bytes([9; 16]));
    store
        .create_group(scope.project, group, "g", None)
        .await
        .expect("created");
    let update = async |group| {
        let change = Change::UpdateDevice {
            device: scope.device,
            group: Some(group),
            name: Some("new".into()),
            tags: Some(vec!["a".into(), "b".into()]),
        };
        store.change(scope.project, &by, change, 5).await
    };
    let shown = async || store.device(*scope).await.expect("reads").expect("exists");
    let entries = async || store.audit(scope.project, None, 10).await.expect("reads");
    let before = shown().await;
    let unknown = update(GroupId::from_bytes([8; 16])).await;
    assert!(matches!(unknown, Err(StoreError::Missing { .. })), "{unknown:?}");
    // The last part fails.
    setup
        .vandalise("ALTER TABLE devices RENAME COLUMN tags TO labels")
        .await;
    let failed = update(group).await;
    setup
        .vandalise("ALTER TABLE devices RENAME COLUMN labels TO tags")
        .await;
    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    assert_eq!((shown().await, entries().await), (before, Vec::new()));

    assert_eq!(update(group).await.expect("changes").affected, 3);
    let after = shown().await;
    assert_eq!(
        (after.group, after.name.as_str(), after.tags),
        (group, "new", vec!["a".to_owned(), "b".to_owned()])
    );
    let [entry] = &entries().await[..] else {
        panic!("one entry")
    };
    assert_eq!(
        (entry.action.as_str(), entry.target.clone()),
        ("device.update", scope.device.to_string())
    );
    assert_eq!(
        entry.detail,
        format!("deployment_group: {group}; name: new; tags: a, b")
    );
}

pub(crate) async fn concurrent_changes_are_numbered_one_by_one(setup: Setup) {
    let Setup { scope, .. } = &setup;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4 {
        let (store, by, scope) = (setup.another().await, principal(*scope), *scope);
        workers.spawn(async move {
            for turn in 0..10 {
                let change = Change::RenameProject(format!("{worker}-{turn}"));
                store
                    .change(scope.project, &by, change, turn)
                    .await
                    .expect("renames");
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.expect("a worker ends well");
    }
    let audit = setup.store.audit(scope.project, None, 100).await.expect("reads");
    let numbers: Vec<_> = audit.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=40).rev().collect::<Vec<_>>());
    let older = setup
        .store
        .audit(scope.project, Some(3), 100)
        .await
        .expect("reads");
    assert_eq!(older.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2, 1]);
    let name = setup
        .store
        .project(scope.project)
        .await
        .expect("reads")
        .expect("exists")
        .name;
    assert_eq!(
        (audit[0].action.as_str(), &audit[0].detail),
        ("project.rename", &name)
    );
}

pub(crate) async fn groups_tokens_and_pair_codes(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let (by, id) = (principal(scope), GroupId::from_bytes([9; 16]));
    let apply = async |change| store.change(scope.project, &by, change, 5).await;
    apply(Change::CreateGroup {
        id,
        name: "g".into(),
        branch: Some(MAIN_BRANCH.into()),
    })
    .await
    .expect("creates");
    let unknown = apply(Change::UpdateGroup {
        id,
        name: None,
        branch: Some(FollowedBranch::Named("nope".into())),
    })
    .await;
    assert!(matches!(unknown, Err(StoreError::Missing { what: "branch", .. })));
    assert_eq!(
        apply(Change::MoveDevices(id, vec![scope.device]))
            .await
            .expect("moves")
            .affected,
        1
    );
    assert_eq!(
        apply(Change::MoveDevices(id, vec![scope.device]))
            .await
            .expect("moves")
            .affected,
        0
    );
    assert!(
        matches!(
            apply(Change::DeleteBranch(MAIN_BRANCH.into())).await,
            Err(StoreError::Refused(_))
        ),
        "it is followed"
    );
    apply(Change::DeleteGroup(id)).await.expect("deletes");
    let groups = store.groups(scope.project).await.expect("reads");
    assert_eq!(groups.len(), 1);
    let members = store.group_members(scope.project, groups[0].id, None, 9).await;
    assert_eq!(members.expect("reads"), [scope.device], "devices fall back");
    assert!(matches!(
        apply(Change::DeleteGroup(groups[0].id)).await,
        Err(StoreError::Refused(_))
    ));

    let minted = mint_token(scope.project, "n", Scopes::READ, None, 3).expect("randomness");
    apply(Change::CreateToken(minted.hash, minted.token.clone()))
        .await
        .expect("creates");
    store
        .touch_token(scope.project, minted.token.id, 77)
        .await
        .expect("touches");
    assert_eq!(
        store.tokens(scope.project).await.expect("reads")[0].used,
        Some(77)
    );
    apply(Change::RevokeToken(minted.token.id))
        .await
        .expect("revokes");
    assert_eq!(store.token(minted.hash).await.expect("reads"), None);
    let again = apply(Change::RevokeToken(minted.token.id)).await;
    assert!(matches!(again, Err(StoreError::Missing { what: "token", .. })));

    let (device, code) = (
        DeviceId::from_bytes([5; 16]),
        "0123456789abcdef0123456789abcdef".to_owned(),
    );
    let secret = SecretHash([5; 32]);
    let create = Change::CreateDevice {
        device,
        name: "e".into(),
        group: None,
        secret,
        code: code.clone().into(),
        expires: 99,
    };
    apply(create).await.expect("creates");
    let pair_codes = store.pair_codes(scope.project).await.expect("reads");
    assert_eq!(
        (pair_codes.len(), &pair_codes[0].code, pair_codes[0].device),
        (1, &code, device)
    );
    apply(tagged(device, "north")).await.expect("tags");
    let shown = store
        .device(Scope { device, ..scope })
        .await
        .expect("reads")
        .expect("exists");
    assert_eq!(
        (shown.tags, shown.pair_code, shown.online),
        (vec!["north".to_owned()], None, false)
    );
}

pub(crate) async fn branches_and_definitions(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let by = principal(scope);
    let apply = async |change| store.change(scope.project, &by, change, 5).await;
    let snippets = async |branch: &str| {
        store
            .working_copy(scope.project, branch)
            .await
            .expect("reads")
            .expect("exists")
            .snippets
    };
    let init = snippets(MAIN_BRANCH)
        .await
        .into_iter()
        .find(|snippet| snippet.name == "init")
        .expect("a section")
        .id;
    let edit = |code: &str| SnippetEdit {
        name: None,
        id: init,
        code: Some(code.into()),
        description: None,
        base: None,
    };
    apply(Change::SaveSnippets(MAIN_BRANCH.into(), vec![edit("one")]))
        .await
        .expect("saves");
    let save = |message: &str| Change::SaveVersion {
        branch: MAIN_BRANCH.into(),
        message: message.into(),
    };
    assert_eq!(apply(save("a")).await.expect("saves").revision, Some(1));
    assert_eq!(apply(save("b")).await.expect("finds it saved").affected, 0);
    apply(Change::SaveSnippets(MAIN_BRANCH.into(), vec![edit("two")]))
        .await
        .expect("saves");
    apply(Change::CreateBranch {
        name: "next".into(),
        from: Some(MAIN_BRANCH.into()),
    })
    .await
    .expect("copies");
    assert_eq!(snippets("next").await, snippets(MAIN_BRANCH).await);
    apply(Change::RestoreRevision {
        branch: MAIN_BRANCH.into(),
        number: 1,
    })
    .await
    .expect("restores");
    let code = snippets(MAIN_BRANCH)
        .await
        .into_iter()
        .find(|snippet| snippet.id == init)
        .expect("kept")
        .code;
    assert_eq!(code, "one");
    assert!(
        store
            .working_copy(scope.project, "none")
            .await
            .expect("reads")
            .is_none()
    );
    let heads: Vec<_> = store
        .branches(scope.project)
        .await
        .expect("reads")
        .into_iter()
        .map(|b| (b.name, b.head))
        .collect();
    assert_eq!(heads, [("main".to_owned(), 1), ("next".to_owned(), 0)]);

    let option = DefinitionOption {
        key: "k".into(),
        kind: OptionKind::FreeValue,
        optional: false,
        facts: OptionFacts::default(),
    };
    let light = Definition {
        cmd_type: "light".into(),
        description: "d".into(),
        direction: Direction::Command,
        options: vec![option],
    };
    apply(Change::CreateDefinition(light.clone()))
        .await
        .expect("creates");
    assert!(matches!(
        apply(Change::CreateDefinition(light)).await,
        Err(StoreError::Exists { .. })
    ));
    for branch in ["main", "next"] {
        assert!(
            snippets(branch)
                .await
                .iter()
                .any(|snippet| snippet.name == "light"),
            "{branch}"
        );
    }
    apply(Change::DeleteDefinition("light".into()))
        .await
        .expect("deletes");
    let kept = snippets("next")
        .await
        .into_iter()
        .find(|snippet| snippet.name == "_light")
        .expect("renamed, not deleted");
    apply(Change::DeleteSnippet("next".into(), kept.id))
        .await
        .expect("nothing calls it");
    apply(Change::DeleteBranch("next".into())).await.expect("deletes");
    let (revision, saved) = store
        .revision(scope.project, MAIN_BRANCH, 1)
        .await
        .expect("reads")
        .expect("exists");
    assert_eq!((revision.author.as_str(), revision.message.as_str()), ("t", "a"));
    assert!(saved.snippets.iter().any(|snippet| snippet.code == "one"));
}

pub(crate) async fn names_sort_by_their_bytes(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    for (byte, name) in [(3, "b"), (4, "B"), (5, "ä"), (6, "a b"), (7, "ab")] {
        let group = GroupId::from_bytes([1; 16]);
        let scope = Scope {
            device: DeviceId::from_bytes([byte; 16]),
            ..scope
        };
        let secret = SecretHash([0; 32]);
        store
            .create_device(&NewDevice {
                scope,
                name: name.into(),
                group,
                secret,
            })
            .await
            .expect("creates");
    }
    let names: Vec<_> = store
        .devices(scope.project)
        .await
        .expect("reads")
        .into_iter()
        .map(|device| device.name)
        .collect();
    assert_eq!(names, ["B", "a b", "ab", "b", "d", "ä"]);
}
