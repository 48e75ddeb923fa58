//! Carries out a confirmed deletion, in the caller's fenced transaction: the row, its children, all versions, the
//! quarantine and the payloads lose what the vendor deleted; a receipt stays.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::prepare;
use crate::clock::Timestamp;
use crate::config::ErasureMode;
use crate::domain::change::changed_fields;
use crate::domain::erasure::{Kind, reduced, reduced_older};
use crate::domain::event::{self, Draft, EventType};
use crate::domain::hash::HashKey;
use crate::domain::lane::{Lane, View};
use crate::domain::submission::{Drift, State, Submission};
use crate::domain::views::{Fields, fields, left_of_deleted};
use crate::store::erasure::{self, Suspicion};
use crate::store::error::StoreError;
use crate::store::history::{self, Origin};
use crate::store::mirror::{self, ChildrenChanged, Write};
use crate::store::receipts::{self, Receipt};
use crate::store::views::{self, ViewRow, ViewWrite};
use crate::store::{calendar, id_reads, outbox, quarantine};

/// How and when it is carried out.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The project's id.
    pub project_id: &'a str,
    /// Keys all hashes.
    pub key: &'a HashKey,
    /// Whether the data is removed, or kept and marked.
    pub mode: ErasureMode,
    /// The lease's epoch and the number of the request that confirmed it.
    pub request: (i64, i64),
    /// By which lane it was confirmed.
    pub lane: Lane,
    /// The time.
    pub at: Timestamp,
    /// W3C trace context of the pass.
    pub traceparent: &'a str,
}

/// What was carried out.
#[derive(Debug)]
pub struct Done {
    /// The receipt.
    pub receipt: Receipt,
    /// The types of the events that tell of it.
    pub events: Vec<EventType>,
}

/// Carries a confirmed suspicion out; `None`: there is nothing left to be done about it. `receipt`: the one that orders
/// it, kept in place of a new one.
pub async fn carry_out(
    connection: &mut PgConnection,
    order: &Order<'_>,
    suspicion: &Suspicion,
    receipt: Option<&Receipt>,
) -> Result<Option<Done>, StoreError> {
    let Order { project_id, key, mode, at, .. } = *order;
    let ids = [suspicion.submission_id.clone()];
    let Some(stored) = mirror::stored(connection, project_id, &ids).await?.remove(&suspicion.submission_id) else {
        erasure::clear(connection, project_id, &ids).await?;
        return Ok(None);
    };
    let kind = suspicion.kind;
    if stored.gone_at.is_some() {
        erasure::clear(connection, project_id, &ids).await?;
        return Ok(None);
    }
    let erase = mode == ErasureMode::Erase;
    let before = State::of(&stored.item);
    let item = if erase { reduced(&stored.item, kind, &suspicion.fields) } else { stored.item.clone() };
    let submission = Submission::new(suspicion.submission_id.clone(), item);
    let number = stored.version + 1;
    let id = key.version(&stored.version_id, &submission.state.bytes());
    let changed = changed_fields(&before, &submission.state);
    let told: Vec<&String> = if kind == Kind::Gone { Vec::new() } else { suspicion.fields.iter().collect() };
    let mut drafts = vec![Draft::new(
        EventType::SubmissionErased,
        "",
        json!({"kind": kind.as_str(), "fields": told, "mode": mode.as_str()}),
    )];
    if !changed.is_empty() {
        drafts.push(Draft::new(EventType::SubmissionUpdated, "", json!({"changed": changed})));
    }
    let context = event::Context {
        project_id,
        submission_id: &suspicion.submission_id,
        version: number,
        version_id: &id,
        observed_at: at,
        view: View::Id,
        lane: order.lane,
        // What is being erased is not told once more.
        include_userid: false,
    };
    let mut events = event::events(drafts, &submission.state, &context, key);

    // What names nobody may come back by itself.
    let mut removed_fields: Fields = stored.removed_fields.union(&suspicion.fields).cloned().collect();
    removed_fields.retain(|field| !left_of_deleted(field));
    let write = Write {
        submission: &submission,
        version: number,
        version_id: id,
        first_seen_at: stored.first_seen_at,
        first_request: stored.first_request,
        gone_at: (kind == Kind::Gone).then_some(at),
        observed_at: at,
        changed_at: at,
        created_day: stored.created_day,
        history: stored.history,
        removed_fields: if kind == Kind::Gone { &stored.removed_fields } else { &removed_fields },
        children_changed: ChildrenChanged { attempts: erase, matches: erase, bank: erase },
    };
    mirror::write(connection, project_id, std::slice::from_ref(&write), &mut Drift::new()).await?;
    let cause = if kind == Kind::Fields { "removed" } else { "erased" };
    let origin = Origin { view: View::Id, lane: order.lane, lease_epoch: order.request.0, request_no: order.request.1 };
    history::append(connection, project_id, origin, &[(&write, &changed, cause)]).await?;
    let mut touched = 0;
    if erase {
        let older = |item: &Value| reduced_older(item, kind, &suspicion.fields);
        touched = history::reduce(connection, project_id, &suspicion.submission_id, number, older).await?;
        quarantine::heal(connection, project_id, &ids).await?;
        if kind != Kind::Fields || suspicion.fields.contains("userid") {
            outbox::forget_userid(connection, project_id, &suspicion.submission_id).await?;
        }
    }
    narrow_views(connection, order, suspicion, &stored.item, &submission.item, number).await?;
    id_reads::forget_checks(connection, project_id, &suspicion.submission_id).await?;
    let after = (kind != Kind::Gone).then_some(&submission.state);
    let mut deltas: HashMap<(&'static str, String), i64> = HashMap::new();
    for (name, label, by) in prepare::deltas(Some(&before), after) {
        *deltas.entry((name, label)).or_default() += by;
    }
    mirror::count(connection, project_id, &deltas).await?;
    let day = stored.created_day;
    let tally = prepare::day_deltas(Some((day, &before)), after.map(|state| (day, state)));
    calendar::tally(connection, project_id, &tally).await?;

    let mut confirmed_at = suspicion.confirmed_at.clone();
    confirmed_at.sort_unstable();
    let new = Receipt {
        project_id: project_id.to_owned(),
        submission_id: suspicion.submission_id.clone(),
        version: number,
        kind: kind.as_str().to_owned(),
        mode: mode.as_str().to_owned(),
        fields: told.into_iter().cloned().collect(),
        noticed_at: suspicion.noticed_at,
        confirmed_at,
        executed_at: at,
        versions_touched: i64::try_from(touched).unwrap_or(i64::MAX),
        digest: String::new(),
        reappeared_at: None,
    };
    let receipt = receipt.cloned().unwrap_or_else(|| new.signed(key));
    receipts::keep(connection, &receipt).await?;
    erasure::clear(connection, project_id, &ids).await?;
    // Last the outbox: its counter's row stays locked until the commit.
    outbox::append(connection, project_id, &mut events, order.traceparent, at).await?;
    let events = events.iter().map(|event| event.kind).collect();
    Ok(Some(Done { receipt, events }))
}

/// Each view goes on from what is left: what it stops showing from now on is a deletion, too. Its hash is void, also where
/// the data is kept: the bytes of before must be looked at again if a list shows them.
async fn narrow_views(
    connection: &mut PgConnection,
    order: &Order<'_>,
    suspicion: &Suspicion,
    before: &Value,
    item: &Value,
    version: i64,
) -> Result<(), StoreError> {
    let id = &suspicion.submission_id;
    let rows = views::of(connection, order.project_id, std::slice::from_ref(id)).await?.remove(id).unwrap_or_default();
    let left: Fields = fields(item).difference(&suspicion.fields).cloned().collect();
    let narrowed = |row: ViewRow| {
        let shown = row.shown.unwrap_or_else(|| fields(before)).intersection(&left).cloned().collect();
        ViewWrite { view: row.view, version, body_hash: None, shown: Some(shown) }
    };
    let rows: Vec<ViewWrite> = rows.into_iter().map(narrowed).collect();
    let rows: Vec<_> = rows.iter().map(|row| (id.as_str(), row)).collect();
    views::write(connection, order.project_id, &rows).await
}

/// Carries out once more what a receipt says, in a restored backup; `None`: nothing had to be done.
pub async fn apply_receipt(
    connection: &mut PgConnection,
    order: &Order<'_>,
    receipt: &Receipt,
) -> Result<Option<Done>, StoreError> {
    let Some(kind) = receipt.kind().filter(|_| receipt.reappeared_at.is_none()) else { return Ok(None) };
    if receipts::has(connection, receipt).await? {
        return Ok(None);
    }
    let ids = [receipt.submission_id.clone()];
    let stored = mirror::stored(connection, order.project_id, &ids).await?.remove(&receipt.submission_id);
    let mut gone: Fields = receipt.fields.iter().cloned().collect();
    if let Some(stored) = stored.as_ref().filter(|_| kind == Kind::Blanked) {
        // The backup may hold an older state, with fields that were not there any more when it was blanked.
        gone.extend(fields(&stored.item).into_iter().filter(|field| !left_of_deleted(field)));
    }
    let mode = if receipt.mode == ErasureMode::Hold.as_str() { ErasureMode::Hold } else { ErasureMode::Erase };
    if mode == ErasureMode::Erase {
        quarantine::heal(connection, order.project_id, &ids).await?;
    }
    let suspicion = Suspicion {
        submission_id: receipt.submission_id.clone(),
        kind,
        fields: gone,
        lane: order.lane.as_str().to_owned(),
        noticed_at: receipt.noticed_at,
        confirmed_at: receipt.confirmed_at.clone(),
        next_check_at: order.at,
        released_at: None,
        lacked_at: None,
    };
    let done = carry_out(connection, &Order { mode, ..*order }, &suspicion, Some(receipt)).await?;
    if done.is_none() {
        receipts::keep(connection, receipt).await?;
    }
    Ok(done)
}
