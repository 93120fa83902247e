//! Regular expressions as the original's engine reads them (PCRE, UTF without UCP) in the syntax of ours.
//!
//! `\w \d \s \b` are ASCII; `$` also matches before a final newline; `\<`, `\>`, `{` and, inside brackets, `[
//! & ~ -` and spaces are literals where ours would give them a meaning. Possessive quantifiers mean something
//! else here and are refused. `\B` keeps our engine's Unicode meaning: an ASCII one could match inside a
//! character.

use std::iter::Peekable;
use std::str::Chars;

/// Rewrites a pattern; `multi_line` and `verbose` are the flags it starts with.
pub(super) fn translate(source: &str, multi_line: bool, verbose: bool) -> Result<String, String> {
    let flags = Flags { multi_line, verbose };
    Translation {
        chars: source.chars().peekable(),
        out: String::with_capacity(source.len() + 16),
        flags,
        groups: Vec::new(),
    }
    .run()
}

#[derive(Clone, Copy)]
struct Flags {
    multi_line: bool,
    verbose: bool,
}

struct Translation<'a> {
    chars: Peekable<Chars<'a>>,
    out: String,
    flags: Flags,
    /// Flags to return to at the end of each open group.
    groups: Vec<Flags>,
}

/// Characters that have a meaning of their own in our engine's syntax.
const META: &str = r"\.+*?()|[]{}^$#&-~";

const END: &str = r"(?:\n?\z)";

impl Translation<'_> {
    fn run(mut self) -> Result<String, String> {
        let mut after_quantifier = false;
        while let Some(c) = self.chars.next() {
            let mut quantifier = false;
            match c {
                '\\' => self.escape(),
                '[' => self.class(),
                '(' => self.open_group(),
                ')' => {
                    self.flags = self.groups.pop().unwrap_or(self.flags);
                    self.out.push(')');
                }
                '$' if !self.flags.multi_line => self.out.push_str(END),
                '#' if self.flags.verbose => self.comment(),
                '+' if after_quantifier => return Err("possessive quantifiers are not supported".to_owned()),
                '*' | '+' | '?' => {
                    quantifier = !after_quantifier;
                    self.out.push(c);
                }
                '{' => quantifier = self.brace(),
                c => self.out.push(c),
            }
            after_quantifier = quantifier;
        }
        Ok(self.out)
    }

    fn escape(&mut self) {
        let Some(c) = self.chars.next() else {
            self.out.push('\\');
            return;
        };
        match c {
            'b' => self.out.push_str(r"(?-u:\b)"),
            'Z' => self.out.push_str(END),
            '<' | '>' => self.out.push(c),
            'Q' => self.quoted(),
            c => match ascii_class(c) {
                // Without the flag, `i` would fold K to the Kelvin sign.
                Some(class) => self.out.push_str(&format!("(?-i:{class})")),
                None => self.out.extend(['\\', c]),
            },
        }
    }

    /// Literal text up to `\E`.
    fn quoted(&mut self) {
        while let Some(c) = self.chars.next() {
            if c == '\\' && self.chars.next_if_eq(&'E').is_some() {
                return;
            }
            if META.contains(c) {
                self.out.push('\\');
            }
            self.out.push(c);
        }
    }

    /// A bracket expression; the opening bracket is read already.
    fn class(&mut self) {
        self.out.push('[');
        if self.chars.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        if self.chars.next_if_eq(&']').is_some() {
            self.out.push_str(r"\]");
        }
        let mut after_hyphen = false;
        while let Some(c) = self.chars.next() {
            match c {
                ']' => {
                    self.out.push(']');
                    return;
                }
                '\\' => self.class_escape(),
                '[' if self.chars.peek() == Some(&':') => self.posix_class(),
                '[' | '&' | '~' | '#' => self.out.extend(['\\', c]),
                '-' if after_hyphen => self.out.push_str(r"\-"),
                c if c.is_whitespace() => self.out.push_str(&format!(r"\x{{{:x}}}", u32::from(c))),
                c => self.out.push(c),
            }
            after_hyphen = c == '-';
        }
    }

    fn class_escape(&mut self) {
        match self.chars.next() {
            Some('b') => self.out.push_str(r"\x08"),
            Some(c @ ('<' | '>')) => self.out.push(c),
            Some(c) => match ascii_class(c) {
                Some(class) => self.out.push_str(class),
                None => self.out.extend(['\\', c]),
            },
            None => self.out.push('\\'),
        }
    }

    /// `[:alpha:]` inside a bracket expression, or a literal bracket.
    fn posix_class(&mut self) {
        let rest: String = self.chars.clone().take(16).collect();
        let name_len = rest[1..]
            .find(|c: char| !c.is_ascii_lowercase() && c != '^')
            .unwrap_or(0);
        if name_len > 0 && rest[1 + name_len..].starts_with(":]") {
            self.out.push('[');
            self.out.extend(self.chars.by_ref().take(name_len + 3));
        } else {
            self.out.push_str(r"\[");
        }
    }

    /// An opening parenthesis with the flags that follow it.
    fn open_group(&mut self) {
        self.out.push('(');
        let outer = self.flags;
        if self.chars.peek() != Some(&'?') {
            self.groups.push(outer);
            return;
        }
        self.out.extend(self.chars.next());
        let mut on = true;
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphabetic() || *c == '-') {
            match c {
                '-' => on = false,
                'm' => self.flags.multi_line = on,
                'x' => self.flags.verbose = on,
                _ => {}
            }
            self.out.push(c);
        }
        // `(?m)` holds to the end of the group around it; `(?m:…)` has a group of its own.
        if self.chars.next_if_eq(&')').is_some() {
            self.out.push(')');
        } else {
            self.groups.push(outer);
        }
    }

    fn comment(&mut self) {
        self.out.push('#');
        for c in self.chars.by_ref() {
            self.out.push(c);
            if c == '\n' {
                return;
            }
        }
    }

    /// A counted repetition, or a literal brace; says which.
    fn brace(&mut self) -> bool {
        let rest: String = self
            .chars
            .clone()
            .take_while(|c| c.is_ascii_digit() || *c == ',')
            .collect();
        let closed = self.chars.clone().nth(rest.len()) == Some('}');
        let counted =
            closed && rest.starts_with(|c: char| c.is_ascii_digit()) && rest.matches(',').count() <= 1;
        if !counted {
            self.out.push_str(r"\{");
            return false;
        }
        self.out.push('{');
        self.out.push_str(&rest);
        self.out.push('}');
        self.chars.nth(rest.len());
        true
    }
}

fn ascii_class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t-\r\x20]",
        'S' => r"[^\t-\r\x20]",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::pattern::Pattern;
    use crate::{Budget, Value};

    fn matches(pattern: &str, options: &str, text: &str) -> bool {
        let pattern = Pattern::new(pattern, options).expect("accepted");
        pattern
            .matches(&Value::String(text.to_owned()), &mut Budget::unlimited())
            .expect("no end of steps")
    }

    #[test]
    fn classes_are_ascii() {
        for (pattern, text, expected) in [
            (r"^\w$", "é", false),
            (r"^\W$", "é", true),
            (r"^\d$", "٣", false),
            (r"^[\d]$", "٣", false),
            (r"^[^\w]$", "é", true),
            (r"^\s$", "\u{a0}", false),
            (r"^\s$", "\u{b}", true),
            (r"caf\b", "café", true),
            (r"^[\w-]+$", "a-b", true),
            (r"^[\w-x]+$", "a-x", true),
        ] {
            assert_eq!(matches(pattern, "", text), expected, "{pattern} on {text:?}");
        }
        assert!(matches("É", "i", "é"), "folding is Unicode");
        assert!(
            !matches(r"^\w$", "i", "\u{212a}"),
            "the Kelvin sign is no ASCII letter"
        );
    }

    #[test]
    fn dollar_matches_before_a_final_newline() {
        for (pattern, options, text, expected) in [
            ("c$", "", "c\n", true),
            ("c$", "", "c\n\n", false),
            ("c$", "", "c\nd", false),
            ("c$", "m", "c\nd", true),
            ("(?m)c$", "", "c\nd", true),
            ("(?:(?m)x)?c$", "", "c\nd", false),
            (r"c\z", "", "c\n", false),
            (r"c\Z", "", "c\n", true),
            (r"a$|b\z", "", "b\n", false),
            (r"\$", "", "$", true),
            ("[$]", "", "$", true),
            ("^$", "", "\n", true),
        ] {
            assert_eq!(matches(pattern, options, text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn literals_stay_literals() {
        for (pattern, options, text) in [
            ("{\"a\"", "", "{\"a\""),
            ("a{,5}", "", "a{,5}"),
            ("a{2}", "", "aa"),
            ("[a&&b]", "", "&"),
            ("[[]", "", "["),
            ("[]]", "", "]"),
            ("[[:alpha:]_]", "", "q"),
            ("[a b]", "x", " "),
            ("a b # c\n c", "x", "abc"),
            (r"\Qa.b\E+", "", "a.bb"),
            (r"\<p\>", "", "<p>"),
            (r"[+--]", "", ","),
            ("^[^]a]$", "", "b"),
        ] {
            assert!(matches(pattern, options, text), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn unsupported_syntax_names_the_reason() {
        for (pattern, reason) in [
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("a++", "possessive"),
            ("(", "unclosed group"),
            ("(a{100}){100}{10}", "compiled"),
            ("[", "unclosed character class"),
            ("\\", "incomplete escape"),
        ] {
            let error = Pattern::new(pattern, "").expect_err(pattern);
            assert!(error.contains(reason), "{pattern}: {error}");
        }
        assert!(Pattern::new(&"(".repeat(33), "").is_err());
        assert!(
            Pattern::new(&format!("{}{}", "(".repeat(40), ")".repeat(40)), "").is_err(),
            "nesting is bounded"
        );
    }
}
