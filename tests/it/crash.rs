//! P2, P3: killed at any moment and started again, the daemon leaves what it leaves when nobody kills it.

use std::time::{Duration, Instant};

use argos_sync::clock::Clock;
use argos_sync::simulator::{Options, Simulator};
use nix::sys::signal::Signal;
use sqlx::PgPool;

use crate::support::program::{self, Program, eventually};
use crate::support::random::Random;
use crate::support::tables::Tables;
use crate::support::truth::assert_once;
use crate::support::{Database, world};

/// Repeats a failure: the seed that it printed.
const SEED: &str = "ARGOS_SYNC_TEST_CRASH_SEED";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_import_of_20_000_killed_at_20_random_points_equals_an_uninterrupted_one() {
    const SUBMISSIONS: u64 = 20_000;
    const PAGE: u64 = 250;
    const KILLS: usize = 20;
    const PAGES: u64 = SUBMISSIONS / PAGE;
    let began = Instant::now();
    let vendor = vendor(SUBMISSIONS, 400 * DAY).await;
    // Both have the same vendor; only the requests of the killed ones are counted.
    let calm_vendor = self::vendor(SUBMISSIONS, 400 * DAY).await;
    same_lives(&vendor, &calm_vendor);
    let (calm, killed) = (Database::bare().await, Database::bare().await);
    let once = |vendor: &Simulator, database: &Database| {
        let changes = [("api.count", "250"), ("lease.holder", "test"), ("log.level", "warn"), ("log.format", "text")];
        program::command(&["once", "--json"], &vendor.base_url(), &database.url, &changes)
    };
    let mut undisturbed = Program::start(once(&calm_vendor, &calm));

    let mut random = Random::from_environment(SEED);
    // The last point leaves a page or two for the one that is not killed.
    let mut points: Vec<u64> = (0..KILLS).map(|_| random.below(PAGES - 3)).collect();
    points.sort_unstable();
    let (mut kills, mut resumed_at) = (Vec::new(), Vec::new());
    for (number, point) in points.into_iter().enumerate() {
        let mut daemon = Program::start(once(&vendor, &killed));
        resumed_at.push(pages(&killed.pool).await);
        let moment = [Moment::Any, Moment::InTransaction, Moment::InWrite][number % 3];
        kills.push(kill(&mut daemon, &killed.pool, point, moment, &mut random).await);
    }
    let last = program::run(once(&vendor, &killed)).await;
    assert_eq!(last.code, Some(0), "{last:?}");
    let calm_end = undisturbed.end().await;
    assert_eq!(calm_end.code, Some(0), "{calm_end:?}");

    // The kills were what they should be.
    let inside = kills.iter().filter(|kill| kill.in_transaction).count();
    println!("{} kills, {inside} inside an open transaction, after {:?}", kills.len(), began.elapsed());
    println!("committed pages before each start: {resumed_at:?}");
    kills.iter().for_each(|kill| println!("{kill:?}"));
    assert_eq!(kills.len(), KILLS);
    assert!(inside >= 3, "only {inside} kills landed inside an open transaction");

    // Each start went on where the last one had come: at most the page that was in flight was asked for again.
    let requests = vendor.requests();
    let most = PAGES as usize + 2 * KILLS;
    assert!(requests.len() <= most, "{} requests for {PAGES} pages and {KILLS} kills", requests.len());
    let from_the_start = requests.iter().filter(|request| !request.query.contains("nextpage_id")).count();
    let before_the_first_commit = resumed_at.iter().filter(|pages| **pages == 0).count();
    assert!(from_the_start <= before_the_first_commit, "{from_the_start} walks began at the beginning");
    let summary: serde_json::Value = serde_json::from_str(&last.stdout).unwrap();
    assert!(summary["pages"].as_u64().unwrap() < PAGES, "the last one read everything: {summary}");

    assert_eq!(killed.number("select count(*) from argos.submissions").await, SUBMISSIONS as i64);
    Tables::of(&calm).await.same(&Tables::of(&killed).await);
    assert_once(&killed).await;
    println!("compared after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_daemon_killed_in_its_first_pass_goes_on_when_it_is_started_again() {
    const PAGES: u64 = 20;
    let vendor = vendor(1_000, 2 * DAY).await;
    let (calm, killed) = (Database::bare().await, Database::bare().await);
    let run = |database: &Database| {
        let changes = [("api.count", "50"), ("lease.holder", "test"), ("poll.interval", "1s"), ("log.format", "text")];
        program::command(&["run"], &vendor.base_url(), &database.url, &changes)
    };
    let mut random = Random::from_environment(SEED);
    for moment in [Moment::InTransaction, Moment::InWrite, Moment::Any, Moment::InTransaction] {
        let mut daemon = Program::start(run(&killed));
        let point = random.below(3) + pages(&killed.pool).await;
        kill(&mut daemon, &killed.pool, point.min(PAGES - 3), moment, &mut random).await;
    }
    for database in [&killed, &calm] {
        let mut daemon = Program::start(run(database));
        daemon.says("complete=true").await;
        daemon.signal(Signal::SIGTERM);
        let ended = daemon.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_eq!(killed.number("select count(*) from argos.submissions").await, 1_000);
    Tables::of(&calm).await.same(&Tables::of(&killed).await);
    assert_once(&killed).await;
}

async fn vendor(initial: u64, history: Duration) -> Simulator {
    // Two vendors that began at the same moment have the same submissions.
    static BEGAN: std::sync::OnceLock<Clock> = std::sync::OnceLock::new();
    let clock = BEGAN.get_or_init(|| Clock::manual(Clock::system().now())).clone();
    world::install_tls();
    let vendor = Simulator::start(Options { initial, history, ..Options::default() }, clock).await.unwrap();
    vendor.freeze();
    vendor
}

fn same_lives(one: &Simulator, other: &Simulator) {
    let ids = |vendor: &Simulator| -> Vec<(String, String)> {
        let text = |item: &serde_json::Value, name: &str| item[name].to_string();
        vendor.truth().iter().map(|item| (text(item, "submission_id"), text(item, "updated_at"))).collect()
    };
    assert_eq!(ids(one), ids(other));
}

/// When to kill, once the walk has come to a page.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After a random while.
    Any,
    /// With a transaction open, at a random place in it.
    InTransaction,
    /// While PostgreSQL executes a statement that writes rows.
    InWrite,
}

/// A kill that was done.
#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
struct Kill {
    after_pages: u64,
    moment: Moment,
    /// Whether a transaction was seen open when the process could no longer do anything.
    in_transaction: bool,
    /// What its connection was doing then.
    doing: Option<String>,
}

async fn kill(daemon: &mut Program, pool: &PgPool, point: u64, moment: Moment, random: &mut Random) -> Kill {
    let still_runs = |daemon: &mut Program| {
        assert!(daemon.runs(), "it ended before it was killed: {}", daemon.stderr());
    };
    eventually("the walk comes to its point", async || {
        still_runs(daemon);
        let pages = pages(pool).await;
        if pages >= point { Ok(()) } else { Err(format!("{pages} of {point} pages; {}", daemon.stderr())) }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(random.below(400))).await;
    match moment {
        Moment::Any => {}
        Moment::InTransaction => {
            eventually("a transaction is open while the process is stopped", async || {
                still_runs(daemon);
                if open_transaction(pool).await.is_none() {
                    return Err("none is open");
                }
                // A stopped process does nothing: what is open stays open.
                daemon.signal(Signal::SIGSTOP);
                match open_transaction(pool).await {
                    Some(_) => Ok(()),
                    None => {
                        daemon.signal(Signal::SIGCONT);
                        Err("it was over")
                    }
                }
            })
            .await;
        }
        Moment::InWrite => {
            eventually("a statement writes", async || {
                still_runs(daemon);
                match open_transaction(pool).await {
                    Some(doing) if doing.starts_with("active: insert into argos.") => Ok(()),
                    other => Err(other),
                }
            })
            .await;
        }
    }
    let stopped = match moment {
        Moment::InTransaction => open_transaction(pool).await,
        _ => None,
    };
    daemon.kill();
    // A statement in progress goes on until PostgreSQL notices that nobody waits for it.
    let doing = match stopped {
        Some(doing) => Some(doing),
        None => open_transaction(pool).await,
    };
    Kill { after_pages: pages(pool).await, moment, in_transaction: doing.is_some(), doing }
}

/// What the daemon's connection does that has written something and not committed it.
async fn open_transaction(pool: &PgPool) -> Option<String> {
    sqlx::query_scalar(
        "select state || ': ' || left(regexp_replace(query, '\\s+', ' ', 'g'), 60) from pg_stat_activity
          where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
            and backend_xid is not null",
    )
    .fetch_optional(pool)
    .await
    .unwrap()
}

/// Pages of the walk that are committed.
async fn pages(pool: &PgPool) -> u64 {
    let there: bool =
        sqlx::query_scalar("select to_regclass('argos.walks') is not null").fetch_one(pool).await.unwrap();
    if !there {
        return 0;
    }
    let pages: Option<i64> = sqlx::query_scalar("select max(pages) from argos.walks").fetch_one(pool).await.unwrap();
    pages.unwrap_or(0).try_into().unwrap()
}
