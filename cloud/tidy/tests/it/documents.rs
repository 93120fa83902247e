//! Paths and links in the documentation lead somewhere.

use std::path::Path;

use crate::repository::{files, read, root, shown};

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for file in files(&root(), &["md"]) {
        let text = read(&file);
        let folder = file.parent().expect("a file is in a folder");
        for target in links(&text) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty()
                && !path.contains("://")
                && !path.starts_with("mailto:")
                && !folder.join(path).exists()
            {
                broken.push(format!("{}: {target}", shown(&file)));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn paths_that_documents_name_exist() {
    let tops = [
        "agent/",
        "boards/",
        "cloud/",
        "docs/",
        "firmware-examples/",
        "sandbox/",
        ".ci/",
        ".github/",
    ];
    let mut missing = Vec::new();
    for file in files(&root(), &["md"]) {
        // History and templates name what is or will be elsewhere.
        if shown(&file).ends_with("CHANGELOG.md") || shown(&file).contains("/templates/") {
            continue;
        }
        let text = read(&file);
        for path in text.split('`').skip(1).step_by(2) {
            let plain = path
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
            if plain && tops.iter().any(|top| path.starts_with(top)) && !exists(path) {
                missing.push(format!("{}: {path}", shown(&file)));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "paths that are not there:\n{}",
        missing.join("\n")
    );
}

fn exists(path: &str) -> bool {
    root().join(Path::new(path)).exists()
}

/// Targets of the links in a Markdown text.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split(' ').next().unwrap_or_default())
        .collect()
}
