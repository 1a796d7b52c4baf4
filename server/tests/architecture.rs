//! Which part of the server knows which: nouns form no cycle.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What every noun may know, and what knows nouns only to hold, merge or list them: `state` has a field of some nouns' types,
/// `schema`, `scan`, `start`, `admin` and the root know all of them.
const BASE: [&str; 10] = [
    "auth", "clock", "config", "endpoint", "error", "gate", "inbox", "limits", "state", "store",
];
const ABOVE_ALL: [&str; 10] = [
    "admin", "commands", "lib", "logging", "main", "metrics", "scan", "schema", "serve", "start",
];

type Uses = BTreeMap<String, BTreeSet<String>>;

fn uses() -> Uses {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut uses = Uses::new();
    visit(&source, &source, &mut uses);
    uses
}

fn visit(source: &Path, directory: &Path, uses: &mut Uses) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            visit(source, &path, uses);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let noun = path.strip_prefix(source).unwrap().with_extension("");
            let noun = noun.iter().next().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            uses.entry(noun).or_default().extend(named(&text));
        }
    }
}

/// The nouns that a file names as `crate::noun` or in `use crate::{…}`; what is only for its tests does not count.
fn named(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut nouns = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => nouns.extend(top_level(list)),
            None => nouns.extend(first_word(rest)),
        }
    }
    nouns
}

/// The first word of each item of a `{…}` list, at its top level.
fn top_level(list: &str) -> Vec<String> {
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for letter in list.chars() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.extend(first_word(&std::mem::take(&mut item))),
            _ if depth == 0 => item.push(letter),
            _ => {}
        }
    }
    items.extend(first_word(&item));
    items
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_lowercase() || *c == '_')
        .collect();
    (!word.is_empty()).then_some(word)
}

/// A way from a noun back to itself.
fn cycle(uses: &Uses, noun: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
    if way.iter().any(|passed| passed == noun) {
        way.push(noun.to_owned());
        return true;
    }
    if !done.insert(noun.to_owned()) {
        return false;
    }
    way.push(noun.to_owned());
    for next in uses.get(noun).into_iter().flatten() {
        if next != noun && cycle(uses, next, way, done) {
            return true;
        }
    }
    way.pop();
    false
}

fn nouns(mut uses: Uses) -> Uses {
    let beside =
        |noun: &String| BASE.contains(&noun.as_str()) || ABOVE_ALL.contains(&noun.as_str());
    uses.retain(|noun, _| !beside(noun));
    for used in uses.values_mut() {
        used.retain(|noun| !beside(noun));
    }
    uses
}

#[test]
fn nouns_form_no_cycle() {
    let nouns = nouns(uses());
    assert!(nouns.len() > 10, "the sources were not found");
    let mut done = BTreeSet::new();
    for noun in nouns.keys() {
        let mut way = Vec::new();
        assert!(
            !cycle(&nouns, noun, &mut way, &mut done),
            "{}",
            way.join(" -> ")
        );
    }
}

#[test]
fn nothing_knows_therapy_but_what_puts_the_server_together() {
    for (noun, used) in nouns(uses()) {
        assert!(
            noun == "therapy" || !used.contains("therapy"),
            "{noun} knows therapy"
        );
    }
}

#[test]
fn a_cycle_would_be_found() {
    let text = "use crate::{\n    rooms::{self, append},\n    store::Store,\n};\nlet x = crate::sync::now();";
    assert_eq!(
        named(text),
        ["rooms", "store", "sync"].map(str::to_owned).into()
    );
    let uses: Uses = [("a", "b"), ("b", "c"), ("c", "b")]
        .map(|(noun, used)| (noun.to_owned(), [used.to_owned()].into()))
        .into();
    let mut way = Vec::new();
    assert!(cycle(&uses, "a", &mut way, &mut BTreeSet::new()));
    assert_eq!(way, ["a", "b", "c", "b"]);
}
