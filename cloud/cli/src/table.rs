//! Tables for people: columns with headings that fit the terminal; elsewhere the same columns without headings, whole, for
//! other programs.

use std::borrow::Cow;

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement};

use crate::terminal::Screen;

/// Narrowest width for which a table is arranged, in columns.
const NARROWEST: u16 = 20;

/// Width from which the first column, with ids, is never broken, in columns.
const WIDE_ENOUGH: u16 = 60;

/// Rows below headings.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<Cow<'static, str>>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates an empty table.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.iter().copied().map(Cow::Borrowed).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds columns behind the others, with headings that a person has chosen.
    pub(crate) fn with_columns(mut self, names: &[String]) -> Self {
        self.head.extend(names.iter().map(|name| Cow::Owned(plain(name))));
        self
    }

    /// Adds a row. Control characters of its texts, with which a device could write to the terminal, become spaces.
    pub(crate) fn add(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// Returns the text of the table; empty without rows.
    pub(crate) fn render(&self, screen: Screen) -> String {
        match screen.width {
            _ if self.rows.is_empty() => String::new(),
            None => self.unlimited(),
            Some(width) => self.fitted(width.max(NARROWEST), screen.is_styled),
        }
    }

    fn unlimited(&self) -> String {
        let mut widths = vec![0; self.head.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line += &format!("{cell:width$}  ");
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }

    fn fitted(&self, width: u16, is_styled: bool) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width)
            .set_header(self.head.clone());
        for row in &self.rows {
            table.add_row(row.clone());
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // An id that is broken over two lines cannot be copied.
        if width >= WIDE_ENOUGH
            && let Some(first) = table.column_mut(0)
        {
            first.set_constraint(ColumnConstraint::ContentWidth);
        }
        let mut out = String::new();
        for (number, line) in table.lines().enumerate() {
            let line = line.trim_end();
            if number == 0 && is_styled {
                out += &format!("\u{1b}[1m{line}\u{1b}[0m\n");
            } else {
                out += line;
                out.push('\n');
            }
        }
        out
    }
}

/// Returns a text without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", "NAME"]);
        table.add(vec![
            "1".to_owned(),
            "a boiler in the cellar of the old house".to_owned(),
        ]);
        table.add(vec!["22".to_owned(), "b\u{1b}[2J".to_owned()]);
        table
    }

    #[test]
    fn other_programs_get_whole_columns_without_headings() {
        let piped = Screen {
            width: None,
            is_styled: false,
        };
        assert_eq!(
            table().render(piped),
            "1   a boiler in the cellar of the old house\n22  b [2J\n"
        );
        assert_eq!(Table::new(&["ID"]).render(piped), "");
    }

    #[test]
    fn a_terminal_gets_headings_and_lines_that_fit() {
        for width in [24, 40, 200] {
            let screen = Screen {
                width: Some(width),
                is_styled: false,
            };
            let text = table().render(screen);
            assert!(text.starts_with("ID"), "{text}");
            assert!(text.contains("boiler") && text.contains("house"), "{text}");
            assert!(
                text.lines()
                    .all(|line| line.chars().count() <= usize::from(width)),
                "{width}:\n{text}"
            );
        }
        let styled = Screen {
            width: Some(80),
            is_styled: true,
        };
        let text = table().render(styled);
        assert!(
            text.starts_with("\u{1b}[1mID") && !text.contains("\u{1b}[2J"),
            "{text:?}"
        );
    }
}
