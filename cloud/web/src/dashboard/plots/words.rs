//! Texts of a plot: the numbers of its lines, and the names of aggregates.

use super::scale::number;
use iottly_cloud::series::PlotLine;
use iottly_core::model::Group;
use iottly_core::series::Aggregate;

/// Returns the numbers of a line as texts: last, average, lowest, highest, number of values, missing messages.
pub(super) fn cells(line: &PlotLine) -> [String; 6] {
    let whole = &line.whole;
    [
        line.last().map_or(String::new(), |point| number(point.value)),
        number(whole.average()),
        number(whole.min),
        number(whole.max),
        whole.count.to_string(),
        line.missing.to_string(),
    ]
}

/// Returns the name of an aggregate.
pub(super) const fn words(aggregate: Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Avg => "average",
        Aggregate::Min => "minimum",
        Aggregate::Max => "maximum",
        Aggregate::Sum => "sum",
        Aggregate::Count => "number of values",
        Aggregate::P95 => "95th percentile",
    }
}

/// Returns true if a group is the chosen one, by its name or its id.
pub(super) fn is_group(chosen: Option<&str>, group: &Group) -> bool {
    chosen.is_some_and(|chosen| chosen == group.name || chosen.parse() == Ok(group.id))
}
