//! Two changes of one text: what each of them changed, and both together where they do not touch the same lines. Pure.

use std::time::Duration;

use similar::{DiffOp, TextDiff};

/// Time limit for finding the shortest diff; after that a longer one, still correct, is used.
const PATIENCE: Duration = Duration::from_millis(100);

/// Side of a line in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Both texts have the line.
    Both,
    /// Only the older text has it.
    Old,
    /// Only the newer text has it.
    New,
}

/// Returns the lines of two texts, in order, with their sides. Line ends are left out.
#[must_use]
pub fn compare(old: &str, new: &str) -> Vec<(Side, String)> {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    diff.iter_all_changes()
        .map(|change| {
            let side = match change.tag() {
                similar::ChangeTag::Equal => Side::Both,
                similar::ChangeTag::Delete => Side::Old,
                similar::ChangeTag::Insert => Side::New,
            };
            (side, change.value().trim_end_matches(['\n', '\r']).to_owned())
        })
        .collect()
}

/// Lines of the base that a change replaces, and the lines that it puts there.
struct Hunk<'a> {
    from: usize,
    to: usize,
    lines: Vec<&'a str>,
}

/// Returns both changes of a text in one; none if they touch the same lines, or lines beside each other.
#[must_use]
pub fn merge(base: &str, yours: &str, theirs: &str) -> Option<String> {
    let (mine, other) = (hunks(base, yours), hunks(base, theirs));
    let base: Vec<_> = base.split_inclusive('\n').collect();
    let apart = |one: &Hunk<'_>, two: &Hunk<'_>| one.to < two.from || two.to < one.from;
    if mine.iter().any(|one| other.iter().any(|two| !apart(one, two))) {
        return None;
    }
    let mut all: Vec<_> = mine.into_iter().chain(other).collect();
    all.sort_by_key(|hunk| hunk.from);
    let (mut merged, mut at) = (String::new(), 0);
    for hunk in all {
        merged.extend(base[at..hunk.from].iter().copied());
        merged.extend(hunk.lines);
        at = hunk.to;
    }
    merged.extend(base[at..].iter().copied());
    Some(merged)
}

fn hunks<'a>(base: &'a str, text: &'a str) -> Vec<Hunk<'a>> {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(base, text);
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    diff.ops()
        .iter()
        .filter(|op| !matches!(op, DiffOp::Equal { .. }))
        .map(|op| Hunk {
            from: op.old_range().start,
            to: op.old_range().end,
            lines: lines[op.new_range()].to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_different_lines_come_together_and_others_do_not() {
        let base = "a\nb\nc\nd\ne\n";
        assert_eq!(
            merge(base, "A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\nf\n").as_deref(),
            Some("A\nb\nc\nd\nE\nf\n")
        );
        assert_eq!(
            merge(base, "a\nB\nc\nd\ne\n", "a\nx\nc\nd\ne\n"),
            None,
            "the same line"
        );
        assert_eq!(
            merge(base, "a\nB\nc\nd\ne\n", "a\nb\nC\nd\ne\n"),
            None,
            "lines beside each other"
        );
        assert_eq!(merge(base, base, "").as_deref(), Some(""), "only one has changed");
        assert_eq!(merge("", "a", "b"), None);
        assert_eq!(
            merge(base, "b\nc\nd\ne\n", "a\nb\nc\ne\n").as_deref(),
            Some("b\nc\ne\n")
        );
    }

    #[test]
    fn lines_are_compared_with_their_sides() {
        let line = |side, text: &str| (side, text.to_owned());
        assert_eq!(
            compare("a\nb\n", "a\r\nc"),
            [
                line(Side::Old, "a"),
                line(Side::Old, "b"),
                line(Side::New, "a"),
                line(Side::New, "c")
            ]
        );
        assert_eq!(
            compare("a\nb\n", "a\nc\n"),
            [line(Side::Both, "a"), line(Side::Old, "b"), line(Side::New, "c")]
        );
    }
}
