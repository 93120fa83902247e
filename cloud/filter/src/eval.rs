//! Evaluation of a filter against a document, within a budget.

use crate::Value;
use crate::budget::{Budget, Stop, all, any};
use crate::expr::{Expr, Test};
use crate::path::{Leaf, Path, Root};

type Result<T> = std::result::Result<T, Stop>;

impl Expr {
    pub(super) fn matches(&self, root: Root<'_>, budget: &mut Budget<'_>) -> Result<bool> {
        budget.spend(1)?;
        match self {
            Self::And(parts) => all(parts, |part| part.matches(root, budget)),
            Self::Or(parts) => any(parts, |part| part.matches(root, budget)),
            Self::Nor(parts) => Ok(!any(parts, |part| part.matches(root, budget))?),
            Self::Field(path, test) => test
                .on_path(path, root, budget)
                .inspect_err(|_| budget.stopped_at(|| path.to_string())),
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

    pub(super) fn heads<'a>(&'a self, heads: &mut Vec<&'a str>) {
        match self {
            Self::And(parts) | Self::Or(parts) | Self::Nor(parts) => {
                parts.iter().for_each(|part| part.heads(heads));
            }
            Self::Field(path, _) => heads.extend(path.head()),
        }
    }

    pub(super) fn heads_below<'a>(&'a self, parent: &str, heads: &mut Vec<&'a str>) {
        match self {
            Self::And(parts) | Self::Or(parts) | Self::Nor(parts) => {
                parts.iter().for_each(|part| part.heads_below(parent, heads));
            }
            Self::Field(path, _) if path.head() == Some(parent) => heads.push(path.second()),
            Self::Field(..) => {}
        }
    }
}

impl Test {
    fn on_path(&self, path: &Path, root: Root<'_>, budget: &mut Budget<'_>) -> Result<bool> {
        budget.spend(1)?;
        match self {
            Self::Any(leafy) => path.any(root, Leaf::Expanded, budget, &mut |element, budget| {
                leafy.holds(element, budget)
            }),
            Self::Exists(wanted) => {
                let exists = path.any(root, Leaf::AsIs, budget, &mut |element, _| Ok(element.is_some()))?;
                Ok(exists == *wanted)
            }
            Self::Size(_) | Self::ElemMatchValue(_) | Self::ElemMatchObject(_) => {
                path.any(root, Leaf::AsIs, budget, &mut |element, budget| match element {
                    Some(element) => self.on_element(element, budget),
                    None => Ok(false),
                })
            }
            Self::All(tests) => all(tests, |test| test.on_path(path, root, budget)),
            Self::Not(tests) => Ok(!all(tests, |test| test.on_path(path, root, budget))?),
            Self::Never => Ok(false),
        }
    }

    /// Returns whether the condition holds for one element, without expanding arrays.
    fn on_element(&self, element: &Value, budget: &mut Budget<'_>) -> Result<bool> {
        budget.spend(1)?;
        match (self, element) {
            (Self::Any(leafy), _) => leafy.holds(Some(element), budget),
            (Self::Exists(wanted), _) => Ok(*wanted),
            (Self::Size(size), Value::Array(items)) => Ok(u64::try_from(items.len()) == Ok(*size)),
            (Self::ElemMatchValue(tests), Value::Array(items)) => {
                any(items, |item| all(tests, |test| test.on_element(item, budget)))
            }
            (Self::ElemMatchObject(query), Value::Array(items)) => any(items, |item| match item {
                Value::Object(document) => query.matches(Root::Document(document), budget),
                Value::Array(inner) => query.matches(Root::Array(inner), budget),
                _ => budget.spend(1).map(|()| false),
            }),
            (Self::All(tests), _) => all(tests, |test| test.on_element(element, budget)),
            (Self::Not(tests), _) => Ok(!all(tests, |test| test.on_element(element, budget))?),
            (Self::Size(_) | Self::ElemMatchValue(_) | Self::ElemMatchObject(_) | Self::Never, _) => {
                Ok(false)
            }
        }
    }
}
