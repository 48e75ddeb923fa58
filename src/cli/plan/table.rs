//! The plan for people.

use std::time::Duration;

use super::{DAY, Known, Stated, room};
use crate::cli::output::lines;
use crate::config::{Poll, Settings};
use crate::sync::plan::{Forecast, REQUEST, Share};
use crate::words::{at_most as length, count, grouped};

/// How wide sentences are.
const COLUMNS: usize = 100;

/// Requests one after the other, of which each takes as long as one is taken to take: more than this part of a day, and
/// it is said how quick they must be.
const BUSY: f64 = 0.8;

/// A page that can be understood without having read anything else.
pub(super) fn text(known: &Known, stated: &Stated, settings: &Settings) -> String {
    let forecast = &stated.forecast;
    let paragraphs = [
        given(known),
        table(known, forecast, &settings.poll),
        deletions(stated, settings),
        import(known, stated),
        shortages(known.page, forecast, &settings.poll),
    ];
    let paragraphs = paragraphs.into_iter().filter(|text| !text.is_empty());
    paragraphs.map(|text| text + "\n").collect::<Vec<_>>().join("\n")
}

/// A paragraph of sentences.
fn paragraph(sentences: &[String]) -> String {
    lines(&sentences.join(" "), COLUMNS).join("\n")
}

/// What is planned for.
fn given(known: &Known) -> String {
    let mut sentences = vec![format!(
        "{} created over {}, {} of them open; {} per page; {} a day.",
        count(known.calendar.submissions(None), "submission"),
        count(known.calendar.days.len() as u64, "day"),
        grouped(known.open()),
        grouped(known.page),
        requests(known.budget)
    )];
    if known.lacking.screenings {
        sentences
            .push("Lists lack aml: a walk reads its days twice, the second time with request_type=aml.".to_owned());
    }
    if known.lacking.details {
        sentences.push("Lists lack other fields: what they show as new or changed is read by id, too.".to_owned());
    }
    paragraph(&sentences)
}

/// Who reads what, and what that costs. The column of requests adds up to the budget.
fn table(known: &Known, forecast: &Forecast, poll: &Poll) -> String {
    let mut rows = lanes(known, forecast, poll);
    rows.push(Row::new("single", "submissions by id: refresh, confirm, canary", forecast.single.round()));
    let mut probe = Row::new("probe", "what the vendor's API does", forecast.probe.round());
    probe.every = length(known.probe_every);
    rows.push(probe);
    let used = rows.iter().map(|row| row.requests.unwrap_or(0)).sum::<u64>();
    rows.push(Row::new("", "left over, for whoever has more to do", known.budget.saturating_sub(used) as f64));
    rows.push(Row::new("", "together", known.budget as f64));
    let head = line("lane", "reads", "requests a day", "every", "a change is seen within");
    let lines = rows.iter().map(|row| {
        let number = row.requests.map(grouped).unwrap_or_default();
        line(&row.lane, &row.reads, &number, &row.every, &row.within)
    });
    [head].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

struct Row {
    lane: String,
    reads: String,
    /// `None`: in the row above.
    requests: Option<u64>,
    every: String,
    within: String,
}

impl Row {
    fn new(lane: &str, reads: &str, requests: f64) -> Self {
        let (lane, reads) = (lane.to_owned(), reads.to_owned());
        Self { lane, reads, requests: Some(requests as u64), every: String::new(), within: String::new() }
    }

    fn times(self, every: Duration, within: Duration) -> Self {
        Self { every: length(every), within: length(within), ..self }
    }
}

fn line(lane: &str, reads: &str, requests: &str, every: &str, within: &str) -> String {
    format!("{lane:7} {reads:46} {requests:>14}  {every:8} {within}").trim_end().to_owned()
}

fn lanes(known: &Known, forecast: &Forecast, poll: &Poll) -> Vec<Row> {
    let of = |lane: &str, reads: &str, share: &Share| {
        Row::new(lane, reads, share.granted.round()).times(share.every, share.seen_within)
    };
    let before = poll.lookback.as_secs() / DAY.as_secs();
    let newest =
        if before == 1 { "today and the day before".to_owned() } else { format!("today and the {before} days before") };
    let mut rows = vec![of("hot", &newest, &forecast.hot)];
    let served: Vec<_> = forecast.ages.iter().filter_map(|age| Some((age, age.every?))).collect();
    for (i, (age, every)) in served.iter().enumerate() {
        let what = format!("what is still open, {} days old", age.days);
        let row = Row::new("open", &what, forecast.open.granted.round()).times(*every, age.seen_within);
        rows.push(if i == 0 { row } else { Row { lane: String::new(), requests: None, ..row } });
    }
    if let Some(sweep) = &forecast.sweep {
        if served.is_empty() {
            let what = "what is still open: left to the sweep";
            rows.push(Row::new("open", what, forecast.open.granted.round()).times(sweep.every, sweep.seen_within));
        }
        rows.push(of("sweep", &format!("all older days, {} a round", requests(sweep.round)), sweep));
    }
    if forecast.verify.granted > 0.0 {
        let marked = known.calendar.days.iter().filter(|row| row.verify).count() as u64;
        let what = format!("{} in which somebody was missing", count(marked, "day"));
        rows.push(Row::new("verify", &what, forecast.verify.granted.round()));
    }
    rows
}

fn requests(number: u64) -> String {
    count(number, "request")
}

/// How soon it is known that the vendor has deleted a submission.
fn deletions(stated: &Stated, settings: &Settings) -> String {
    let (newest, older) = stated.deletions;
    let both = |newest: Duration, older: Option<Duration>| match older {
        Some(older) => format!("{} (newest days) or {} (older)", length(newest), length(older)),
        None => length(newest),
    };
    paragraph(&[
        format!(
            "A submission that the vendor no longer shows is noticed within {}.",
            both(newest.suspected_within, older.map(|older| older.suspected_within))
        ),
        format!(
            "It is then asked for by id, twice, {} apart (erasure.confirm_after): believed within {}.",
            length(settings.erasure.confirm_after),
            both(newest.carried_out_within, older.map(|older| older.carried_out_within))
        ),
        format!(
            "Fields that are removed must be missing in lists, too: believed within {}.",
            both(newest.with_lists_within, older.map(|older| older.with_lists_within))
        ),
    ])
}

fn import(known: &Known, stated: &Stated) -> String {
    let import = &stated.import;
    let mut sentences =
        vec![format!("A first import takes {}, at most {}.", requests(import.requests), length(import.within))];
    if known.lacking.details {
        let all = grouped(known.calendar.submissions(None));
        sentences.push(match import.details_within {
            Some(within) => format!("Then {all} submissions are read by id: all of it within {}.", length(within)),
            None => format!(
                "Then {all} submissions would have to be read by id, and {} new ones a day: there is only room for {}. \
                 Raise api.requests_per_day, or what they lack comes ever later.",
                grouped(known.new_per_day().ceil() as u64),
                grouped(room(&stated.forecast) as u64)
            ),
        });
    }
    paragraph(&sentences)
}

/// A sentence for each lane that gets less than it needs, and one that says what would be enough. `page`: submissions on one.
pub(in crate::cli) fn shortages(page: u64, forecast: &Forecast, poll: &Poll) -> String {
    let mut sentences = Vec::new();
    if let Some(sweep) = forecast.sweep.filter(|sweep| sweep.short) {
        sentences.push(format!(
            "The sweep is slower than poll.sweep_interval, {}: a round takes {}. If that is soon enough, leave it so.",
            length(poll.sweep_interval),
            length(sweep.every)
        ));
    }
    if forecast.open.short {
        sentences.push(format!(
            "Open submissions are looked at {:.1} times less often than poll.open_interval, {}, asks for.",
            forecast.open_stretch,
            length(poll.open_interval)
        ));
    }
    if forecast.hot.short {
        sentences.push(format!(
            "The newest days are read every {}, not every {} as poll.interval asks for.",
            length(forecast.hot.every),
            length(poll.interval)
        ));
    }
    if !sentences.is_empty() {
        sentences.push(format!(
            "For all of it, raise api.requests_per_day to {} if the vendor allows that, or api.count if its pages hold more than {}.",
            grouped(enough(forecast)),
            grouped(page)
        ));
    }
    let used = forecast.budget - forecast.spare - forecast.single;
    let day = DAY.as_secs_f64();
    if used * REQUEST.as_secs_f64() > BUSY * day {
        sentences.push(format!(
            "Requests go one after the other: these times need answers within {} ms on average.",
            grouped((BUSY * day * 1000.0 / used) as u64)
        ));
    }
    // Each begins a line.
    sentences.into_iter().map(|sentence| paragraph(&[sentence])).collect::<Vec<_>>().join("\n")
}

/// Requests a day with which nobody is short, in two digits.
fn enough(forecast: &Forecast) -> u64 {
    let need = forecast.hot.need + forecast.open.need + forecast.sweep.map_or(0.0, |sweep| sweep.need) + forecast.probe;
    let enough = need / (1.0 - forecast.single / forecast.budget);
    let unit = 10f64.powf(enough.log10().floor() - 1.0);
    ((enough / unit).ceil() * unit).ceil() as u64
}
