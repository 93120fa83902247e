//! Entries of audit logs as documents for filters.

use iottly_filter::{Document, Filter, Value};

use super::value::Kind;
use super::{Field, Language, Other, UnknownField, known_only, text};
use crate::model::AuditEntry;

/// Fields of the entries of audit logs.
pub static AUDIT: Language = Language {
    fields: &[
        text("who", "actor", "who:anne"),
        text("actor", "actor", ""),
        text("action", "action", "action:device.*"),
        text("of", "target", "of:porch"),
        text("target", "target", ""),
        text("detail", "detail", "detail:*attic*"),
        text("from", "address", "from:10.0.*"),
        text("address", "address", ""),
        Field {
            name: "at",
            path: "at",
            kind: Kind::Time,
            example: "at>2026-11-26",
        },
    ],
    word: Some("target"),
    other: Other::Refused,
};

/// Fields of entries in JSON.
const NAMES: [&str; 7] = ["number", "at", "actor", "action", "target", "detail", "address"];

/// Parses a filter over entries of an audit log.
///
/// # Errors
/// If the text is not a filter, or names a field that no entry has.
pub fn filter(text: &str) -> Result<Filter, UnknownField> {
    known_only(text, "entries of audit logs", &NAMES)
}

/// Returns an entry as filters see it.
#[must_use]
pub fn document(entry: &AuditEntry) -> Document {
    let string = |text: &str| Value::String(text.to_owned());
    let mut document = Document::new();
    document.push(
        "number",
        Value::integer(i64::try_from(entry.number).unwrap_or(i64::MAX)),
    );
    document.push("at", Value::Date(entry.at));
    document.push("actor", string(&entry.actor));
    document.push("action", string(&entry.action));
    document.push("target", string(&entry.target));
    document.push("detail", string(&entry.detail));
    if let Some(address) = entry.address {
        document.push("address", Value::String(address.to_string()));
    }
    document
}

#[cfg(test)]
mod tests {
    use iottly_filter::Budget;

    use super::*;
    use crate::model::TokenId;

    #[test]
    fn entries_are_found_by_their_fields() {
        let entry = AuditEntry {
            number: 7,
            at: 1_795_651_200_000,
            actor: "anne".to_owned(),
            token: TokenId::from_bytes([0; 16]),
            action: "device.rename".to_owned(),
            target: "Porch".to_owned(),
            detail: "to attic".to_owned(),
            address: Some([10, 0, 0, 1].into()),
        };
        for (text, matches) in [
            ("", true),
            ("who:anne action:device.*", true),
            ("porch", true),
            ("of:Porch detail:*attic", true),
            ("from:10.0.*", true),
            ("-action:device.*", false),
            ("at>2026-11-26", false),
            ("at>=2026-11-26 at<2026-11-27", true),
            (r#"{"actor":"ben"}"#, false),
        ] {
            let json = AUDIT.translate(text).expect("a short form");
            let filter = filter(&json).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found = filter.matches(&document(&entry), &mut Budget::steps(5_000));
            assert_eq!(found, Ok(matches), "{text}");
        }
        assert!(filter(r#"{"who":"anne"}"#).is_err());
        assert!(AUDIT.translate("offline>1h").is_err());
        for example in AUDIT.suggestions("") {
            filter(&AUDIT.translate(example).expect(example)).expect(example);
        }
    }
}
