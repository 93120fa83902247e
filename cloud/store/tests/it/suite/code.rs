//! Bytes of code count against a limit of their own.

use iottly_core::model::{Change, MAIN_BRANCH, MAX_PROJECT_CODE_BYTES, SnippetEdit, SnippetId, SnippetKind};
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
        .working_copy(project, MAIN_BRANCH)
        .await
        .expect("reads")
        .expect("a branch")
        .snippets[0]
        .id;
    let write = |bytes: usize| {
        let edit = SnippetEdit {
            name: None,
            id: global,
            code: Some("x".repeat(bytes)),
            description: None,
            base: None,
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
    let manifest = |bytes: Option<usize>| Change::SaveManifest {
        branch: MAIN_BRANCH.into(),
        manifest: bytes.map(|bytes| "#".repeat(bytes)),
        base: None,
    };
    change(manifest(Some(500))).await.expect("saves");
    assert_eq!(used().await, saved + 500);
    change(manifest(Some(300))).await.expect("saves");
    change(Change::CreateBranch {
        name: "copy".into(),
        from: Some(MAIN_BRANCH.into()),
    })
    .await
    .expect("copies");
    change(Change::SaveVersion {
        branch: "copy".into(),
        message: "m".into(),
    })
    .await
    .expect("saves");
    change(Change::DeleteBranch("copy".into()))
        .await
        .expect("deletes");
    assert_eq!(used().await, saved + 300, "a copy and its revision are taken out");
    change(manifest(None)).await.expect("removes");
    assert_eq!(used().await, saved);
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
        manifest: None,
    };
    for refused in [
        write(1301),
        manifest(Some(1)),
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

pub(crate) async fn a_branch_carries_its_manifest_through_revisions_and_copies(setup: Setup) {
    const ONE: &str = "name = \"one\"\n";
    const TWO: &str = "name = \"two\"\n[capabilities]\ngpio = [\"led\"]\n";
    let Setup { store, scope, .. } = &setup;
    let (project, by) = (scope.project, principal(*scope));
    let change = async |change: Change| store.change(project, &by, change, 5).await;
    let write = |branch: &str, text: Option<&str>| Change::SaveManifest {
        branch: branch.into(),
        manifest: text.map(str::to_owned),
        base: None,
    };
    let save = || Change::SaveVersion {
        branch: MAIN_BRANCH.into(),
        message: String::new(),
    };
    let restore = |number| Change::RestoreRevision {
        branch: MAIN_BRANCH.into(),
        number,
    };
    let working = async |branch: &str| {
        let code = store.working_copy(project, branch).await.expect("reads");
        code.expect("exists").manifest
    };
    let saved = async |number| {
        let saved = store.revision(project, MAIN_BRANCH, number).await.expect("reads");
        let (revision, code) = saved.expect("exists");
        assert_eq!(revision.digest, iottly_core::code::digest(&code));
        code.manifest
    };
    assert_eq!(working(MAIN_BRANCH).await, None);
    change(save()).await.expect("saves");
    let set = change(write(MAIN_BRANCH, Some(ONE))).await.expect("saves");
    let again = change(write(MAIN_BRANCH, Some(ONE))).await.expect("is set");
    assert_eq!((set.affected, again.affected), (1, 0));
    let second = change(save()).await.expect("saves");
    assert_eq!(second.revision, Some(2), "a new manifest is a new revision");
    assert_eq!(change(save()).await.expect("is saved").affected, 0);
    change(write(MAIN_BRANCH, Some(TWO))).await.expect("saves");
    change(save()).await.expect("saves");
    assert_eq!(
        (saved(1).await, saved(2).await, saved(3).await),
        (None, Some(ONE.to_owned()), Some(TWO.to_owned()))
    );
    change(restore(2)).await.expect("restores");
    assert_eq!(working(MAIN_BRANCH).await.as_deref(), Some(ONE));
    change(Change::CreateBranch {
        name: "copy".into(),
        from: Some(MAIN_BRANCH.into()),
    })
    .await
    .expect("copies");
    change(restore(1)).await.expect("restores");
    assert_eq!(working(MAIN_BRANCH).await, None);
    assert_eq!(
        working("copy").await.as_deref(),
        Some(ONE),
        "a copy is on its own"
    );
    let missing = change(write("none", Some(ONE))).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })), "{missing:?}");
    let log = store.audit(project, None, 100).await.expect("reads");
    let mut details: Vec<_> = log
        .iter()
        .filter(|entry| entry.action == "branch.save_manifest")
        .map(|entry| (entry.target.as_str(), entry.detail.as_str()))
        .collect();
    details.sort_unstable();
    assert_eq!(details, [("main", "13 bytes"), ("main", "43 bytes")]);
}

pub(crate) async fn files_of_a_branch_are_added_renamed_and_removed(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (project, by) = (scope.project, principal(*scope));
    let change = async |change: Change| store.change(project, &by, change, 5).await;
    let id = |byte| SnippetId::from_bytes([byte; 16]);
    let add = |byte, name: &str, code: &str| Change::AddFile {
        branch: MAIN_BRANCH.into(),
        id: id(byte),
        name: name.into(),
        code: code.into(),
    };
    let rename = |id, name: &str| {
        let edit = SnippetEdit {
            id,
            name: Some(name.into()),
            code: None,
            description: None,
            base: None,
        };
        Change::SaveSnippets(MAIN_BRANCH.into(), vec![edit])
    };
    let copy = async || {
        let copy = store.working_copy(project, MAIN_BRANCH).await.expect("reads");
        copy.expect("a branch").snippets
    };
    let files = async || -> Vec<(String, String)> {
        let snippets = copy().await.into_iter();
        let files = snippets.filter(|snippet| snippet.kind == SnippetKind::File);
        files.map(|file| (file.name, file.code)).collect()
    };
    let file = |name: &str, code: &str| (name.to_owned(), code.to_owned());
    let used = async || {
        let room = store.code_room(project).await.expect("reads");
        room.expect("exists").used()
    };
    let empty = used().await;
    change(add(1, "a.js", "one")).await.expect("adds");
    change(add(2, "b.js", "two")).await.expect("adds");
    assert_eq!(files().await, [file("a.js", "one"), file("b.js", "two")]);
    assert!(used().await > empty, "files count as code");
    let exists = |refused: &Result<_, StoreError>| matches!(refused, Err(StoreError::Exists { what: "file", name }) if name == "a.js");
    let taken = change(add(3, "a.js", "")).await;
    assert!(exists(&taken.map(drop)));
    let taken = change(rename(id(2), "a.js")).await;
    assert!(exists(&taken.map(drop)));
    let global = copy().await[0].id;
    let refused = change(rename(global, "c.js")).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");

    change(Change::SaveVersion {
        branch: MAIN_BRANCH.into(),
        message: String::new(),
    })
    .await
    .expect("saves");
    change(rename(id(2), "c.js")).await.expect("renames");
    change(Change::DeleteSnippet(MAIN_BRANCH.into(), id(1)))
        .await
        .expect("removes");
    assert_eq!(files().await, [file("c.js", "two")]);
    change(Change::RestoreRevision {
        branch: MAIN_BRANCH.into(),
        number: 1,
    })
    .await
    .expect("restores");
    assert_eq!(files().await, [file("a.js", "one"), file("b.js", "two")]);
    for byte in [1, 2] {
        change(Change::DeleteSnippet(MAIN_BRANCH.into(), id(byte)))
            .await
            .expect("removes");
    }
    let unknown = change(Change::AddFile {
        branch: "other".into(),
        id: id(5),
        name: "a.js".into(),
        code: String::new(),
    });
    assert!(matches!(
        unknown.await.map(drop),
        Err(StoreError::Missing { what: "branch", .. })
    ));
}
