//! Loading, as seen from outside.

use std::collections::HashMap;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

mod layers;
mod live;
mod projects;
mod reference;
mod secrets;
mod values;

/// No message, `Debug` or listing may hold this.
const MARKER: &str = "s3cr3t-M4RK3R";

/// A settings file, an environment and flags.
#[derive(Default)]
struct Given {
    file: Option<String>,
    env: HashMap<String, String>,
    flags: Vec<(String, String)>,
}

impl Given {
    fn file(text: &str) -> Self {
        Self { file: Some(text.to_owned()), ..Self::default() }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Loads; the file's path in messages is replaced by FILE, and its directory by DIR, also inside the file.
    fn load(&self) -> Result<Settings, Vec<String>> {
        let dir = TempDir::new().unwrap();
        self.load_in(&dir)
    }

    fn load_in(&self, dir: &TempDir) -> Result<Settings, Vec<String>> {
        let here = dir.path().to_str().unwrap();
        let path = self.file.as_ref().map(|text| {
            let path = dir.path().join("settings.toml");
            std::fs::write(&path, text.replace("DIR", here)).unwrap();
            path
        });
        load(path.as_deref(), &self.env, &self.flags).map_err(|error| {
            assert_eq!(error.to_string(), error.problems().join("\n"));
            assert!(!format!("{error} {error:?}").contains(MARKER), "{error}");
            let shown =
                |problem: &String| problem.replace(&format!("{here}/settings.toml"), "FILE").replace(here, "DIR");
            error.problems().iter().map(shown).collect()
        })
    }

    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
    }

    #[track_caller]
    fn fails_with(&self, expected: &[&str]) {
        assert_eq!(self.load().err().unwrap_or_default(), expected);
    }
}

fn none() -> Given {
    Given::default()
}

fn effective<'a>(settings: &'a Settings, key: &str) -> (&'a str, &'a str) {
    let found = settings.effective().iter().find(|effective| effective.key == key);
    let found = found.unwrap_or_else(|| panic!("{key} is not listed"));
    (found.value.as_str(), found.source.as_str())
}
