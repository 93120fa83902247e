//! Bytes of code count against a limit of their own.

use iottly_core::model::{Change, MAIN_BRANCH, MAX_PROJECT_CODE_BYTES, SnippetEdit};
use iottly_store::StoreError;

use super::{Setup, principal, stranger};

pub(crate) async fn code_is_counted_and_refused_over_its_limit(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (project, by) = (scope.project, principal(*scope));
    let change = async |change: Change| {
        store
            .change(project, &by, change, 5)
            .await
            .map(|changed| changed.affected)
    };
    let used = async || {
        store
            .code_room(project)
            .await
            .expect("reads")
            .expect("exists")
            .used()
    };
    let global = store
        .snippets(project, MAIN_BRANCH)
        .await
        .expect("reads")
        .expect("a branch")[0]
        .id;
    let write = |bytes: usize| {
        let edit = SnippetEdit {
            id: global,
            code: Some("x".repeat(bytes)),
            description: None,
        };
        Change::SaveSnippets(MAIN_BRANCH.into(), vec![edit])
    };
    let save = || Change::SaveVersion {
        branch: MAIN_BRANCH.into(),
        message: "m".into(),
    };
    change(write(0)).await.expect("saves");
    let empty = used().await;
    assert!(empty > 0, "a new project has sections");
    change(write(1000)).await.expect("saves");
    assert_eq!(used().await, empty + 1000);
    change(save()).await.expect("saves");
    let saved = used().await;
    assert!((2000 + empty..5000 + empty).contains(&saved), "{empty} {saved}");
    assert_eq!(
        (change(save()).await.expect("is saved"), used().await),
        (0, saved),
        "the same again takes nothing"
    );
    change(Change::CreateBranch {
        name: "copy".into(),
        from: Some(MAIN_BRANCH.into()),
    })
    .await
    .expect("copies");
    assert_eq!(used().await, saved + empty + 1000);
    change(Change::DeleteBranch("copy".into()))
        .await
        .expect("deletes");
    assert_eq!(used().await, saved, "what goes is taken out");
    store.note_files(project, 700).await.expect("writes");
    assert_eq!(used().await, saved + 700);

    assert_eq!(
        store
            .code_room(project)
            .await
            .expect("reads")
            .expect("exists")
            .limit(),
        MAX_PROJECT_CODE_BYTES
    );
    let limit = Change::SetCodeLimit(Some(saved + 1000));
    assert_eq!(
        (
            change(limit.clone()).await.expect("sets"),
            change(limit).await.expect("is set")
        ),
        (1, 0)
    );
    change(write(1300)).await.expect("just fits");
    let component = || Change::SaveComponent {
        branch: MAIN_BRANCH.into(),
        message: "m".into(),
        sha256: "ab".into(),
    };
    for refused in [
        write(1301),
        save(),
        component(),
        Change::CreateBranch {
            name: "copy".into(),
            from: Some(MAIN_BRANCH.into()),
        },
        Change::CreateBranch {
            name: "copy".into(),
            from: None,
        },
    ] {
        let text = format!("{refused:?}");
        let refused = change(refused).await;
        assert!(
            matches!(refused, Err(StoreError::Full { .. })),
            "{text}: {refused:?}"
        );
    }
    change(write(900)).await.expect("less is always taken");
    change(Change::SetCodeLimit(None)).await.expect("sets");
    change(component()).await.expect("saves");
    let names = vec!["ab".to_owned(), "cd".to_owned()];
    assert_eq!(
        store.unnamed_components(project, names).await.expect("reads"),
        ["cd"]
    );
    assert_eq!(store.code_room(stranger()).await.expect("reads"), None);
}
