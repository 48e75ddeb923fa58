//! One page, one transaction: rows, versions, quarantine, the walk's cursor and the events move together or not at all.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::NaiveDate;
use sqlx::{Acquire, PgConnection, PgPool};

use super::coverage;
use super::prepare::{self, Version};
use super::report::Counts;
use crate::argos::decode::{Refusal, decode};
use crate::argos::envelope::{self, RawItem};
use crate::clock::Timestamp;
use crate::config::Limits;
use crate::domain::event::{self, Event};
use crate::domain::hash::Hash;
use crate::domain::lane::Lane;
use crate::domain::submission::drift;
use crate::store::error::StoreError;
use crate::store::history::{self, Origin};
use crate::store::lease::{self, Lease};
use crate::store::mirror::{self, Write};
use crate::store::progress::{self, Walk};
use crate::store::quarantine::{self, Quarantined};
use crate::store::{calendar, database, outbox};

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
    /// Upper bound of a statement.
    pub statement_timeout: Duration,
    /// Whether to take everything back at the end: what would change is only counted.
    pub dry_run: bool,
}

/// What is due at the end of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The walk goes on.
    More,
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
    let mut healed = Vec::new();
    for (id, raw) in latest {
        let hash = scope.page.key.body(raw.json.as_bytes());
        let known = known.get(id);
        if known.is_some_and(|known| known.body_hash == Some(hash)) {
            counts.unchanged += 1;
            if known.is_some_and(|known| known.quarantined) {
                healed.push(id.to_owned());
            }
        } else {
            candidates.push((raw, id, hash));
        }
    }
    if !healed.is_empty() {
        quarantine::heal(connection, scope.page.project_id, &healed).await?;
    }
    Ok((candidates, bad))
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
    let covered = progress::covered_days(connection, project_id, &days).await?;
    // A complete walk without dates has covered every day up to its own.
    let walked = scope.project.fully_walked_at.map(|at| at.date_naive());
    let was_covered = |day: NaiveDate| covered.contains(&day) || walked.is_some_and(|walked| day <= walked);

    let (mut versions, mut unchanged) = (Vec::new(), Vec::new());
    for (raw, id, hash, mut submission) in decoded {
        let stored = stored.get(id);
        let held = stored.is_some_and(|stored| submission.keep_screening(&stored.item));
        if held {
            drift(&mut counts.drift, "aml_missing");
        }
        let day = submission.state.created_at().map(|at| at.date_naive());
        if day.zip(scope.asked).is_some_and(|(day, (first, last))| day < first || day > last) {
            drift(&mut counts.drift, "outside_window");
        }
        submission.state.unknown_values(&mut counts.drift);
        // An item whose change was held leaves no hash: it is looked at again.
        let hash = (!held).then_some(hash);
        match prepare::version(&scope.page, submission, hash, stored, was_covered) {
            Some(version) => versions.push((raw, version)),
            None => {
                counts.unchanged += 1;
                unchanged.push(id.to_owned());
            }
        }
    }
    Ok((versions, unchanged))
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
            gone_at: None,
            observed_at: scope.page.observed_at,
            created_day: version.created_day,
            body_hash: version.body_hash,
            children_changed: version.children,
        })
        .collect();
    let mut odd = counts.drift.clone();
    mirror::write(connection, project_id, scope.page.view, &writes, &mut odd).await?;
    let rows: Vec<_> = writes
        .iter()
        .zip(versions)
        .map(|(write, version)| (write, version.changed.as_slice(), version.cause))
        .collect();
    history::append(connection, project_id, origin(scope), &rows).await?;
    let mut deltas: HashMap<(&'static str, String), i64> = HashMap::new();
    for (name, label, by) in versions.iter().flat_map(|version| &version.deltas) {
        *deltas.entry((name, label.clone())).or_default() += by;
    }
    mirror::count(connection, project_id, &deltas).await?;
    let tally: Vec<_> = versions.iter().flat_map(|version| version.tally.iter().copied()).collect();
    calendar::tally(connection, project_id, &tally).await?;
    counts.drift = odd;
    for version in versions {
        *(if version.number == 1 { &mut counts.new } else { &mut counts.changed }) += 1;
        counts.latencies.extend(version.latency);
    }
    Ok(())
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
    let items: Vec<Quarantined<'_>> = bad
        .iter()
        .map(|(raw, refusal)| Quarantined {
            body_hash: scope.page.key.body(raw.json.as_bytes()),
            submission_id: raw.submission_id,
            reason: refusal.reason,
            detail: refusal.detail,
            body: &raw.json[..raw.json.floor_char_boundary(scope.limits.item_bytes)],
        })
        .collect();
    let at = scope.page.observed_at;
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
