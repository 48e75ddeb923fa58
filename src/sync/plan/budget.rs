//! Divides the day's requests among the lanes.

/// The part of the budget that open, sweep, import and verify each keep when it is short.
pub(super) const FLOOR: f64 = 0.1;

/// The part that is kept for single submissions: refresh, confirm, canary.
const SINGLE: f64 = 0.02;

/// The part that is never hot's or open's while the others need theirs.
const KEPT: f64 = FLOOR + SINGLE;

/// Requests per day that nobody may take in a burst, where hot and open need so many: 5% more, and so much that the floors
/// of the others are not taken from them.
pub(super) fn reserved(hot_and_open: f64) -> f64 {
    1.05 * hot_and_open / (1.0 - KEPT)
}

/// What the lanes ask for, in requests per day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    pub(super) hot: f64,
    pub(super) open: f64,
    /// The sweep, or the import in its place.
    pub(super) bulk: f64,
    /// Whether there are days to verify.
    pub(super) verify: bool,
    pub(super) probe: f64,
}

/// What they get. All of it together is the budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub(super) hot: f64,
    pub(super) open: f64,
    pub(super) bulk: f64,
    pub(super) verify: f64,
    pub(super) probe: f64,
    pub(super) single: f64,
    /// Nobody needs it: whoever has more to do than that may take it.
    pub(super) spare: f64,
}

/// The sweep gives way first, then open, hot last; each of the former keeps its floor, or its need if that is less.
pub(super) fn divide(budget: f64, needs: &Needs) -> Granted {
    let floor = FLOOR * budget;
    let single = SINGLE * budget;
    // Of a budget of some dozen requests, probes alone could take all.
    let probe = needs.probe.min(floor);
    let verify = if needs.verify { floor } else { 0.0 };
    let there = budget - single - probe - verify;
    let (least_bulk, least_open) = (needs.bulk.min(floor), needs.open.min(floor));
    let bulk = (there - needs.hot - needs.open).clamp(least_bulk, needs.bulk);
    let open = (there - bulk - needs.hot).clamp(least_open, needs.open);
    let hot = (there - bulk - open).min(needs.hot);
    let spare = (there - bulk - open - hot).max(0.0);
    Granted { hot, open, bulk, verify, probe, single, spare }
}
