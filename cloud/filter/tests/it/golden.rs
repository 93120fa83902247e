//! The filter language against hand-written cases, its laws and its limits.

use iottly_filter::{
    Budget, Document, Filter, MAX_DEPTH, MAX_FILTER_BYTES, MAX_NODES, MAX_OPERANDS, MAX_PATH_PARTS,
    MAX_PATTERN_BYTES, MAX_PATTERNS, Value,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Case<'a> {
    rule: Option<&'a str>,
    #[serde(borrow)]
    doc: Option<&'a RawValue>,
    #[serde(borrow)]
    filter: &'a RawValue,
    #[serde(rename = "match")]
    matches: Option<bool>,
}

fn matches(filter: &str, document: &str) -> bool {
    let document = Document::parse(document).unwrap_or_else(|e| panic!("{document}: {e}"));
    Filter::parse(filter)
        .unwrap_or_else(|e| panic!("{filter}: {e}"))
        .matches(&document, &mut Budget::unlimited())
        .expect("decided")
}

fn holds(filter: &Filter, document: &Document) -> bool {
    filter
        .matches(document, &mut Budget::unlimited())
        .expect("decided")
}

fn refusal(filter: &str) -> String {
    Filter::parse(filter).expect_err(filter).to_string()
}

#[test]
fn golden_cases_are_all_right() {
    let (mut decided, mut refused, mut wrong) = (0, 0, Vec::new());
    for line in include_str!("data/mongo-golden.jsonl").lines() {
        let case: Case<'_> = serde_json::from_str(line).expect("a case");
        if let Some(expected) = case.matches {
            decided += 1;
            let (rule, document) = (case.rule.expect("named"), case.doc.expect("a document"));
            match Filter::parse(case.filter.get()) {
                Ok(filter)
                    if holds(&filter, &Document::parse(document.get()).expect("valid")) == expected => {}
                Ok(_) => wrong.push(format!("{rule}: {line}")),
                Err(error) => wrong.push(format!("{rule}: refused: {error}")),
            }
        } else {
            refused += 1;
            if Filter::parse(case.filter.get()).is_ok() {
                wrong.push(format!("accepted: {line}"));
            }
        }
    }
    assert_eq!((decided, refused), (166, 30));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_rules_beyond_the_golden_cases() {
    for (filter, document, expected) in [
        (r#"{"a":{"$gt":{"$minKey":1}}}"#, r#"{"a":"x"}"#, true),
        (r#"{"a":{"$lt":{"$maxKey":1}}}"#, r#"{"a":5}"#, true),
        (
            r#"{"a":{"$gt":9007199254740992.0}}"#,
            r#"{"a":9007199254740993}"#,
            true,
        ),
        (
            r#"{"a":{"$gte":{"$numberDouble":"NaN"}}}"#,
            r#"{"a":{"$numberDouble":"NaN"}}"#,
            true,
        ),
        (r#"{"a":{"$lt":5}}"#, r#"{"a":{"$numberDouble":"NaN"}}"#, false),
        (r#"{"a":{"$numberDecimal":"1.50"}}"#, r#"{"a":1.5}"#, true),
        (r#"{"a":{"$bitsAllSet":5}}"#, r#"{"a":7}"#, true),
        (r#"{"a":{"$bitsAllSet":[0,8]}}"#, r#"{"a":1}"#, false),
        (r#"{"a":{"$bitsAnySet":[63,200]}}"#, r#"{"a":-1}"#, true),
        (
            r#"{"a":{"$bitsAllClear":8}}"#,
            r#"{"a":{"$binary":{"base64":"Bw==","subType":"00"}}}"#,
            true,
        ),
        (r#"{"a":{"$bitsAnyClear":8}}"#, r#"{"a":"7"}"#, false),
        (
            r#"{"a":{"$eq":{"$regularExpression":{"pattern":"x","options":""}}}}"#,
            r#"{"a":"x"}"#,
            false,
        ),
        (
            r#"{"a":{"$uuid":"a2792ce8-216f-477c-a5cc-4f7e9f407e29"}}"#,
            r#"{"a":{"$binary":"onks6CFvR3ylzE9+n0B+KQ==","$type":"04"}}"#,
            true,
        ),
        (
            r#"{"t":{"$date":{"$numberLong":"5"}}}"#,
            r#"{"t":{"$date":5.9}}"#,
            true,
        ),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true),
        (
            r#"{"a":{"$in":[{"$numberLong":"3"},"x"]}}"#,
            r#"{"a":[1,3.0]}"#,
            true,
        ),
        (r#"{"a":{"$type":"undefined"}}"#, r#"{"a":1}"#, false),
        (r#"{"$comment":"why","$or":[{"a":1}]}"#, r#"{"a":1}"#, true),
        (r#"{"a":{"$exists":true}}"#, r#"{"a":{"b":1}}"#, true),
        (r#"{"a":{"$mod":[4,0]}}"#, r#"{"a":1e300}"#, true),
    ] {
        assert_eq!(matches(filter, document), expected, "{filter} on {document}");
    }
}

#[test]
fn refused_operators_are_named_with_their_place() {
    for (filter, expected) in [
        (
            r#"{"$where":"1"}"#,
            "operator $where is not supported: it runs code (at $.$where)",
        ),
        (
            r#"{"a":{"$near":[1,2]}}"#,
            "operator $near is not supported: it needs an index (at $.a.$near)",
        ),
        (
            r#"{"a":{"$geoWithin":{}}}"#,
            "operator $geoWithin is not supported: it needs an index (at $.a.$geoWithin)",
        ),
        (
            r#"{"$or":[{"b":1},{"$expr":{}}]}"#,
            "operator $expr is not supported: it needs the aggregation language (at $.$or[1].$expr)",
        ),
        (
            r#"{"$_internalX":1}"#,
            "operator $_internalX is not supported: it is internal to MongoDB (at $.$_internalX)",
        ),
        (r#"{"a":{"$foo":1}}"#, "unknown operator $foo (at $.a.$foo)"),
        (
            r#"{"t":{"$lte":{"$date":"x"}}}"#,
            "filter is not valid: $date: date is not of the form",
        ),
        ("[1]", "filter is not an object (at $)"),
        ("", "filter is not valid: EOF"),
        (r#"{"a":{"$oid":"zz"}}"#, "$oid: it is not 24 hex digits"),
        (r#"{"a":{"$date":1,"x":2}}"#, "$date is next to other keys"),
        (r#"{"a":{"$code":"x"}}"#, "$code: it is not supported"),
        (r#"{"a":{"$ref":"c","$id":1}}"#, "$ref is not supported"),
        (r#"{"a":1} x"#, "trailing characters"),
    ] {
        let error = refusal(filter);
        assert!(error.contains(expected), "{filter}: {error}");
    }
    let error =
        Filter::parse(r#"{"timestamp":{"$lte":{"$regularExpression":{"pattern":"x","options":""}}}}"#)
            .expect_err("no order");
    assert_eq!(error.path(), "$.timestamp.$lte");
}

#[test]
fn limits_hold_and_what_is_within_them_passes() {
    let long = |n: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(n - 8));
    assert!(Filter::parse(&long(MAX_FILTER_BYTES)).is_ok());
    assert!(refusal(&long(MAX_FILTER_BYTES + 1)).contains("longer than 8192 bytes"));

    let deep = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n - 1), "]".repeat(n - 1));
    assert!(Filter::parse(&deep(MAX_DEPTH)).is_ok());
    assert!(refusal(&deep(MAX_DEPTH + 1)).contains("nested deeper"));
    assert!(
        refusal(&"[".repeat(8000)).contains("nested deeper"),
        "no stack is spent on it"
    );

    let nodes = |n: usize| {
        format!(
            "{{{}}}",
            (0..n)
                .map(|i| format!(r#""f{i}":1"#))
                .collect::<Vec<_>>()
                .join(",")
        )
    };
    assert!(Filter::parse(&nodes(MAX_NODES)).is_ok());
    assert!(refusal(&nodes(MAX_NODES + 1)).contains("more than 256 conditions"));

    for operator in ["$in", "$nin", "$all", "$type"] {
        let operands = |n: usize| format!(r#"{{"a":{{"{operator}":[{}]}}}}"#, vec!["1"; n].join(","));
        assert!(Filter::parse(&operands(MAX_OPERANDS)).is_ok());
        assert!(
            refusal(&operands(MAX_OPERANDS + 1)).contains("more than 1000 entries"),
            "{operator}"
        );
    }

    let path = |n: usize| format!(r#"{{"{}":1}}"#, vec!["0"; n].join("."));
    assert!(Filter::parse(&path(MAX_PATH_PARTS)).is_ok());
    assert!(refusal(&path(MAX_PATH_PARTS + 1)).contains("more than 16 parts"));

    let pattern = |n: usize| format!(r#"{{"a":{{"$regex":"{}"}}}}"#, "x".repeat(n));
    assert!(Filter::parse(&pattern(MAX_PATTERN_BYTES)).is_ok());
    assert!(refusal(&pattern(MAX_PATTERN_BYTES + 1)).contains("longer than 1024 bytes"));
    assert!(refusal(r#"{"a":{"$regex":"(a{100}){100}"}}"#).contains("when compiled"));

    let patterns = |n: usize| format!(r#"{{"$or":[{}]}}"#, vec![r#"{"a":{"$regex":"x"}}"#; n].join(","));
    assert!(Filter::parse(&patterns(MAX_PATTERNS)).is_ok());
    assert!(refusal(&patterns(MAX_PATTERNS + 1)).contains("more than 8 regular expressions"));
}

#[test]
fn the_worst_path_still_ends() {
    // Every level is an array of objects and arrays, so a numeric part branches twice.
    let mut value = "1".to_owned();
    for _ in 0..15 {
        value = format!(r#"[{{"0":{value}}}]"#);
    }
    assert!(!matches(
        &format!(r#"{{"a.{}":2}}"#, vec!["0"; 15].join(".")),
        &format!(r#"{{"a":{value}}}"#)
    ));
}

#[test]
fn a_malformed_wrapper_of_a_device_stays_an_object() {
    let mut document = Document::new();
    document.push(
        "payload",
        Value::parse_lenient(r#"{"when":{"$date":"soon"},"t":{"$date":5}}"#).expect("JSON"),
    );
    assert!(holds(
        &Filter::parse(r#"{"payload.t":{"$date":5}}"#).expect("valid"),
        &document
    ));
    assert!(holds(
        &Filter::parse(r#"{"payload.when":{"$type":"object"}}"#).expect("valid"),
        &document
    ));
}

#[test]
fn unknown_heads_move_below_the_payload() {
    let known = ["type", "timestamp"];
    let document = Document::parse(r#"{"type":"userdefined","payload":{"echo":{"n":1},"list":[{"x":1}]}}"#)
        .expect("valid");
    for (filter, expected) in [
        (r#"{"echo":{"$exists":true}}"#, true),
        (r#"{"echo.n":{"$gt":0}}"#, true),
        (
            r#"{"$or":[{"echo.n":5},{"$nor":[{"type":"iottlyagent"}]}]}"#,
            true,
        ),
        (r#"{"payload.echo.n":1}"#, false),
        (r#"{"list":{"$elemMatch":{"x":1}}}"#, true),
        (r#"{"missing":{"$ne":1}}"#, true),
    ] {
        let known: Vec<&str> = if filter.contains("payload.") {
            vec!["type"]
        } else {
            known.to_vec()
        };
        assert_eq!(
            holds(
                &Filter::parse(filter).expect("valid").below("payload", &known),
                &document
            ),
            expected,
            "{filter}"
        );
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-3i64..4).prop_map(Into::into),
        prop_oneof![Just(0.5), Just(1.0), Just(-2.0)].prop_map(|v: f64| v.into()),
        "[ab]{0,2}".prop_map(Into::into),
        (0i64..3).prop_map(|at| serde_json::json!({ "$date": at })),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::vec(("[ab0]", inner), 0..3)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab01]", 1..4).prop_map(|parts| parts.join("."))
}

fn document() -> impl Strategy<Value = String> {
    prop::collection::vec(("[ab]", json()), 0..3)
        .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect()).to_string())
}

proptest! {
    #[test]
    fn ne_is_not_eq(doc in document(), path in path(), operand in json()) {
        let with = |op: &str| matches(&serde_json::json!({ (&path): { op: (&operand) } }).to_string(), &doc);
        prop_assert_eq!(with("$ne"), !with("$eq"));
        prop_assert_eq!(matches(&serde_json::json!({ (&path): { "$not": { "$eq": (&operand) } } }).to_string(), &doc), !with("$eq"));
    }

    #[test]
    fn nin_is_not_in_and_in_is_any_eq(doc in document(), path in path(), operands in prop::collection::vec(json(), 0..4)) {
        let with = |op: &str| matches(&serde_json::json!({ (&path): { op: (&operands) } }).to_string(), &doc);
        prop_assert_eq!(with("$nin"), !with("$in"));
        let equal = |v: &serde_json::Value| matches(&serde_json::json!({ (&path): { "$eq": v } }).to_string(), &doc);
        prop_assert_eq!(with("$in"), operands.iter().any(equal));
    }

    #[test]
    fn nor_is_not_or(doc in document(), parts in prop::collection::vec((path(), json()), 1..4)) {
        let queries: Vec<_> = parts.iter().map(|(path, v)| serde_json::json!({ path: { "$eq": v } })).collect();
        let with = |op: &str| matches(&serde_json::json!({ op: (&queries) }).to_string(), &doc);
        prop_assert_eq!(with("$nor"), !with("$or"));
    }

    #[test]
    fn lte_is_lt_or_eq_within_a_type(doc in document(), path in path(), operand in -3i64..4) {
        let with = |op: &str| matches(&serde_json::json!({ (&path): { op: operand } }).to_string(), &doc);
        prop_assert_eq!(with("$lte"), with("$lt") || with("$eq"));
        prop_assert_eq!(with("$gte"), with("$gt") || with("$eq"));
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = Filter::parse(&text);
        let _ = Document::parse(&text);
    }

    #[test]
    fn arbitrary_patterns_never_panic(pattern in r"[\\a-z\[\](){}|^$*+?.:#&~<>QEBZ0-9 -]{0,24}", options in "[imsxu]{0,3}", text in ".{0,12}") {
        let filter = serde_json::json!({ "a": { "$regex": pattern, "$options": options } }).to_string();
        if let Ok(filter) = Filter::parse(&filter) {
            let _ = holds(&filter, &Document::parse(&serde_json::json!({ "a": text }).to_string()).expect("valid"));
        }
    }

    #[test]
    fn operator_soup_never_panics(parts in prop::collection::vec((r"\$(eq|ne|gt|in|nin|all|not|elemMatch|exists|size|type|mod|regex|options|bitsAllSet|and|or|nor|date|oid|foo)|a|a\.0", json()), 1..4), doc in document()) {
        let soup = serde_json::Value::Object(parts.into_iter().collect());
        for filter in [soup.clone(), serde_json::json!({ "a": soup }), serde_json::json!({ "a": { "$elemMatch": soup } })] {
            if let Ok(filter) = Filter::parse(&filter.to_string()) {
                let _ = holds(&filter, &Document::parse(&doc).expect("valid"));
            }
        }
    }
}
