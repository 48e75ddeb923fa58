//! The merged layers, read key by key. Each read notes that the key exists, what is in force and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config::{Config, Value, ValueKind};
use secrecy::SecretString;

use super::layers::{DEFAULT, Leaf, PROJECTS};
use super::secret;
use super::settings::Effective;
use super::sources::Noted;
use super::values::{self, Check, Checked};

const NOT_SET: &str = "<not set>";
/// What is shown in the place of a secret.
pub(super) const REDACTED: &str = "<redacted>";
/// What the value of a secret must be, in words.
pub(super) const SECRET: &str = "a secret";

/// One entry of `[[projects]]`: names and values.
pub(super) type Entry = BTreeMap<String, Value>;

pub(super) struct Reader {
    defaults: Config,
    tree: Config,
    /// Where the value in force came from, by key.
    sources: BTreeMap<String, String>,
    /// Every key that was read, and what its value must be.
    known: BTreeMap<String, String>,
    /// Keys whose value was refused; comparing them with others would only add noise.
    refused: BTreeSet<String>,
    effective: Vec<Effective>,
    /// By the key under which they are listed as effective.
    secrets: BTreeMap<String, SecretString>,
    problems: Vec<String>,
    noted: Noted,
    /// While an entry of `[[projects]]` is read over `[api]`: its name, and the keys it holds itself.
    entry: Option<(String, BTreeSet<String>)>,
}

impl Reader {
    /// A reader of `leaves`, the later before the earlier, that goes on collecting `problems` and noting files.
    pub(super) fn new(leaves: Vec<Leaf>, problems: Vec<String>, noted: Noted) -> Self {
        let sources = leaves.iter().map(|leaf| (leaf.key.clone(), leaf.source.clone())).collect();
        let defaults = leaves.iter().filter(|leaf| leaf.source == DEFAULT).cloned();
        Self {
            defaults: merge(Config::default(), defaults),
            tree: merge(Config::default(), leaves.into_iter()),
            sources,
            known: BTreeMap::new(),
            refused: BTreeSet::new(),
            effective: Vec::new(),
            secrets: BTreeMap::new(),
            problems,
            noted,
            entry: None,
        }
    }

    /// Every key that was read, and what its value must be.
    pub(super) fn into_known(self) -> BTreeMap<String, String> {
        self.known
    }

    /// What is in force, the secrets in it, everything that is wrong, and which files were read.
    pub(super) fn finish(self) -> (Vec<Effective>, BTreeMap<String, SecretString>, Vec<String>, Noted) {
        (self.effective, self.secrets, self.problems, self.noted)
    }

    /// A setting that has a default. A value that is refused is reported and replaced by the default.
    pub(super) fn value<T>(&mut self, key: &str, check: &Check<T>) -> T {
        match self.optional(key, check) {
            Some(value) => value,
            None => {
                let text =
                    self.defaults.get_string(key).expect("default.toml sets what has a default: a test loads it");
                (check.read)(&text).expect("default.toml is valid: a test loads it")
            }
        }
    }

    /// A setting that may be absent. A value that is refused is reported and left out.
    pub(super) fn optional<T>(&mut self, key: &str, check: &Check<T>) -> Option<T> {
        self.known.insert(key.to_owned(), check.words.clone());
        let text = self.plain(key)?;
        self.note(key, &text, None);
        match (check.read)(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                // A long value, or one that may be a URL with a password, is not repeated.
                let repeat = text.len() <= 40 && !text.contains(['@', '/']) && !text.chars().any(char::is_control);
                let repeated = if repeat { format!(" = \"{text}\"") } else { String::new() };
                let (name, source) = (self.name(key), self.source(key));
                self.refuse(key, format!("{name}{repeated} ({source}) {problem}"));
                None
            }
        }
    }

    /// A secret: `key` holds it, or `key_file` names the file that does.
    pub(super) fn secret(&mut self, key: &str, check: impl Fn(&str) -> Checked<()>) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        let inline = self.inline_secret(key);
        let path = self.optional(&file_key, &values::path());
        if inline.is_some() && path.is_some() {
            let (value, file) = (self.place(key), self.place(&file_key));
            self.refuse(key, format!("{value} and {file} are both set: keep one"));
            return None;
        }
        let (text, from, source) = match (inline, path) {
            (Some(text), _) => (secret::printable(&text).map(|()| text), self.place(key), None),
            (None, Some(path)) => (secret::read(&path, &mut self.noted), self.place(&file_key), Some(path)),
            (None, None) => return None,
        };
        let checked = text.and_then(|text| {
            check(&text).map_err(|problem| match &source {
                Some(path) => format!("in {} {problem}", path.display()),
                None => problem,
            })?;
            Ok(text)
        });
        match checked {
            Ok(text) => {
                self.note(key, REDACTED, source.as_deref());
                let secret = SecretString::from(text);
                self.secrets.insert(self.listed_as(key), secret.clone());
                Some(secret)
            }
            Err(problem) => {
                let subject = if source.is_some() { format!("{from}: the secret") } else { from };
                self.refuse(key, format!("{subject} {problem}"));
                None
            }
        }
    }

    /// The entries of `[[projects]]`; none if there is no such list.
    pub(super) fn entries(&mut self) -> Vec<Entry> {
        self.known.insert(PROJECTS.to_owned(), "a list".to_owned());
        let entries = self.tree.get_array(PROJECTS).unwrap_or_default();
        entries
            .into_iter()
            .filter_map(|entry| entry.into_table().ok())
            .map(|table| table.into_iter().collect())
            .collect()
    }

    /// Reads `[api]` with the keys of an entry laid over it. `name` is how people are told which entry.
    pub(super) fn within<T>(&mut self, name: &str, entry: &Entry, read: impl FnOnce(&mut Self) -> T) -> T {
        let source = self.source(PROJECTS);
        let leaves: Vec<Leaf> = entry
            .iter()
            .map(|(name, value)| Leaf { key: format!("api.{name}"), value: value.clone(), source: source.clone() })
            .filter(|leaf| is_plain_name(&leaf.key))
            .collect();
        let own: BTreeSet<String> = leaves.iter().map(|leaf| leaf.key.clone()).collect();
        let (tree, sources, refused) = (self.tree.clone(), self.sources.clone(), self.refused.clone());
        self.sources.extend(own.iter().map(|key| (key.clone(), source.clone())));
        self.tree = merge(self.tree.clone(), leaves.into_iter());
        self.entry = Some((name.to_owned(), own));
        let result = read(self);
        self.entry = None;
        (self.tree, self.sources, self.refused) = (tree, sources, refused);
        result
    }

    /// Whether a layer above the defaults sets `key`.
    pub(super) fn is_chosen(&self, key: &str) -> bool {
        self.sources.get(key).is_some_and(|source| source != DEFAULT)
    }

    /// Whether none of these was refused.
    pub(super) fn are_sound(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| !self.refused.contains(*key))
    }

    /// The key and where its value came from, for a sentence.
    pub(super) fn place(&self, key: &str) -> String {
        format!("{} ({})", self.name(key), self.source(key))
    }

    /// Adds a sentence, once.
    pub(super) fn problem(&mut self, sentence: String) {
        if !self.problems.contains(&sentence) {
            self.problems.push(sentence);
        }
    }

    /// Notes what is in force where that is not simply what was written.
    pub(super) fn correct(&mut self, key: &str, value: &str, source: &str) {
        self.put(Effective { key: self.listed_as(key), value: value.to_owned(), source: source.to_owned() });
    }

    /// The key under which it is listed as effective: each project has its own line for each key of `[api]`, whoever set it.
    fn listed_as(&self, key: &str) -> String {
        match (&self.entry, key.strip_prefix("api.")) {
            (Some((entry, _)), Some(name)) => format!("projects.{entry}.{name}"),
            _ => key.to_owned(),
        }
    }

    fn refuse(&mut self, key: &str, sentence: String) {
        self.refused.insert(key.to_owned());
        self.problem(sentence);
    }

    /// The text of a value that is not secret.
    fn plain(&mut self, key: &str) -> Option<String> {
        match self.tree.get::<Option<Value>>(key).ok().flatten() {
            None => {
                self.note(key, NOT_SET, None);
                None
            }
            Some(value) => match value.into_string() {
                Ok(text) => Some(text),
                Err(_) => {
                    let place = self.place(key);
                    self.refuse(key, format!("{place} must be a single value"));
                    None
                }
            },
        }
    }

    /// A secret's text. Only text will do: a number in TOML would lose its leading zeros.
    fn inline_secret(&mut self, key: &str) -> Option<String> {
        self.known.insert(key.to_owned(), SECRET.to_owned());
        self.note(key, NOT_SET, None);
        let value = self.tree.get::<Option<Value>>(key).ok().flatten()?;
        match value.kind {
            ValueKind::String(text) => Some(text),
            _ => {
                let place = self.place(key);
                self.refuse(key, format!("{place} must be text, in quotes"));
                None
            }
        }
    }

    fn note(&mut self, key: &str, value: &str, file: Option<&Path>) {
        let source = file.map_or_else(|| self.source(key), |path| path.display().to_string());
        self.correct(key, value, &source);
    }

    /// Keeps the place of a key that was noted before.
    fn put(&mut self, new: Effective) {
        match self.effective.iter_mut().find(|old| old.key == new.key) {
            Some(old) => *old = new,
            None => self.effective.push(new),
        }
    }

    /// The key for a sentence: `projects.ID.NAME` if an entry itself holds it.
    fn name(&self, key: &str) -> String {
        match (&self.entry, key.strip_prefix("api.")) {
            (Some((entry, own)), Some(name)) if own.contains(key) => {
                format!("projects.{entry}.{name}")
            }
            _ => key.to_owned(),
        }
    }

    fn source(&self, key: &str) -> String {
        self.sources.get(key).cloned().unwrap_or_else(|| DEFAULT.to_owned())
    }
}

/// `leaves` over `base`, the later before the earlier.
fn merge(base: Config, leaves: impl Iterator<Item = Leaf>) -> Config {
    leaves
        .fold(Config::builder().add_source(base), |builder, leaf| {
            builder.set_override(&leaf.key, leaf.value).expect("only known keys get here, and these are plain paths")
        })
        .build()
        .expect("values held in memory cannot fail to be read")
}

/// Whether the config crate would take this for a path without indices; other names were reported already.
fn is_plain_name(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'_')
}
