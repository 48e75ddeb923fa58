//! What a seed draws: the project, and one deed after the other.

use std::time::Duration;

use argos_sync::simulator::{Options, Order};
use serde_json::{Value, json};

use crate::support::random::Random;

/// A thing that is done while the daemon works.
#[derive(Clone, Debug)]
pub enum Deed {
    /// The vendor shows something else.
    Vendor(Change),
    /// The vendor's next answers are bad, as the simulator's `--fault` says it.
    Faults(String),
    /// SIGKILL, and a start after so many milliseconds.
    Kill(u64),
    /// SIGTERM, and a start when it has ended.
    Restart,
    /// SIGSTOP for so many milliseconds.
    Pause(u64),
    /// All sessions of the database are terminated.
    Terminate,
    /// Somebody locks a table for so many milliseconds.
    Lock(&'static str, u64),
    /// So many of the next commits of pages fail: with this SQLSTATE (57P01: the session ends).
    FailCommits(&'static str, u64),
    /// Nothing passes between a daemon and PostgreSQL for so many milliseconds.
    Silence(u64),
    /// The database is read-only for so many milliseconds.
    ReadOnly(u64),
    /// PostgreSQL is shut down and started.
    RestartPostgres,
    /// The postmaster is killed, and started again.
    CrashPostgres,
}

/// A change of one of the vendor's submissions.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// `kyc.result`.
    Result(&'static str),
    /// What it was before its result changed, to the letter.
    Undo,
    /// A Red Flag of so many matches; none: it is cleared.
    Flag(u64),
    /// An attempt more.
    Attempt,
    /// The memo.
    Memo,
    /// A submission more, created now.
    Born,
    /// One more, created before the import began, so many days ago.
    Late(u64),
    /// The vendor deletes it as it documents.
    Blanked,
    /// It is no longer shown.
    Gone,
    /// It shows again; with `true` only when the mirror has believed that it was gone.
    Back(bool),
    /// Some personal fields are removed.
    FieldsRemoved,
    /// A text that is no submission stands among the others.
    Spoiled,
    /// The screening is missing for a while.
    Unscreened,
}

/// Deletions, and how many a history has of each: more would be a mass vanish.
const MOST_DELETIONS: usize = 2;

/// A project as a seed draws it.
pub fn options(random: &mut Random) -> (Options, String) {
    let manners = [
        ("shuffle", 30),
        ("shuffle-ties", 15),
        ("kst-dates", 10),
        ("count-clip=4", 10),
        ("end-excluded", 5),
        ("duplicates=0.2", 20),
    ];
    let manner: Vec<&str> =
        manners.iter().filter(|(_, percent)| random.chance(*percent)).map(|(name, _)| *name).collect();
    let manner = manner.join(",");
    let options = Options {
        seed: random.below(1 << 30),
        initial: random.between(8, 30),
        history: Duration::from_secs(random.between(1, 12) * 86_400),
        rate: random.pick(&[0.0, 0.3, 1.0]),
        // Hours of a life pass in seconds, or days do.
        life: random.pick(&[0.01, 0.001, 0.0001]),
        order: random.pick(&[Order::NewestFirst, Order::OldestFirst]),
        thin_lists: random.chance(6),
        faults: argos_sync::simulator::Faults::parse(&manner).unwrap(),
        keep_answers: true,
        ..Options::default()
    };
    (options, manner)
}

/// The deeds of a history, each with the milliseconds to wait before it; without end.
pub fn deeds(mut random: Random) -> impl Iterator<Item = (u64, Deed)> {
    let mut deletions = [0; 3];
    std::iter::repeat_with(move || (random.between(30, 500), deed(&mut random, &mut deletions)))
}

fn deed(random: &mut Random, deletions: &mut [usize; 3]) -> Deed {
    match random.below(100) {
        0..48 => Deed::Vendor(change(random, deletions)),
        48..63 => Deed::Faults(faults(random)),
        63..66 => Deed::FailCommits(random.pick(&["40001", "40P01", "53100", "57P01"]), random.between(1, 3)),
        66..75 => Deed::Kill(random.below(400)),
        75..79 => Deed::Restart,
        79..83 => Deed::Pause(random.between(500, 5_000)),
        83..87 => Deed::Terminate,
        87..90 => {
            Deed::Lock(random.pick(&["submissions", "outbox_counter", "walks", "leases"]), random.between(100, 2_500))
        }
        90..94 => Deed::Silence(random.between(200, 4_000)),
        94..96 => Deed::ReadOnly(random.between(300, 1_500)),
        96..98 => Deed::RestartPostgres,
        _ => Deed::CrashPostgres,
    }
}

fn change(random: &mut Random, deletions: &mut [usize; 3]) -> Change {
    let mut once_more = |kind: usize| {
        deletions[kind] += 1;
        deletions[kind] <= MOST_DELETIONS
    };
    match random.below(100) {
        70..76 if once_more(0) => Change::Blanked,
        76..82 if once_more(1) => Change::Gone,
        82..87 if once_more(2) => Change::FieldsRemoved,
        24..30 => Change::Undo,
        0..24 => {
            Change::Result(random.pick(&["incomplete", "pending", "approved", "rejected", "approved", "rejected"]))
        }
        30..50 => Change::Flag(random.below(4)),
        50..58 => Change::Attempt,
        58..62 => Change::Memo,
        62..66 => Change::Born,
        87..92 => Change::Back(random.chance(70)),
        92..94 => Change::Spoiled,
        94..97 => Change::Unscreened,
        _ => Change::Late(random.below(10)),
    }
}

fn faults(random: &mut Random) -> String {
    const WITH_COUNT: &[&str] = &[
        "status-429",
        "status-500",
        "status-502",
        "status-503",
        "status-504",
        "status-413",
        "html-200",
        "error-200",
        "message-200",
        "truncated-json",
        "reset",
        "wrong-content-type",
        "empty",
        "empty-page-with-key",
        "repeat-key",
        "cycle-key",
        "duplicates",
        "shuffle",
        "bad-item",
        "retyped",
    ];
    const WITH_VALUE: &[&str] =
        &["retry-after-seconds=1", "slow=150", "clock-skew=86400", "clock-skew=-86400", "count-clip=2", "index-lag=2"];
    match random.below(20) {
        0 => "stall=1".to_owned(),
        1 => "endless-body=1".to_owned(),
        2..7 => format!("{}@{}", random.pick(WITH_VALUE), random.between(1, 6)),
        _ => format!("{}={}", random.pick(WITH_COUNT), random.between(1, 4)),
    }
}

/// The merge patch that makes a change of an item; `None`: it is made in another way.
pub fn patch(change: Change, item: &Value, random: &mut Random) -> Option<Value> {
    let number = random.below(1 << 40);
    Some(match change {
        Change::Result("rejected") => {
            json!({"kyc": {"result": "rejected", "commentCode": [format!("code_{}", number % 4)], "comment": ["see the code"]}, "applicant_id": null})
        }
        Change::Result(result) => json!({"kyc": {"result": result, "commentCode": null, "comment": null}}),
        Change::Flag(0) => {
            json!({"aml": {"currentstatus": "Not Screened", "risk_level_summary": "LOW", "matches": []}})
        }
        Change::Flag(count) => {
            let one = |n| json!({"resource_id": format!("resource-{}", (number + n) % 6), "risk_level": *["HIGH", "MEDIUM", "LOW"].get(n as usize).unwrap_or(&"LOW"), "score": (number % 100) as f64 / 10.0});
            let matches: Vec<Value> = (0..count).map(one).collect();
            json!({"aml": {"currentstatus": "Red Flag", "risk_level_summary": "HIGH", "matches": matches}})
        }
        Change::Attempt => {
            let mut attempts = item["kyc"]["attempts"].as_array().cloned().unwrap_or_default();
            attempts.push(
                json!({"attemptCnt": attempts.len() + 1, "verificationResult": "fail", "livenessScore": "91.50"}),
            );
            json!({"kyc": {"attempts": attempts}})
        }
        Change::Unscreened => json!({"aml": null}),
        Change::Memo => json!({"memo": {"text": format!("memo of {number}")}}),
        Change::FieldsRemoved => json!({"data": {"full_name": null, "date_of_birth": null}, "email": null}),
        _ => return None,
    })
}
