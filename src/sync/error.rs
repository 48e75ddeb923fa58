//! Why a pass ended early.

use crate::argos::error::ApiError;
use crate::store::error::StoreError;

/// Why a pass ended early. Everything committed before stays.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The vendor's side.
    #[error("reading from the vendor failed")]
    Api(#[source] ApiError),
    /// The vendor's side, and perhaps only for this one submission.
    #[error("submission {submission_id:?} cannot be read by id")]
    OneSubmission {
        /// Which one.
        submission_id: String,
        /// How it failed.
        source: ApiError,
    },
    /// The database's side.
    #[error("writing to the database failed")]
    Store(#[source] StoreError),
    /// Another process is the writer.
    #[error("another process is the writer of project {project_id:?}: {holder:?} holds its lease")]
    NotLeader {
        /// The project.
        project_id: String,
        /// Who holds the lease.
        holder: String,
    },
    /// This process leads another project, and leaves the free lease of this one to others until its next look.
    #[error("the lease of project {project_id:?} is free and left to others for a moment")]
    LeftToOthers {
        /// The project.
        project_id: String,
    },
    /// The list does not end as documented.
    #[error("the vendor's list does not end: {what}")]
    EndlessList {
        /// How that shows.
        what: &'static str,
    },
    /// It was asked to stop.
    #[error("asked to stop")]
    Stopped,
    /// A complete walk showed nothing where something is known.
    #[error("the vendor shows no submission at all for days that have some")]
    SuspiciouslyEmpty,
    /// After a change of key, server or dialect the known submissions are not there.
    #[error("{same} of {asked} known submissions answer by id since server, key or dialect changed")]
    OtherProject {
        /// How many were asked for.
        asked: usize,
        /// How many answered as the same.
        same: usize,
    },
}

impl SyncError {
    /// That the known submissions are another project's: of those that were asked for, more than half must be the same.
    pub fn other_project(asked: usize, same: usize) -> Option<Self> {
        (asked > 0 && same * 2 <= asked).then_some(Self::OtherProject { asked, same })
    }

    /// What it means and what to do: one sentence for the operator.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Api(error) => error.advice(),
            Self::OneSubmission { .. } => {
                "Others are read meanwhile, and it is tried again later; if it lasts, ask the vendor's support about this submission."
            }
            Self::Store(error) => error.advice(),
            Self::NotLeader { .. } => {
                "One process writes at a time. run takes over by itself when the other ends; anything else can be tried again then (after a kill: when lease.ttl is over)."
            }
            Self::LeftToOthers { .. } => {
                "Projects spread over daemons in this way; it is taken next if nobody else does."
            }
            Self::EndlessList { .. } => {
                "The walk starts over and nothing is marked as covered; if it lasts, show the vendor's support the last nextpageKey."
            }
            Self::Stopped => "Run it again to go on.",
            Self::SuspiciouslyEmpty => {
                "Nothing is deleted and nothing marked as covered: check that the key belongs to this project and that api.dialect fits."
            }
            Self::OtherProject { .. } => {
                "Nothing was written and nothing is erased: most likely the key is another project's. Put the right one back; if the new one is meant, argos-sync erasure accept-key."
            }
        }
    }

    /// A short name, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Api(error) | Self::OneSubmission { source: error, .. } => error.kind(),
            Self::Store(StoreError::LeaseLost { .. }) => "lease_lost",
            Self::Store(_) => "database",
            Self::NotLeader { .. } | Self::LeftToOthers { .. } => "not_leader",
            Self::EndlessList { .. } => "endless_list",
            Self::Stopped => "stopped",
            Self::SuspiciouslyEmpty => "suspiciously_empty",
            Self::OtherProject { .. } => "other_project",
        }
    }
}

impl From<ApiError> for SyncError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<StoreError> for SyncError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
