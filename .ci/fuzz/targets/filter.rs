//! A filter and a document, separated by a zero byte: reading and matching end within the budget, whatever
//! they say.
#![no_main]

use iottly_filter::{Budget, Document, Filter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Enough for every text that fits into a fuzzer's input, and far below the seconds after which it would
    // report a hang.
    let mut budget = Budget::steps(10_000_000);
    let (filter, document) = text.split_once('\0').unwrap_or((text, r#"{"a":[1,{"b":"x"}]}"#));
    let Ok(filter) = Filter::parse(filter) else { return };
    let _ = filter.timestamp_range();
    if let Ok(document) = Document::parse(document) {
        let _ = filter.matches(&document, &mut budget);
        let _ = filter.below("payload", &["type", "timestamp"]).matches(&document, &mut budget);
    }
});
