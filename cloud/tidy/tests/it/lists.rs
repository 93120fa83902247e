//! Lists of a project's devices are read in pages and as counts: a project may have 100,000 of them.

use crate::repository::{files, read, root};

/// Calls that read all devices of a project, of its groups or of a rollout, and the files that need all of them.
const WHOLE: [(&str, &[&str]); 4] = [
    // The list without a limit, as the API documents it.
    (".devices(access.id())", &["api/device.rs"]),
    // The groups without a limit, as the API documents them.
    (".all_members(", &["api/group_members.rs"]),
    (".rollout_members(", &[]),
    // Filters and searches look at all devices, and jobs and moves act on them.
    (
        ".devices_with(",
        &[
            "api/device_filter.rs",
            "api/device_list.rs",
            "api/groups.rs",
            "api/jobs/start.rs",
        ],
    ),
];

#[test]
fn pages_and_handlers_read_no_whole_lists() {
    let mut wrong = Vec::new();
    let sources = root().join("cloud/web/src");
    for file in files(&sources, &["rs"]) {
        let name = file
            .strip_prefix(&sources)
            .expect("a source")
            .to_string_lossy()
            .into_owned();
        let text = read(&file);
        for (call, allowed) in WHOLE {
            if text.contains(call) && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{name}: {call}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "read counts or a page instead:\n{}",
        wrong.join("\n")
    );
}
