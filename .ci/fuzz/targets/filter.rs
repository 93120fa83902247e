//! A filter and a document, separated by a zero byte: reading and matching end, whatever they say.
#![no_main]

use iottly_filter::{Document, Filter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (filter, document) = text.split_once('\0').unwrap_or((text, r#"{"a":[1,{"b":"x"}]}"#));
    let Ok(filter) = Filter::parse(filter) else { return };
    let _ = filter.timestamp_range();
    if let Ok(document) = Document::parse(document) {
        let _ = filter.matches(&document);
        let _ = filter.below("payload", &["type", "timestamp"]).matches(&document);
    }
});
