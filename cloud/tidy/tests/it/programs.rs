//! Test programs are few: each one links everything again.

use crate::repository::{list, metadata, text};

/// Maximum number of test programs below `tests/` in the workspace.
const MAX_PROGRAMS: usize = 15;

#[test]
fn test_programs_are_few() {
    let metadata = metadata(&["--no-deps"]);
    let mut programs = Vec::new();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]) {
            if list(&target["kind"]).iter().any(|kind| kind == "test") {
                programs.push(format!("{}: {}", text(&package["name"]), text(&target["name"])));
            }
        }
    }
    assert!(
        programs.len() <= MAX_PROGRAMS,
        "{} test programs, at most {MAX_PROGRAMS}; add a module to tests/it instead:\n{}",
        programs.len(),
        programs.join("\n")
    );
}
