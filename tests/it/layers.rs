//! Imports point one way. The map stands in `src/lib.rs`; this holds the code to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which rooms of the crate each room may import, from the bottom up. A row names only rooms above it: no cycles.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("chain", &[]),
    ("clock", &[]),
    ("config", &[]),
    ("exit", &[]),
    ("heartbeat", &[]),
    ("systemd", &["heartbeat"]),
    ("embedded", &[]),
    ("logging", &["config"]),
    ("simulator", &["clock"]),
    ("domain", &["clock"]),
    ("metrics", &["clock", "domain"]),
    // Neither of the two knows the other.
    ("store", &["clock", "config", "domain"]),
    ("argos", &["clock", "config", "domain", "heartbeat", "metrics"]),
    ("sync", &["argos", "chain", "clock", "config", "domain", "heartbeat", "metrics", "store"]),
    ("words", &["clock"]),
    ("status", &["clock", "config", "domain", "store", "sync", "words"]),
    ("http", &["chain", "clock", "config", "domain", "heartbeat", "metrics", "status", "store", "words"]),
    ("reload", &["argos", "chain", "clock", "config", "heartbeat", "logging", "metrics", "store"]),
    (
        "app",
        &["argos", "clock", "config", "domain", "embedded", "exit", "heartbeat", "http", "metrics", "store", "sync"],
    ),
    ("lifecycle", &["app", "exit"]),
    (
        "cli",
        &[
            "app",
            "argos",
            "chain",
            "clock",
            "config",
            "domain",
            "embedded",
            "exit",
            "heartbeat",
            "http",
            "lifecycle",
            "logging",
            "metrics",
            "reload",
            "simulator",
            "status",
            "store",
            "sync",
            "systemd",
            "words",
        ],
    ),
    ("main", &["chain", "cli", "exit", "logging", "words"]),
];

/// Libraries that only some rooms may name: (library, rooms).
const LIBRARIES: &[(&str, &[&str])] = &[
    // The simulator: its tests alone.
    ("reqwest", &["argos", "simulator"]),
    ("askama", &["http"]),
    ("sqlx", &["embedded", "store", "sync", "status", "http", "reload", "app", "cli"]),
    ("prometheus", &["metrics", "http", "app"]),
    ("axum", &["http", "simulator"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("sd_notify", &["systemd"]),
    ("clap", &["cli", "simulator", "main"]),
];

#[test]
fn imports_point_one_way() {
    let files = files();
    let rooms: BTreeSet<&str> = files.iter().map(|file| file.room.as_str()).filter(|room| *room != "lib").collect();
    let listed: BTreeSet<&str> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    assert_eq!(rooms, listed, "a room of src is missing in MAY_IMPORT, or one there is gone");
    for (i, (room, imports)) in MAY_IMPORT.iter().enumerate() {
        let below: Vec<&str> = MAY_IMPORT[..i].iter().map(|(room, _)| *room).collect();
        for import in *imports {
            assert!(below.contains(import), "MAY_IMPORT lets {room} import {import}, which does not stand above it");
        }
    }
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.room != "lib") {
        for import in file.imports(&rooms) {
            if import != file.room && !allowed[file.room.as_str()].contains(&import.as_str()) {
                wrong.push(format!("{} imports {import}", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "see the map in src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn the_domain_is_pure() {
    const CRATES: &[&str] = &["blake3", "chrono", "crate", "proptest", "serde", "serde_json", "std", "super", "uuid"];
    const NEVER: &[&str] = &["tokio", "sqlx", "reqwest", "hyper", "axum", "tracing", "prometheus"];
    for file in files().iter().filter(|file| file.room == "domain") {
        for used in file.code.lines().filter_map(|line| line.trim().strip_prefix("use ")) {
            let first = used.split([':', ';', ' ']).next().unwrap();
            let module = first.starts_with(|c: char| c.is_ascii_lowercase());
            assert!(!module || CRATES.contains(&first), "{} uses {first}", file.path.display());
        }
        for name in NEVER {
            assert!(!file.names(name), "{} names {name}", file.path.display());
        }
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    for file in files() {
        for (library, rooms) in LIBRARIES {
            let allowed = rooms.contains(&file.room.as_str());
            assert!(allowed || !file.names(library), "{} names {library}", file.path.display());
        }
    }
}

/// The crate is no longer maintained: it must be easy to replace. See docs/decisions/backoff.md.
#[test]
fn one_file_names_backoff() {
    let named: Vec<PathBuf> = files().into_iter().filter(|file| file.names("backoff")).map(|file| file.path).collect();
    assert_eq!(named, [Path::new("argos/pace.rs")]);
}

struct File {
    /// Below src.
    path: PathBuf,
    /// The first part of its module's path.
    room: String,
    /// How many modules deep it stands below the crate's root.
    depth: usize,
    /// The text without comments.
    code: String,
}

impl File {
    /// Rooms that a path in the code leads to, from the crate's root or up through `super`.
    fn imports(&self, rooms: &BTreeSet<&str>) -> BTreeSet<String> {
        let root = if self.room == "main" { "argos_sync::" } else { "crate::" };
        let mut found = BTreeSet::new();
        for (at, _) in self.code.match_indices(root) {
            found.extend(heads(&self.code[at + root.len()..]));
        }
        let up = "super::".repeat(self.depth);
        for (at, _) in self.code.match_indices(&up) {
            found.extend(heads(&self.code[at + up.len()..]));
        }
        found.retain(|name| rooms.contains(name.as_str()));
        found
    }

    /// Whether a path in the code starts with this library, or it is imported whole.
    fn names(&self, library: &str) -> bool {
        let starts = |(at, _): (usize, &str)| {
            let before = self.code[..at].chars().next_back();
            let after = &self.code[at + library.len()..];
            !before.is_some_and(|c| c.is_alphanumeric() || "_.\"".contains(c)) && after.starts_with("::")
        };
        self.code.match_indices(library).any(starts) || self.code.contains(&format!("use {library};"))
    }
}

/// The first names of a path or of a braced list of paths: `a::b` gives a; `{a, b::{c, d}}` gives a and b.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(name(list[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn files() -> Vec<File> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut directories = vec![src.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
                let path = path.strip_prefix(&src).unwrap().to_path_buf();
                let module = path.with_extension("");
                let mut parts: Vec<&str> = module.iter().map(|part| part.to_str().unwrap()).collect();
                if parts.last() == Some(&"mod") {
                    parts.pop();
                }
                files.push(File { room: parts[0].to_owned(), depth: parts.len(), code, path });
            }
        }
    }
    assert!(files.len() > 50, "the sources are not where they are looked for");
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
