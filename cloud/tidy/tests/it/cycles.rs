//! Modules of a crate use each other in one direction only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::repository::{code, files, is_test, packages, read};

type Uses = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

#[test]
fn top_level_modules_have_no_import_cycle() {
    let mut found = Vec::new();
    for (name, folder) in packages() {
        for root in ["lib.rs", "main.rs"] {
            let root = folder.join("src").join(root);
            if root.exists() {
                let uses = uses(&root);
                found.extend(
                    cycles(&uses)
                        .into_iter()
                        .map(|cycle| described(&name, &cycle, &uses)),
                );
            }
        }
    }
    assert!(
        found.is_empty(),
        "modules that use each other:\n{}",
        found.join("\n")
    );
}

fn described(package: &str, cycle: &BTreeSet<String>, uses: &Uses) -> String {
    let mut lines = vec![format!("{package}: {cycle:?}")];
    for from in cycle {
        for (to, files) in uses[from].iter().filter(|(to, _)| cycle.contains(*to)) {
            lines.push(format!("    {from} uses {to} in {files:?}"));
        }
    }
    lines.join("\n")
}

/// Returns, for each top-level module, the top-level modules that it names, with the files that name them.
/// Paths inside the code, and items that the root exports again, count like imports.
fn uses(root: &Path) -> Uses {
    let source = root.parent().expect("a root file is in a folder");
    let text = code(&read(root));
    let modules = modules(&text);
    let exported = exported(&text, &modules);
    let mut uses: Uses = modules
        .iter()
        .map(|module| (module.clone(), BTreeMap::new()))
        .collect();
    for file in files(source, &["rs"]) {
        let inside = file.strip_prefix(source).expect("files are below the folder");
        let shown = inside.display().to_string();
        let first = inside.iter().next().expect("a file has a name").to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        if is_test(&file) || !modules.contains(&module) {
            continue;
        }
        let text = code(&read(&file));
        let is_top = inside.components().count() == 1 || inside.ends_with(Path::new(&*first).join("mod.rs"));
        let mut named = heads(&text, "crate::");
        if is_top {
            named.extend(heads(&text, "super::"));
        }
        for head in named {
            let target = exported.get(&head).unwrap_or(&head);
            if *target != module && modules.contains(target) {
                let from = uses.get_mut(&module).expect("it is one of the modules");
                from.entry(target.clone()).or_default().insert(shown.clone());
            }
        }
    }
    uses
}

fn modules(root: &str) -> BTreeSet<String> {
    let declarations = root.match_indices("mod ").filter_map(|(at, _)| {
        let before = root[..at].chars().next_back().is_none_or(char::is_whitespace);
        let name = &root[at + 4..];
        let end = name.find(|character: char| !character.is_alphanumeric() && character != '_')?;
        (before && name[end..].trim_start().starts_with(';')).then(|| name[..end].to_owned())
    });
    declarations.collect()
}

/// Items that the root exports again, with the module that they come from.
fn exported(root: &str, modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut exported = BTreeMap::new();
    for (at, _) in root
        .match_indices("pub use ")
        .chain(root.match_indices("pub(crate) use "))
    {
        let tree = &root[at..];
        let tree = &tree[tree.find("use ").expect("it was found") + 4..];
        let tree = &tree[..tree.find(';').unwrap_or(tree.len())];
        for path in expanded(tree) {
            let path = path.trim_start_matches("crate::").trim_start_matches("self::");
            let (Some(first), Some(last)) = (path.split("::").next(), path.rsplit([':', ' ']).next()) else {
                continue;
            };
            if modules.contains(first) {
                exported.insert(last.to_owned(), first.to_owned());
            }
        }
    }
    exported
}

/// Returns the names that directly follow `prefix`, also inside braces.
fn heads(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut heads = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|character| character.is_alphanumeric() || character == '_' || character == ':')
        {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let tree = if rest.starts_with('{') {
            &rest[..rest.find(';').unwrap_or(rest.len())]
        } else {
            let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
            &rest[..end.unwrap_or(rest.len())]
        };
        heads.extend(expanded(tree).into_iter().filter_map(|path| {
            let head = path.split([':', ' ']).next()?.trim();
            (!head.is_empty()).then(|| head.to_owned())
        }));
    }
    heads
}

/// Returns the paths of a tree of imports.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(open) = tree.find('{') else {
        return vec![tree];
    };
    let (prefix, inner) = (
        &tree[..open],
        &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())],
    );
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts
        .flat_map(expanded)
        .map(|path| format!("{prefix}{path}"))
        .collect()
}

/// Returns the sets of modules that reach each other, of more than one module.
fn cycles(uses: &Uses) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = uses
        .keys()
        .map(|module| (module, reachable(module, uses)))
        .collect();
    let mut cycles: Vec<BTreeSet<String>> = Vec::new();
    for module in uses.keys() {
        let both = reached[module]
            .iter()
            .filter(|other| reached[**other].contains(module));
        let mut cycle: BTreeSet<String> = both.map(|other| (*other).clone()).collect();
        cycle.insert(module.clone());
        if cycle.len() > 1 && !cycles.contains(&cycle) {
            cycles.push(cycle);
        }
    }
    cycles
}

fn reachable<'u>(from: &str, uses: &'u Uses) -> BTreeSet<&'u String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = uses[from].keys().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(uses[module].keys());
        }
    }
    reached
}

#[test]
fn cycles_are_found_in_every_form() {
    assert_eq!(
        expanded("crate::{a::B, c::{self, D}, e as f}"),
        ["crate::a::B", "crate::c::self", "crate::c::D", "crate::e as f"]
    );
    let text = "use crate::{a::B, c}; let x = crate::d::y(); use super::e::Z; mycrate::f();";
    assert_eq!(
        heads(text, "crate::").into_iter().collect::<Vec<_>>(),
        ["a", "c", "d"]
    );
    let root = "pub mod a; mod b; pub use b::{Item, other as Renamed};";
    let modules = modules(root);
    assert_eq!(modules.iter().collect::<Vec<_>>(), ["a", "b"]);
    let exported = exported(root, &modules);
    assert_eq!(exported["Item"], "b");
    assert_eq!(exported["Renamed"], "b");
    let one = |to: &str| BTreeMap::from([(to.to_owned(), BTreeSet::new())]);
    let uses = BTreeMap::from([
        ("a".to_owned(), one("b")),
        ("b".to_owned(), one("c")),
        ("c".to_owned(), one("a")),
        ("d".to_owned(), one("a")),
    ]);
    let found = cycles(&uses);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].len(), 3);
}
