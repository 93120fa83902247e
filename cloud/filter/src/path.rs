use crate::{Document, Value};

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
        // "01" is a key but no index: only the exact decimal text is.
        let index = name.parse::<usize>().ok().filter(|index| index.to_string() == name);
        Self { name: name.to_owned(), index }
    }
}

/// Where a walk starts: a document, or an array read as one with the keys "0", "1", …
#[derive(Debug, Clone, Copy)]
pub(super) enum Root<'a> {
    Document(&'a Document),
    Array(&'a [Value]),
}

/// Whether an array at the end of a path also stands for its elements.
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
        if self.0.first().is_some_and(|head| !known.contains(&head.name.as_str())) {
            self.0.insert(0, Part::new(parent));
        }
    }

    /// Says whether `test` holds for any element that the path yields; `None` is a missing one.
    pub(super) fn any(&self, root: Root<'_>, leaf: Leaf, test: &mut dyn FnMut(Option<&Value>) -> bool) -> bool {
        let Some((head, rest)) = self.0.split_first() else { return false };
        let first = match root {
            Root::Document(document) => document.get(&head.name),
            Root::Array(items) => head.index.and_then(|index| items.get(index)),
        };
        walk(first, rest, leaf, test)
    }
}

/// Goes on from a value that was reached by its key.
fn walk(value: Option<&Value>, rest: &[Part], leaf: Leaf, test: &mut dyn FnMut(Option<&Value>) -> bool) -> bool {
    match (value, rest) {
        (Some(Value::Array(items)), []) if leaf == Leaf::Expanded => items.iter().any(|item| test(Some(item))) || test(value),
        (_, []) => test(value),
        (Some(Value::Object(document)), [head, rest @ ..]) => walk(document.get(&head.name), rest, leaf, test),
        (Some(Value::Array(items)), [head, rest @ ..]) => walk_array(items, head, rest, leaf, test),
        _ => test(None),
    }
}

/// Goes on inside an array: into every object in it, and into the element that `head` is the index of.
fn walk_array(items: &[Value], head: &Part, rest: &[Part], leaf: Leaf, test: &mut dyn FnMut(Option<&Value>) -> bool) -> bool {
    items.iter().enumerate().any(|(index, item)| {
        if let Value::Object(document) = item
            && walk(document.get(&head.name), rest, leaf, test)
        {
            return true;
        }
        if head.index != Some(index) {
            return false;
        }
        match (item, rest) {
            (_, []) => test(Some(item)),
            (Value::Array(inner), [next, rest @ ..]) => walk_array(inner, next, rest, leaf, test),
            (Value::Object(document), [next, rest @ ..]) => walk(document.get(&next.name), rest, leaf, test),
            _ => false,
        }
    })
}
