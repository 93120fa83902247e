//! Translates regular expressions from PCRE (UTF without UCP), which MongoDB uses, to the syntax of our engine.
//!
//! `\w \d \s \b` are ASCII; `$` also matches before a final newline; `\<`, `\>`, `{` and, inside brackets, `[
//! & ~ -` and spaces are literals where ours would give them a meaning. Possessive quantifiers have another
//! meaning in ours and are refused. `\B` keeps our engine's Unicode meaning: an ASCII one could match inside a
//! character.

use std::iter::Peekable;
use std::str::Chars;

/// Translates a pattern; `multi_line` and `verbose` are its initial flags.
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

/// Characters that have a meaning in our engine's syntax.
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

    /// Reads literal text up to `\E`.
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

    /// Reads a bracket expression after its opening bracket.
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

    /// Reads `[:alpha:]` inside a bracket expression, or a literal bracket.
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

    /// Reads an opening parenthesis with the flags that follow it.
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
        // `(?m)` holds to the end of the enclosing group; `(?m:…)` is a group of its own.
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

    /// Reads a counted repetition or a literal brace; returns true for the repetition.
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
