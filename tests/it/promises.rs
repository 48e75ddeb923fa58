//! docs/promises.md holds: the tests that it names are there, and carry the promises of their rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use argos_sync::simulator::Faults;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The head of every table of faults.
const HEAD: &str = "| Fault | Promises | Held by | How often |";

const PROMISES: std::ops::RangeInclusive<u8> = 1..=13;

/// A row names the tests that tell most.
const MOST_TESTS: usize = 3;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of each row of the tables of faults.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut lines = document.lines();
    while lines.any(|line| line == HEAD) {
        let table = lines.by_ref().take_while(|line| line.starts_with('|')).skip(1);
        rows.extend(table.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()));
    }
    rows
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn number(word: &str, letter: char) -> Option<u8> {
    word.strip_prefix(letter)?.parse().ok()
}

/// The promises that a test's name begins with: `p1_p7_`, `p1_to_p13_`.
fn carried(name: &str) -> BTreeSet<u8> {
    let head: Vec<_> = name.split('_').take_while(|word| *word == "to" || number(word, 'p').is_some()).collect();
    let numbers: BTreeSet<u8> = head.iter().filter_map(|word| number(word, 'p')).collect();
    match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) if head.contains(&"to") => (*first..=*last).collect(),
        _ => numbers,
    }
}

/// The text of the file in which these modules stand; the last one may stand inside the file of the others.
fn source(root: &Path, modules: &[&str]) -> Option<String> {
    let Some((last, others)) = modules.split_last() else {
        return std::fs::read_to_string(root.join("main.rs")).ok();
    };
    let path = root.join(modules.join("/"));
    let file = [path.with_extension("rs"), path.join("mod.rs")];
    let inside = || source(root, others).filter(|text| text.contains(&format!("\nmod {last} {{")));
    file.iter().find_map(|file| std::fs::read_to_string(file).ok()).or_else(inside)
}

/// Whether this text has a test of this name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let declared = [format!("fn {name}("), format!("async fn {name}(")];
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    lines.iter().enumerate().filter(|(_, line)| declared.iter().any(|it| line.starts_with(it))).any(|(place, _)| {
        lines[..place].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//")).any(is_test)
    })
}

/// Where a test stands, as `cargo test` prints its name; one of tests/torture has that before it.
fn root_of(test: &str) -> Option<&'static str> {
    let (roots, path): (&[_], _) = match test.strip_prefix("torture: ") {
        Some(path) => (&["tests/torture"], path),
        None => (&["tests/it", "src"], test),
    };
    let words: Vec<_> = path.split("::").collect();
    let (name, modules) = words.split_last()?;
    let stands = |root: &&&str| source(&Path::new(ROOT).join(root), modules).is_some_and(|text| has_test(&text, name));
    roots.iter().find(stands).copied()
}

fn name_of(test: &str) -> &str {
    test.rsplit([':', ' ']).next().unwrap_or(test)
}

/// What is wrong with a row, and the promises that its tests hold.
fn look_at(row: &[&str], problems: &mut Vec<String>) -> BTreeSet<u8> {
    let fault = row[0];
    let mut tell = |problem: String| problems.push(format!("{fault}: {problem}"));
    let &[_, promises, held_by, how_often] = row else {
        tell(format!("it has {} cells, and not 4", row.len()));
        return BTreeSet::new();
    };
    if row.iter().any(|cell| cell.is_empty()) {
        tell("a cell is empty".to_owned());
    }
    let promises: BTreeSet<u8> = promises.split_whitespace().filter_map(|word| number(word, 'P')).collect();
    let tests = quoted(held_by);
    if tests.len() > MOST_TESTS {
        tell(format!("it names {} tests; the {MOST_TESTS} that tell most will do", tests.len()));
    }
    if tests.is_empty() && held_by.strip_prefix("not tried: ").is_none_or(str::is_empty) {
        tell("it names no test, and does not say \"not tried: \" and why".to_owned());
    }
    let mut held = BTreeSet::new();
    for test in tests {
        let carried = carried(name_of(test));
        match root_of(test) {
            None => tell(format!("there is no test `{test}`")),
            Some(root) if carried.is_empty() && root != "src" => tell(format!("`{test}` carries no promise")),
            Some(_) if !carried.is_empty() && carried.is_disjoint(&promises) => {
                tell(format!("`{test}` carries none of {promises:?}"));
            }
            Some(_) => held.extend(carried.intersection(&promises)),
        }
    }
    for promise in promises.difference(&held) {
        tell(format!("none of its tests carries P{promise}"));
    }
    for word in quoted(how_often) {
        let (file, text) = match word.strip_prefix("make ") {
            Some(target) => ("Makefile", format!("\n{target}:")),
            None => ("tests/torture/draw.rs", word.to_owned()),
        };
        if !read(file).contains(&text) {
            tell(format!("`{word}` is not in {file}"));
        }
    }
    held
}

/// What is wrong with the document.
fn problems(document: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let held: BTreeSet<u8> = rows(document).iter().flat_map(|row| look_at(row, &mut problems)).collect();
    let not_held = PROMISES.filter(|promise| !held.contains(promise));
    problems.extend(not_held.map(|promise| format!("P{promise}: no row has a test that carries it")));
    problems
}

/// All sources below this directory.
fn sources(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let entries: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in entries {
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(std::fs::read_to_string(path).unwrap());
        }
    }
    all
}

/// Whether a source names a fault as it is given to the simulator: `"name"`, `"name=1,name@2"`.
fn names_fault(source: &str, name: &str) -> bool {
    source.match_indices(name).any(|(place, _)| {
        source[..place].ends_with(['"', ',']) && source[place + name.len()..].starts_with(['"', ',', '=', '@'])
    })
}

#[test]
fn each_promise_and_each_fault_has_the_tests_that_the_document_names() {
    let document = read("docs/promises.md");
    assert!(rows(&document).len() > 60, "the tables of docs/promises.md are not found");
    let problems = problems(&document);
    assert!(problems.is_empty(), "docs/promises.md says what is not so:\n{}", problems.join("\n"));
}

#[test]
fn every_fault_of_the_simulator_is_tried() {
    let sources = sources(&Path::new(ROOT).join("tests"));
    let tried = |name: &str| sources.iter().any(|source| names_fault(source, name));
    let untried: Vec<_> = Faults::NAMES.iter().map(|(name, _)| *name).filter(|name| !tried(name)).collect();
    assert!(untried.is_empty(), "no test, and no history of tests/torture/draw.rs, tries {untried:?}");
    // A word that only stands somewhere in a test is none.
    assert!(!names_fault("is empty, or reset-now", "reset") && names_fault(r#""slow=2,reset=1""#, "reset"));
}

#[test]
fn what_the_document_says_in_vain_is_told() {
    const TEST: &str = "`lease::p5_only_one_of_two_engines_writes`";
    let told = |row: &str| {
        let mut told = problems(&format!("{HEAD}\n|---|---|---|---|\n{row}\n\n{HEAD}\n|---|---|---|---|\n"));
        told.retain(|problem| !problem.ends_with("no row has a test that carries it"));
        told.join("; ")
    };
    assert_eq!(told(&format!("| Two lead | P5 | {TEST} | each CI run, and histories: `Pause` |")), "");
    assert_eq!(told("| A relay | none | not tried: there is none | never |"), "");
    assert_eq!(told("| Odd | P1 | `domain::change::tests::p1_who_has_read_all_events_knows_the_state` | always |"), "");
    assert_eq!(
        told("| All | P3 P9 | `torture: p1_to_p13_seeded_histories_break_no_promise` | by `make torture` |"),
        ""
    );
    for (row, problem) in [
        ("| F | P5 | `lease::p5_no_such_test` | always |".to_owned(), "there is no test `lease::p5_no_such_test`"),
        // It stands in another file, or is no test.
        ("| F | P5 | `writers::p5_only_one_of_two_engines_writes` | x |".to_owned(), "there is no test"),
        ("| F | P5 | `lease::everything` | x |".to_owned(), "there is no test"),
        (format!("| F | P4 | {TEST} | x |"), "carries none of {4}"),
        (format!("| F | P4 P5 | {TEST} | x |"), "none of its tests carries P4"),
        ("| F | P2 | `layers::imports_point_one_way` | x |".to_owned(), "carries no promise"),
        (format!("| F | P5 | {TEST} | |"), "a cell is empty"),
        (format!("| F | P5 | {TEST} |"), "3 cells"),
        (format!("| F | P5 | {} | x |", [TEST; 4].join(", ")), "4 tests"),
        ("| F | none | nobody tries it | never |".to_owned(), "names no test"),
        (format!("| F | P5 | {TEST} | by `make nothing` |"), "`make nothing` is not in Makefile"),
        (format!("| F | P5 | {TEST} | histories: `Earthquake` |"), "`Earthquake` is not in tests/torture/draw.rs"),
    ] {
        assert!(told(&row).contains(problem), "{row}: {:?}", told(&row));
    }
    let empty = problems("");
    assert_eq!(empty.len(), 13, "{empty:?}");
}
