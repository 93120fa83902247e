//! Spans of a timeline: how long the device was online, and how long it ran a release.

use iottly_protocol::release::{Ending, UpdateState};

use super::Update;
use crate::model::UnixMs;
use crate::series::Range;

/// Time for which a state lasted, within the range of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<T> {
    /// Beginning, included.
    pub from: UnixMs,
    /// End, excluded.
    pub to: UnixMs,
    /// State.
    pub state: T,
}

/// Returns the spans between changes, which are in the order of time; `before` is the state at the beginning.
fn between<T: Clone + PartialEq>(
    before: Option<T>,
    changes: impl IntoIterator<Item = (UnixMs, T)>,
    range: Range,
) -> Vec<Span<T>> {
    let (mut spans, mut state, mut from): (Vec<Span<T>>, _, _) = (Vec::new(), before, range.from);
    let mut push = |state: Option<T>, from: UnixMs, to: UnixMs| {
        let Some(state) = state.filter(|_| to > from) else {
            return;
        };
        match spans.last_mut() {
            Some(last) if last.state == state && last.to == from => last.to = to,
            _ => spans.push(Span { from, to, state }),
        }
    };
    for (at, next) in changes {
        let at = at.clamp(range.from, range.to);
        push(state.take(), from, at);
        (state, from) = (Some(next), at);
    }
    push(state, from, range.to);
    spans
}

/// Returns the spans in which a device was online (true) or offline (false), from its changes in the order of time; none
/// while that is not known.
#[must_use]
pub fn presence_spans(before: Option<bool>, changes: &[(UnixMs, bool)], range: Range) -> Vec<Span<bool>> {
    between(before, changes.iter().copied(), range)
}

/// Returns the spans in which a device ran a release, each with the number of the release, from its updates.
#[must_use]
pub fn release_spans(updates: &[Update], range: Range) -> Vec<Span<(u64, String)>> {
    let mut commits: Vec<(UnixMs, (u64, String))> = updates
        .iter()
        .filter_map(|update| {
            let committed = UpdateState::Ended(Ending::Committed);
            let at = update
                .status
                .steps
                .iter()
                .find(|(state, _)| *state == committed)?
                .1;
            Some((at, (update.release, update.name())))
        })
        .filter(|(at, _)| *at < range.to)
        .collect();
    commits.sort_by_key(|(at, _)| *at);
    let begun = commits.partition_point(|(at, _)| *at < range.from);
    let before = begun.checked_sub(1).map(|at| commits[at].1.clone());
    between(before, commits.split_off(begun), range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_what_is_known_and_nothing_else() {
        let range = Range { from: 100, to: 200 };
        let spans = |before, changes: &[(UnixMs, bool)]| {
            let spans = presence_spans(before, changes, range).into_iter();
            spans
                .map(|span| (span.from, span.to, span.state))
                .collect::<Vec<_>>()
        };
        assert_eq!(spans(None, &[]), []);
        assert_eq!(spans(Some(true), &[]), [(100, 200, true)]);
        assert_eq!(spans(None, &[(150, true)]), [(150, 200, true)]);
        assert_eq!(
            spans(
                Some(false),
                &[(120, true), (120, false), (150, false), (180, true)]
            ),
            [(100, 180, false), (180, 200, true)]
        );
        assert_eq!(spans(Some(true), &[(100, false)]), [(100, 200, false)]);
    }
}
