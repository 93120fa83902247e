//! Splits a short form into words, and a word into name, operator and value.

use super::ShortFormError;

/// Comparison of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Is,
    IsNot,
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// Signs of the operators, longer ones first.
const SIGNS: [(&str, Operator); 7] = [
    ("!=", Operator::IsNot),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (">", Operator::Above),
    ("<", Operator::Below),
    (":", Operator::Is),
    ("=", Operator::Is),
];

impl Operator {
    /// Returns the operator of the filter language.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Is => "$eq",
            Self::IsNot => "$ne",
            Self::Above => "$gt",
            Self::AtLeast => "$gte",
            Self::Below => "$lt",
            Self::AtMost => "$lte",
        }
    }
}

/// A word of a short form: its characters, and which of them were quoted.
#[derive(Debug, Default)]
pub(super) struct Word {
    letters: Vec<(char, bool)>,
    has_quotes: bool,
}

impl Word {
    pub(super) fn is_or(&self) -> bool {
        self.letters.len() == 2
            && self
                .letters
                .iter()
                .zip("or".chars())
                .all(|(&(letter, quoted), wanted)| !quoted && letter.eq_ignore_ascii_case(&wanted))
    }

    fn text(&self) -> String {
        text(&self.letters)
    }
}

fn text(letters: &[(char, bool)]) -> String {
    letters.iter().map(|(letter, _)| letter).collect()
}

/// Words of a text, separated by white space outside of quotation marks.
pub(super) struct Words<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
        }
    }
}

impl Iterator for Words<'_> {
    type Item = Result<Word, ShortFormError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.rest.next_if(|letter| letter.is_whitespace()).is_some() {}
        self.rest.peek()?;
        let (mut word, mut quoted) = (Word::default(), false);
        while let Some(letter) = self.rest.next_if(|letter| quoted || !letter.is_whitespace()) {
            match letter {
                '"' => {
                    quoted = !quoted;
                    word.has_quotes = true;
                }
                '\\' if quoted => word.letters.extend(self.rest.next().map(|letter| (letter, true))),
                _ => word.letters.push((letter, quoted)),
            }
        }
        if quoted {
            return Some(Err(ShortFormError::Unclosed(word.text())));
        }
        Some(Ok(word))
    }
}

/// Value of a condition.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) text: String,
    /// Parts between the commas that were not quoted.
    pub(super) parts: Vec<Part>,
}

/// Value of a list.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) text: String,
    /// True if a star that was not quoted stands in it.
    pub(super) starred: bool,
    /// True if a part of it was quoted: it is a text then.
    pub(super) quoted: bool,
}

/// A condition of a short form.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) negated: bool,
    /// Name of the field; none for a lone word.
    pub(super) name: Option<String>,
    pub(super) operator: Operator,
    pub(super) value: Given,
}

impl Term {
    pub(super) fn parse(word: &Word) -> Result<Self, ShortFormError> {
        let letters = word.letters.as_slice();
        let negated = letters.first() == Some(&('-', false));
        let letters = if negated { &letters[1..] } else { letters };
        if letters.is_empty() {
            return Err(ShortFormError::Dangling(word.text()));
        }
        let Some((at, sign, operator)) = sign(letters) else {
            return Ok(Self {
                negated,
                name: None,
                operator: Operator::Is,
                value: given(letters),
            });
        };
        let (name, rest) = (&letters[..at], &letters[at + sign.len()..]);
        if name.is_empty() || (rest.is_empty() && !word.has_quotes) {
            return Err(ShortFormError::Incomplete(word.text()));
        }
        Ok(Self {
            negated,
            name: Some(text(name)),
            operator,
            value: given(rest),
        })
    }
}

/// Returns the first operator outside of quotation marks, with its place.
fn sign(letters: &[(char, bool)]) -> Option<(usize, &'static str, Operator)> {
    (0..letters.len()).find_map(|at| {
        SIGNS.into_iter().find_map(|(sign, operator)| {
            let here = letters.get(at..at + sign.len())?;
            let equal = here
                .iter()
                .zip(sign.chars())
                .all(|(&(letter, quoted), wanted)| !quoted && letter == wanted);
            equal.then_some((at, sign, operator))
        })
    })
}

fn given(letters: &[(char, bool)]) -> Given {
    let parts = letters.split(|letter| *letter == (',', false)).map(|part| Part {
        text: text(part),
        starred: part.contains(&('*', false)),
        quoted: part.iter().any(|(_, quoted)| *quoted),
    });
    Given {
        text: text(letters),
        parts: parts.collect(),
    }
}
