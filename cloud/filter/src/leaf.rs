//! Conditions on a single element; `None` is a missing one.

use crate::Value;
use crate::budget::{Budget, Stop, any};
use crate::expr::{BitRule, Leafy, Op, Operands};

/// Steps of reading an element.
const ELEMENT_STEPS: u64 = 4;
/// Steps of a remainder: other numbers are converted to integers first.
const MOD_STEPS: u64 = 8;
/// Bit positions that are tested in one step.
const BITS_A_STEP: usize = 4;

impl Leafy {
    pub(super) fn holds(&self, element: Option<&Value>, budget: &mut Budget<'_>) -> Result<bool, Stop> {
        budget.spend(ELEMENT_STEPS)?;
        match (self, element) {
            (Self::Compare(op, operand), _) => compare(*op, element, operand, budget),
            (Self::In(operands), _) => operands.contain(element, budget),
            (_, None) => Ok(false),
            (Self::Match(pattern), Some(element)) => pattern.matches(element, budget),
            (Self::Type(codes), Some(element)) => Ok(codes.contains(&element.type_code())),
            (Self::Mod { divisor, remainder }, Some(element)) => budget
                .spend(MOD_STEPS)
                .map(|()| modulo(element, *divisor, *remainder)),
            (Self::Bits { rule, positions }, Some(element)) => bits(element, *rule, positions, budget),
        }
    }
}

fn compare(op: Op, element: Option<&Value>, operand: &Value, budget: &mut Budget<'_>) -> Result<bool, Stop> {
    let element = match element {
        Some(element) if element.canonical() == operand.canonical() => element,
        // A missing field equals null, but is not of its type at the ends of the order.
        None if matches!(operand, Value::Null) => return Ok(op.includes_equal()),
        _ => {
            return Ok(match operand {
                Value::MaxKey => matches!(op, Op::Lt | Op::Lte),
                Value::MinKey => matches!(op, Op::Gt | Op::Gte),
                _ => false,
            });
        }
    };
    if element.is_nan() || operand.is_nan() {
        return Ok(element.is_nan() && operand.is_nan() && op.includes_equal());
    }
    let mut steps = 0;
    let order = element.compare(operand, &mut steps);
    budget.spend(steps)?;
    Ok(op.holds(order))
}

impl Operands {
    fn contain(&self, element: Option<&Value>, budget: &mut Budget<'_>) -> Result<bool, Stop> {
        let wanted = element.unwrap_or(&Value::Null);
        let mut steps = 0;
        let found = self
            .values
            .binary_search_by(|value| value.compare(wanted, &mut steps))
            .is_ok();
        budget.spend(steps)?;
        match element {
            Some(element) if !found => any(&self.patterns, |pattern| pattern.matches(element, budget)),
            _ => Ok(found),
        }
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
        Value::Decimal(v) => v
            .truncated()
            .is_some_and(|whole| whole.wrapping_rem(divisor) == remainder),
        _ => false,
    }
}

fn bits(element: &Value, rule: BitRule, positions: &[u32], budget: &mut Budget<'_>) -> Result<bool, Stop> {
    let whole = element.as_whole();
    if !matches!(element, Value::Binary(..)) && whole.is_none() {
        return Ok(false);
    }
    budget.spend((positions.len() / BITS_A_STEP) as u64 + MOD_STEPS)?;
    let is_set = |position: u32| match element {
        Value::Binary(_, bytes) => bytes
            .get(position as usize / 8)
            .is_some_and(|byte| byte >> (position % 8) & 1 == 1),
        // A negative number has its sign bit set at every position.
        _ => whole.is_some_and(|whole| whole >> position.min(63) & 1 == 1),
    };
    Ok(match rule {
        BitRule::AllSet => positions.iter().all(|&position| is_set(position)),
        BitRule::AnySet => positions.iter().any(|&position| is_set(position)),
        BitRule::AllClear => !positions.iter().any(|&position| is_set(position)),
        BitRule::AnyClear => !positions.iter().all(|&position| is_set(position)),
    })
}
