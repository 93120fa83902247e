//! A filter as a tree: the closed set of conditions that the evaluation knows.

use std::cmp::Ordering;

use crate::Value;
use crate::path::Path;
use crate::pattern::Pattern;

/// A filter: conditions on paths, and how they are joined.
#[derive(Debug)]
pub(super) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Nor(Vec<Expr>),
    Field(Path, Test),
}

/// A condition on the elements that a path yields.
#[derive(Debug)]
pub(super) enum Test {
    /// Holds for some element; an array at the end of the path counts as its elements and as itself.
    Any(Leafy),
    /// `$exists`.
    Exists(bool),
    /// `$size`.
    Size(u64),
    /// `$elemMatch` with operators: all hold for the same element.
    ElemMatchValue(Vec<Test>),
    /// `$elemMatch` with a query, which holds for an object, or an array read as one.
    ElemMatchObject(Box<Expr>),
    /// All hold.
    All(Vec<Test>),
    /// Not all hold.
    Not(Vec<Test>),
    /// `$all: []`.
    Never,
}

/// A condition on a single element.
#[derive(Debug)]
pub(super) enum Leafy {
    Compare(Op, Value),
    Match(Pattern),
    In(Operands),
    /// `$type`: the type numbers.
    Type(Vec<i8>),
    Mod {
        divisor: i64,
        remainder: i64,
    },
    Bits {
        rule: BitRule,
        positions: Vec<u32>,
    },
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Op {
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Gt => order.is_gt(),
            Self::Gte => order.is_ge(),
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
        }
    }

    /// Returns whether the comparison holds between equals.
    pub(super) fn includes_equal(self) -> bool {
        self.holds(Ordering::Equal)
    }
}

/// Operands of `$in`.
#[derive(Debug)]
pub(super) struct Operands {
    /// Values sorted by [`Value::compare`]: a device may send long arrays, and a filter may list a thousand
    /// values.
    pub(super) values: Vec<Value>,
    pub(super) patterns: Vec<Pattern>,
}

/// Rule of a `$bits…` operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BitRule {
    AllSet,
    AnySet,
    AllClear,
    AnyClear,
}
