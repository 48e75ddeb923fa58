//! Rules that stand in SQL and in Rust say the same.

use std::collections::BTreeMap;

use argos_sync::clock::Timestamp;
use argos_sync::domain::submission::is_known_aml_status;
use argos_sync::store::calendar;
use chrono::{Days, NaiveDate};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::support::Database;

#[tokio::test]
async fn a_known_aml_status_is_the_same_in_sql_and_in_rust() {
    let database = Database::fresh().await;
    let mut statuses: Vec<String> = ["", "Red Flag", "red flag", "RED FLAG", "Red  Flag", "RedFlag", "Not Screened"]
        .into_iter()
        .chain([
            "not screened",
            "Not Screened ",
            "Screened",
            "Red Flag!",
            "\u{feff}Red Flag",
            "Red\u{a0}Flag",
            "7",
            "İ",
        ])
        .map(str::to_owned)
        .collect();
    // Everything that one of the two may take for white space, and its neighbours.
    let odd = (1..0x250).chain(0x1670..0x1690).chain(0x1ff0..0x2070).chain(0x2ff0..0x3010).filter_map(char::from_u32);
    for odd in odd {
        statuses.extend([format!("Red Flag{odd}"), format!("{odd}{odd}red FLAG"), format!("Not Screened{odd}")]);
    }
    let sql = "select status, argos.is_known_aml_status(status) from unnest($1::text[]) status";
    let told: Vec<(String, bool)> = sqlx::query_as(sql).bind(&statuses).fetch_all(&database.pool).await.unwrap();
    assert_eq!(told.len(), statuses.len());
    for (status, known) in &told {
        assert_eq!(*known, is_known_aml_status(status), "{status:?}");
    }
    let both = told.iter().filter(|(_, known)| *known).count();
    assert!((50..told.len() - 50).contains(&both), "{both} of {} are known", told.len());
}

/// What is stored of a project's coverage: per day its `covered_at`, and the two walks that cover days without a row.
#[derive(Debug)]
struct Stored {
    rows: BTreeMap<u64, Option<u32>>,
    fully: Option<u32>,
    early: Option<(u32, u64)>,
}

fn stored() -> impl Strategy<Value = Stored> {
    use proptest::{collection::btree_map, option::of};
    (btree_map(0u64..12, of(0u32..400), 0..8), of(0u32..400), of((0u32..400, 0u64..12)))
        .prop_map(|(rows, fully, early)| Stored { rows, fully, early })
}

#[tokio::test]
async fn as_of_when_a_day_was_read_is_the_same_in_sql_and_in_rust() {
    let database = Database::fresh().await;
    let first: NaiveDate = "2026-01-01".parse().unwrap();
    let day = |n: u64| first.checked_add_days(Days::new(n)).unwrap();
    let hour = |n: u32| format!("'2026-01-01T00:30:00Z'::timestamptz + interval '{n} hours'");
    let mut runner = TestRunner::deterministic();
    let (mut covered, mut never) = (0, 0);
    for n in 0..60 {
        let case = stored().new_tree(&mut runner).unwrap().current();
        let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
        let project = format!("p{n}");
        let mut sql = format!(
            "insert into argos.projects (project_id, name, import_started_at, fully_walked_at, early_walked_at, early_walked_to)
             values ('{project}', 'P', now(), {}, {}, {});",
            or_null(case.fully.map(hour)),
            or_null(case.early.map(|(at, _)| hour(at))),
            or_null(case.early.map(|(_, last)| format!("'{}'", day(last)))),
        );
        for (n, at) in &case.rows {
            sql += &format!(
                "insert into argos.created_days (project_id, day, covered_at) values ('{project}', '{}', {});",
                day(*n),
                or_null(at.map(hour))
            );
        }
        database.execute(&sql).await;
        // A negative age is refused, but nothing was read this very moment: so all days are told.
        let sql = "select day, covered_at from argos.coverage_gaps($1, $2, $3, interval '0')";
        let query = sqlx::query_as(sql).bind(&project).bind(day(0)).bind(day(13));
        let told: Vec<(NaiveDate, Option<Timestamp>)> = query.fetch_all(&database.pool).await.unwrap();
        assert_eq!(told.len(), 14);
        let mut connection = database.pool.acquire().await.unwrap();
        let whole = calendar::load(&mut connection, &project).await.unwrap();
        let days: Vec<NaiveDate> = told.iter().map(|(day, _)| *day).collect();
        let part = calendar::of_days(&mut connection, &project, &days[3..5]).await.unwrap();
        for (i, (day, at)) in told.into_iter().enumerate() {
            assert_eq!(whole.covered_at(day), at, "{day} of {case:?}");
            if (3..5).contains(&i) {
                assert_eq!(part.covered_at(day), at, "{day} of {case:?}");
            }
            *(if at.is_some() { &mut covered } else { &mut never }) += 1;
        }
    }
    assert!(covered > 100 && never > 100, "{covered} covered, {never} never read");
}
