//! Where settings are read from, so that a running daemon can read them again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{ConfigError, Settings, known_keys, layers, named_file, reader, sections};

/// A file, and the environment and the flags of the process, which stay as they were at its start.
#[derive(Clone)]
pub struct Sources {
    file: Option<PathBuf>,
    env: HashMap<String, String>,
    flags: Vec<(String, String)>,
}

/// The outcome of reading.
pub struct Reading {
    /// The settings, or what is wrong with them.
    pub settings: Result<Settings, ConfigError>,
    /// What the files held.
    pub content: Content,
}

/// What the files held that settings were read from: equal while none of them changes. It keeps nothing of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Content(blake3::Hash);

impl Sources {
    /// As for [`super::load`].
    pub fn new(file: Option<&Path>, env: HashMap<String, String>, flags: Vec<(String, String)>) -> Self {
        let file = file.map(Path::to_path_buf).or_else(|| named_file(&env));
        Self { file, env, flags }
    }

    /// Reads everything, each file once.
    pub fn read(&self) -> Reading {
        let known = known_keys();
        let (mut problems, mut noted) = (Vec::new(), Noted::default());
        let file = self.file.as_ref().map(|path| layers::file(path, &known, &mut problems, &mut noted));
        let environment = layers::environment(&self.env, &known, &mut problems);
        let flags = layers::flags(&self.flags, &known, &mut problems);
        let mut leaves = layers::defaults();
        let mut overridden = Vec::new();
        for layer in file.into_iter().chain([environment, flags]) {
            overridden.extend(layers::lay_over(&mut leaves, layer, &known));
        }

        let mut reader = reader::Reader::new(leaves, problems, noted);
        let settings = sections::settings(&mut reader);
        let (effective, secrets, problems, noted) = reader.finish();
        let settings = match problems.is_empty() {
            true => Ok(Settings { effective, overridden, secrets, ..settings }),
            false => Err(ConfigError { problems }),
        };
        Reading { settings, content: noted.content() }
    }

    /// Reads everything again, where `in_force` is. A settings file that has lost keys is refused: it may be half written,
    /// and the default of a key may be the opposite of what was in it.
    pub fn read_again(&self, in_force: &Settings) -> Reading {
        let mut reading = self.read();
        if let (Some(path), Ok(new)) = (&self.file, &reading.settings) {
            let path = path.display().to_string();
            let lost = in_force.lost(new, &path);
            if !lost.is_empty() {
                let problem = format!(
                    "{} no longer in {path}, which may be half written: if the default is meant, write it there, or restart",
                    match lost.as_slice() {
                        [key] => format!("{key} is"),
                        keys => format!("{} are", keys.join(", ")),
                    }
                );
                reading.settings = Err(ConfigError { problems: vec![problem] });
            }
        }
        reading
    }
}

/// The files that are read, one after the other.
#[derive(Default)]
pub(super) struct Noted {
    hasher: blake3::Hasher,
}

impl Noted {
    /// Notes what came of reading a file.
    pub(super) fn file(&mut self, path: &Path, read: Result<&[u8], &io::Error>) {
        let (kind, bytes) = match read {
            Ok(bytes) => (0, bytes.into()),
            Err(error) => (1, Cow::Owned(error.to_string().into_bytes())),
        };
        let path = path.as_os_str().as_encoded_bytes();
        for part in [path, &[kind], &*bytes] {
            // The length first: else two files could be told apart from two others only by luck.
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
    }

    fn content(self) -> Content {
        Content(self.hasher.finalize())
    }
}
