//! Options and output of the commands that make one call of the REST API: readable text, or the cloud's
//! answer as it is.

use std::io::Write as _;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::read;
use crate::exit::Failure;
use crate::remote::{Api, Remote};
use crate::table::Table;
use crate::terminal::Screen;

/// Address of the cloud, credentials, and format of the output.
#[derive(Args)]
pub(crate) struct Call {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    format: Format,
}

/// Format of the output.
#[derive(Args)]
pub(crate) struct Format {
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Readable text
    Text,
    /// The cloud's answer as one JSON object
    Json,
    /// Each entry of a list as one JSON object, in a line of its own
    Jsonl,
}

impl Call {
    /// Returns a client for the project.
    ///
    /// # Errors
    /// [`Failure::NotAuthorised`] when the user is not signed in.
    pub(crate) fn api(&self) -> Result<Api, Failure> {
        Api::open(&self.remote)
    }

    /// Returns true if the output is for people, not for programs.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.format.output, Output::Text)
    }

    /// Returns the options that say where the command acts.
    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Prints the cloud's answer, as `text` renders it unless the output is JSON.
    pub(crate) fn print(&self, answer: &Value, text: impl Fn(&Value) -> String) -> Result<(), Failure> {
        write(&match self.format.output {
            Output::Json | Output::Jsonl => format!("{answer}\n"),
            Output::Text => text(answer),
        })
    }

    /// Prints the cloud's answer, as `text` renders what it says unless the output is JSON.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the answer lacks what the text shows.
    pub(crate) fn print_as<T: DeserializeOwned>(
        &self,
        answer: &Value,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format.output {
            Output::Json | Output::Jsonl => write(&format!("{answer}\n")),
            Output::Text => write(&text(&read(answer)?)),
        }
    }

    /// Prints an answer whose entries are the list under `name`, each in a line that `text` renders unless the output is
    /// JSON.
    ///
    /// # Errors
    /// [`Failure::Failed`] when an entry lacks what the text shows.
    pub(crate) fn print_lines<T: DeserializeOwned>(
        &self,
        name: &str,
        answer: &Value,
        text: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format.output {
            Output::Jsonl => write(&lines(&answer[name])),
            Output::Json => write(&format!("{answer}\n")),
            Output::Text => write(
                &read::<Vec<T>>(&answer[name])?
                    .iter()
                    .map(text)
                    .collect::<String>(),
            ),
        }
    }

    /// Prints an answer whose entries are the list under `name`, as `text` renders it unless the output is JSON.
    pub(crate) fn print_list(
        &self,
        name: &str,
        answer: &Value,
        text: impl Fn(&Value) -> String,
    ) -> Result<(), Failure> {
        match self.format.output {
            Output::Jsonl => write(&lines(&answer[name])),
            Output::Json | Output::Text => self.print(answer, text),
        }
    }
}

impl Call {
    /// Prints an answer as [`Format::print_table`] does.
    ///
    /// # Errors
    /// [`Failure::Failed`] when an entry lacks what the table shows.
    pub(crate) fn print_table<T: DeserializeOwned>(
        &self,
        name: &str,
        answer: &Value,
        head: &[&'static str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        self.format.print_table(name, answer, head, row)
    }

    /// Returns a printer of a long list under `name`, which comes in pages.
    pub(crate) fn pages<'a>(&self, name: &'a str) -> Pages<'a> {
        Pages {
            output: self.format.output,
            name,
            printed: 0,
        }
    }
}

impl Format {
    /// Returns true if the output is for people, not for programs.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.output, Output::Text)
    }

    /// Prints an answer whose entries are the list under `name` as a table with these headings, unless the output is JSON.
    ///
    /// # Errors
    /// [`Failure::Failed`] when an entry lacks what the table shows.
    pub(crate) fn print_table<T: DeserializeOwned>(
        &self,
        name: &str,
        answer: &Value,
        head: &[&'static str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        let text = match self.output {
            Output::Jsonl => lines(&answer[name]),
            Output::Json => format!("{answer}\n"),
            Output::Text => {
                let mut table = Table::new(head);
                for entry in read::<Vec<T>>(&answer[name])? {
                    table.add(row(&entry));
                }
                table.render(Screen::of_stdout())
            }
        };
        write(&text)
    }
}

/// Printer of a long list, which keeps one page of it at a time in memory.
pub(crate) struct Pages<'a> {
    output: Output,
    name: &'a str,
    /// Number of printed entries.
    printed: usize,
}

impl Pages<'_> {
    /// Prints a page, as `text` renders it unless the output is JSON.
    pub(crate) fn print(&mut self, page: &[Value], text: impl Fn(&[Value]) -> String) -> Result<(), Failure> {
        let first = self.printed == 0;
        self.printed += page.len();
        write(&match self.output {
            Output::Text => text(page),
            Output::Jsonl => page.iter().map(|entry| format!("{entry}\n")).collect(),
            Output::Json if page.is_empty() => String::new(),
            Output::Json => {
                let entries: Vec<String> = page.iter().map(Value::to_string).collect();
                let before = if first { self.opening() } else { ",".to_owned() };
                before + &entries.join(",")
            }
        })
    }

    /// Prints a page if the output is JSON.
    pub(crate) fn print_json(&mut self, page: &[Value]) -> Result<(), Failure> {
        match self.output {
            Output::Text => Ok(()),
            Output::Json | Output::Jsonl => self.print(page, |_| String::new()),
        }
    }

    /// Ends the list.
    pub(crate) fn end(self) -> Result<(), Failure> {
        self.end_with(&Value::Null)
    }

    /// Ends the list; as one JSON object, it has the fields of `rest` behind the list.
    pub(crate) fn end_with(self, rest: &Value) -> Result<(), Failure> {
        if self.output != Output::Json {
            return Ok(());
        }
        let opening = if self.printed == 0 {
            self.opening()
        } else {
            String::new()
        };
        let mut fields = String::new();
        for (name, value) in rest.as_object().into_iter().flatten() {
            fields += &format!(",{}:{value}", Value::String(name.clone()));
        }
        write(&format!("{opening}]{fields}}}\n"))
    }

    /// Returns the number of entries that were printed.
    pub(crate) const fn printed(&self) -> usize {
        self.printed
    }

    fn opening(&self) -> String {
        format!("{{\"{}\":[", self.name)
    }
}

/// Returns the entries of a list, each in a line.
fn lines(list: &Value) -> String {
    let entries = list.as_array().into_iter().flatten();
    entries.map(|entry| format!("{entry}\n")).collect()
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_one_entry_a_line() {
        assert_eq!(lines(&json!([{"ID": 1}, {"ID": 2}])), "{\"ID\":1}\n{\"ID\":2}\n");
        assert_eq!(lines(&json!([])), "");
    }
}
