//! Reads a filter in extended JSON into an [`Expr`], within the limits.

use iottly_protocol::limits::depth_within;

use crate::ejson::{self, Mode};
use crate::error::At;
use crate::expr::{BitRule, Expr, Leafy, Op, Operands, Test};
use crate::limits::{MAX_DEPTH, MAX_FILTER_BYTES, MAX_NODES, MAX_OPERANDS, MAX_PATH_PARTS, MAX_PATTERNS};
use crate::path::Path;
use crate::pattern::Pattern;
use crate::{Document, FilterError, Value, operand};

type Result<T> = std::result::Result<T, FilterError>;

/// Reads a filter; returns the number of its regular expressions as well.
pub(super) fn parse(text: &str) -> Result<(Expr, usize)> {
    let at = At::root();
    if text.len() > MAX_FILTER_BYTES {
        return Err(at.error(format_args!("filter is longer than {MAX_FILTER_BYTES} bytes")));
    }
    if !depth_within(text, MAX_DEPTH) {
        return Err(at.error(format_args!("filter is nested deeper than {MAX_DEPTH} levels")));
    }
    match ejson::decode(text, Mode::Strict)
        .map_err(|reason| at.error(format_args!("filter is not valid: {reason}")))?
    {
        Value::Object(document) => {
            let mut parser = Parser {
                nodes: 0,
                operands: 0,
                patterns: 0,
            };
            let expr = parser.query(&document, &at)?;
            Ok((expr, parser.patterns))
        }
        _ => Err(at.error("filter is not an object")),
    }
}

struct Parser {
    nodes: usize,
    operands: usize,
    patterns: usize,
}

impl Parser {
    fn query(&mut self, document: &Document, at: &At) -> Result<Expr> {
        let mut parts = Vec::new();
        for (key, value) in fields(document) {
            let at = at.key(key);
            self.count_node(&at)?;
            match key {
                "$comment" => {}
                "$and" => parts.push(Expr::And(self.queries(value, &at)?)),
                "$or" => parts.push(Expr::Or(self.queries(value, &at)?)),
                "$nor" => parts.push(Expr::Nor(self.queries(value, &at)?)),
                key if key.starts_with('$') => return Err(at.error(refusal(key))),
                key => parts.push(self.field(key, value, &at)?),
            }
        }
        Ok(match <[Expr; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) => Expr::And(parts),
        })
    }

    fn queries(&mut self, value: &Value, at: &At) -> Result<Vec<Expr>> {
        let Value::Array(items) = value else {
            return Err(at.error("operand is not an array"));
        };
        if items.is_empty() {
            return Err(at.error("operand is an empty array"));
        }
        let query = |(index, item): (usize, &Value)| match item {
            Value::Object(document) => self.query(document, &at.index(index)),
            _ => Err(at.index(index).error("operand is not an object")),
        };
        items.iter().enumerate().map(query).collect()
    }

    fn field(&mut self, key: &str, value: &Value, at: &At) -> Result<Expr> {
        let path = Path::new(key);
        if path.parts() > MAX_PATH_PARTS {
            return Err(at.error(format_args!("path has more than {MAX_PATH_PARTS} parts")));
        }
        let test = match value {
            Value::Regex(source, options) => Test::Any(Leafy::Match(self.pattern(source, options, at)?)),
            Value::Object(document) if is_operators(document) => all(self.operators(document, at)?),
            literal => equals(literal),
        };
        Ok(Expr::Field(path, test))
    }

    fn operators(&mut self, document: &Document, at: &At) -> Result<Vec<Test>> {
        let mut tests = Vec::new();
        for (key, value) in fields(document) {
            let at = at.key(key);
            self.count_node(&at)?;
            if !key.starts_with('$') {
                return Err(at.error("a field is among operators"));
            }
            if key == "$options" {
                if document.get("$regex").is_none() {
                    return Err(at.error("$options is without $regex"));
                }
                continue;
            }
            tests.push(self.operator(key, value, document, &at)?);
        }
        Ok(tests)
    }

    fn operator(&mut self, key: &str, value: &Value, siblings: &Document, at: &At) -> Result<Test> {
        let reason = |reason: String| at.error(reason);
        Ok(match key {
            "$eq" => equals(value),
            "$ne" if matches!(value, Value::Regex(..)) => {
                return Err(at.error("$ne does not take a regular expression"));
            }
            "$ne" => Test::Not(vec![equals(value)]),
            "$gt" => compare(Op::Gt, value, at)?,
            "$gte" => compare(Op::Gte, value, at)?,
            "$lt" => compare(Op::Lt, value, at)?,
            "$lte" => compare(Op::Lte, value, at)?,
            "$in" => Test::Any(Leafy::In(self.operands(value, at)?)),
            "$nin" => Test::Not(vec![Test::Any(Leafy::In(self.operands(value, at)?))]),
            "$all" => self.all(value, at)?,
            "$not" => self.not(value, at)?,
            "$elemMatch" => self.elem_match(value, at)?,
            "$exists" => Test::Exists(operand::truthy(value)),
            "$size" => Test::Size(operand::size(value).map_err(reason)?),
            "$type" => {
                self.count_operands(value, at)?;
                Test::Any(Leafy::Type(operand::types(value).map_err(reason)?))
            }
            "$mod" => {
                let (divisor, remainder) = operand::modulo(value).map_err(reason)?;
                Test::Any(Leafy::Mod { divisor, remainder })
            }
            "$regex" => self.regex(value, siblings.get("$options"), at)?,
            "$bitsAllSet" => self.bits(BitRule::AllSet, value, at)?,
            "$bitsAnySet" => self.bits(BitRule::AnySet, value, at)?,
            "$bitsAllClear" => self.bits(BitRule::AllClear, value, at)?,
            "$bitsAnyClear" => self.bits(BitRule::AnyClear, value, at)?,
            key => return Err(at.error(refusal(key))),
        })
    }

    fn not(&mut self, value: &Value, at: &At) -> Result<Test> {
        match value {
            Value::Regex(source, options) => Ok(Test::Not(vec![Test::Any(Leafy::Match(
                self.pattern(source, options, at)?,
            ))])),
            Value::Object(document) if is_operators(document) => Ok(Test::Not(self.operators(document, at)?)),
            _ => Err(at.error("$not needs a regular expression or an object of operators")),
        }
    }

    fn elem_match(&mut self, value: &Value, at: &At) -> Result<Test> {
        let Value::Object(document) = value else {
            return Err(at.error("$elemMatch needs an object"));
        };
        let logical = document
            .0
            .first()
            .is_some_and(|(key, _)| matches!(key.as_str(), "$and" | "$or" | "$nor"));
        if is_operators(document) && !logical {
            Ok(Test::ElemMatchValue(self.operators(document, at)?))
        } else {
            Ok(Test::ElemMatchObject(Box::new(self.query(document, at)?)))
        }
    }

    fn all(&mut self, value: &Value, at: &At) -> Result<Test> {
        let items = self.list(value, at)?;
        let elem_match = |item: &Value| matches!(item, Value::Object(d) if matches!(d.0.as_slice(), [(key, _)] if key == "$elemMatch"));
        let elem_matches = items.iter().filter(|item| elem_match(item)).count();
        if elem_matches > 0 && elem_matches < items.len() {
            return Err(at.error("$all mixes $elemMatch with other operands"));
        }
        if items.is_empty() {
            return Ok(Test::Never);
        }
        let mut tests = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let at = at.index(index);
            tests.push(match item {
                Value::Regex(source, options) => Test::Any(Leafy::Match(self.pattern(source, options, &at)?)),
                Value::Object(document) if elem_match(item) => all(self.operators(document, &at)?),
                Value::Object(document) if is_operators(document) => {
                    return Err(at.error("operators are not allowed here"));
                }
                literal => equals(literal),
            });
        }
        Ok(Test::All(tests))
    }

    fn operands(&mut self, value: &Value, at: &At) -> Result<Operands> {
        let (mut values, mut patterns) = (Vec::new(), Vec::new());
        for (index, item) in self.list(value, at)?.iter().enumerate() {
            match item {
                Value::Regex(source, options) => {
                    patterns.push(self.pattern(source, options, &at.index(index))?)
                }
                Value::Object(document) if is_operators(document) => {
                    return Err(at.index(index).error("operators are not allowed here"));
                }
                literal => values.push(literal.clone()),
            }
        }
        values.sort_by(Value::order);
        Ok(Operands { values, patterns })
    }

    fn regex(&mut self, value: &Value, options: Option<&Value>, at: &At) -> Result<Test> {
        let given = match options {
            None => None,
            Some(Value::String(options)) => Some(options.as_str()),
            Some(_) => return Err(at.error("$options is not text")),
        };
        let pattern = match (value, given) {
            (Value::String(source), given) => self.pattern(source, given.unwrap_or_default(), at)?,
            (Value::Regex(_, own), Some(_)) if !own.is_empty() => {
                return Err(at.error("options are given twice"));
            }
            (Value::Regex(source, own), given) => self.pattern(source, given.unwrap_or(own), at)?,
            _ => return Err(at.error("$regex is not text")),
        };
        Ok(Test::Any(Leafy::Match(pattern)))
    }

    fn pattern(&mut self, source: &str, options: &str, at: &At) -> Result<Pattern> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return Err(at.error(format_args!(
                "filter has more than {MAX_PATTERNS} regular expressions"
            )));
        }
        Pattern::new(source, options).map_err(|reason| at.error(reason))
    }

    fn bits(&mut self, rule: BitRule, value: &Value, at: &At) -> Result<Test> {
        self.count_operands(value, at)?;
        let positions = operand::bit_positions(value).map_err(|reason| at.error(reason))?;
        Ok(Test::Any(Leafy::Bits { rule, positions }))
    }

    /// Returns the items of a list of operands.
    fn list<'a>(&mut self, value: &'a Value, at: &At) -> Result<&'a [Value]> {
        self.count_operands(value, at)?;
        match value {
            Value::Array(items) => Ok(items),
            _ => Err(at.error("operand is not an array")),
        }
    }

    fn count_operands(&mut self, value: &Value, at: &At) -> Result<()> {
        let Value::Array(items) = value else { return Ok(()) };
        if items.len() > MAX_OPERANDS {
            return Err(at.error(format_args!("operand has more than {MAX_OPERANDS} entries")));
        }
        self.operands += items.len();
        if self.operands > MAX_OPERANDS {
            return Err(at.error(format_args!(
                "filter has more than {MAX_OPERANDS} operands in its lists"
            )));
        }
        Ok(())
    }

    fn count_node(&mut self, at: &At) -> Result<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(at.error(format_args!("filter has more than {MAX_NODES} conditions")));
        }
        Ok(())
    }
}

/// Returns the fields of a filter; the last of a repeated key counts, as in every JSON reader.
fn fields(document: &Document) -> impl Iterator<Item = (&str, &Value)> {
    document.0.iter().enumerate().filter_map(|(index, (key, value))| {
        let repeated = document.0[index + 1..].iter().any(|(later, _)| later == key);
        (!repeated).then_some((key.as_str(), value))
    })
}

fn is_operators(document: &Document) -> bool {
    document.0.first().is_some_and(|(key, _)| key.starts_with('$'))
}

fn equals(value: &Value) -> Test {
    Test::Any(Leafy::Compare(Op::Eq, value.clone()))
}

fn compare(op: Op, value: &Value, at: &At) -> Result<Test> {
    match value {
        Value::Regex(..) => Err(at.error("a regular expression has no order")),
        value => Ok(Test::Any(Leafy::Compare(op, value.clone()))),
    }
}

fn all(tests: Vec<Test>) -> Test {
    match <[Test; 1]>::try_from(tests) {
        Ok([only]) => only,
        Err(tests) => Test::All(tests),
    }
}

/// Returns the reason why an operator outside of the language is refused.
fn refusal(key: &str) -> String {
    let key = iottly_protocol::limits::clip(key, 64);
    let why = match key {
        "$where" | "$function" | "$accumulator" => "it runs code",
        "$text" | "$near" | "$nearSphere" => "it needs an index",
        _ if key.starts_with("$geo") => "it needs an index",
        "$expr" => "it needs the aggregation language",
        "$jsonSchema" | "$sampleRate" | "$rand" => "it is out of scope",
        _ if key.starts_with("$_internal") => "it is internal to MongoDB",
        _ => return format!("unknown operator {key}"),
    };
    format!("operator {key} is not supported: {why}")
}
