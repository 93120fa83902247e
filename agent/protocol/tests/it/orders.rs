//! Developer orders: what a device takes, and named attacks on it. Each attack is a file under
//! `tests/it/data/orders` with the signed order and the expected refusal; `IOTTLY_BLESS=1 cargo test -p
//! iottly-protocol --test it` rewrites them from the descriptions here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use iottly_protocol::release::{
    DeveloperFacts, DeveloperOrder, LeaseId, MAX_LEASE_DEVICES, MAX_LEASE_S, MAX_ORDER_SCRIPT_BYTES,
    OfferedScript, OrderAction, ROLES_KEY, Reason, Refusal, admit_order, admit_script,
};
use iottly_protocol::tuf::{Header, Instant, Kind, RoleKeys, Root, Schemes, SigningKey};
use iottly_protocol::{DeviceId, ProjectId};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const NOW: Instant = Instant::from_unix(1_800_000_000);
const PROJECT: ProjectId = ProjectId::from_bytes([8; 12]);
const LEASE: LeaseId = LeaseId::from_bytes([6; 16]);

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 16])
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_secret(&[seed; 32])
}

/// Root whose directive key is 5 and whose developer key is 6.
fn root() -> Root {
    let role = |seed| RoleKeys::new(vec![key(seed).public().id()], 1);
    Root {
        header: Header::new(Kind::Root, 2, NOW.plus(86_400)),
        consistent_snapshot: Some(true),
        keys: [1, 5, 6]
            .map(|seed| (key(seed).public().id(), key(seed).public()))
            .into(),
        roles: BTreeMap::from([("root".to_owned(), role(1))]),
        extra: BTreeMap::from([(
            ROLES_KEY.to_owned(),
            json!({"directive": role(5), "developer": role(6)}),
        )]),
    }
}

fn order() -> DeveloperOrder {
    DeveloperOrder {
        id: "o-41".into(),
        lease: LEASE,
        project: PROJECT,
        devices: vec![device(7), device(9)],
        action: OrderAction::Run,
        sha256: "ab".repeat(32),
        size: 4000,
        approved: vec!["pwm".into()],
        not_before: NOW,
        expires: NOW.plus(MAX_LEASE_S),
        counter: 41,
        extra: BTreeMap::new(),
    }
}

fn facts() -> DeveloperFacts {
    DeveloperFacts {
        device: device(7),
        project: PROJECT,
        allowed: true,
        counter: 40,
        lease: None,
        capabilities: vec!["gpio".into()],
        engines: vec!["script 1".into()],
        exact: vec!["cd".repeat(32)],
        clock_trusted: true,
    }
}

fn script() -> OfferedScript {
    OfferedScript {
        sha256: "ab".repeat(32),
        size: 4000,
        engine: "script 1".into(),
        exact: None,
        capabilities: vec!["gpio".into(), "pwm".into()],
    }
}

/// A device, what is sent to it, and its answer.
#[derive(Serialize, Deserialize)]
struct Case {
    why: String,
    expect: Option<Reason>,
    now: Instant,
    facts: DeveloperFacts,
    script: OfferedScript,
    /// Signed document, byte for byte.
    order: String,
}

/// Description of an attack.
struct Plan {
    order: DeveloperOrder,
    facts: DeveloperFacts,
    script: OfferedScript,
    now: Instant,
    signer: SigningKey,
    /// Document in place of the signed order.
    raw: Option<String>,
}

fn plan() -> Plan {
    Plan {
        order: order(),
        facts: facts(),
        script: script(),
        now: NOW,
        signer: key(6),
        raw: None,
    }
}

fn signed(order: &DeveloperOrder, signer: &SigningKey) -> String {
    String::from_utf8(order.sign(&[signer]).expect("signed")).expect("text")
}

/// Performs a device's checks in its order.
fn take(case: &Case) -> Result<DeveloperOrder, Refusal> {
    let order =
        DeveloperOrder::verify(case.order.as_bytes(), &root(), Schemes::ED25519).map_err(|error| {
            Refusal {
                reason: error.reason(),
                detail: error.to_string(),
            }
        })?;
    admit_order(&order, &case.facts, case.now)?;
    if order.action == OrderAction::Run {
        admit_script(&order, &case.script, &case.facts)?;
    }
    Ok(order)
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/data/orders")
        .join(name)
}

/// Writes or compares the fixture, then runs the device against the file on the disk.
fn attempt(name: &str, why: &str, expect: Option<Reason>, change: fn(&mut Plan)) {
    let mut plan = plan();
    change(&mut plan);
    let case = Case {
        why: why.to_owned(),
        expect,
        now: plan.now,
        order: plan.raw.unwrap_or_else(|| signed(&plan.order, &plan.signer)),
        facts: plan.facts,
        script: plan.script,
    };
    let bytes = serde_json::to_vec_pretty(&case).expect("json");
    let file = path(&format!("{name}.json"));
    if std::env::var_os("IOTTLY_BLESS").is_some() {
        fs::create_dir_all(path("")).expect("folder");
        fs::write(&file, &bytes).expect("file");
    }
    let kept = fs::read(&file).unwrap_or_default();
    assert!(kept == bytes, "{name} is not what the description makes");
    let case: Case = serde_json::from_slice(&kept).expect("case");
    let answer = take(&case);
    assert_eq!(
        answer.as_ref().err().map(|refusal| refusal.reason),
        case.expect,
        "{name}: {answer:?}"
    );
}

macro_rules! orders {
    ($($name:ident: $why:literal => $expect:expr, $change:expr;)+) => {
        $(#[test] fn $name() { attempt(stringify!($name), $why, $expect, $change); })+

        #[test]
        fn every_file_is_a_test() {
            let mut known = vec![$(format!("{}.json", stringify!($name))),+];
            let entries = fs::read_dir(path("")).expect("folder").map(|entry| entry.expect("entry").file_name());
            let mut found: Vec<_> = entries.map(|name| name.into_string().expect("utf-8")).collect();
            (known.sort(), found.sort());
            assert_eq!(found, known);
        }
    };
}

orders! {
    no_attack: "an order for this device is followed" => None, |_| {};
    the_end_of_the_lease: "the lease is ended" => None, |p| { end(p); p.facts.lease = Some(LEASE); };
    the_end_while_switched_off: "an owner who switches leases off is not kept in one" => None, |p| {
        end(p);
        p.facts.lease = Some(LEASE);
        p.facts.allowed = false;
    };
    another_device: "an order for other devices" => Some(Reason::NotLeased), |p| p.order.devices = vec![device(9)];
    another_project: "an order of another project" => Some(Reason::NotLeased), |p| {
        p.order.project = ProjectId::from_bytes([9; 12]);
    };
    stale_counter: "an order whose counter is not above the last one" => Some(Reason::Replay), |p| p.facts.counter = 41;
    replay_after_the_end: "the order of a lease that has ended is sent again" => Some(Reason::Replay), |p| {
        p.facts.counter = 42;
        p.facts.lease = None;
    };
    seventeen_devices: "a signed order for more devices than a lease has" => Some(Reason::BadSignature), |p| {
        p.order.devices = (1..=17).map(device).collect();
    };
    no_device: "a signed order for no device" => Some(Reason::BadSignature), |p| p.order.devices.clear();
    a_device_twice: "a signed order that names a device twice" => Some(Reason::BadSignature), |p| {
        p.order.devices = vec![device(7), device(7)];
    };
    nine_hours: "a signed order for longer than a lease lasts" => Some(Reason::BadSignature), |p| {
        p.order.expires = p.order.not_before.plus(9 * 3600);
    };
    no_time: "an order that ends before it begins" => Some(Reason::BadSignature), |p| p.order.expires = p.order.not_before;
    past: "an order whose lease is over" => Some(Reason::Expired), |p| p.now = p.order.expires;
    early: "an order whose time has not come" => Some(Reason::Expired), |p| p.order.not_before = NOW.plus(1);
    unknown_time: "a device that does not know the time" => Some(Reason::Clock), |p| p.facts.clock_trusted = false;
    signed_by_the_directive_key: "the key for directives has signed" => Some(Reason::UnknownKey), |p| p.signer = key(5);
    signed_by_the_root_key: "the root's key has signed" => Some(Reason::UnknownKey), |p| p.signer = key(1);
    without_domain: "the developer key has signed other bytes" => Some(Reason::BadSignature), |p| {
        let value = serde_json::to_value(&p.order).expect("json");
        let bytes = iottly_protocol::tuf::sign_value(&value, &[&key(6)]).expect("signed");
        p.raw = Some(String::from_utf8(bytes).expect("text"));
    };
    changed: "an order with another counter than was signed" => Some(Reason::BadSignature), |p| {
        p.raw = Some(signed(&p.order, &p.signer).replace("\"counter\":41", "\"counter\":42"));
    };
    repeated_field: "a field twice: one for the verifier, one for the reader" => Some(Reason::BadSignature), |p| {
        p.raw = Some(signed(&p.order, &p.signer).replacen("\"counter\":", "\"counter\":99,\"counter\":", 1));
    };
    wider_capability: "a script with a capability that is neither released nor approved" => Some(Reason::Incompatible), |p| {
        p.script.capabilities.push("uart".into());
    };
    another_script: "another script than the signed one" => Some(Reason::DigestMismatch), |p| {
        p.script.sha256 = "cc".repeat(32);
    };
    another_size: "more bytes than were signed" => Some(Reason::DigestMismatch), |p| p.script.size += 1;
    oversized_script: "a signed order for a script that is larger than a publish" => Some(Reason::BadSignature), |p| {
        p.order.size = MAX_ORDER_SCRIPT_BYTES as u64 + 1;
    };
    no_digest: "an order to run that names no script" => Some(Reason::BadSignature), |p| p.order.sha256.clear();
    another_engine: "a script for an engine that the device does not have" => Some(Reason::NoEngine), |p| {
        p.script.engine = "script 2".into();
    };
    another_exact_engine: "a script for one engine that is not the device's" => Some(Reason::NoEngine), |p| {
        p.script.exact = Some("ee".repeat(32));
    };
    switched_off: "the device's owner allows no lease" => Some(Reason::DeveloperOff), |p| p.facts.allowed = false;
    the_end_of_another_lease: "the end of a lease that the device is not under" => Some(Reason::NotLeased), |p| {
        end(p);
        p.facts.lease = Some(LeaseId::from_bytes([5; 16]));
    };
    an_end_with_a_script: "an order that ends the lease and names a script" => Some(Reason::BadSignature), |p| {
        p.order.action = OrderAction::End;
    };
    highest_counter: "a counter that no reader of JSON represents" => Some(Reason::BadSignature), |p| {
        p.order.counter = u64::MAX;
    };
}

fn end(plan: &mut Plan) {
    plan.order.action = OrderAction::End;
    (plan.order.sha256, plan.order.size) = (String::new(), 0);
}

#[test]
fn a_root_without_the_role_takes_no_order() {
    let mut root = root();
    root.extra.insert(
        ROLES_KEY.to_owned(),
        json!({"directive": RoleKeys::new(vec![key(5).public().id()], 1)}),
    );
    let document = signed(&order(), &key(6));
    let error = DeveloperOrder::verify(document.as_bytes(), &root, Schemes::ED25519).expect_err("refused");
    assert_eq!(error.reason(), Reason::UnknownKey);
}

#[test]
fn fields_of_a_later_version_are_kept_and_signed() {
    let mut later = order();
    later.extra.insert("later".into(), Value::from(3));
    let document = signed(&later, &key(6));
    let read = DeveloperOrder::verify(document.as_bytes(), &root(), Schemes::ED25519).expect("taken");
    assert_eq!(read, later);
}

proptest! {
    /// Whatever order is signed and whatever the device is: what is followed names the device, is new, is valid now
    /// and within the bounds of a lease.
    #[test]
    fn only_orders_within_the_bounds_are_followed(
        devices in proptest::collection::vec(5u8..12, 0..20),
        length in 0u64..2 * MAX_LEASE_S,
        begin in 0u64..10,
        now in 0u64..2 * MAX_LEASE_S,
        counter in 0u64..6,
        last in 0u64..6,
        allowed: bool,
        run: bool,
        leased: bool,
    ) {
        let mut order = order();
        order.devices = devices.iter().copied().map(device).collect();
        (order.not_before, order.expires) = (NOW.plus(begin), NOW.plus(begin + length));
        order.counter = counter;
        if !run {
            order.action = OrderAction::End;
            (order.sha256, order.size) = (String::new(), 0);
        }
        let facts = DeveloperFacts { counter: last, allowed, lease: leased.then_some(LEASE), ..facts() };
        let before = facts.clone();
        let distinct = devices.iter().collect::<std::collections::BTreeSet<_>>().len();
        let good = distinct == devices.len()
            && (1..=MAX_LEASE_DEVICES).contains(&devices.len())
            && (1..=MAX_LEASE_S).contains(&length)
            && devices.contains(&7)
            && counter > last
            && (begin..begin + length).contains(&now)
            && if run { allowed } else { leased };
        prop_assert_eq!(admit_order(&order, &facts, NOW.plus(now)).is_ok(), good);
        prop_assert_eq!(facts, before);
    }
}
