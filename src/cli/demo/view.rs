//! The live view: what is mirrored, what has just happened, how fresh it is, and where to look further.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Playbill;
use super::screen::{self, Ink, Line, Screen};
use super::watch::{Happening, Look, Watch, clean};

const EVERY: Duration = Duration::from_millis(250);

/// Redraws until `stop`; then the terminal is as it was.
pub(super) async fn run(watch: &mut Watch, bill: &Playbill, stop: &CancellationToken) {
    let Ok(mut screen) = Screen::open() else { return stop.cancelled().await };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stop.is_cancelled() {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let look = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            look = watch.look() => look.ok(),
        };
        // A terminal that is gone ends in a signal of its own.
        let _ = screen.draw(&lines(watch, look.as_ref(), bill, Screen::size()));
    }
}

fn lines(watch: &Watch, look: Option<&Look>, bill: &Playbill, (columns, rows): (usize, usize)) -> Vec<Line> {
    let mut above = vec![title(bill, columns), Vec::new()];
    match look {
        Some(look) => mirrored(look, columns, &mut above),
        None => above.push(vec![(Ink::Notice, " the database does not answer".to_owned())]),
    }
    above.push(Vec::new());
    let mut below = vec![Vec::new()];
    if let Some(look) = look {
        below.push(fresh(watch, look));
    }
    if let Some(warning) = screen::warning() {
        below.push(vec![(Ink::Notice, format!(" {}", clean(&warning)))]);
    }
    below.push(Vec::new());
    where_to_look(bill, columns, &mut below);
    let events = look.map_or(0, |look| look.events);
    above.push(vec![(Ink::Bold, " EVENTS".to_owned()), (Ink::Faint, format!("  {events} in argos.outbox"))]);

    let room = rows.saturating_sub(above.len() + below.len()).clamp(3, 30);
    let shown: Vec<_> = watch.recent.iter().rev().take(room).collect();
    let empty = room - shown.len();
    above.extend(shown.into_iter().rev().map(event));
    above.extend(std::iter::repeat_n(Vec::new(), empty));
    above.extend(below);
    above
}

fn title(bill: &Playbill, columns: usize) -> Line {
    let name = " argos-sync demo";
    let about = "  a simulated vendor, the daemon, PostgreSQL";
    let clock = match bill.span {
        Some(span) => format!("{} of {} ", minutes(bill.begun.elapsed().min(span)), minutes(span)),
        None => format!("{} ", minutes(bill.begun.elapsed())),
    };
    let gap = columns.saturating_sub(name.len() + about.len() + clock.len()).max(1);
    vec![
        (Ink::Bold, name.to_owned()),
        (Ink::Faint, about.to_owned()),
        (Ink::Plain, " ".repeat(gap)),
        (Ink::Plain, clock),
    ]
}

fn mirrored(look: &Look, columns: usize, lines: &mut Vec<Line>) {
    let flags = look.red_flags_open;
    let flags = (if flags > 0 { Ink::Bad } else { Ink::Plain }, format!("{flags} Red Flags open"));
    let all = look.submissions();
    lines.push(vec![(Ink::Bold, " MIRROR".to_owned()), (Ink::Faint, format!("  {all} submissions, ")), flags]);
    let most = look.mirrored.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let width = columns.saturating_sub(24).min(50);
    for (result, count) in &look.mirrored {
        let ink = match result.as_str() {
            "approved" => Ink::Good,
            "rejected" => Ink::Bad,
            "pending" => Ink::Notice,
            _ => Ink::Faint,
        };
        // Something is never drawn as nothing.
        let length = (width as f64 * *count as f64 / most as f64).ceil() as usize;
        lines.push(vec![(Ink::Plain, format!("   {result:10} {count:6}  ")), (ink, "\u{2588}".repeat(length))]);
    }
}

fn event(event: &Happening) -> Line {
    let ink = match (event.kind.as_str(), event.what.rsplit(' ').next()) {
        ("aml.red_flag_raised", _) => Ink::Bad,
        ("aml.red_flag_cleared", _) | ("kyc.result_changed", Some("approved")) => Ink::Good,
        ("kyc.result_changed", _) => Ink::Notice,
        ("submission.imported" | "submission.created", _) => Ink::Faint,
        _ => Ink::Plain,
    };
    let at = event.at.with_timezone(&chrono::Local).format("%H:%M:%S");
    // The vendor's ids are long; their beginnings tell them apart well enough here.
    let id: String = clean(&event.submission_id).chars().take(10).collect();
    vec![
        (Ink::Faint, format!(" {:6} {at}  ", event.position)),
        (ink, format!("{:26}", event.kind)),
        (Ink::Faint, format!("{id:11}")),
        (Ink::Plain, event.what.clone()),
    ]
}

fn fresh(watch: &Watch, look: &Look) -> Line {
    let since = look.since_pass;
    let late = since.is_some_and(|seconds| seconds > 5.0);
    let since = since.map_or_else(|| "none yet".to_owned(), |seconds| format!("{seconds:.1} s ago"));
    let latency = match (watch.latency(0.5), watch.latency(0.99)) {
        (Some(half), Some(most)) => format!("; changes seen after {half:.1} s (p50), {most:.1} s (p99)"),
        _ => String::new(),
    };
    vec![
        (Ink::Bold, " LAG".to_owned()),
        (Ink::Faint, format!("  {} passes, the last ", look.passes)),
        (if late { Ink::Notice } else { Ink::Plain }, since),
        (Ink::Faint, latency),
    ]
}

fn where_to_look(bill: &Playbill, columns: usize, lines: &mut Vec<Line>) {
    let url = |name: &str| bill.urls.iter().find(|(known, _)| *known == name).map_or("", |(_, url)| url.as_str());
    let metrics = format!("{}  (also /livez, /readyz)", url("metrics"));
    let log = bill.log.display().to_string();
    for (name, text) in
        [("metrics", &metrics), ("truth", &url("truth").to_owned()), ("look in", &bill.psql), ("log", &log)]
    {
        // What is to be copied is wrapped, not cut.
        let room = columns.saturating_sub(11).max(20);
        let text: Vec<char> = text.chars().collect();
        for (i, part) in text.chunks(room).enumerate() {
            let name = if i == 0 { name } else { "" };
            lines.push(vec![(Ink::Faint, format!(" {name:8} ")), (Ink::Plain, part.iter().collect())]);
        }
    }
    lines.push(vec![(Ink::Faint, " Ctrl-C ends it and compares the mirror with the vendor".to_owned())]);
}

pub(super) fn minutes(span: Duration) -> String {
    let seconds = span.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
