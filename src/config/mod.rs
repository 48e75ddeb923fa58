//! Settings: `config/default.toml` < the user's file < the environment < flags.
//!
//! [`load`] reads the layers, refuses names nobody knows, checks every value and resolves secrets from their files.
//! It never stops at the first problem: [`ConfigError`] lists them all, a sentence each, and no sentence quotes a
//! secret. Every default stands in `config/default.toml` and nowhere else; a key exists because `sections.rs` reads it.
//! [`Sources`] reads them again while a daemon runs, and [`applies_live`] says which of them it takes up.

mod encryption;
mod layers;
mod live;
mod reader;
mod reference;
mod secret;
mod sections;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

pub use encryption::{CipherMode, ENCODINGS, Encryption, KEY_FORMS, KeyForm, MODES, TextEncoding};
pub use live::{TakenUp, applies_live};
pub use reference::reference;
pub use settings::{
    Api, Database, Dialect, Effective, Erasure, ErasureMode, Events, Http, ImportEvents, Lease, Limits, Log, LogFormat,
    Overridden, Parameters, Poll, Project, Reload, Retention, Settings, Shutdown,
};
use sources::Noted;
pub use sources::{Content, Reading, Sources};

/// The defaults and the reference of every setting, as compiled in.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// Everything that is wrong with the settings, a sentence each. Displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    /// The problems, in the order they were met.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// Reads the settings.
///
/// `file` is what `--config` named; without it the variable `ARGOS_SYNC_CONFIG` in `env` may name one. `env` is the
/// environment (see [`environment`]); `flags` are dotted keys and values from the command line.
pub fn load(
    file: Option<&Path>,
    env: &HashMap<String, String>,
    flags: &[(String, String)],
) -> Result<Settings, ConfigError> {
    Sources::new(file, env.clone(), flags.to_vec()).read().settings
}

/// The settings file that the variable `ARGOS_SYNC_CONFIG` in `env` names.
pub fn named_file(env: &HashMap<String, String>) -> Option<PathBuf> {
    env.get(layers::FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Whether a file holds settings of ours and nothing else: to tell a file that was meant and is not read.
pub fn holds_settings(file: &Path) -> bool {
    let mut problems = Vec::new();
    let leaves = layers::file(file, &known_keys(), &mut problems, &mut Noted::default());
    !leaves.is_empty() && problems.is_empty()
}

/// The process's environment as [`load`] takes it: the variables that concern argos-sync.
///
/// A value that is not Unicode is kept with its unreadable parts replaced, so that it fails its check by name
/// instead of being passed over.
pub fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.to_uppercase().starts_with(layers::PREFIX))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// Every key there is.
fn known_keys() -> BTreeSet<String> {
    keys().into_keys().collect()
}

/// Every key there is, those that are asked for when the defaults alone are read, and what its value must be.
fn keys() -> BTreeMap<String, String> {
    let mut reader = reader::Reader::new(layers::defaults(), Vec::new(), Noted::default());
    sections::settings(&mut reader);
    reader.into_known()
}
