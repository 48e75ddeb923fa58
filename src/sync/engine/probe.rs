//! Probes the vendor: a handful of requests whose answers are looked at and not applied.

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};
use serde_json::Value;

use super::findings::{dialect_name, place_name};
use super::upkeep::keep;
use super::{Engine, in_time};
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::{Cursor, Query, Style};
use crate::clock::Timestamp;
use crate::config::{Dialect, Parameters};
use crate::domain::calendar::DayRange;
use crate::domain::canonical::at;
use crate::domain::names::filled;
use crate::domain::probe::judge::{DayCount, Observations, Reply, Screenings, Seen, choose_day, judge};
use crate::domain::probe::{Findings, MOST_REQUESTS};
use crate::domain::time;
use crate::store::error::StoreError;
use crate::store::id_reads::{self, Reason};
use crate::store::lease::Lease;
use crate::store::{probe, views};
use crate::sync::error::SyncError;

/// With fewer known submissions than this around the day, a wider period is asked for as well.
const KNOWN_ENOUGH: usize = 8;

/// A page, taken apart.
#[derive(Default)]
struct Told {
    items: Vec<Value>,
    next: Option<Cursor>,
}

enum Outcome {
    Told(Told),
    Refused,
    Failed,
}

/// A probe in progress.
struct Look {
    lease: Lease,
    requests: u64,
    seen: Observations,
}

impl Engine {
    /// Finds out what the vendor does where its documents are silent: at most nine requests, each with a permit of the
    /// day's budget. What is found is stored, shown and returned; a change of mode, and what disagrees with the settings,
    /// is logged with advice. Needs the lease.
    pub async fn probe(&mut self) -> Result<Findings, SyncError> {
        self.look().await?;
        let heartbeat = self.parts.heartbeat.clone();
        let result = in_time(&heartbeat, self.ask_around()).await;
        if matches!(result, Err(SyncError::Store(_))) {
            self.lose_the_lease();
        }
        // What was found may change how days are asked for.
        self.picture = None;
        result
    }

    /// Whether it is time to probe, by what is stored.
    pub fn probe_due(&self, findings: &Findings) -> bool {
        findings.due(self.parts.clock.now(), &self.probe_source(), self.parts.project.api.requests_per_day)
    }

    async fn ask_around(&mut self) -> Result<Findings, SyncError> {
        let project_id = self.parts.project.id.clone();
        let now = self.parts.clock.now();
        let lease = self.held()?;
        let mut connection = self.connection().await?;
        let days = probe::days(&mut connection, &project_id, now.date_naive()).await?;
        drop(connection);

        let mut look = Look { lease, requests: 0, seen: self.nothing_seen(now.date_naive()) };
        let first = self.first_page(&mut look).await?;
        let one = self.read_one(&mut look, &first.items).await?;
        self.read_screenings(&mut look, &first.items, one).await?;
        self.read_days(&mut look, days, &first, now.date_naive()).await?;
        self.other_place(&mut look, &first.items).await?;
        self.count_again(&mut look, &first).await?;

        let found = judge(&look.seen);
        let (at, source) = (self.parts.clock.now(), self.probe_source());
        let mut transaction = self.fenced(&look.lease).await?;
        let mut findings = probe::findings(&mut transaction, &project_id).await?;
        let changed = findings.learn(found, at, &source);
        probe::save(&mut transaction, &project_id, &findings, look.requests).await?;
        // No walk with dates need show these: they are asked for by id as often as the vendor is probed.
        let undated = id_reads::undated(&mut transaction, &project_id, at).await?;
        id_reads::push(&mut transaction, &project_id, &undated, Reason::NoDate, at).await?;
        // What was mirrored before it was known that lists lack fields; at most a day's requests at once.
        let lacking = findings.lacking(&views::fields(&mut transaction, &project_id).await?);
        let most = self.parts.project.api.requests_per_day;
        if lacking.details && id_reads::push_never_read(&mut transaction, &project_id, most, at).await? > 0 {
            tracing::warn!(
                project = project_id,
                "lists lack fields: submissions that were never read by id are queued"
            );
        }
        transaction.commit().await.map_err(StoreError::doing("committing the findings"))?;
        self.tell_findings(&findings, &changed, look.requests);
        self.show_findings(&findings);
        Ok(findings)
    }

    fn nothing_seen(&self, day: NaiveDate) -> Observations {
        let api = &self.parts.project.api;
        let mut formats = [Dialect::Idcheck, Dialect::V3].map(dialect_name);
        let mut places = [Parameters::Query, Parameters::Body].map(place_name);
        // The configured one first.
        formats.sort_by_key(|name| *name != dialect_name(api.dialect));
        places.sort_by_key(|name| *name != place_name(api.parameters));
        Observations {
            day,
            known: Vec::new(),
            undated: Vec::new(),
            dated: [Reply::Untold, Reply::Untold],
            formats,
            pages: Vec::new(),
            places,
            other_place: None,
            screenings: None,
            list_fields: (BTreeSet::new(), 0),
            id_fields: (BTreeSet::new(), 0),
        }
    }

    /// One request. What only a probe would ask may fail in any way that does not ask for a pause; what a walk would ask
    /// fails as there, unless the vendor refuses it.
    async fn told(&mut self, look: &mut Look, query: Query) -> Result<Outcome, SyncError> {
        if look.requests >= MOST_REQUESTS {
            return Ok(Outcome::Failed);
        }
        look.requests += 1;
        let stop = self.parts.stop.clone();
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(SyncError::Stopped),
            lost = keep(self.parts.pool.clone(), look.lease.clone()) => return Err(lost.into()),
            answer = self.fetch(&query) => answer,
        };
        // What shows a part of each submission says nothing of what lists show.
        let part = query.request_type.is_some();
        let odd = part || query.style != Style::default();
        match answer {
            Ok(answer) => {
                let told = take_apart(&answer.content, self.parts.settings.limits.item_bytes);
                let by_id = query.select.is_some();
                if let Some(count) = query.count.filter(|_| !part) {
                    let got = answer.content.len() as u64;
                    look.seen.pages.push((count.into(), got, told.next.is_some()));
                }
                if !part && (!odd || !by_id) {
                    let fields = if by_id { &mut look.seen.id_fields } else { &mut look.seen.list_fields };
                    fields.1 += told.items.len();
                    fields.0.extend(told.items.iter().flat_map(filled));
                }
                Ok(Outcome::Told(told))
            }
            Err(SyncError::Api(ApiError::BadRequest { .. })) => Ok(Outcome::Refused),
            // A gateway may refuse a GET with a body in the words it has for a wrong key.
            Err(SyncError::Api(ApiError::KeyRefused { .. } | ApiError::AddressRefused)) if odd => Ok(Outcome::Refused),
            // The vendor asks for a pause: that ends the probe, whatever asked for it.
            Err(SyncError::Api(error))
                if odd && !error.asks_for_a_pause() && !matches!(error, ApiError::BudgetSpent) =>
            {
                Ok(Outcome::Failed)
            }
            Err(SyncError::Api(error)) if error.page_too_large() => Ok(Outcome::Failed),
            Err(error) => Err(error),
        }
    }

    /// The list without dates, from its beginning.
    async fn first_page(&mut self, look: &mut Look) -> Result<Told, SyncError> {
        // A page that is too large is asked for in a smaller size; two of those leave requests for the rest.
        for count in [self.count, (self.count / 4).max(1), (self.count / 16).max(1)] {
            if let Outcome::Told(told) = self.told(look, Query { count: Some(count), ..Query::default() }).await? {
                look.seen.undated = told.items.iter().map(seen).collect();
                return Ok(told);
            }
        }
        Ok(Told::default())
    }

    /// A submission of the list, read by id: one that was decided, because it has most to show.
    async fn read_one(&mut self, look: &mut Look, items: &[Value]) -> Result<Option<Value>, SyncError> {
        let richness = |item: &&Value| {
            let approved = at(item, &["kyc", "result"]).and_then(Value::as_str) == Some("approved");
            (item.get("aml").is_some(), at(item, &["kyc", "attempts"]).is_some(), approved)
        };
        let Some(id) = items.iter().rev().max_by_key(richness).and_then(id_of) else { return Ok(None) };
        match self.told(look, Query { select: Some(("submission_id", id)), ..Query::default() }).await? {
            Outcome::Told(told) => Ok(told.items.into_iter().next()),
            Outcome::Refused | Outcome::Failed => Ok(None),
        }
    }

    /// A page of `request_type=aml`, where lists show no `aml` and an answer by id did.
    async fn read_screenings(
        &mut self,
        look: &mut Look,
        listed: &[Value],
        one: Option<Value>,
    ) -> Result<(), SyncError> {
        let screened = |item: &&Value| item.get("aml").is_some();
        if listed.iter().any(|item| screened(&item)) || one.as_ref().filter(screened).is_none() {
            return Ok(());
        }
        let query = Query { request_type: Some("aml"), count: Some(self.count), ..Query::default() };
        look.seen.screenings = match self.told(look, query).await? {
            Outcome::Told(told) => {
                let screened = told.items.iter().filter(screened).count();
                Some(Screenings::Items { items: told.items.len(), screened })
            }
            Outcome::Refused => Some(Screenings::Refused),
            Outcome::Failed => None,
        };
        Ok(())
    }

    /// Two days, in both forms.
    async fn read_days(
        &mut self,
        look: &mut Look,
        mirrored: Vec<DayCount>,
        first: &Told,
        today: NaiveDate,
    ) -> Result<(), SyncError> {
        let capacity = 2 * u64::from(self.count);
        let days = if mirrored.is_empty() { count_days(&look.seen.undated) } else { mirrored };
        let day = choose_day(&days, today, capacity);
        look.seen.day = day;
        let project_id = self.parts.project.id.clone();
        look.seen.known = probe::known(&mut *self.connection().await?, &project_id, day).await?;

        let two = days_from(day, 0, 1);
        look.seen.dated[0] = self.period(look, two, Style::default(), 2).await?;
        let around = look.seen.known.len() + first.items.iter().filter(|item| is_around(&seen(item), day)).count();
        if around < KNOWN_ENOUGH
            && let Reply::Items { items, .. } = self.period(look, days_from(day, 2, 3), Style::default(), 1).await?
        {
            look.seen.known.extend(items);
        }
        let dialect = match self.parts.project.api.dialect {
            Dialect::Idcheck => Dialect::V3,
            Dialect::V3 => Dialect::Idcheck,
        };
        let style = Style { dialect: Some(dialect), ..Style::default() };
        look.seen.dated[1] = self.period(look, two, style, 1).await?;
        Ok(())
    }

    /// A period, up to so many pages.
    async fn period(&mut self, look: &mut Look, days: DayRange, style: Style, pages: u32) -> Result<Reply, SyncError> {
        let (mut items, mut cursor) = (Vec::new(), None);
        for page in 1..=pages {
            let query = Query { days: Some(days), count: Some(self.count), cursor, style, ..Query::default() };
            match self.told(look, query).await? {
                Outcome::Told(told) => {
                    items.extend(told.items.iter().map(seen));
                    cursor = told.next;
                }
                Outcome::Refused if page == 1 => return Ok(Reply::Refused),
                Outcome::Failed if page == 1 => return Ok(Reply::Untold),
                _ => return Ok(Reply::Items { items, complete: false }),
            }
            if cursor.is_none() {
                return Ok(Reply::Items { items, complete: true });
            }
        }
        Ok(Reply::Items { items, complete: false })
    }

    /// One submission, asked for in the other place: if that is not read, a list comes, or a refusal.
    async fn other_place(&mut self, look: &mut Look, items: &[Value]) -> Result<(), SyncError> {
        // In a list of one, that one would come anyway.
        let Some(id) = items.first().and_then(id_of).filter(|_| items.len() > 1) else { return Ok(()) };
        let place = match self.parts.project.api.parameters {
            Parameters::Query => Parameters::Body,
            Parameters::Body => Parameters::Query,
        };
        let style = Style { parameters: Some(place), ..Style::default() };
        let query = Query { select: Some(("submission_id", id.clone())), style, ..Query::default() };
        look.seen.other_place = match self.told(look, query).await? {
            Outcome::Told(told) => Some(told.items.len() == 1 && id_of(&told.items[0]).as_ref() == Some(&id)),
            Outcome::Refused => Some(false),
            Outcome::Failed => None,
        };
        Ok(())
    }

    /// A second page for what the first one left open about `count`.
    async fn count_again(&mut self, look: &mut Look, first: &Told) -> Result<(), SyncError> {
        let got = u32::try_from(first.items.len()).unwrap_or(u32::MAX);
        let query = match &first.next {
            Some(_) if got >= self.count => return Ok(()),
            Some(next) => Query { count: Some(self.count), cursor: Some(next.clone()), ..Query::default() },
            None if got < 2 => return Ok(()),
            None => Query { count: Some(got / 2), ..Query::default() },
        };
        self.told(look, query).await?;
        Ok(())
    }
}

/// The items of a page that can be read.
fn take_apart(page: &Page, item_bytes: usize) -> Told {
    let readable =
        page.items().filter(|raw| raw.json.len() <= item_bytes && !raw.is_heavy() && raw.submission_id.is_some());
    let items = readable.filter_map(|raw| serde_json::from_str(raw.json).ok()).collect();
    Told { items, next: page.next.clone() }
}

fn id_of(item: &Value) -> Option<String> {
    item.get("submission_id").and_then(Value::as_str).map(str::to_owned)
}

fn seen(item: &Value) -> Seen {
    let moment = |name: &str| -> Option<Timestamp> { item.get(name).and_then(Value::as_str).and_then(time::parse) };
    Seen { id: id_of(item).unwrap_or_default(), created_at: moment("created_at"), updated_at: moment("updated_at") }
}

fn days_from(day: NaiveDate, before: u64, after: u64) -> DayRange {
    let first = day.checked_sub_days(Days::new(before)).unwrap_or(day);
    (first, day.checked_add_days(Days::new(after)).unwrap_or(day))
}

fn is_around(one: &Seen, day: NaiveDate) -> bool {
    let (first, last) = days_from(day, 2, 3);
    one.created_at.is_some_and(|at| (first..=last).contains(&at.date_naive()))
}

/// The days of the submissions of a page, where the mirror knows none yet.
fn count_days(items: &[Seen]) -> Vec<DayCount> {
    use chrono::Timelike;
    let mut days: std::collections::BTreeMap<NaiveDate, DayCount> = std::collections::BTreeMap::new();
    for at in items.iter().filter_map(|item| item.created_at) {
        let day = at.date_naive();
        let count = days.entry(day).or_insert(DayCount { day, submissions: 0, first_hour: 0, last_hour: 0 });
        count.submissions += 1;
        count.first_hour += u64::from(at.hour() == 0);
        count.last_hour += u64::from(at.hour() == 23);
    }
    days.into_values().collect()
}
