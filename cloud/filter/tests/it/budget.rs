//! Bounds of an evaluation: it always ends, and names the condition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iottly_filter::{Budget, Document, Filter, Undecided};
use proptest::prelude::*;

/// Steps that the cloud grants a filter for one entry.
const STEPS: u64 = 50_000_000;
/// Far more than an evaluation takes, also in a build that is not optimised.
const SOON: Duration = Duration::from_secs(60);

fn zeros_and_ones(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if state >> 62 & 1 == 1 { '1' } else { '0' }
    };
    (0..length).map(next).collect()
}

fn decide(filter: &str, document: &str, steps: u64) -> Result<bool, Undecided> {
    let document = Document::parse(document).expect("a document");
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let began = Instant::now();
    let decided = filter.matches(&document, &mut Budget::steps(steps));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    decided
}

fn too_expensive(path: &str) -> Result<bool, Undecided> {
    Err(Undecided::TooExpensive {
        path: path.to_owned(),
    })
}

#[test]
fn a_pattern_whose_automaton_explodes_is_too_expensive_or_refused() {
    let text = format!(r#"{{"s":"{}"}}"#, zeros_and_ones(1_000_000));
    assert_eq!(
        decide(r#"{"s":{"$regex":"1[01]{200}x"}}"#, &text, STEPS),
        too_expensive("s")
    );
    let eight: Vec<_> = (0..8)
        .map(|n| format!(r#"{{"s":{{"$regex":"1[01]{{200}}x{n}"}}}}"#))
        .collect();
    assert_eq!(
        decide(&format!(r#"{{"$or":[{}]}}"#, eight.join(",")), &text, STEPS),
        too_expensive("s")
    );
    let huge = Filter::parse(r#"{"s":{"$regex":"1[01]{2500}x"}}"#).expect_err("larger than a pattern may be");
    assert!(huge.to_string().contains("when compiled"), "{huge}");
    // An easy expression is decided on the same text.
    assert_eq!(decide(r#"{"s":{"$regex":"^[01]+$"}}"#, &text, STEPS), Ok(true));
    assert_eq!(decide(r#"{"s":{"$regex":"10*2"}}"#, &text, STEPS), Ok(false));
}

#[test]
fn a_word_boundary_beside_other_alphabets_is_paid_for() {
    let text = format!(r#"{{"s":"{}"}}"#, "é ".repeat(300_000));
    assert_eq!(
        decide(r#"{"s":{"$regex":"\\Bx{200}"}}"#, &text, STEPS),
        too_expensive("s")
    );
    assert_eq!(
        decide(r#"{"s":{"$regex":"\\Bx"}}"#, r#"{"s":"é éx"}"#, STEPS),
        Ok(true)
    );
}

#[test]
fn operands_times_elements_are_counted() {
    let numbers: Vec<_> = (1..=850).map(|n| n.to_string()).collect();
    let elements = vec!["0"; 510_000].join(",");
    let document = format!(r#"{{"a":[{elements}]}}"#);
    let all = format!(r#"{{"a":{{"$all":[{}]}}}}"#, numbers.join(","));
    // One number is missing at once, so the reverse question is the expensive one.
    assert_eq!(decide(&all, &document, STEPS), Ok(false));
    let none = format!(r#"{{"a":{{"$not":{{"$all":[{}]}}}}}}"#, numbers.join(","));
    assert_eq!(decide(&none, &document, STEPS), Ok(true));
    let any: Vec<_> = (1..=120).map(|n| format!(r#"{{"a":{n}}}"#)).collect();
    assert_eq!(
        decide(&format!(r#"{{"$or":[{}]}}"#, any.join(",")), &document, STEPS),
        too_expensive("a")
    );
    let present = format!(r#"{{"a":{{"$all":[{}]}}}}"#, vec!["7"; 850].join(","));
    let last = format!(r#"{{"a":[{elements},7]}}"#);
    assert_eq!(decide(&present, &last, STEPS), too_expensive("a"));
    let both = format!(r#"{{"$and":[{all},{all}]}}"#);
    let refused = Filter::parse(&both)
        .expect_err("too many operands in all")
        .to_string();
    assert!(
        refused.contains("more than 1000 operands in its lists"),
        "{refused}"
    );
}

#[test]
fn other_costs_of_a_tenants_choosing_end_too() {
    let many_keys: Vec<_> = (0..100_000).map(|n| format!(r#""k{n}":0"#)).collect();
    let many_keys = format!("{{{}}}", many_keys.join(","));
    let conditions: Vec<_> = (0..250).map(|n| format!(r#"{{"missing{n}":1}}"#)).collect();
    assert!(
        decide(
            &format!(r#"{{"$or":[{}]}}"#, conditions.join(",")),
            &many_keys,
            10_000_000
        )
        .is_err()
    );

    let decimals = format!(r#"{{"a":[{}]}}"#, vec!["0.1"; 200_000].join(","));
    let compared = r#"{"$or":[{"a":{"$numberDecimal":"1.5"}},{"a":{"$numberDecimal":"2.5"}}]}"#;
    assert_eq!(decide(compared, &decimals, 10_000_000), too_expensive("a"));

    let deep = "[".repeat(14) + &vec![r#"{"0":1}"#; 1000].join(",") + &"]".repeat(14);
    let branching = format!(r#"{{"a.{}":2}}"#, vec!["0"; 15].join("."));
    assert!(decide(&branching, &format!(r#"{{"a":{deep}}}"#), 100).is_err());

    let objects = format!(r#"{{"a":[{}]}}"#, vec![r#"{"b":[1,2,3]}"#; 50_000].join(","));
    let nested: Vec<_> = (0..60)
        .map(|n| format!(r#"{{"b":{{"$elemMatch":{{"$gt":{n},"$lt":0}}}}}}"#))
        .collect();
    let nested = format!(r#"{{"a":{{"$elemMatch":{{"$or":[{}]}}}}}}"#, nested.join(","));
    assert_eq!(decide(&nested, &objects, 10_000_000), too_expensive("b"));

    let mask: Vec<_> = (0..900).map(|n| n.to_string()).collect();
    let bits = format!(r#"{{"a":{{"$bitsAllClear":[{}]}}}}"#, mask.join(","));
    assert_eq!(
        decide(
            &bits,
            &format!(r#"{{"a":[{}]}}"#, vec!["1"; 200_000].join(",")),
            10_000_000
        ),
        too_expensive("a")
    );
}

#[test]
fn an_evaluation_ends_soon_after_its_flag_is_set() {
    let text = format!(r#"{{"s":"{}"}}"#, zeros_and_ones(1_000_000));
    let patterns: Vec<_> = (0..8)
        .map(|n| format!(r#"{{"s":{{"$regex":"1[01]{{200}}x{n}"}}}}"#))
        .collect();
    let filter = Filter::parse(&format!(r#"{{"$or":[{}]}}"#, patterns.join(","))).expect("a filter");
    let document = Document::parse(&text).expect("a document");
    let flag = Arc::new(AtomicBool::new(false));
    let setter = std::thread::spawn({
        let flag = Arc::clone(&flag);
        move || {
            std::thread::sleep(Duration::from_millis(50));
            flag.store(true, Ordering::Relaxed);
        }
    });
    let decided = filter.matches(&document, &mut Budget::unlimited().cancelled_by(&flag));
    setter.join().expect("no panic");
    assert_eq!(decided, Err(Undecided::Cancelled));
}

#[test]
fn everyday_filters_take_few_steps() {
    for (filter, most) in [
        (r#"{"payload.humidity":"none"}"#, 100),
        (r#"{"payload.t":{"$gt":20,"$lt":30},"type":"userdefined"}"#, 100),
        (r#"{"payload.label":{"$regex":"boiler","$options":"i"}}"#, 5000),
        (r#"{"payload.tags":{"$all":["a","b"]}}"#, 100),
    ] {
        let document =
            r#"{"type":"userdefined","payload":{"t":21.5,"label":"Boiler room","tags":["a","b","c"]}}"#;
        let mut budget = Budget::steps(STEPS);
        let decided = Filter::parse(filter)
            .expect("a filter")
            .matches(&Document::parse(document).expect("valid"), &mut budget);
        assert!(
            decided.is_ok() && STEPS - budget.left() < most,
            "{filter}: {} steps",
            STEPS - budget.left()
        );
    }
}

proptest! {
    /// The search agrees with the engine's own.
    #[test]
    fn patterns_match_as_the_engine_has_it(pattern in r"(\^|[ab.é]|\[ab\]|\(a\|b\)|[ab][*+?]|\\B|\\bx?|(ab){1,3}){1,8}", text in "[abxé \n]{0,12}") {
        let Ok(engine) = regex::Regex::new(&pattern.replace(r"\b", r"(?-u:\b)")) else { return Ok(()) };
        let filter = Filter::parse(&serde_json::json!({ "a": { "$regex": pattern } }).to_string()).expect("a filter");
        let document = Document::parse(&serde_json::json!({ "a": text }).to_string()).expect("a document");
        // Twice, so that what is built is used again.
        for _ in 0..2 {
            prop_assert_eq!(filter.matches(&document, &mut Budget::steps(STEPS)), Ok(engine.is_match(&text)));
        }
    }
}
