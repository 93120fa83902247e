//! Dotted paths and their walk through documents and arrays.

use std::fmt;

use iottly_protocol::limits::clip;

use crate::budget::{Budget, Stop, any};
use crate::{Document, Value};

/// Bytes of two names compared in one step.
const NAME_BYTES_A_STEP: usize = 64;
/// Bytes of a path that an error shows.
const SHOWN_BYTES: usize = 128;

/// A dotted path, split. A part that is the decimal text of a number also addresses array elements.
#[derive(Debug, Clone)]
pub(super) struct Path(Vec<Part>);

#[derive(Debug, Clone)]
struct Part {
    name: String,
    index: Option<usize>,
}

impl Part {
    fn new(name: &str) -> Self {
        // "01" is a key but not an index: only the exact decimal text is.
        let index = name
            .parse::<usize>()
            .ok()
            .filter(|index| index.to_string() == name);
        Self {
            name: name.to_owned(),
            index,
        }
    }
}

/// Start of a walk: a document, or an array read as one with the keys "0", "1", …
#[derive(Debug, Clone, Copy)]
pub(super) enum Root<'a> {
    Document(&'a Document),
    Array(&'a [Value]),
}

/// Treatment of an array at the end of a path: as itself and its elements, or as itself alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Expanded,
    AsIs,
}

impl Path {
    pub(super) fn new(text: &str) -> Self {
        Self(text.split('.').map(Part::new).collect())
    }

    pub(super) fn parts(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self.0.as_slice(), [part] if part.name == name)
    }

    pub(super) fn move_below(&mut self, parent: &str, known: &[&str]) {
        if !known.iter().any(|known| self.leads_through(known)) {
            self.0.insert(0, Part::new(parent));
        }
    }

    /// Returns true if the path is another, or begins with it.
    fn leads_through(&self, other: &str) -> bool {
        let mut own = self.0.iter();
        other
            .split('.')
            .all(|name| own.next().is_some_and(|part| part.name == name))
    }

    /// Returns the first part.
    pub(super) fn head(&self) -> Option<&str> {
        self.0.first().map(|part| part.name.as_str())
    }

    /// Returns the part behind the first one; an empty text if there is none.
    pub(super) fn second(&self) -> &str {
        self.0.get(1).map_or("", |part| part.name.as_str())
    }

    /// Returns whether `test` holds for any element that the path yields; `None` is a missing one.
    pub(super) fn any(
        &self,
        root: Root<'_>,
        leaf: Leaf,
        budget: &mut Budget<'_>,
        test: &mut Ask<'_>,
    ) -> Result<bool, Stop> {
        let Some((head, rest)) = self.0.split_first() else {
            return Ok(false);
        };
        let first = match root {
            Root::Document(document) => field(document, &head.name, budget)?,
            Root::Array(items) => head.index.and_then(|index| items.get(index)),
        };
        walk(first, rest, leaf, budget, test)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|part| part.name.as_str()).collect();
        f.write_str(clip(&names.join("."), SHOWN_BYTES))
    }
}

/// A test of one element.
type Ask<'t> = dyn FnMut(Option<&Value>, &mut Budget<'_>) -> Result<bool, Stop> + 't;

/// Returns the value of a field. The names are compared one by one.
fn field<'d>(document: &'d Document, name: &str, budget: &mut Budget<'_>) -> Result<Option<&'d Value>, Stop> {
    budget.spend(1 + document.0.len() as u64 * (1 + (name.len() / NAME_BYTES_A_STEP) as u64))?;
    Ok(document.get(name))
}

/// Continues from a value that was reached by its key.
fn walk(
    value: Option<&Value>,
    rest: &[Part],
    leaf: Leaf,
    budget: &mut Budget<'_>,
    test: &mut Ask<'_>,
) -> Result<bool, Stop> {
    match (value, rest) {
        (Some(Value::Array(items)), []) if leaf == Leaf::Expanded => {
            Ok(any(items, |item| test(Some(item), budget))? || test(value, budget)?)
        }
        (_, []) => test(value, budget),
        (Some(Value::Object(document)), [head, rest @ ..]) => {
            walk(field(document, &head.name, budget)?, rest, leaf, budget, test)
        }
        (Some(Value::Array(items)), [head, rest @ ..]) => walk_array(items, head, rest, leaf, budget, test),
        _ => test(None, budget),
    }
}

/// Continues inside an array: in every object in it, and in the element whose index is `head`.
fn walk_array(
    items: &[Value],
    head: &Part,
    rest: &[Part],
    leaf: Leaf,
    budget: &mut Budget<'_>,
    test: &mut Ask<'_>,
) -> Result<bool, Stop> {
    for (index, item) in items.iter().enumerate() {
        budget.spend(1)?;
        if let Value::Object(document) = item
            && walk(field(document, &head.name, budget)?, rest, leaf, budget, test)?
        {
            return Ok(true);
        }
        if head.index != Some(index) {
            continue;
        }
        let found = match (item, rest) {
            (_, []) => test(Some(item), budget)?,
            (Value::Array(inner), [next, rest @ ..]) => walk_array(inner, next, rest, leaf, budget, test)?,
            (Value::Object(document), [next, rest @ ..]) => {
                walk(field(document, &next.name, budget)?, rest, leaf, budget, test)?
            }
            _ => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
