//! Extended JSON: what the lenient reader refuses, the strict one refuses too.
#![no_main]

use iottly_filter::{Document, Value, date};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let strict = Document::parse(text).is_ok();
    assert!(!strict || Value::parse_lenient(text).is_ok());
    // What is printed for a year of four digits is read as the same moment.
    if let Ok(millis) = date::parse(text) {
        assert_eq!(date::parse(&date::format(millis)), Ok(millis));
    }
});
