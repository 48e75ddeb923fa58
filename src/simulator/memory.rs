//! The state file: what a second run continues from.

use std::path::Path;

use super::timeline::Timeline;
use super::world::State;
use super::{Options, SimulatorError};
use crate::clock::Timestamp;

/// The state to start from: the file's if there is one, else a new one.
pub(super) fn load(options: &Options, now: Timestamp) -> Result<State, SimulatorError> {
    let history_ms = i64::try_from(options.history.as_millis()).unwrap_or(i64::MAX);
    let fresh = || State {
        seed: options.seed,
        initial: options.initial,
        history_ms,
        life: options.life,
        timeline: Timeline::starting(now, options.rate),
        overlay: std::collections::BTreeMap::new(),
    };
    let Some(path) = &options.state_file else {
        return Ok(fresh());
    };
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(fresh()),
        other => other.map_err(|source| SimulatorError::File { path: path.clone(), source })?,
    };
    let mut state: State =
        serde_json::from_str(&text).map_err(|source| SimulatorError::State { path: path.clone(), source })?;
    if (state.seed, state.initial, state.history_ms) != (options.seed, options.initial, history_ms)
        || state.life.to_bits() != options.life.to_bits()
    {
        // Other numbers would make another past, which no mirror could follow.
        tracing::warn!(path = %path.display(), "simulator: the state file's seed, initial, history and life are used");
    }
    // A run that was killed left its segment open; a stopped run closed it.
    state.timeline.recover(now);
    if state.timeline.rate().to_bits() != options.rate.to_bits() {
        state.timeline.freeze(now);
    }
    state.timeline.thaw(now, options.rate);
    Ok(state)
}

/// Writes the state beside the file and puts it in place, so that a crash leaves the old or the new one.
pub(super) fn save(path: &Path, state: &State) -> Result<(), SimulatorError> {
    let text = serde_json::to_vec(state).map_err(|source| SimulatorError::State { path: path.to_owned(), source })?;
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|source| SimulatorError::File { path: path.to_owned(), source })
}
