//! Search for a target through delegated roles.

use std::collections::BTreeMap;

use iottly_protocol::tuf::{Delegations, SuccinctRoles, TufError};

use super::repo::{DAY, NOW, Repo, ids, key, public, targets};

/// Delegator, role, pattern, terminating.
type Edge = (&'static str, &'static str, &'static str, bool);

fn search(edges: &[Edge], path: &str) -> Vec<String> {
    let mut repo = Repo::new();
    for (at, (delegator, role, pattern, terminating)) in edges.iter().enumerate() {
        let seed = 50
            + edges
                .iter()
                .position(|(_, other, ..)| other == role)
                .unwrap_or(at) as u8;
        repo.delegate(delegator, role, &[pattern], *terminating, seed);
    }
    repo.publish_all();
    let kept = repo.enrolled();
    let error = repo.download(&kept, path).expect_err("no role has it");
    assert!(matches!(error, TufError::NoTarget { .. }), "{error}");
    let names = repo.asked().split_off(4);
    names
        .iter()
        .map(|name| name.trim_start_matches("1.").trim_end_matches(".json").to_owned())
        .collect()
}

#[test]
fn roles_are_asked_depth_first_in_order() {
    let all = "*";
    let graphs: &[(&[Edge], &[&str])] = &[
        (&[("targets", "A", all, false)], &["A"]),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("B", "C", all, false),
            ],
            &["A", "B", "C"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("A", "C", all, false),
                ("A", "D", all, false),
            ],
            &["A", "C", "D", "B"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("A", "C", all, true),
                ("A", "D", all, false),
            ],
            &["A", "C"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("A", "C", all, true),
                ("C", "D", all, false),
            ],
            &["A", "C", "D"],
        ),
        (
            &[
                ("targets", "A", "*.py", false),
                ("targets", "B", all, false),
                ("A", "C", all, false),
            ],
            &["B"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("B", "C", all, false),
                ("C", "D", all, false),
                ("D", "B", all, false),
            ],
            &["A", "B", "C", "D"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("B", "C", all, false),
                ("A", "C", all, false),
            ],
            &["A", "C", "B"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("B", "C", all, false),
                ("A", "C", "*.py", false),
            ],
            &["A", "B", "C"],
        ),
    ];
    for (edges, expected) in graphs {
        assert_eq!(search(edges, "missing"), *expected, "{edges:?}");
    }
}

#[test]
fn a_target_is_found_where_every_role_on_the_way_may_describe_it() {
    let mut repo = Repo::new();
    repo.delegate("targets", "A", &["*.doc", "*.md"], false, 50);
    repo.delegate("targets", "B", &["releases/*/*"], false, 51);
    repo.delegate("B", "C", &["releases/x/*"], false, 52);
    repo.delegate("B", "D", &["releases/y/*.zip"], false, 53);
    for (role, path) in [
        ("targets", "file"),
        ("A", "README.md"),
        ("C", "releases/x/v1"),
        ("D", "releases/y/v1.zip"),
        ("D", "releases/z/v1.zip"),
    ] {
        repo.add_target(role, path, format!("{path} by {role}").as_bytes());
    }
    repo.publish_all();
    let kept = repo.enrolled();
    for (path, role) in [
        ("file", "targets"),
        ("README.md", "A"),
        ("releases/x/v1", "C"),
        ("releases/y/v1.zip", "D"),
    ] {
        assert_eq!(
            repo.download(&kept, path).expect(path),
            format!("{path} by {role}").as_bytes()
        );
    }
    assert!(
        matches!(
            repo.download(&kept, "releases/z/v1.zip"),
            Err(TufError::NoTarget { .. })
        ),
        "not delegated on the way"
    );
}

#[test]
fn a_stored_role_is_verified_against_the_delegator_that_is_asked_now() {
    let mut repo = Repo::new();
    repo.delegate("targets", "A", &["a/*"], false, 50);
    repo.delegate("targets", "B", &["b/*"], false, 51);
    repo.delegate("A", "shared", &["*/*"], false, 52);
    // B trusts another key for the role of the same name.
    repo.delegate("B", "shared", &["*/*"], false, 53);
    repo.add_target("shared", "a/x", b"x");
    repo.add_target("shared", "b/x", b"x");
    repo.publish_all();
    let kept = repo.enrolled();
    repo.download(&kept, "a/x").expect("signed as A wants");
    let error = repo.download(&kept, "b/x").expect_err("not signed as B wants");
    assert!(
        matches!(&error, TufError::Threshold { role, .. } if role == "shared"),
        "{error}"
    );
}

#[test]
fn an_expired_role_describes_nothing() {
    let mut repo = Repo::new();
    repo.delegate("targets", "A", &["a/*"], false, 50);
    repo.targets.get_mut("A").expect("role").header.expires = NOW.plus(7 * DAY);
    repo.add_target("A", "a/x", b"x");
    repo.publish_all();
    let kept = repo.enrolled();
    repo.download(&kept, "a/x").expect("in time");
    let mut client = repo.client_at(&kept, NOW.plus(18 * DAY)).expect("client");
    let error = client.find("a/x").expect_err("expired on the device too");
    assert!(matches!(error, TufError::Expired { .. }), "{error}");
}

#[test]
fn paths_are_spread_over_hash_bins() {
    let mut repo = Repo::new();
    let keys = [key(60)];
    repo.targets.get_mut("targets").expect("role").delegations = Some(Delegations {
        keys: public(&keys),
        roles: None,
        succinct_roles: Some(SuccinctRoles {
            keyids: ids(&keys),
            threshold: 1,
            bit_length: 3,
            name_prefix: "bin".into(),
            extra: BTreeMap::new(),
        }),
        extra: BTreeMap::new(),
    });
    for bin in 0..8 {
        let name = format!("bin-{bin}");
        repo.keys.insert(name.clone(), keys.to_vec());
        repo.targets.insert(name, targets(NOW.plus(30 * DAY)));
    }
    // sha256("path 1") begins with 0x5: bin 2; in any other bin it is not found.
    let digest = iottly_protocol::tuf::sha256_hex(b"path 1");
    let bin = u8::from_str_radix(&digest[..1], 16).expect("hex") >> 1;
    repo.add_target(&format!("bin-{bin}"), "path 1", b"content");
    let other = iottly_protocol::tuf::sha256_hex(b"path 2");
    let wrong = (u8::from_str_radix(&other[..1], 16).expect("hex") >> 1) ^ 1;
    repo.add_target(&format!("bin-{wrong}"), "path 2", b"content");
    repo.publish_all();
    let kept = repo.enrolled();
    assert_eq!(repo.download(&kept, "path 1").expect("in its bin"), b"content");
    assert!(matches!(
        repo.download(&kept, "path 2"),
        Err(TufError::NoTarget { .. })
    ));
}

#[test]
fn so_many_roles_are_asked_and_no_more() {
    let mut repo = Repo::new();
    for n in 0..40u8 {
        repo.delegate("targets", &format!("r{n}"), &["*"], false, 100 + n);
    }
    repo.add_target("r39", "x", b"x");
    repo.publish_all();
    let kept = repo.enrolled();
    assert!(matches!(
        repo.download(&kept, "x"),
        Err(TufError::NoTarget { .. })
    ));
    assert_eq!(repo.asked().len(), 4 + 32);
}

#[test]
fn names_may_have_any_characters() {
    for name in ["?", "#", "/role", "../role", "a b", "é%2F"] {
        let mut repo = Repo::new();
        repo.delegate("targets", name, &["*"], false, 50);
        repo.add_target(name, "x y?", b"x");
        repo.publish_all();
        let kept = repo.enrolled();
        assert_eq!(repo.download(&kept, "x y?").expect(name), b"x");
        assert_eq!(
            repo.asked()[4],
            format!("1.{}.json", iottly_protocol::tuf::quote(name))
        );
        assert_eq!(kept.version(name), 1);
    }
}

#[test]
fn delegations_that_make_no_sense_are_malformed() {
    type Change = fn(&mut Delegations);
    let changes: [Change; 6] = [
        |d| d.roles = None,
        |d| d.roles.as_mut().expect("roles")[0].name = "snapshot".into(),
        |d| d.roles.as_mut().expect("roles")[0].threshold = 0,
        |d| d.roles.as_mut().expect("roles")[0].paths = None,
        |d| d.roles.as_mut().expect("roles")[0].path_hash_prefixes = Some(vec![]),
        |d| {
            let roles = d.roles.as_mut().expect("roles");
            let twin = roles[0].clone();
            roles.push(twin);
        },
    ];
    for change in changes {
        let mut repo = Repo::new();
        repo.delegate("targets", "A", &["*"], false, 50);
        change(
            repo.targets
                .get_mut("targets")
                .expect("role")
                .delegations
                .as_mut()
                .expect("delegations"),
        );
        repo.publish_all();
        let error = repo.refresh(&repo.enrolled()).expect_err("malformed");
        assert!(matches!(error, TufError::Malformed { .. }), "{error}");
    }
}
