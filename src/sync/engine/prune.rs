//! Retention: a small fenced batch of each kind, now and then. That it fails is told and does not stop the polling.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Engine, in_time};
use crate::chain::chain;
use crate::clock::Timestamp;
use crate::metrics::PrunedTable;
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::prune::{self, Batch, Observed};
use crate::sync::error::SyncError;

/// How long pruning rests when nothing is left to do, or when it failed.
const REST: TimeDelta = TimeDelta::minutes(5);

/// The most batches of a kind in a row that find nothing to remove, only what others left.
const LOOKS: u32 = 20;

/// What a call of [`Engine::prune`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Items of the quarantine.
    pub quarantine: u64,
    /// Events.
    pub outbox: u64,
    /// Bodies of versions.
    pub versions: u64,
    /// Whether the next call may find something at once.
    pub more: bool,
}

/// Where pruning goes on, and when.
#[derive(Default)]
pub(super) struct Progress {
    /// The places are good for one lease: another writer, or a restored backup, begins at the beginning.
    epoch: i64,
    outbox: i64,
    versions: Option<Observed>,
    due: Option<Timestamp>,
    last_error: String,
}

impl Engine {
    /// Removes a batch of what `[retention]` does not keep: one transaction for each kind that has a retention, begun
    /// only as the leader. Kinds do not depend on each other: after an error the others are still done.
    ///
    /// # Errors
    /// The first of the kinds' errors, or that another process is the writer.
    pub async fn prune(&mut self) -> Result<Pruned, SyncError> {
        self.look().await?;
        let heartbeat = self.parts.heartbeat.clone();
        in_time(&heartbeat, self.renew()).await?;
        let lease = self.held()?;
        if self.pruning.epoch != lease.epoch {
            (self.pruning.epoch, self.pruning.outbox, self.pruning.versions) = (lease.epoch, 0, None);
        }
        let mut pruned = Pruned::default();
        let mut first_error = None;
        for table in PrunedTable::ALL {
            let (rows, more) = match in_time(&heartbeat, self.prune_table(&lease, table)).await {
                Ok(done) => done,
                Err(error @ SyncError::Store(StoreError::LeaseLost { .. })) => {
                    self.lease = None;
                    self.parts.metrics.leader.set(0);
                    return Err(error);
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                    continue;
                }
            };
            match table {
                PrunedTable::Quarantine => pruned.quarantine = rows,
                PrunedTable::Outbox => pruned.outbox = rows,
                PrunedTable::Versions => pruned.versions = rows,
            }
            pruned.more |= more;
        }
        first_error.map_or(Ok(pruned), Err)
    }

    /// For the loop, after each pass: prunes if this process is the leader and it is time.
    pub async fn prune_when_due(&mut self) {
        let now = self.parts.clock.now();
        if self.lease.is_none() || self.pruning.due.is_some_and(|due| now < due) {
            return;
        }
        // A backlog is worked off batch by batch, one after each pass.
        self.pruning.due = if self.prune_and_tell().await { None } else { Some(now + REST) };
    }

    /// For a command that ends: prunes until nothing is left to do, it fails, or it is asked to stop.
    pub async fn prune_all(&mut self) {
        while !self.parts.stop.is_cancelled() && self.prune_and_tell().await {}
    }

    /// Whether there is more. An error that lasts is told once.
    async fn prune_and_tell(&mut self) -> bool {
        let project = &self.parts.project.id.clone();
        let error = match self.prune().await {
            Ok(pruned) => {
                let Pruned { quarantine, outbox, versions, more } = pruned;
                if quarantine + outbox + versions > 0 {
                    tracing::info!(project, quarantine, outbox, versions, more, "pruned");
                }
                self.pruning.last_error.clear();
                return more;
            }
            // The next pass says so.
            Err(
                SyncError::NotLeader { .. }
                | SyncError::LeftToOthers { .. }
                | SyncError::Store(StoreError::LeaseLost { .. }),
            ) => return false,
            Err(error) => error,
        };
        self.parts.metrics.prune_failures.inc();
        let text = chain(&error);
        if self.pruning.last_error != text {
            let advice = error.advice();
            tracing::error!(project, kind = error.kind(), advice, "retention is not kept; reading goes on: {text}");
        }
        self.pruning.last_error = text;
        false
    }

    /// One batch of one kind, after any that find nothing to remove: rows removed, and whether there may be more.
    async fn prune_table(&mut self, lease: &Lease, table: PrunedTable) -> Result<(u64, bool), SyncError> {
        let retention = &self.parts.settings.retention;
        let (project_id, size) = (self.parts.project.id.clone(), retention.batch);
        let now = self.parts.clock.now();
        // The quarantine's rows say themselves when their time is over.
        let age = match table {
            PrunedTable::Quarantine => Some(Duration::ZERO),
            PrunedTable::Outbox => retention.outbox,
            PrunedTable::Versions => retention.versions,
        };
        let Some(age) = age else { return Ok((0, false)) };
        let before = now - age;
        for _ in 0..LOOKS {
            let mut transaction = self.fenced(lease).await?;
            let (outbox, versions) = (self.pruning.outbox, self.pruning.versions.clone());
            let (rows, more, outbox, versions) = match table {
                PrunedTable::Quarantine => {
                    let Batch { rows, more, .. } =
                        prune::quarantine(&mut transaction, &project_id, before, size).await?;
                    (rows, more, outbox, versions)
                }
                PrunedTable::Outbox => {
                    let Batch { rows, more, place } =
                        prune::outbox(&mut transaction, &project_id, before, outbox, size).await?;
                    (rows, more, place, versions)
                }
                PrunedTable::Versions => {
                    let after = versions.as_ref();
                    let Batch { rows, more, place } =
                        prune::versions(&mut transaction, &project_id, before, after, size).await?;
                    (rows, more, outbox, place)
                }
            };
            transaction.commit().await.map_err(StoreError::doing("committing what was pruned"))?;
            // Only now: a batch that was not committed is to be done again.
            (self.pruning.outbox, self.pruning.versions) = (outbox, versions);
            self.parts.metrics.pruned(table, rows);
            if rows > 0 || !more {
                return Ok((rows, more));
            }
        }
        Ok((0, true))
    }
}
