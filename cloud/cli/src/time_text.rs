//! Times as the commands print them.

use iottly_filter::date;
use iottly_web::answers::Date;
use serde_json::Value;

/// Returns a time as the API writes it (`{"$date": MS}`, or milliseconds) as `2026-11-27T10:47:58.133Z`; `-` for none.
pub(crate) fn time(value: &Value) -> String {
    let millis = value["$date"].as_i64().or_else(|| value.as_i64());
    millis.map_or_else(
        || value.as_str().unwrap_or("-").to_owned(),
        |at| date::format(at) + "Z",
    )
}

/// Returns a time of an answer as `2026-11-27T10:47:58.133Z`; `-` for none.
pub(crate) fn at(time: impl Into<Option<Date>>) -> String {
    time.into()
        .map_or_else(|| "-".to_owned(), |time| date::format(time.at()) + "Z")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_readable_however_the_api_writes_it() {
        let at = 1_492_598_878_133_i64;
        for value in [json!({"$date": at}), json!(at), json!("2017-04-19T10:47:58.133Z")] {
            assert_eq!(time(&value), "2017-04-19T10:47:58.133Z");
        }
        assert_eq!(time(&json!(null)), "-");
        assert_eq!(super::at(Date::from(at)), "2017-04-19T10:47:58.133Z");
        assert_eq!(super::at(None), "-");
    }
}
