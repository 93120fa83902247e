//! Names that are like a mistyped one, for errors that say what to type next.

/// Maximum number of names that an error lists.
const SHOWN: usize = 5;

/// Maximum number of characters of a name that are compared.
const COMPARED: usize = 64;

/// Returns the end of an error about a name that does not exist: those that are like it, or the command that lists all.
pub(crate) fn hint(wanted: &str, names: &[String], list: &str) -> String {
    let mut near: Vec<(usize, &String)> = names
        .iter()
        .filter_map(|name| Some((distance(wanted, name)?, name)))
        .collect();
    near.sort();
    // The same name in other letters is the one that was meant.
    if near.first().is_some_and(|(distance, _)| *distance == 0) {
        near.retain(|(distance, _)| *distance == 0);
    }
    near.truncate(SHOWN);
    let near: Vec<String> = near.iter().map(|(_, name)| format!("{name:?}")).collect();
    match &near[..] {
        [] => format!("`{list}` shows all"),
        [only] => format!("is it {only}? `{list}` shows all"),
        many => format!("is it one of {}? `{list}` shows all", many.join(", ")),
    }
}

/// Returns how far a name is from the wanted one; none if they are not alike.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let letters = |text: &str| -> Vec<char> { text.to_lowercase().chars().take(COMPARED).collect() };
    let (wanted, name) = (letters(wanted), letters(name));
    if wanted.is_empty() || name.is_empty() {
        return None;
    }
    if wanted == name {
        return Some(0);
    }
    // A part of a name, such as `north` of `north-hall`.
    let (short, long) = if wanted.len() < name.len() {
        (&wanted, &name)
    } else {
        (&name, &wanted)
    };
    if short.len() >= 3 && long.windows(short.len()).any(|part| part == &short[..]) {
        return Some(1);
    }
    let edits = edits(&wanted, &name);
    (edits <= (wanted.len().max(name.len()) + 1) / 3).then_some(edits + 1)
}

/// Returns the number of letters to insert, remove or replace in order to get from one text to the other.
fn edits(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.iter().enumerate() {
        let mut corner = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = corner + usize::from(letter != other);
            corner = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(corner + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_like_the_mistyped_one_come_first() {
        let names = ["north", "south", "north-hall", "Nort", "zebra"].map(str::to_owned);
        let hint = |wanted: &str| hint(wanted, &names, "iottly group list");
        assert_eq!(
            hint("norht"),
            "is it one of \"Nort\", \"north\"? `iottly group list` shows all"
        );
        assert_eq!(
            hint("hall"),
            "is it \"north-hall\"? `iottly group list` shows all"
        );
        assert_eq!(hint("SOUTH"), "is it \"south\"? `iottly group list` shows all");
        assert_eq!(hint("quux"), "`iottly group list` shows all");
        assert_eq!(hint(""), "`iottly group list` shows all");
    }

    #[test]
    fn edits_are_counted() {
        let edits =
            |from: &str, to: &str| edits(&from.chars().collect::<Vec<_>>(), &to.chars().collect::<Vec<_>>());
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
