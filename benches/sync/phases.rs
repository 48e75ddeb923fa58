//! The phases of the main table, one after the other on one database: import, 1% changed, nothing changed, nothing but
//! forms changed; and the limit.

use std::time::Duration;

use serde_json::Value;

use crate::items::{self, Changed, Form};
use crate::measure::Ran;
use crate::report::Report;
use crate::stage::{Cost, Stage};
use crate::truth::{State, Truth, placement};
use crate::{LIMIT, Result, What, limit};

pub const OURS: &str = "bench_ours";
const COPIED: &str = "bench_copied";

/// What `argos-sync once` must say that it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
}

impl Did {
    fn all(self) -> u64 {
        self.new + self.changed + self.unchanged
    }
}

/// Runs what is asked for.
pub async fn run(stage: &mut Stage, only: &[What], submissions: u64, repeat: usize) -> Result<Report> {
    let wants = |what| only.contains(&what);
    stage.prepare("v0", submissions, Form::default())?;
    let mut states = vec![State::V0];
    if wants(What::Changed) {
        stage.prepare("v1", submissions, Form { changed: Changed::OnePercent, reading: 0 })?;
        states.push(State::V1);
    }
    let truth = Truth::of(stage, &states).await?;
    let mut report = Report::default();
    for nth in 0..repeat {
        let mut add = |phase: &str, cost: Cost| report.add(phase, submissions, cost);
        let same = Did { unchanged: submissions, ..Did::default() };
        let mut state = State::V0;

        stage.fresh(OURS).await?;
        stage.server.serve(state.name(), submissions, Duration::ZERO)?;
        let cost = once(stage, OURS, &[], Did { new: submissions, ..Did::default() }).await?.1;
        truth.check(stage, OURS, state).await?;
        add("initial", cost);
        if wants(What::Limit) {
            if nth == 0 {
                limit::dump(stage, OURS).await?;
            }
            stage.fresh(COPIED).await?;
            let (_, cost) = stage.measure(&mut limit::command(stage, COPIED)?).await?;
            truth.check(stage, COPIED, state).await?;
            stage.drop_database(COPIED).await?;
            add(LIMIT, cost);
        }
        if wants(What::Changed) {
            state = State::V1;
            let changed = (0..submissions).filter(|place| items::changes(*place)).count() as u64;
            stage.server.serve(state.name(), submissions, Duration::ZERO)?;
            let did = Did { changed, unchanged: submissions - changed, ..Did::default() };
            let cost = once(stage, OURS, &[], did).await?.1;
            truth.check(stage, OURS, state).await?;
            add("1% changed", cost);
        }
        if wants(What::Unchanged) {
            stage.server.serve(state.name(), submissions, Duration::ZERO)?;
            let cost = unwritten(stage, &truth, state, same).await?;
            add("unchanged", cost);
        }
        if wants(What::Forms) {
            let file = format!("{}-{nth}", state.name());
            let changed = if state == State::V1 { Changed::OnePercent } else { Changed::None };
            stage.prepare(&file, submissions, Form { changed, reading: nth as u64 + 1 })?;
            stage.server.serve(&file, submissions, Duration::ZERO)?;
            let cost = unwritten(stage, &truth, state, same).await?;
            std::fs::remove_file(stage.server.file(&file))?;
            add("other forms", cost);
        }
        stage.drop_database(OURS).await?;
    }
    Ok(report)
}

/// A read that must write no row.
async fn unwritten(stage: &mut Stage, truth: &Truth, state: State, did: Did) -> Result<Cost> {
    let before = placement(stage, OURS).await?;
    let (_, cost) = once(stage, OURS, &[], did).await?;
    truth.check(stage, OURS, state).await?;
    let after = placement(stage, OURS).await?;
    if before != after {
        return Err(format!("rows were written although nothing changed:\n{before:#?}\n{after:#?}").into());
    }
    Ok(cost)
}

/// `argos-sync once`, measured. It must have read what was served, and say that it did what it had to do.
pub async fn once(stage: &mut Stage, database: &str, settings: &[(&str, &str)], did: Did) -> Result<(Ran, Cost)> {
    let before = stage.server.served()?;
    let mut command = stage.program(database, &["once", "--json"], settings)?;
    let (ran, cost) = stage.measure(&mut command).await?;
    let served = stage.server.served()?.items - before.items;
    let said: Value = serde_json::from_str(&ran.output)?;
    let number = |name: &str| said[name].as_u64().unwrap_or(u64::MAX);
    let really = Did { new: number("new"), changed: number("changed"), unchanged: number("unchanged") };
    let odd = said["complete"] != true || number("quarantined") != 0 || said["drift"] != serde_json::json!({});
    if really != did || served < did.all() || odd {
        return Err(format!("it was served {served} submissions, had to do {did:?} and says:\n{said}").into());
    }
    Ok((ran, cost))
}
