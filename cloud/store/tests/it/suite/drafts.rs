//! Drafts of code belong to their authors, have bounds, and go with what they are of; edits of an older text are refused.

use iottly_core::code;
use iottly_core::model::{
    Actor, Change, DRAFT_KEPT_MS, Draft, MAIN_BRANCH, MAX_DRAFTS, MAX_PROJECT_DRAFT_BYTES, SnippetEdit,
    UserId,
};
use iottly_store::StoreError;

use super::{Setup, principal, project, stranger};

const ADA: Actor = Actor::User(UserId::from_bytes([1; 16]));
const BOB: Actor = Actor::User(UserId::from_bytes([2; 16]));

fn draft(file: &str, text: &str, changed: i64) -> Draft {
    Draft {
        file: file.into(),
        base: code::version("before"),
        base_text: Some("before".into()),
        text: text.into(),
        changed,
    }
}

pub(crate) async fn a_draft_is_its_author_s_and_goes_with_its_branch(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (here, by) = (scope.project, principal(*scope));
    let keep = async |author, draft: &Draft| store.keep_draft(here, "next", author, draft).await;
    let refused = keep(ADA, &draft("a", "x", 1)).await;
    assert!(matches!(refused, Err(StoreError::Missing { .. })), "{refused:?}");
    let branch = Change::CreateBranch {
        name: "next".into(),
        from: None,
    };
    store.change(here, &by, branch, 1).await.expect("creates");
    keep(ADA, &draft("a", "one", 1)).await.expect("keeps");
    let newer = Draft {
        base_text: None,
        ..draft("a", "two", 2)
    };
    keep(ADA, &newer).await.expect("keeps");
    keep(BOB, &draft("a", "other", 2)).await.expect("keeps");
    let of = async |author| store.drafts(here, "next", author).await.expect("reads");
    assert_eq!(
        of(ADA).await,
        std::slice::from_ref(&newer),
        "the newer in place of the older"
    );
    assert_eq!(of(BOB).await[0].text, "other");
    let one = async |file| store.draft(here, "next", ADA, file).await.expect("reads");
    assert_eq!((one("a").await, one("b").await), (Some(newer), None));
    assert_eq!(store.drafts(stranger(), "next", ADA).await.expect("reads"), []);

    assert!(store.drop_draft(here, "next", ADA, "a").await.expect("drops"));
    assert!(!store.drop_draft(here, "next", ADA, "a").await.expect("has none"));
    assert_eq!((of(ADA).await.len(), of(BOB).await.len()), (0, 1));
    keep(ADA, &draft("b", "late", 3 + DRAFT_KEPT_MS))
        .await
        .expect("keeps");
    assert_eq!(of(BOB).await, [], "old ones are deleted by the next that is kept");
    store
        .change(here, &by, Change::DeleteBranch("next".into()), 9)
        .await
        .expect("deletes");
    assert_eq!(of(ADA).await, []);
}

pub(crate) async fn drafts_have_bounds(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let here = scope.project;
    project(store.as_ref(), 7).await;
    let keep = async |author, draft: Draft| store.keep_draft(here, MAIN_BRANCH, author, &draft).await;
    for n in 0..MAX_DRAFTS {
        keep(ADA, draft(&n.to_string(), "x", 1)).await.expect("keeps");
    }
    let refused = keep(ADA, draft("one more", "x", 1)).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    keep(ADA, draft("0", "y", 1)).await.expect("replaces");
    let size = usize::try_from(MAX_PROJECT_DRAFT_BYTES).expect("fits");
    let refused = keep(BOB, draft("a", &"x".repeat(size), 1)).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    keep(BOB, draft("a", "x", 1))
        .await
        .expect("another author has room");
}

pub(crate) async fn an_edit_of_an_older_text_is_refused(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (here, by) = (scope.project, principal(*scope));
    let code = async || {
        let code = store.working_copy(here, MAIN_BRANCH).await.expect("reads");
        code.expect("exists")
    };
    let snippet = code().await.snippets[0].clone();
    let edit = |text: &str, base: Option<&str>| {
        let edit = SnippetEdit {
            name: None,
            id: snippet.id,
            code: Some(text.into()),
            description: None,
            base: base.map(code::version),
        };
        Change::SaveSnippets(MAIN_BRANCH.into(), vec![edit])
    };
    let manifest = |text: &str, base: Option<&str>| Change::SaveManifest {
        branch: MAIN_BRANCH.into(),
        manifest: Some(text.into()),
        base: base.map(code::version),
    };
    let change = async |change| store.change(here, &by, change, 2).await;
    change(edit("one", Some(&snippet.code))).await.expect("saves");
    change(manifest("name = \"a\"", Some(""))).await.expect("saves");
    for stale in [
        edit("two", Some(&snippet.code)),
        manifest("name = \"b\"", Some("")),
    ] {
        let refused = change(stale).await;
        assert!(matches!(refused, Err(StoreError::Stale { .. })), "{refused:?}");
    }
    let now = code().await;
    assert_eq!(now.snippets[0].code, "one");
    assert_eq!(now.manifest.as_deref(), Some("name = \"a\""));
    change(edit("two", Some("one"))).await.expect("saves");
    change(edit("three", None)).await.expect("saves over anything");
}
