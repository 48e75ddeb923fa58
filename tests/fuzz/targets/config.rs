//! A settings file: settings, or sentences that say what is wrong with them.

#![no_main]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use argos_sync::config;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("argos-sync-fuzz-{}.toml", std::process::id())));

fuzz_target!(|data: &[u8]| {
    // A setting that names a file is followed: into no file of this machine.
    if data.windows(5).any(|window| window == b"_file") {
        return;
    }
    std::fs::write(&*FILE, data).unwrap();
    match config::load(Some(&FILE), &HashMap::new(), &[]) {
        Ok(settings) => assert!(!settings.projects.is_empty()),
        Err(error) => assert!(!error.problems().is_empty()),
    }
});
