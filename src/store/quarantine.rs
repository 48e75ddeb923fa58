//! Items that could not be used, kept as they were sent.

use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::error::StoreError;
use super::history::Origin;
use super::mirror::bytea;
use crate::argos_free::Quarantined;
use crate::clock::Timestamp;
use crate::domain::time;
