//! One page, one transaction: rows, versions, quarantine, the walk's cursor and the events move together or not at all.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::NaiveDate;
use serde_json::Value;
use sqlx::{Acquire, PgConnection, PgPool};

use super::coverage;
use super::notes::Notes;
use super::prepare::{self, Known, Version};
use super::report::Counts;
use crate::argos::decode::{Refusal, decode};
use crate::argos::envelope::{self, RawItem};
use crate::clock::Timestamp;
use crate::config::{self, Limits};
use crate::domain::event::{self, Event, EventType};
use crate::domain::hash::Hash;
use crate::domain::lane::{Lane, View};
use crate::domain::submission::{State, Submission, drift};
use crate::domain::views::{Before, Fields};
use crate::domain::{self, change};
use crate::store::error::StoreError;
use crate::store::history::{self, Origin};
use crate::store::id_reads::{self, Reason};
use crate::store::lease::{self, Lease};
use crate::store::mirror::{self, Stored, Write};
use crate::store::progress::{self, Walk};
use crate::store::quarantine::{self, Quarantined};
use crate::store::{alerts, calendar, database, erasure, outbox, receipts, views};

/// What a page is applied with.
pub struct Scope<'a> {
    /// What the items of the page have in common.
    pub page: prepare::Page<'a>,
    /// The lease that fences the transaction.
    pub lease: &'a Lease,
    /// The answer's number; answers are applied in this order.
    pub request_no: i64,
    /// What an item may be.
    pub limits: &'a Limits,
    /// How long the quarantine keeps an item.
    pub retention: Duration,
    /// Whether a complete walk covers its days: their dates filter by created_at, or it has none.
    pub covers: bool,
    /// Days that were asked for; an item outside of them is counted.
    pub asked: Option<(NaiveDate, NaiveDate)>,
    /// The project as it was when the pass began.
    pub project: &'a progress::Project,
    /// The walk's place after this page; `None`: a submission read by id.
    pub walk: Option<&'a Walk>,
    /// Whether this page is the walk's last, and what that means.
    pub end: End,
    /// W3C trace context of the pass.
    pub traceparent: &'a str,
    /// Whether lists lack fields, so that what one shows as new or changed is to be read by id.
    pub details: bool,
    /// Whether whatever this page shows is to be read by id, because nothing else shows its screenings.
    pub by_id: bool,
    /// Upper bound of a statement.
    pub statement_timeout: Duration,
    /// Whether to take everything back at the end: what would change is only counted.
    pub dry_run: bool,
    /// How much may vanish at once.
    pub erasure: &'a config::Erasure,
}

/// What is due at the end of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The walk goes on.
    More,
    /// The list is complete and its days are covered; the walk goes on with their screenings, which the list lacks.
    Listed,
    /// The walk is complete: its days are covered.
    Covered,
    /// The walk is complete, and it read the project from its beginning.
    Imported,
}

/// Applies a page. If PostgreSQL refuses a value, the page is applied again item by item, and what is refused goes to
/// the quarantine: one bad item stops nothing.
///
/// Returns what became of the items, and the walk's place as it was saved.
pub async fn apply(
    pool: &PgPool,
    page: &envelope::Page,
    scope: &Scope<'_>,
) -> Result<(Counts, Option<Walk>), StoreError> {
    match apply_once(pool, page, scope, false).await {
        Err(error) if error.refuses_data() => apply_once(pool, page, scope, true).await,
        result => result,
    }
}

async fn apply_once(
    pool: &PgPool,
    page: &envelope::Page,
    scope: &Scope<'_>,
    one_by_one: bool,
) -> Result<(Counts, Option<Walk>), StoreError> {
    let project_id = scope.page.project_id;
    let mut counts = Counts { items: page.len() as u64, ..Counts::default() };
    if page.replaced {
        drift(&mut counts.drift, "replaced_characters");
    }
    let mut transaction = pool.begin().await.map_err(StoreError::doing("beginning a transaction"))?;
    database::bound(&mut transaction, scope.statement_timeout, scope.lease.ttl).await?;
    // First the lease: from here to the commit nobody else can become the writer.
    lease::renew(&mut transaction, scope.lease).await?;

    let (candidates, mut bad) = sort_out(&mut transaction, page, scope, &mut counts).await?;
    let (versions, mut well) = compare(&mut transaction, candidates, scope, &mut counts, &mut bad).await?;
    let mut events = Vec::new();
    if one_by_one {
        for (raw, version) in &versions {
            let mut savepoint = transaction.begin().await.map_err(StoreError::doing("setting a savepoint"))?;
            match write(&mut savepoint, scope, &[version], &mut counts).await {
                Ok(()) => {
                    savepoint.commit().await.map_err(StoreError::doing("releasing a savepoint"))?;
                    events.extend(version.events.iter().cloned());
                    well.push(version.submission.submission_id.clone());
                }
                Err(error) if error.refuses_data() => {
                    savepoint.rollback().await.map_err(StoreError::doing("going back to a savepoint"))?;
                    bad.push((*raw, Refusal::BY_DATABASE));
                }
                Err(error) => return Err(error),
            }
        }
    } else if !versions.is_empty() {
        let all: Vec<&Version> = versions.iter().map(|(_, version)| version).collect();
        write(&mut transaction, scope, &all, &mut counts).await?;
        events.extend(all.iter().flat_map(|version| version.events.iter().cloned()));
        well.extend(all.iter().map(|version| version.submission.submission_id.clone()));
    }
    if scope.details && scope.page.view != View::Id {
        let ids: Vec<String> = match scope.by_id {
            true => page.items().filter_map(|item| item.submission_id.map(str::to_owned)).collect(),
            false => versions.iter().map(|(_, version)| version.submission.submission_id.clone()).collect(),
        };
        id_reads::push(&mut transaction, project_id, &ids, Reason::Details, scope.page.observed_at).await?;
    }
    // Only now: what PostgreSQL refuses could be decoded and is not well.
    if !well.is_empty() {
        quarantine::heal(&mut transaction, project_id, &well).await?;
    }
    keep(&mut transaction, scope, &bad, &mut counts).await?;

    let at = scope.page.observed_at;
    let walk = match scope.walk {
        Some(walk) => Some(coverage::advance(&mut transaction, page, scope, walk.clone(), &mut counts).await?),
        None => None,
    };
    if scope.end == End::Imported && progress::complete_import(&mut transaction, project_id, at).await? {
        events.push(import_completed(&mut transaction, scope).await?);
    }
    // Last the outbox: its counter's row stays locked until the commit.
    if !events.is_empty() {
        let position = outbox::append(&mut transaction, project_id, &mut events, scope.traceparent, at).await?;
        counts.position = Some(position);
    }
    for event in &events {
        *counts.events.entry(event.kind).or_default() += 1;
    }
    if scope.dry_run {
        transaction.rollback().await.map_err(StoreError::doing("taking back what was only tried"))?;
        return Ok((counts, walk));
    }
    // The only point where the world changes.
    transaction.commit().await.map_err(StoreError::doing("committing a page"))?;
    Ok((counts, walk))
}

type Candidate<'p> = (RawItem<'p>, &'p str, Hash);
type Bad<'p> = Vec<(RawItem<'p>, Refusal)>;

/// Sets aside what needs no decoding: later places win over earlier ones of the same id, and what this view has shown
/// in the same bytes at the current version is unchanged.
async fn sort_out<'p>(
    connection: &mut PgConnection,
    page: &'p envelope::Page,
    scope: &Scope<'_>,
    counts: &mut Counts,
) -> Result<(Vec<Candidate<'p>>, Bad<'p>), StoreError> {
    let mut bad = Vec::new();
    // By id, so that rows are always locked in the same order.
    let mut latest = BTreeMap::new();
    for raw in page.items() {
        match raw.submission_id {
            Some(id) => counts.duplicate += u64::from(latest.insert(id, raw).is_some()),
            None => bad.extend(decode(raw, scope.limits, &mut counts.drift).err().map(|refusal| (raw, refusal))),
        }
    }
    let ids: Vec<String> = latest.keys().map(|id| (*id).to_owned()).collect();
    let known = mirror::known(connection, scope.page.project_id, scope.page.view, &ids).await?;
    let mut candidates = Vec::new();
    let (mut healed, mut suspected) = (Vec::new(), Vec::new());
    for (id, raw) in latest {
        let hash = scope.page.key.body(raw.json.as_bytes());
        let known = known.get(id);
        if known.is_some_and(|known| known.body_hash == Some(hash)) {
            counts.unchanged += 1;
            if known.is_some_and(|known| known.quarantined) {
                healed.push(id.to_owned());
            }
            if known.is_some_and(|known| known.suspected) {
                suspected.push(id.to_owned());
            }
        } else {
            candidates.push((raw, id, hash));
        }
    }
    if !healed.is_empty() {
        quarantine::heal(connection, scope.page.project_id, &healed).await?;
    }
    if !suspected.is_empty() {
        refute(connection, scope, &suspected).await?;
    }
    Ok((candidates, bad))
}

/// Refutes suspicions by the bytes of before: they show what this view has shown, and no more.
async fn refute(connection: &mut PgConnection, scope: &Scope<'_>, ids: &[String]) -> Result<(), StoreError> {
    let (project_id, view) = (scope.page.project_id, scope.page.view);
    let rows = views::of(connection, project_id, ids).await?;
    for (id, stored) in mirror::stored(connection, project_id, ids).await? {
        let rows = rows.get(&id).map_or(&[][..], Vec::as_slice);
        erasure::refute(connection, project_id, &id, view, &prepare::shown(rows, view, &stored)).await?;
    }
    Ok(())
}

/// Decodes what may differ and compares it with what is stored: what is to be written, and the ids of what is unchanged.
async fn compare<'p>(
    connection: &mut PgConnection,
    candidates: Vec<Candidate<'p>>,
    scope: &Scope<'_>,
    counts: &mut Counts,
    bad: &mut Bad<'p>,
) -> Result<(Vec<(RawItem<'p>, Version)>, Vec<String>), StoreError> {
    if candidates.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let project_id = scope.page.project_id;
    let mut decoded = Vec::with_capacity(candidates.len());
    for (raw, id, hash) in candidates {
        match decode(raw, scope.limits, &mut counts.drift) {
            Ok(submission) => decoded.push((raw, id, hash, submission)),
            Err(refusal) => bad.push((raw, refusal)),
        }
    }
    let ids: Vec<String> = decoded.iter().map(|(_, id, ..)| (*id).to_owned()).collect();
    let stored = mirror::stored(connection, project_id, &ids).await?;
    let mut days: Vec<NaiveDate> = decoded
        .iter()
        .filter(|(_, id, ..)| !stored.contains_key(*id))
        .filter_map(|(.., submission)| Some(submission.state.created_at()?.date_naive()))
        .chain([scope.page.fallback_day])
        .collect();
    days.sort_unstable();
    days.dedup();
    let calendar = calendar::of_days(connection, project_id, &days).await?;
    let was_covered = |day: NaiveDate| calendar.covered_at(day).is_some();

    let shown_before = views::of(connection, project_id, &ids).await?;
    let project_fields = views::fields(connection, project_id).await?;
    // Lists may lag behind an answer by id; where there was none there is nothing to lag behind.
    let by_id = |id: &&String| {
        let rows = shown_before.get(*id).map_or(&[][..], Vec::as_slice);
        scope.page.view == View::List && rows.iter().any(|row| row.view == View::Id.as_str())
    };
    let read_by_id: Vec<String> = ids.iter().filter(by_id).cloned().collect();
    let replaced = match read_by_id.is_empty() {
        true => HashMap::new(),
        false => history::before_id_answers(connection, project_id, &read_by_id).await?,
    };

    let reduced = stored.iter().filter(|(_, stored)| !stored.removed_fields.is_empty()).map(|(id, _)| id.clone());
    let vouched = id_reads::vouched(connection, project_id, &reduced.collect::<Vec<_>>()).await?;
    let (mut versions, mut unchanged) = (Vec::new(), Vec::new());
    let mut notes = Notes::default();
    for (raw, id, hash, submission) in decoded {
        let day = submission.state.created_at().map(|at| at.date_naive());
        if day.zip(scope.asked).is_some_and(|(day, (first, last))| day < first || day > last) {
            drift(&mut counts.drift, "outside_window");
        }
        submission.state.unknown_values(&mut counts.drift);
        let Some(stored) = stored.get(id) else {
            // A page of screenings says too little to make a submission of it.
            if scope.page.view == View::Aml {
                counts.skipped += 1;
                continue;
            }
            notes.fields.extend(domain::views::fields(&submission.item));
            if submission.state.created_at().is_none() {
                notes.undated.push(id.to_owned());
            }
            versions.push((raw, prepare::first(&scope.page, submission, Some(hash), was_covered)));
            continue;
        };
        if scope.page.view != View::Id && stored.gone_at.is_some() {
            // Lists lag. Only an answer by id brings it back.
            notes.reappeared.push(id.to_owned());
            counts.held += 1;
            continue;
        }
        let rows = shown_before.get(id).map_or(&[][..], Vec::as_slice);
        let shown = prepare::shown(rows, scope.page.view, stored);
        let sticky = match scope.page.view {
            View::Id => Fields::new(),
            // What answers by id never show can come back in no other way, once one shows that the submission is there.
            _ if vouched.contains(id) => {
                let by_id = prepare::by_id(rows, stored, &project_fields);
                stored.removed_fields.intersection(&by_id).cloned().collect()
            }
            _ => stored.removed_fields.clone(),
        };
        let before = Before { stored: &stored.item, shown: &shown, removed: &stored.removed_fields, sticky: &sticky };
        let merged = domain::views::merge(submission.item, &before);
        if scope.page.view == View::Id && !stored.removed_fields.is_empty() && domain::views::personal(&merged.answered)
        {
            notes.vouched.push(id.to_owned());
        }
        let submission = Submission::new(id.to_owned(), merged.item.clone());
        if merged.screening_missing {
            drift(&mut counts.drift, "aml_missing");
        }
        if !merged.lost.is_empty() {
            drift(&mut counts.drift, "field_vanished");
        }
        notes.take(id, &merged);
        // An item whose change was held leaves no hash: it is looked at again.
        let hash = (!merged.held()).then_some(hash);
        let known = Known { stored, views: rows, project_fields: &project_fields, merged: &merged };
        if replaced.get(id).is_some_and(|replaced| lags(replaced, stored, &submission)) {
            notes.lagging.push(id.to_owned());
            counts.held += 1;
            continue;
        }
        match prepare::next(&scope.page, submission, hash, &known) {
            Some(version) => versions.push((raw, version)),
            None => {
                *(if merged.held() { &mut counts.held } else { &mut counts.unchanged }) += 1;
                unchanged.push(id.to_owned());
                notes.views.extend(prepare::view_of_same(&scope.page, hash, &known).map(|view| (id.to_owned(), view)));
            }
        }
    }
    notes.write(connection, scope, &project_fields).await?;
    Ok((versions, unchanged))
}

/// Whether a list item takes back what an answer by id had changed.
fn lags(replaced: &Value, stored: &Stored, submission: &Submission) -> bool {
    let (replaced, current) = (State::of(replaced), State::of(&stored.item));
    let changed = change::changed_fields(&current, &submission.state);
    domain::views::restores(&changed, &change::changed_fields(&replaced, &submission.state))
}

/// Writes rows, versions and counts of some versions.
async fn write(
    connection: &mut PgConnection,
    scope: &Scope<'_>,
    versions: &[&Version],
    counts: &mut Counts,
) -> Result<(), StoreError> {
    let project_id = scope.page.project_id;
    let writes: Vec<Write<'_>> = versions
        .iter()
        .map(|version| Write {
            submission: &version.submission,
            version: version.number,
            version_id: version.id,
            first_seen_at: version.first_seen_at,
            first_request: version.first_request,
            // What is written here was shown just now.
            gone_at: None,
            observed_at: scope.page.observed_at,
            changed_at: version.changed_at,
            created_day: version.created_day,
            history: version.history,
            removed_fields: &version.removed_fields,
            children_changed: version.children,
        })
        .collect();
    let mut odd = counts.drift.clone();
    mirror::write(connection, project_id, &writes, &mut odd).await?;
    let rows: Vec<_> = versions
        .iter()
        .flat_map(|v| v.views.iter().map(move |row| (v.submission.submission_id.as_str(), row)))
        .collect();
    views::write(connection, project_id, &rows).await?;
    for version in versions.iter().filter(|version| version.cause == "reappeared") {
        let id = &version.submission.submission_id;
        receipts::reappeared(connection, project_id, id, scope.page.observed_at).await?;
    }
    let rows: Vec<_> = writes
        .iter()
        .zip(versions)
        .map(|(write, version)| (write, version.changed.as_slice(), version.cause))
        .collect();
    history::append(connection, project_id, origin(scope), &rows).await?;
    write_alerts(connection, scope, versions).await?;
    let mut deltas: HashMap<(&'static str, String), i64> = HashMap::new();
    for (name, label, by) in versions.iter().flat_map(|version| &version.deltas) {
        *deltas.entry((name, label.clone())).or_default() += by;
    }
    mirror::count(connection, project_id, &deltas).await?;
    let tally: Vec<_> = versions.iter().flat_map(|version| version.day_deltas.iter().copied()).collect();
    calendar::tally(connection, project_id, &tally).await?;
    counts.drift = odd;
    for version in versions {
        *(if version.number == 1 { &mut counts.new } else { &mut counts.changed }) += 1;
        counts.alerts += version.alerts.iter().filter(|alert| !alert.imported).count() as u64;
        counts.latencies.extend(version.latency);
    }
    Ok(())
}

/// What a person must look at, and which flags the vendor has cleared. Costs nothing where there is neither.
async fn write_alerts(
    connection: &mut PgConnection,
    scope: &Scope<'_>,
    versions: &[&Version],
) -> Result<(), StoreError> {
    let (project_id, at) = (scope.page.project_id, scope.page.observed_at);
    let id = |version: &Version| version.submission.submission_id.clone();
    let clears = |version: &&&Version| version.events.iter().any(|event| event.kind == EventType::AmlRedFlagCleared);
    let cleared: Vec<String> = versions.iter().filter(clears).map(|version| id(version)).collect();
    alerts::cleared(connection, project_id, &cleared, at).await?;
    let raised: Vec<_> = versions
        .iter()
        .flat_map(|version| {
            version.alerts.iter().map(|alert| (&*version.submission.submission_id, version.number, *alert))
        })
        .collect();
    alerts::raise(connection, project_id, &raised, at).await
}

async fn keep(
    connection: &mut PgConnection,
    scope: &Scope<'_>,
    bad: &Bad<'_>,
    counts: &mut Counts,
) -> Result<(), StoreError> {
    counts.quarantined += bad.len() as u64;
    if bad.is_empty() {
        return Ok(());
    }
    let at = scope.page.observed_at;
    let ids: Vec<String> = bad.iter().filter_map(|(raw, _)| raw.submission_id.map(str::to_owned)).collect();
    let erased = erasure::erased(connection, scope.page.project_id, &ids).await?;
    let items: Vec<Quarantined<'_>> = bad
        .iter()
        .map(|(raw, refusal)| Quarantined {
            body_hash: scope.page.key.body(raw.json.as_bytes()),
            submission_id: raw.submission_id,
            reason: refusal.reason,
            detail: refusal.detail,
            // What was erased does not come back by being unusable.
            body: match raw.submission_id.is_some_and(|id| erased.contains(id)) {
                true => "",
                false => &raw.json[..raw.json.floor_char_boundary(scope.limits.item_bytes)],
            },
        })
        .collect();
    if scope.page.view != View::Id {
        let erased: Vec<String> = erased.into_iter().collect();
        id_reads::push(connection, scope.page.project_id, &erased, Reason::Reappeared, at).await?;
    }
    let new = quarantine::keep(connection, scope.page.project_id, origin(scope), &items, at, scope.retention).await?;
    for reason in new {
        *counts.newly_quarantined.entry(reason).or_default() += 1;
    }
    Ok(())
}

async fn import_completed(connection: &mut PgConnection, scope: &Scope<'_>) -> Result<Event, StoreError> {
    let project_id = scope.page.project_id;
    let counted = mirror::counts(connection, project_id).await?;
    let submissions = counted.iter().filter(|((name, _), _)| name == "submissions").map(|(_, value)| value).sum();
    let at: Timestamp = scope.page.observed_at;
    Ok(event::import_completed(project_id, scope.project.import_number, at, submissions, scope.page.key))
}

fn origin(scope: &Scope<'_>) -> Origin {
    let lane: Lane = scope.page.lane;
    Origin { view: scope.page.view, lane, lease_epoch: scope.lease.epoch, request_no: scope.request_no }
}
