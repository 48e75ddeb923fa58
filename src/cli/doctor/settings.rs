//! Settings: which file is read, what is written in vain, and secrets that are not what was meant.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::report::Finding;
use crate::config::{self, ConfigError, Overridden, Project, Settings};
use crate::exit::Exit;

/// Where the Debian package and the documents put the settings file.
const PLACE: &str = "/etc/argos-sync";

/// Which settings file is read, and which ones look as if they were meant to be.
pub(super) fn files(named: Option<&Path>, variable: Option<&Path>) -> Vec<Finding> {
    let used = named.or(variable);
    let both = named.zip(variable).filter(|(named, variable)| !is_same(named, variable)).map(|(named, variable)| {
        Finding::note(
            "file",
            format!(
                "--config names {}, and ARGOS_SYNC_CONFIG names {}: only the first is read",
                named.display(),
                variable.display()
            ),
            "Name one file, in one of the two ways.",
        )
    });
    let beside = used.and_then(Path::parent).filter(|place| !place.as_os_str().is_empty());
    let unread = unread(used, &[Some(Path::new(PLACE)), beside]);
    let file = match (used, unread.is_empty()) {
        (Some(used), _) if !used.is_file() => Finding::told(
            "file",
            format!("{} is not there, or is no file: correct --config or ARGOS_SYNC_CONFIG", used.display()),
            Exit::Config,
        ),
        (Some(used), true) => Finding::ok("file", used.display().to_string()),
        (None, true) => Finding::ok("file", "none: defaults, the environment and --set alone"),
        (Some(used), false) => Finding::note(
            "file",
            format!("{} is read, and {} not", used.display(), shown(&unread)),
            "Only one file is read: move what is meant into it, or name the other one with --config.",
        ),
        (None, false) => Finding::note(
            "file",
            format!("none is read, although {} is there", shown(&unread)),
            format!("If it is meant, name it: --config {}, or ARGOS_SYNC_CONFIG.", unread[0].display()),
        ),
    };
    both.into_iter().chain([file]).collect()
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    real(one) == real(other)
}

/// No settings file is as large, in bytes.
const LARGEST: u64 = 1 << 20;

/// Files of settings in these places that are not the one in use.
fn unread(used: Option<&Path>, places: &[Option<&Path>]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for place in places.iter().flatten() {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
            let known =
                used.is_some_and(|used| is_same(used, &path)) || found.iter().any(|other| is_same(other, &path));
            // A file that is none (a pipe, say) might never be read to its end.
            let small = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= LARGEST);
            if !known && small && config::holds_settings(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Everything that is wrong, at once.
pub(super) fn invalid(error: &ConfigError) -> Vec<Finding> {
    error.problems().iter().map(|problem| Finding::told("values", problem, Exit::Config)).collect()
}

/// Settings that could be loaded.
pub(super) fn values(settings: &Settings) -> Vec<Finding> {
    let mut findings = match settings.require_keys() {
        Ok(()) => vec![Finding::ok("values", "valid")],
        Err(error) => invalid(&error),
    };
    findings.extend(settings.overridden().iter().map(overridden));
    findings.extend(secrets(settings));
    findings.extend(settings.projects.iter().filter_map(quoted));
    findings.extend(shared_keys(&settings.projects));
    findings
}

fn overridden(one: &Overridden) -> Finding {
    Finding::note(
        "overridden",
        format!("{} in {} has no effect: {} says otherwise", one.key, one.source, one.by),
        "Keep the one that is meant: the file gives way to the environment, and that to --set.",
    )
}

/// Who can read the files that hold secrets.
fn secrets(settings: &Settings) -> Vec<Finding> {
    let mut files: Vec<&Path> = settings.effective().iter().filter_map(config::Effective::secret_file).collect();
    files.sort();
    files.dedup();
    let open: Vec<Finding> = files.iter().filter_map(|path| readable(path)).collect();
    let shown = settings.effective().iter().filter(|one| one.shows_secret()).map(|one| {
        let seen = format!("{} stands on the command line, which every user of this machine can see", one.key);
        Finding::note("secrets", seen, "Put it into a file of its own, and name that.")
    });
    let found: Vec<Finding> = open.into_iter().chain(shown).collect();
    if found.is_empty() && !files.is_empty() {
        return vec![Finding::ok("secrets", format!("in {}, closed to other users", shown_count(files.len())))];
    }
    found
}

fn shown_count(files: usize) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

fn readable(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o004 != 0).then(|| {
        Finding::note(
            "secrets",
            format!("{} holds a secret, and every user of this machine can read it (mode {mode:o})", path.display()),
            format!("chmod o-rwx {}; it should belong to the user that the daemon runs as.", path.display()),
        )
    })
}

/// A key in quotes: right in TOML, wrong in a file of its own and in many an environment file.
fn quoted(project: &Project) -> Option<Finding> {
    let key = project.api.key.as_ref()?.expose_secret();
    (key.starts_with(['"', '\'']) || key.ends_with(['"', '\''])).then(|| {
        Finding::note(
            "key",
            format!("the API key of project {} begins or ends with a quotation mark", project.id),
            "A file of its own holds the key alone, without quotation marks; so does the environment.",
        )
    })
}

/// Two projects that read the same list.
fn shared_keys(projects: &[Project]) -> Vec<Finding> {
    let identity = |project: &Project| {
        let key = project.api.key.as_ref().map(|key: &SecretString| key.expose_secret().to_owned());
        key.map(|key| (project.api.base_url.clone(), key))
    };
    let mut findings = Vec::new();
    for (number, project) in projects.iter().enumerate() {
        let same = |other: &&Project| identity(project).is_some() && identity(other) == identity(project);
        if let Some(other) = projects[..number].iter().find(same) {
            let seen = format!("projects {} and {} have the same API key", other.id, project.id);
            let cure = "Each would mirror the same submissions: give each the key of its own project in the dashboard.";
            findings.push(Finding::failed("key", seen, cure, Exit::Config));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Outcome;

    #[test]
    fn files_that_are_not_read_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("used.toml"), "[poll]\ninterval = '1m'").unwrap();
        std::fs::write(at("other.toml"), "[poll]\ninterval = '2m'").unwrap();
        std::fs::write(at("Cargo.toml"), "[package]\nname = 'x'").unwrap();
        std::fs::write(at("notes.txt"), "[poll]\ninterval = '2m'").unwrap();
        assert_eq!(
            unread(Some(&at("used.toml")), &[Some(directory.path()), Some(directory.path())]),
            [at("other.toml")]
        );
        assert_eq!(unread(None, &[Some(directory.path())]), [at("other.toml"), at("used.toml")]);
        assert!(unread(None, &[None, Some(Path::new("/nowhere/at/all"))]).is_empty());

        let found = files(Some(&at("used.toml")), Some(&at("other.toml")));
        assert!(found.iter().all(|finding| finding.outcome == Outcome::Note), "{found:?}");
        assert!(found[0].seen.contains("ARGOS_SYNC_CONFIG") && found[1].seen.contains("other.toml"), "{found:?}");
        std::fs::remove_file(at("other.toml")).unwrap();
        assert_eq!(files(Some(&at("used.toml")), Some(&at("used.toml"))).len(), 1);
    }
}
