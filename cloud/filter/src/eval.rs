use crate::Value;
use crate::expr::{Expr, Test};
use crate::path::{Leaf, Path, Root};

impl Expr {
    pub(super) fn matches(&self, root: Root<'_>) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(root)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(root)),
            Self::Nor(parts) => !parts.iter().any(|part| part.matches(root)),
            Self::Field(path, test) => test.on_path(path, root),
        }
    }

    pub(super) fn move_below(&mut self, parent: &str, known: &[&str]) {
        match self {
            Self::And(parts) | Self::Or(parts) | Self::Nor(parts) => {
                parts.iter_mut().for_each(|part| part.move_below(parent, known));
            }
            Self::Field(path, _) => path.move_below(parent, known),
        }
    }
}

impl Test {
    fn on_path(&self, path: &Path, root: Root<'_>) -> bool {
        match self {
            Self::Any(leafy) => path.any(root, Leaf::Expanded, &mut |element| leafy.holds(element)),
            Self::Exists(wanted) => path.any(root, Leaf::AsIs, &mut |element| element.is_some()) == *wanted,
            Self::Size(_) | Self::ElemMatchValue(_) | Self::ElemMatchObject(_) => {
                path.any(root, Leaf::AsIs, &mut |element| element.is_some_and(|element| self.on_element(element)))
            }
            Self::All(tests) => tests.iter().all(|test| test.on_path(path, root)),
            Self::Not(tests) => !tests.iter().all(|test| test.on_path(path, root)),
            Self::Never => false,
        }
    }

    /// Says whether the condition holds for this one element, taken as it is.
    fn on_element(&self, element: &Value) -> bool {
        match (self, element) {
            (Self::Any(leafy), _) => leafy.holds(Some(element)),
            (Self::Exists(wanted), _) => *wanted,
            (Self::Size(size), Value::Array(items)) => u64::try_from(items.len()) == Ok(*size),
            (Self::ElemMatchValue(tests), Value::Array(items)) => {
                items.iter().any(|item| tests.iter().all(|test| test.on_element(item)))
            }
            (Self::ElemMatchObject(query), Value::Array(items)) => items.iter().any(|item| match item {
                Value::Object(document) => query.matches(Root::Document(document)),
                Value::Array(inner) => query.matches(Root::Array(inner)),
                _ => false,
            }),
            (Self::All(tests), _) => tests.iter().all(|test| test.on_element(element)),
            (Self::Not(tests), _) => !tests.iter().all(|test| test.on_element(element)),
            (Self::Size(_) | Self::ElemMatchValue(_) | Self::ElemMatchObject(_) | Self::Never, _) => false,
        }
    }
}
