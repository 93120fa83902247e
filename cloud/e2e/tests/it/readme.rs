//! The tour of the README as steps: what to press, fill and expect in the dashboard, and what to type in a terminal.

use std::time::{Duration, Instant};

use iottly_e2e::PATIENCE;
use serde_json::{Value, json};

use crate::webdriver::Browser;

const README: &str = include_str!("../../../../README.md");
/// Heading of the tour.
const TOUR: &str = "## Take the tour\n";
/// Keys of the WebDriver protocol.
const CONTROL: char = '\u{E009}';
const RELEASE: char = '\u{E000}';
/// Time after which a page that does not show a text yet is opened again, as a person would.
const AGAIN: Duration = Duration::from_secs(5);

/// An act of a person in the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Press the link, button or heading with this text.
    Press(String),
    /// Fill the field with this label.
    Fill(String, String),
    /// Expect this text.
    Expect(String),
}

/// A step of the tour.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) title: String,
    pub(crate) acts: Vec<Act>,
    pub(crate) commands: Vec<String>,
}

/// Returns the block of the README that follows the line `<!-- ci: NAME -->`.
pub(crate) fn block(name: &str) -> &'static str {
    let mark = format!("<!-- ci: {name} -->\n```sh\n");
    let (_, rest) = README
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no block {name}"));
    rest.split_once("```").expect("an end").0
}

/// Returns the steps of the tour.
pub(crate) fn tour() -> Vec<Step> {
    let (_, rest) = README.split_once(TOUR).expect("a tour");
    let (section, _) = rest.split_once("\n## ").expect("an end");
    let mut items: Vec<String> = Vec::new();
    for line in section.lines() {
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            items.push(line.to_owned());
        } else if let (Some(item), Some(more)) = (items.last_mut(), line.strip_prefix("   ")) {
            item.push(' ');
            item.push_str(more);
        }
    }
    items.iter().map(|item| step(item)).collect()
}

/// Reads a step: `**press**`, `` `label: text` ``, `*expect*`, and commands, which begin with `iottly`.
fn step(item: &str) -> Step {
    let (_, item) = item.split_once(". ").expect("a number");
    let (title, mut rest) = item.split_once(". ").expect("a sentence");
    let (mut acts, mut commands) = (Vec::new(), Vec::new());
    while let Some(at) = rest.find(['*', '`']) {
        let mark = match &rest[at..] {
            bold if bold.starts_with("**") => "**",
            other => &other[..1],
        };
        let (text, after) = rest[at + mark.len()..]
            .split_once(mark)
            .unwrap_or_else(|| panic!("{mark} is open in {item}"));
        rest = after;
        match (mark, text.split_once(": ")) {
            ("**", _) => acts.push(Act::Press(text.to_owned())),
            ("*", _) => acts.push(Act::Expect(text.to_owned())),
            _ if text.starts_with("iottly ") => commands.push(text.to_owned()),
            (_, Some((label, value))) => acts.push(Act::Fill(label.to_owned(), value.to_owned())),
            (_, None) => panic!("`{text}` is neither a field nor a command"),
        }
    }
    Step {
        title: title.to_owned(),
        acts,
        commands,
    }
}

/// Does one act in the browser.
pub(crate) fn act(browser: &Browser, act: &Act) {
    match act {
        Act::Press(text) => browser.click_by(
            &format!("something to press with the text {text:?}"),
            "const seen = [...document.querySelectorAll('a, button, summary')].filter((element) => element.checkVisibility());
             const words = (element) => element.textContent.replace(/\\s+/g, ' ').trim();
             return seen.find((element) => words(element) === arguments[0]) ?? seen.find((element) => words(element).startsWith(arguments[0]));",
            &json!([text]),
        ),
        Act::Fill(label, value) => fill(browser, label, value),
        Act::Expect(text) => expect(browser, text),
    }
}

fn fill(browser: &Browser, label: &str, value: &str) {
    let field = browser.find_by(
        &format!("a field {label:?}"),
        "const fields = 'input:not([type=hidden]), select, textarea';
         const labels = [...document.querySelectorAll('label')].filter((label) => label.textContent.trim().startsWith(arguments[0]));
         const named = [...document.querySelectorAll('[aria-label]')].filter((field) => field.ariaLabel.startsWith(arguments[0]));
         return [...labels.map((label) => label.control), ...named].find((field) => field?.matches(fields) && field.checkVisibility());",
        &json!([label]),
    );
    let kind = browser.run_with(
        "const [field, text] = arguments;
         if (field.type === 'checkbox') return 'choice';
         if (field.tagName !== 'SELECT') return 'text';
         const option = [...field.options].find((option) => option.text.startsWith(text));
         if (!option) return `no option ${text} among ${[...field.options].map((option) => option.text)}`;
         field.value = option.value;
         field.dispatchEvent(new Event('change', { bubbles: true }));
         return 'list';",
        &json!([field.as_argument(), value]),
    );
    match kind.as_str().expect("a kind") {
        "choice" => browser.click(&field),
        "text" => browser.write(&field, &format!("{CONTROL}a{RELEASE}{value}")),
        "list" => {}
        problem => panic!("{label}: {problem}"),
    }
}

/// Waits for a text; opens the page again from time to time, because not every page is live.
fn expect(browser: &Browser, text: &str) {
    let (begun, mut opened) = (Instant::now(), Instant::now());
    loop {
        let shown = browser.text();
        if shown.contains(text) {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{text:?} is not on {}: {shown}",
            browser.url()
        );
        if opened.elapsed() > AGAIN {
            browser.open(&browser.url());
            opened = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_step_is_read_as_acts_and_commands() {
    let read = step(
        "1. A plot is drawn. **Plots**, `Value: temperature`, *from*  `iottly series list` · `iottly whoami`, or",
    );
    assert_eq!(read.title, "A plot is drawn");
    assert_eq!(
        read.acts,
        [
            Act::Press("Plots".to_owned()),
            Act::Fill("Value".to_owned(), "temperature".to_owned()),
            Act::Expect("from".to_owned()),
        ]
    );
    assert_eq!(read.commands, ["iottly series list", "iottly whoami"]);
    assert_eq!(tour().len(), 6);
    assert!(
        tour()
            .iter()
            .all(|step| !step.acts.is_empty() && !step.commands.is_empty())
    );
}

/// Returns the text of a field of JSON.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
