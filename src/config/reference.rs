//! `docs/configuration.md`, made from `config/default.toml` and from what the code asks of each value.

use super::layers::{self, PROJECTS};
use super::reader::SECRET;
use super::{DEFAULT_TOML, applies_live, keys};

const INTRODUCTION: &str = "\
# Settings

Made from [config/default.toml](../config/default.toml) by `make reference`: change that file, not this one.

Every setting has a default, or none is needed; write only what differs into a file of your own. The layers, each stronger
than the one before:

    default.toml  <  your file (--config FILE, or ARGOS_SYNC_CONFIG)  <  environment  <  --set section.key=value

- **Your file** is TOML, with the sections below. [config/production.toml](../config/production.toml) is a start for a server.
- **An environment variable** is `ARGOS_SYNC`, section and key, joined by two underscores.
- **A name that is not listed here** is an error, in every layer.
- **Lengths of time** are text with a unit: `\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"12h\"`, `\"3d\"`. **Sizes** are text with a unit
  (`\"512KiB\"`, `\"1MiB\"`, `\"1GiB\"`) or a number of bytes.
- **Secrets** have a second form, `..._file`: the file holds the secret alone; one newline at its end is left out. A stronger
  layer replaces either form; both in the same layer are an error. Never give a secret with `--set`: other users see the
  command line.
- **Reload:** a running daemon takes up what changes in the files, for the keys that say so; the others wait for a restart.
- `argos-sync doctor --settings` prints what is in force and where each value came from.
";

/// A heading of `default.toml`, what is said of it, and its keys.
struct Section {
    name: String,
    text: Vec<String>,
    keys: Vec<Key>,
}

/// A key in `default.toml`.
struct Key {
    name: String,
    /// As it is written there: the default, or an example where there is none.
    value: String,
    has_default: bool,
    text: Vec<String>,
}

/// The reference of all settings, in Markdown.
pub fn reference() -> String {
    let sections = sections();
    let known = keys();
    let mut page = format!("{INTRODUCTION}\n| Section | Settings |\n|---|---|\n");
    for section in &sections {
        let names: Vec<String> = section.keys.iter().map(|key| link(&key.name, &key.full(section))).collect();
        page += &format!("| {} | {} |\n", link(&format!("`{}`", section.title()), &section.title()), names.join(", "));
    }
    for section in &sections {
        page += &format!("\n## {}\n\n{}\n", section.title(), paragraphs(&section.text));
        for key in &section.keys {
            let full = key.full(section);
            let facts = facts(key, &full, known.get(&full).map(String::as_str)).join(" · ");
            page += &format!("\n### {full}\n\n{facts}\n\n{}\n", paragraphs(&key.text));
        }
    }
    page
}

/// What is known of a key, in a few words each. What else there is to say of every key belongs here.
fn facts(key: &Key, full: &str, must_be: Option<&str>) -> Vec<String> {
    let mut facts = vec![match key.has_default {
        true => format!("Default `{}`", key.value),
        false => "No default".to_owned(),
    }];
    facts.extend(must_be.map(str::to_owned));
    if !key.has_default && must_be != Some(SECRET) {
        facts.push(format!("such as `{}`", key.value));
    }
    if must_be.is_some() {
        facts.push(format!("`{}`", layers::variable(full)));
    }
    if layers::in_entries(full).is_some() {
        facts.push(format!("also in {}", link("`[[projects]]`", PROJECTS)));
    }
    facts.push(if applies_live(full) { "taken up while running" } else { "needs a restart" }.to_owned());
    facts
}

impl Key {
    fn full(&self, section: &Section) -> String {
        format!("{}.{}", section.name, self.name)
    }
}

impl Section {
    fn title(&self) -> String {
        if self.name == PROJECTS { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

/// Reads `default.toml` line by line: comments belong to the heading or the key below them.
fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut text: Vec<String> = Vec::new();
    for line in DEFAULT_TOML.lines() {
        let comment = line.strip_prefix('#').map(|line| line.strip_prefix(' ').unwrap_or(line));
        let said = comment.unwrap_or(line);
        if let Some(name) = heading(said) {
            sections.push(Section { name: name.to_owned(), text: std::mem::take(&mut text), keys: Vec::new() });
        } else if let (Some((name, value)), Some(section)) = (assignment(said), sections.last_mut()) {
            let (name, value, text) = (name.to_owned(), value.to_owned(), std::mem::take(&mut text));
            section.keys.push(Key { name, value, has_default: comment.is_none(), text });
        } else if comment.is_some() {
            text.push(said.to_owned());
        } else {
            text.clear();
        }
    }
    // What stands below the last key is about its section.
    if let Some(last) = sections.last_mut() {
        last.text.extend(text);
    }
    sections
}

fn heading(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    Some(name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name))
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    line.split_once(" = ").filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}

/// Lines as paragraphs: an empty one separates them.
fn paragraphs(lines: &[String]) -> String {
    let mut lines: Vec<String> = lines.iter().map(|line| pages(line)).collect();
    lines.dedup();
    lines.join("\n").trim().to_owned()
}

/// Links to the pages beside this one: `docs/erasure.md` in the text.
fn pages(line: &str) -> String {
    let mut parts = line.split("docs/");
    let mut linked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = part.split_once(".md").map_or("", |(name, _)| name);
        let page = format!("{name}.md");
        linked += &part.replacen(&page, &format!("[{page}]({page})"), 1);
    }
    linked
}

/// A link to a heading of this page. Anchors are as GitHub and GitLab make them: letters, digits and `_` alone.
fn link(text: &str, heading: &str) -> String {
    let anchor: String = heading.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    format!("[{text}](#{anchor})")
}
