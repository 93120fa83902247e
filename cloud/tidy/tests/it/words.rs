//! Plain English: doc comments name their subject, and a list of phrases has replacements.

use crate::repository::{files, is_test, read, root, shown};

/// Highest share of doc comments that may open with a question word or a pronoun, in tenths of a percent. It
/// only falls.
const MAX_OPENINGS: usize = 5;

/// Words with which a doc comment does not name its subject.
const OPENINGS: &[&str] = &[
    "What",
    "Who",
    "Whom",
    "Whose",
    "How",
    "Why",
    "Whether",
    "When",
    "Where",
    "Which",
    "It",
    "Its",
    "One",
    "This",
    "That",
    "These",
    "They",
    "He",
    "Nobody",
    "Somebody",
    "Everybody",
    "Nothing",
    "Something",
];

/// Phrases that comments, errors, logs and help do without, each with what to write instead.
const PHRASES: &[(&str, &str)] = &[
    ("whoever", "name the actor: client, device, operator, author"),
    ("somebody", "name the actor: client, device, operator, author"),
    ("nobody", "name the actor, or \"no client\", \"no device\""),
    ("everybody", "name the actors: \"all clients\", \"all devices\""),
    ("for who ", "name the actor: client, device, operator, author"),
    ("lies in", "\"is in\", \"is stored in\""),
    ("lie in", "\"are in\", \"are stored in\""),
    ("goes on", "\"continues\", \"resumes\""),
    ("gives up", "\"stops retrying\", \"abandons\""),
    ("given up", "\"abandoned\""),
    ("gave up", "\"abandoned\", \"stopped retrying\""),
    ("anew", "\"again\""),
    ("is told", "\"is notified\", \"is sent\""),
    ("are told", "\"are notified\", \"are sent\""),
    ("stands still", "\"waits\", \"is blocked\""),
    ("let go", "\"dropped\", \"released\""),
    ("takes leave", "\"disconnects\""),
    ("/// Says whether", "\"Returns whether\""),
    ("/// Tells ", "\"Returns\", \"Sends\", \"Notifies\""),
];

#[test]
fn doc_comments_name_their_subject() {
    let (mut all, mut bad) = (0, Vec::new());
    for file in files(&root(), &["rs"]) {
        let source = read(&file);
        let mut before = "";
        for (number, line) in source.lines().enumerate() {
            let line = line.trim_start();
            let mark = ["///", "//!"]
                .into_iter()
                .find(|mark| line.starts_with(mark))
                .unwrap_or("");
            if !mark.is_empty() && mark != before {
                all += 1;
                let first = line[mark.len()..].trim_start();
                let word = first
                    .split(|character: char| !character.is_alphanumeric())
                    .next()
                    .unwrap_or("");
                if OPENINGS.contains(&word) {
                    bad.push(format!("{}:{}: {line}", shown(&file), number + 1));
                }
            }
            before = mark;
        }
    }
    assert!(all > 1000, "the doc comments are found");
    assert!(
        bad.len() * 1000 <= all * MAX_OPENINGS,
        "{} of {all} doc comments open with a question word or a pronoun:\n{}",
        bad.len(),
        bad.join("\n")
    );
}

#[test]
fn phrases_of_the_list_are_replaced() {
    let mut found = Vec::new();
    for file in files(&root(), &["rs"]) {
        if shown(&file).starts_with("cloud/tidy/") {
            continue;
        }
        let is_test = is_test(&file);
        for (number, line) in read(&file).lines().enumerate() {
            if !is_read(line, is_test) {
                continue;
            }
            for (phrase, instead) in PHRASES {
                if holds(line, phrase) {
                    found.push(format!(
                        "{}:{}: {phrase:?}: write {instead}",
                        shown(&file),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

/// Returns whether people read a line: a comment, or a text of a program. Texts of tests are their data.
fn is_read(line: &str, is_test: bool) -> bool {
    line.trim_start().starts_with("//") || (!is_test && line.contains('"'))
}

/// Returns whether a line holds a phrase as words of their own.
fn holds(line: &str, phrase: &str) -> bool {
    let (line, phrase) = (line.to_lowercase(), phrase.to_lowercase());
    line.match_indices(&phrase).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + phrase.len()..].chars().next();
        let is_word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        !is_word(before) && (phrase.ends_with(' ') || !is_word(after))
    })
}

#[test]
fn phrases_are_words_of_their_own() {
    assert!(holds("// it is let go here", "let go"));
    assert!(!holds("let good = 1; // let gone", "let go"));
    assert!(holds("/// Answers to it", "/// Answers "));
}
