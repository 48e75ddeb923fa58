//! What the steps of a page cost by themselves, for a page of 2,000 submissions: `cargo bench --bench micro`. They need no
//! database; what it costs is in `benches/sync`. Times are of the whole page.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use argos_sync::argos::decode::decode;
use argos_sync::argos::envelope::{Page, RawItem};
use argos_sync::clock::Timestamp;
use argos_sync::config::{ImportEvents, Settings};
use argos_sync::domain::calendar::{Calendar, Day, Filter};
use argos_sync::domain::hash::HashKey;
use argos_sync::domain::lane::{Lane, View};
use argos_sync::domain::submission::{Drift, State, Submission};
use argos_sync::domain::views::{self, Before, Fields};
use argos_sync::store::mirror::Stored;
use argos_sync::store::views::ViewRow;
use argos_sync::sync::plan::{self, Budget, Situation};
use argos_sync::sync::prepare::{self, Known};
use chrono::{Days, NaiveDate};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

#[path = "sync/items.rs"]
#[allow(dead_code, reason = "the ids are for the data server")]
#[expect(unreachable_pub, reason = "nothing outside reaches a bench")]
mod items;

use items::{Changed, Form, Times};

fn main() {
    divan::main();
}

const ITEMS: u64 = 2000;

fn item(place: u64, form: Form) -> String {
    items::item(place, Times::OLD.of(place), form)
}

/// A page's body.
fn body() -> Vec<u8> {
    let items: Vec<String> = (0..ITEMS).map(|place| item(place, Form::default())).collect();
    format!("{{\"Items\":[{}]}}", items.join(",")).into_bytes()
}

fn page() -> Page {
    Page::split(body(), None, 10_000, false).expect("a page")
}

fn key() -> HashKey {
    HashKey::new([7; 32])
}

fn at() -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000, 0).expect("a time")
}

fn submission(json: &str, id: &str, settings: &Settings) -> Submission {
    decode(RawItem { json, submission_id: Some(id) }, &settings.limits, &mut Drift::new()).expect("a usable item")
}

fn submissions(form: Form) -> Vec<Submission> {
    let settings = Settings::default();
    (0..ITEMS).map(|place| submission(&item(place, form), &items::id_of(place), &settings)).collect()
}

fn context(key: &HashKey) -> prepare::Page<'_> {
    prepare::Page {
        project_id: "bench",
        key,
        view: View::List,
        lane: Lane::Once,
        request: 1,
        observed_at: at(),
        fallback_day: at().date_naive(),
        import_started_at: at(),
        import_events: ImportEvents::Each,
        include_userid: false,
    }
}

/// An answer becomes raw items.
#[divan::bench]
fn split(bencher: Bencher<'_, '_>) {
    let body = body();
    bencher
        .counter(ItemsCount::new(ITEMS))
        .counter(BytesCount::new(body.len()))
        .with_inputs(|| body.clone())
        .bench_values(|body| Page::split(body, None, 10_000, false).expect("a page"));
}

/// The keyed hash of each raw item: all that is asked of one that did not change.
#[divan::bench]
fn body_hash(bencher: Bencher<'_, '_>) {
    let (page, key) = (page(), key());
    bencher.counter(ItemsCount::new(ITEMS)).bench(|| {
        for item in page.items() {
            black_box(key.body(item.json.as_bytes()));
        }
    });
}

/// Raw items become submissions, with their canonical states.
#[divan::bench]
fn decode_page(bencher: Bencher<'_, '_>) {
    let (page, limits) = (page(), Settings::default().limits);
    bencher.counter(ItemsCount::new(ITEMS)).bench(|| {
        let mut drift = Drift::new();
        page.items().map(|item| decode(item, &limits, &mut drift).expect("a usable item")).collect::<Vec<_>>()
    });
}

/// The canonical states alone.
#[divan::bench]
fn canonical(bencher: Bencher<'_, '_>) {
    let submissions = submissions(Form::default());
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench(|| submissions.iter().map(|submission| State::of(&submission.item)).collect::<Vec<_>>());
}

/// Submissions that are seen for the first time become versions and events.
#[divan::bench]
fn first_sight(bencher: Bencher<'_, '_>) {
    let (key, submissions) = (key(), submissions(Form::default()));
    bencher.counter(ItemsCount::new(ITEMS)).with_inputs(|| submissions.clone()).bench_values(|submissions| {
        let page = context(&key);
        let first = |submission| prepare::first(&page, submission, Some([1; 32]), |_| false);
        submissions.into_iter().map(first).collect::<Vec<_>>()
    });
}

/// The columns of all rows, as they are handed to PostgreSQL.
#[divan::bench]
fn rows(bencher: Bencher<'_, '_>) {
    let submissions = submissions(Form::default());
    bencher.counter(ItemsCount::new(ITEMS)).bench(|| {
        let mut drift = Drift::new();
        for submission in &submissions {
            black_box(submission.row(&mut drift));
            black_box(submission.attempt_rows(&mut drift));
            black_box(submission.match_rows(&mut drift));
            black_box(submission.bank_row(&mut drift));
        }
    });
}

/// Stored submissions are compared with other bytes of the same state: merged, made canonical, found equal.
#[divan::bench]
fn same_state_in_another_form(bencher: Bencher<'_, '_>) {
    compare(bencher, Form { changed: Changed::None, reading: 5 });
}

/// The same with 1% that differ and become versions.
#[divan::bench]
fn one_percent_changed(bencher: Bencher<'_, '_>) {
    compare(bencher, Form { changed: Changed::OnePercent, reading: 5 });
}

fn compare(bencher: Bencher<'_, '_>, form: Form) {
    let key = key();
    let stored: Vec<Stored> = submissions(Form::default()).into_iter().map(stored).collect();
    let answered = submissions(form);
    let views = [ViewRow { view: View::List.as_str().to_owned(), shown: None }];
    let none = Fields::new();
    bencher.counter(ItemsCount::new(ITEMS)).with_inputs(|| answered.clone()).bench_values(|answered| {
        let page = context(&key);
        let mut versions = Vec::new();
        for (submission, stored) in answered.into_iter().zip(&stored) {
            let shown = prepare::shown(&views, View::List, stored);
            let before = Before { stored: &stored.item, shown: &shown, removed: &none, sticky: &none };
            let merged = views::merge(submission.item, &before);
            let project_fields = HashSet::new();
            let known = Known { stored, views: &views, project_fields: &project_fields, merged: &merged };
            let submission = Submission::new(submission.submission_id, merged.item.clone());
            versions.extend(prepare::next(&page, submission, Some([1; 32]), &known));
        }
        versions
    });
}

fn stored(submission: Submission) -> Stored {
    Stored {
        version: 1,
        version_id: [1; 32],
        first_seen_at: at(),
        first_request: 1,
        gone_at: None,
        changed_at: at(),
        created_day: submission.state.created_at().expect("a time").date_naive(),
        history: true,
        removed_fields: Fields::new(),
        item: submission.item,
    }
}

/// What is due next, with so many days in the calendar.
#[divan::bench(args = [30, 365, 3650])]
fn plan_next(bencher: Bencher<'_, '_>, days: u64) {
    let settings = Settings::default();
    let first = NaiveDate::from_ymd_opt(2016, 1, 1).expect("a day");
    let day = |nth| Day {
        day: first + Days::new(nth),
        submissions: 300,
        open: nth % 3,
        covered_at: Some(at()),
        open_checked_at: Some(at()),
        verify: false,
    };
    let calendar = Calendar { days: (0..days).map(day).collect(), ..Calendar::default() };
    let lanes = BTreeMap::new();
    let situation = Situation {
        now: at(),
        calendar: &calendar,
        poll: &settings.poll,
        filter: Filter::UNKNOWN,
        page: 2000,
        budget: Budget { per_day: 100_000, left: 50_000, until_midnight: Duration::from_secs(12 * 60 * 60) },
        import: None,
        lanes: &lanes,
        phases: 1,
        refresh: 0,
        details: false,
        confirm_at: None,
        canary_at: None,
        probe_every: Duration::from_secs(24 * 60 * 60),
    };
    bencher.bench(|| plan::next(&situation));
}
