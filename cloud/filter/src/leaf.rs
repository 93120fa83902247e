//! Conditions on a single element; `None` is a missing one.

use crate::Value;
use crate::expr::{BitRule, Leafy, Op, Operands};

impl Leafy {
    pub(super) fn holds(&self, element: Option<&Value>) -> bool {
        match (self, element) {
            (Self::Compare(op, operand), _) => compare(*op, element, operand),
            (Self::In(operands), _) => operands.contain(element),
            (_, None) => false,
            (Self::Match(pattern), Some(element)) => pattern.matches(element),
            (Self::Type(codes), Some(element)) => codes.contains(&element.type_code()),
            (Self::Mod { divisor, remainder }, Some(element)) => modulo(element, *divisor, *remainder),
            (Self::Bits { rule, positions }, Some(element)) => bits(element, *rule, positions),
        }
    }
}

fn compare(op: Op, element: Option<&Value>, operand: &Value) -> bool {
    let element = match element {
        Some(element) if element.canonical() == operand.canonical() => element,
        // A missing field counts as null, except that it is not the same type for the ends of the order.
        None if matches!(operand, Value::Null) => return op.includes_equal(),
        _ => {
            return match operand {
                Value::MaxKey => matches!(op, Op::Lt | Op::Lte),
                Value::MinKey => matches!(op, Op::Gt | Op::Gte),
                _ => false,
            };
        }
    };
    if element.is_nan() || operand.is_nan() {
        return element.is_nan() && operand.is_nan() && op.includes_equal();
    }
    op.holds(element.compare(operand))
}

impl Operands {
    fn contain(&self, element: Option<&Value>) -> bool {
        let wanted = element.unwrap_or(&Value::Null);
        self.values.binary_search_by(|value| value.compare(wanted)).is_ok()
            || element.is_some_and(|element| self.patterns.iter().any(|pattern| pattern.matches(element)))
    }
}

fn modulo(element: &Value, divisor: i64, remainder: i64) -> bool {
    match element {
        Value::Double(v) if v.is_finite() => match crate::value::truncate(*v) {
            Some(whole) => whole.wrapping_rem(divisor) == remainder,
            // The remainder of doubles is exact.
            None => v.trunc() % (divisor as f64) == remainder as f64,
        },
        Value::Int(v) => i64::from(*v).wrapping_rem(divisor) == remainder,
        Value::Long(v) => v.wrapping_rem(divisor) == remainder,
        Value::Decimal(v) => v.truncated().is_some_and(|whole| whole.wrapping_rem(divisor) == remainder),
        _ => false,
    }
}

fn bits(element: &Value, rule: BitRule, positions: &[u32]) -> bool {
    let is_set = |position: u32| match element {
        Value::Binary(_, bytes) => bytes.get(position as usize / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1),
        // A negative number has its sign bit set for ever.
        _ => element.as_whole().is_some_and(|whole| whole >> position.min(63) & 1 == 1),
    };
    if !matches!(element, Value::Binary(..)) && element.as_whole().is_none() {
        return false;
    }
    match rule {
        BitRule::AllSet => positions.iter().all(|&position| is_set(position)),
        BitRule::AnySet => positions.iter().any(|&position| is_set(position)),
        BitRule::AllClear => !positions.iter().any(|&position| is_set(position)),
        BitRule::AnyClear => !positions.iter().all(|&position| is_set(position)),
    }
}
