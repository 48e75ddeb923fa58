//! Reading each layer into leaves (a dotted key, a value, where it stood) and refusing keys that nobody knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use config::{Environment, File, FileFormat, Source, Value, ValueKind};

use super::DEFAULT_TOML;
use super::settings::Overridden;
use super::sources::Noted;

/// What the name of every environment variable of ours begins with.
pub(super) const PREFIX: &str = "ARGOS_SYNC";
/// The variable that names the settings file.
pub(super) const FILE_VARIABLE: &str = "ARGOS_SYNC_CONFIG";
/// Variables with the prefix that are not settings.
const OTHER_VARIABLES: [&str; 2] = [FILE_VARIABLE, "ARGOS_SYNC_PG_BINDIR"];
/// The list of projects: the one key whose value is not a single value.
pub(super) const PROJECTS: &str = "projects";
/// What an entry of the list may hold besides the keys of `[api]`.
pub(super) const PROJECT_KEYS: [&str; 2] = ["id", "name"];
/// Where defaults come from, as shown.
pub(super) const DEFAULT: &str = "default";

/// One value in one layer.
#[derive(Clone)]
pub(super) struct Leaf {
    /// Dotted, such as `poll.interval`.
    pub(super) key: String,
    /// As the layer holds it.
    pub(super) value: Value,
    /// Where it stood, as shown to people.
    pub(super) source: String,
}

/// The environment variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}__{}", key.to_uppercase().replace('.', "__"))
}

/// Lays a layer over the ones before it. A secret has two forms, `key` and `key_file`: a layer that gives one replaces
/// both forms of the layers below, so that the stronger layer wins here too. Both forms in one layer stay, and are refused.
/// Returns what somebody had written below that is no longer in force, and differs.
pub(super) fn lay_over(leaves: &mut Vec<Leaf>, layer: Vec<Leaf>, known: &BTreeSet<String>) -> Vec<Overridden> {
    let replaced: BTreeSet<String> = layer.iter().filter_map(|leaf| other_form(&leaf.key, known)).collect();
    let mut overridden = Vec::new();
    for stronger in &layer {
        let other = other_form(&stronger.key, known);
        let same_setting = |below: &&Leaf| below.key == stronger.key || Some(&below.key) == other.as_ref();
        let differs = |below: &&Leaf| below.key != stronger.key || below.value.kind != stronger.value.kind;
        let written = leaves.iter().filter(|below| below.source != DEFAULT).filter(same_setting).filter(differs);
        overridden.extend(written.map(|below| Overridden {
            key: below.key.clone(),
            source: below.source.clone(),
            by: stronger.source.clone(),
        }));
    }
    leaves.retain(|leaf| !replaced.contains(&leaf.key));
    leaves.extend(layer);
    overridden
}

fn other_form(key: &str, known: &BTreeSet<String>) -> Option<String> {
    let other = key.strip_suffix("_file").map_or_else(|| format!("{key}_file"), str::to_owned);
    known.contains(&other).then_some(other)
}

/// The layer below all others.
pub(super) fn defaults() -> Vec<Leaf> {
    parse(DEFAULT_TOML, DEFAULT).expect("default.toml is TOML: a test reads it")
}

/// The user's file. Its leaves that are known; what is wrong with the others goes to `problems`.
pub(super) fn file(path: &Path, known: &BTreeSet<String>, problems: &mut Vec<String>, noted: &mut Noted) -> Vec<Leaf> {
    let source = path.display().to_string();
    // Read here and not by the config crate, which would also try other names and replace bytes that are not UTF-8.
    let read = std::fs::read_to_string(path);
    noted.file(path, read.as_deref().map(str::as_bytes));
    let parsed = read
        .map_err(|error| format!("cannot read the settings file {source}: {error}"))
        .and_then(|text| parse(text.trim_start_matches('\u{feff}'), &source));
    let leaves = match parsed {
        Ok(leaves) => leaves,
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    let single_bracket = leaves.iter().any(|leaf| leaf.key.starts_with("projects."));
    if single_bracket {
        problems.push(format!("[projects] in {source} must be [[projects]], with two brackets, once per project"));
    }
    leaves
        .into_iter()
        .filter(|leaf| !leaf.key.starts_with("projects."))
        .filter(|leaf| match leaf.key.as_str() {
            PROJECTS => entries_are_known(leaf, known, problems),
            _ => is_known(leaf, known, problems),
        })
        .collect()
}

/// The environment's leaves. Variables that are no settings of ours but look meant to be go to `problems`.
pub(super) fn environment(
    env: &HashMap<String, String>,
    known: &BTreeSet<String>,
    problems: &mut Vec<String>,
) -> Vec<Leaf> {
    let ours: BTreeMap<_, _> = env
        .iter()
        .filter(|(name, _)| name.to_uppercase().starts_with("ARGOS_SYNC_"))
        .filter(|(name, _)| !OTHER_VARIABLES.contains(&name.as_str()) && !is_service_link(name))
        .collect();
    let mut leaves = Vec::new();
    for (name, value) in ours {
        // One variable at a time, so that each leaf knows its variable. No try_parsing: an all-digit key stays text.
        let read = Environment::with_prefix(PREFIX)
            .prefix_separator("__")
            .separator("__")
            .source(Some(HashMap::from([(name.clone(), value.clone())])))
            .collect()
            .unwrap_or_default();
        let mut read = read.into_iter();
        match read.next() {
            Some((key, _)) if key == PROJECTS || key.starts_with("projects.") => {
                problems.push(format!("{name} cannot be used: projects can only be listed in the settings file"));
            }
            Some((key, value)) if known.contains(&key) && variable(&key) == *name => {
                leaves.push(Leaf { key, value, source: name.clone() });
            }
            _ => {
                let meant = name.to_lowercase()[PREFIX.len()..].trim_start_matches('_').replace("__", ".");
                let advice = nearest(&meant, known.iter().map(String::as_str))
                    .map_or_else(see_reference, |key| format!("did you mean {}?", variable(key)));
                problems.push(format!("unknown environment variable {name}: {advice}"));
            }
        }
    }
    leaves
}

/// The command line's leaves.
pub(super) fn flags(flags: &[(String, String)], known: &BTreeSet<String>, problems: &mut Vec<String>) -> Vec<Leaf> {
    let leaves = flags.iter().map(|(key, value)| Leaf {
        key: key.clone(),
        value: Value::from(value.as_str()),
        source: format!("flag --set {key}"),
    });
    leaves
        .filter(|leaf| {
            if leaf.key == PROJECTS || leaf.key.starts_with("projects.") {
                problems
                    .push(format!("{} cannot be used: projects can only be listed in the settings file", leaf.source));
                return false;
            }
            is_known(leaf, known, problems)
        })
        .collect()
}

/// The leaves of a TOML text. The problem names the place of a mistake but shows nothing of the text: the line may
/// hold a secret, and the parser's own message quotes it.
fn parse(text: &str, source: &str) -> Result<Vec<Leaf>, String> {
    let table = File::from_str(text, FileFormat::Toml).collect().map_err(|error| {
        let place = position(&error.to_string()).map(|(line, column)| format!(": see line {line}, column {column}"));
        format!("{source} is not valid TOML{}", place.unwrap_or_default())
    })?;
    let mut leaves = Vec::new();
    flatten("", table.into_iter().collect(), source, &mut leaves);
    Ok(leaves)
}

/// The line and column in the parser's message; numbers only.
fn position(message: &str) -> Option<(u32, u32)> {
    let (_, place) = message.split_once("TOML parse error at line ")?;
    let (line, rest) = place.split_once(", column ")?;
    let column = rest.split_once('\n').map_or(rest, |(column, _)| column);
    Some((line.parse().ok()?, column.parse().ok()?))
}

fn flatten(prefix: &str, table: BTreeMap<String, Value>, source: &str, leaves: &mut Vec<Leaf>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => {
                flatten(&format!("{key}."), inner.into_iter().collect(), source, leaves);
            }
            _ => leaves.push(Leaf { key, value, source: source.to_owned() }),
        }
    }
}

fn is_known(leaf: &Leaf, known: &BTreeSet<String>, problems: &mut Vec<String>) -> bool {
    let Leaf { key, value, source } = leaf;
    if known.contains(key) {
        return true;
    }
    let sections: BTreeSet<&str> = known.iter().filter_map(|key| key.split_once('.')).map(|(name, _)| name).collect();
    let empty_table = matches!(&value.kind, ValueKind::Table(_));
    if sections.contains(key.as_str()) {
        if !empty_table {
            problems
                .push(format!("\"{key}\" in {source} is a section, not a setting: write its settings as {key}.NAME"));
        }
        return false;
    }
    let candidates = known.iter().map(String::as_str).chain(sections.into_iter().filter(|_| empty_table));
    let advice = nearest(key, candidates).map_or_else(see_reference, |key| format!("did you mean \"{key}\"?"));
    problems.push(format!("unknown setting \"{key}\" in {source}: {advice}"));
    false
}

/// The name under which a key may stand in an entry of `[[projects]]`, if it may.
pub(super) fn in_entries(key: &str) -> Option<&str> {
    key.strip_prefix("api.").filter(|name| *name != "project_id")
}

/// Whether `[[projects]]` is a list of tables; unknown names in its entries are reported and do no further harm.
fn entries_are_known(leaf: &Leaf, known: &BTreeSet<String>, problems: &mut Vec<String>) -> bool {
    let source = &leaf.source;
    let ValueKind::Array(entries) = &leaf.value.kind else {
        problems.push(format!("projects in {source} must be [[projects]] entries, one for each project"));
        return false;
    };
    let names: BTreeSet<&str> = known.iter().filter_map(|key| in_entries(key)).chain(PROJECT_KEYS).collect();
    for (index, entry) in entries.iter().enumerate() {
        let number = index + 1;
        let ValueKind::Table(entry) = &entry.kind else {
            problems.push(format!("projects in {source} must be [[projects]] entries, one for each project"));
            return false;
        };
        let mut leaves = Vec::new();
        flatten("", entry.clone().into_iter().collect(), source, &mut leaves);
        for Leaf { key, .. } in leaves.iter().filter(|leaf| !names.contains(leaf.key.as_str())) {
            let alike = if key == "project_id" { Some("id") } else { nearest(key, names.iter().copied()) };
            let advice = alike.map_or_else(see_reference, |name| format!("did you mean \"{name}\"?"));
            problems.push(format!("unknown setting \"{key}\" in [[projects]] entry {number} of {source}: {advice}"));
        }
    }
    true
}

/// The candidate most like `key`, if any is. A right name in the wrong section counts as alike.
fn nearest<'a>(key: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    candidates
        .map(|candidate| {
            let whole = strsim::normalized_damerau_levenshtein(key, candidate);
            let name = 0.85 * strsim::normalized_damerau_levenshtein(&last(key), &last(candidate));
            (whole.max(name), candidate)
        })
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn see_reference() -> String {
    "config/default.toml lists every setting".to_owned()
}

/// Whether Kubernetes made this variable: with a service named argos-sync (or argos-sync-metrics ...), every pod of
/// its namespace gets `ARGOS_SYNC_SERVICE_HOST`, `ARGOS_SYNC_PORT_9464_TCP_ADDR` and the like.
fn is_service_link(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| !rest.starts_with("__")) else {
        return false;
    };
    if rest.ends_with("_SERVICE_HOST") || rest.contains("_SERVICE_PORT") || rest.ends_with("_PORT") {
        return true;
    }
    rest.split("_PORT_").skip(1).any(|port| {
        let (number, protocol) = port.split_once('_').unwrap_or_default();
        !number.is_empty()
            && number.bytes().all(|digit| digit.is_ascii_digit())
            && ["TCP", "UDP", "SCTP"].iter().any(|name| protocol.starts_with(name))
    })
}
