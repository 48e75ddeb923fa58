//! Leaves word of what fails for `argos-sync status`: in the table `errors`, one row per lane.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use super::Engine;
use crate::chain::chain;
use crate::clock::Timestamp;
use crate::domain::lane::Lane;
use crate::store::error::StoreError;
use crate::store::errors::{self, Told};
use crate::store::lease::Lease;
use crate::sync::error::SyncError;

/// Between two writes about an error that lasts.
const AGAIN: TimeDelta = TimeDelta::minutes(1);

/// The longest that a pass waits for a word to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the leader has told of its lanes.
#[derive(Default)]
pub(super) struct Telling {
    /// Another leader may have told something else in between: what is known is good for one lease.
    epoch: i64,
    lanes: BTreeMap<Lane, Word>,
}

enum Word {
    /// Nothing that lasts is told of this lane.
    Well,
    Failing {
        /// What came since it was last written.
        untold: Told,
        /// When it was last written, or tried to be.
        tried_at: Timestamp,
    },
}

impl Engine {
    /// Notes how a request ended: well, or (`false`) before the end of its walk because it was asked to stop. Costs nothing
    /// while all is well. That it fails is of no concern to the reading.
    pub(super) async fn tell(&mut self, lane: Lane, ended: Result<bool, &SyncError>) {
        let (Some(lease), false) = (self.lease.clone(), self.dry_run) else { return };
        if self.telling.epoch != lease.epoch {
            self.telling = Telling { epoch: lease.epoch, lanes: BTreeMap::new() };
        }
        let told = match ended {
            Ok(false) => return,
            Ok(true) => tokio::time::timeout(PATIENCE, self.tell_well(&lease, lane)).await,
            // No failures: it was stopped, or another process is at work.
            Err(
                SyncError::Stopped
                | SyncError::NotLeader { .. }
                | SyncError::LeftToOthers { .. }
                | SyncError::Store(StoreError::LeaseLost { .. }),
            ) => {
                return;
            }
            Err(error) => tokio::time::timeout(PATIENCE, self.tell_error(&lease, lane, error)).await,
        };
        // What took too long is told the next time.
        if let Ok(Err(error)) = told {
            tracing::warn!(project = lease.project_id, error = chain(&error), "the table of errors is not up to date");
        }
    }

    async fn tell_well(&mut self, lease: &Lease, lane: Lane) -> Result<(), SyncError> {
        if matches!(self.telling.lanes.get(&lane), Some(Word::Well)) {
            return Ok(());
        }
        self.telling.lanes.insert(lane, Word::Well);
        let now = self.parts.clock.now();
        let mut connection = self.connection().await?;
        Ok(errors::end(&mut connection, lease, lane, now).await?)
    }

    async fn tell_error(&mut self, lease: &Lease, lane: Lane, error: &SyncError) -> Result<(), SyncError> {
        let now = self.parts.clock.now();
        let (kind, advice, message) = (error.kind(), error.advice(), chain(error));
        let new = Told { kind, message, advice, first_at: now, last_at: now, count: 1 };
        let (untold, (due, tried_at)) = match self.telling.lanes.remove(&lane) {
            Some(Word::Failing { untold, tried_at }) if untold.kind == kind => {
                let first_at = if untold.count == 0 { now } else { untold.first_at };
                let count = untold.count + 1;
                let due = now - tried_at >= AGAIN;
                (Told { first_at, count, ..new }, (due, if due { now } else { tried_at }))
            }
            _ => (new, (true, now)),
        };
        // A server that is not there is not waited for once more; what came meanwhile is told when it is back.
        let unreachable = matches!(error, SyncError::Store(error) if error.unreachable());
        self.telling.lanes.insert(lane, Word::Failing { untold: untold.clone(), tried_at });
        if !due || unreachable {
            return Ok(());
        }
        let mut connection = self.connection().await?;
        errors::keep(&mut connection, lease, lane, &untold).await?;
        self.telling.lanes.insert(lane, Word::Failing { untold: Told { count: 0, ..untold }, tried_at });
        Ok(())
    }
}
