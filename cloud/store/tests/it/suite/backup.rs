//! Backups of a database, and their restore.

use iottly_core::model::{Change, Scope};
use iottly_protocol::StreamId;
use iottly_store as store;
use iottly_store::{Database, ScanBounds, Store, StoreError};

use super::{Setup, principal, tagged, upload};

/// Returns the visible content of a database.
async fn shown(store: &dyn Store, scope: Scope) -> String {
    let project = scope.project;
    let history = store
        .scan(scope, ScanBounds::default(), 1_000)
        .await
        .expect("reads");
    let history: Vec<_> = history
        .iter()
        .map(|m| (m.timestamp, m.id, m.payload.get().to_owned(), m.origin))
        .collect();
    format!(
        "{:?}",
        (
            store.projects().await.expect("reads"),
            store.groups(project).await.expect("reads"),
            store.devices(project).await.expect("reads"),
            store.definitions(project).await.expect("reads"),
            (
                store.branches(project).await.expect("reads"),
                store.working_copy(project, "main").await.expect("reads"),
                store.revision(project, "main", 1).await.expect("reads")
            ),
            (
                store.audit(project, None, 100).await.expect("reads"),
                store.usage(project, 1).await.expect("reads")
            ),
            history,
        )
    )
}

pub(crate) async fn a_backup_holds_everything_and_fits_into_either_database(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let by = principal(*scope);
    let folder = tempfile::tempdir().expect("a folder");
    store
        .ingest(vec![upload(*scope, 1, 1, 300, 1_492_597_597_019)])
        .await
        .expect("commits");
    store
        .set_presence(*scope, true, Some("1.0"), 1_492_683_997_019)
        .await
        .expect("writes");
    store
        .change(scope.project, &by, tagged(scope.device, "north"), 5)
        .await
        .expect("tags");
    for change in [
        Change::SaveManifest {
            branch: "main".into(),
            manifest: Some("name = \"a\"\n".into()),
            base: None,
        },
        Change::SaveVersion {
            branch: "main".into(),
            message: String::new(),
        },
    ] {
        store.change(scope.project, &by, change, 5).await.expect("saves");
    }
    let file = folder.path().join("backup.db");
    store::backup(&setup.database, &file).await.expect("backs up");
    let before = shown(store.as_ref(), *scope).await;
    let again = store::backup(&setup.database, &file).await;
    assert!(
        matches!(again, Err(StoreError::Refused(_))),
        "a backup is never written over"
    );

    let mut targets = vec![Database::File(folder.path().join("restored.db"))];
    targets.extend(crate::cluster::database().await.map(Database::Server));
    for target in targets {
        store::restore(&file, &target).await.expect("restores");
        let (restored, _) = store::open(&target).await.expect("opens");
        assert_eq!(shown(restored.as_ref(), *scope).await, before, "{target:?}");
        let next = restored
            .ingest(vec![upload(*scope, 1, 290, 20, 1_492_683_998_000)])
            .await
            .expect("commits");
        assert_eq!(
            (next[0].upto, next[0].stored.len()),
            (309, 9),
            "positions of streams are in it"
        );
        restored.close().await;
        let twice = store::restore(&file, &target).await;
        assert!(
            matches!(twice, Err(StoreError::Refused(_))),
            "what is there is never written over: {twice:?}"
        );
    }
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .expect("lists")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().contains("restoring")),
        "{names:?}"
    );
}

pub(crate) async fn a_backup_is_of_one_moment(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let folder = tempfile::tempdir().expect("a folder");
    let (writing, writer, file) = (store.clone(), *scope, folder.path().join("backup.db"));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let work = tokio::spawn(async move {
        let mut first = 1;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            writing
                .ingest(vec![upload(writer, 1, first, 20, 1_000)])
                .await
                .expect("commits");
            first += 20;
        }
    });
    while store
        .stream_upto(*scope, StreamId::from_bytes([1; 16]))
        .await
        .expect("reads")
        < 100
    {
        tokio::task::yield_now().await;
    }
    store::backup(&setup.database, &file)
        .await
        .expect("backs up beside a writer");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    work.await.expect("the writer was not disturbed");
    let (copy, _) = store::open(&Database::File(file)).await.expect("opens");
    let stored = copy
        .scan(*scope, ScanBounds::default(), 1_000_000)
        .await
        .expect("reads")
        .len() as u64;
    let upto = copy
        .stream_upto(*scope, StreamId::from_bytes([1; 16]))
        .await
        .expect("reads");
    assert_eq!(stored, upto, "entries and position are of one moment");
    assert_eq!(
        copy.usage(scope.project, 1_000).await.expect("reads").messages,
        stored
    );
}

pub(crate) async fn what_is_no_backup_is_refused(setup: Setup) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Database::File(folder.path().join("cloud.db"));
    let text = folder.path().join("text");
    std::fs::write(&text, "no database").expect("writes");
    assert!(store::restore(&text, &target).await.is_err());
    assert!(
        store::restore(&folder.path().join("none"), &target)
            .await
            .is_err()
    );
    // A truncated backup.
    let file = folder.path().join("backup.db");
    setup
        .store
        .ingest(vec![upload(setup.scope, 1, 1, 500, 1_000)])
        .await
        .expect("commits");
    store::backup(&setup.database, &file).await.expect("backs up");
    let whole = std::fs::read(&file).expect("reads");
    let cut = folder.path().join("cut.db");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("writes");
    assert!(store::restore(&cut, &target).await.is_err());
    assert!(!folder.path().join("cloud.db").exists(), "nothing is left of it");
}
