//! The plan for people.

use std::time::Duration;

use super::{DAY, Known};
use crate::config::Poll;
use crate::sync::plan::{Forecast, REQUEST, Share};

/// A few lines that can be understood without having read anything else.
pub(super) fn text(known: &Known, forecast: &Forecast, poll: &Poll) -> String {
    let mut lines = vec![
        format!(
            "{} submissions created over {} days, {} of them open; {} per page; {} requests a day.",
            grouped(known.calendar.submissions(None)),
            grouped(known.calendar.days.len() as u64),
            grouped(known.open()),
            grouped(known.page),
            grouped(known.budget)
        ),
        String::new(),
        row("lane", "reads", "requests a day", "every", "a change is seen within"),
    ];
    lines.extend(lanes(forecast, poll));
    let used = known.budget as f64 - forecast.spare - 0.02 * forecast.budget;
    let reserve = "single submissions (refresh, checks), at most";
    lines.push(row("single", reserve, &grouped((0.02 * forecast.budget) as u64), "", ""));
    lines.push(row("", "left over", &grouped((known.budget as f64 - used - 0.02 * forecast.budget) as u64), "", ""));
    lines.push(String::new());
    let import = known.import();
    let time = REQUEST.mul_f64(import as f64).max(DAY.mul_f64(import as f64 / forecast_import(forecast)));
    lines.push(format!("A first import takes {} requests, at most {}.", grouped(import), length(time)));
    lines.extend(shortages(known, forecast, poll));
    lines.push(String::new());
    lines.join("\n")
}

/// Requests a day that an import gets, which takes the sweep's place.
fn forecast_import(forecast: &Forecast) -> f64 {
    (forecast.spare + forecast.sweep.map_or(0.0, |sweep| sweep.granted)).max(0.1 * forecast.budget)
}

fn lanes(forecast: &Forecast, poll: &Poll) -> Vec<String> {
    let requests = |share: &Share| grouped(share.granted.round() as u64);
    let before = poll.lookback.as_secs() / DAY.as_secs();
    let newest =
        if before == 1 { "today and the day before".to_owned() } else { format!("today and the {before} days before") };
    let hot = &forecast.hot;
    let mut rows = vec![row("hot", &newest, &requests(hot), &length(hot.every), &length(hot.seen_within))];
    let mut first = true;
    for age in &forecast.ages {
        let Some(every) = age.every else { continue };
        let what = format!("what is still open, {} days old", age.days);
        let (lane, requests) = if first { ("open", requests(&forecast.open)) } else { ("", String::new()) };
        rows.push(row(lane, &what, &requests, &length(every), &length(age.seen_within)));
        first = false;
    }
    if first && forecast.open.round + forecast.ages.len() as u64 > 0 {
        rows.push(row("open", "what is still open: as often as the sweep", "0", "", ""));
    }
    if let Some(sweep) = &forecast.sweep {
        let what = format!("all older days, {} requests a round", grouped(sweep.round));
        rows.push(row("sweep", &what, &requests(sweep), &length(sweep.every), &length(sweep.seen_within)));
    }
    rows
}

/// A sentence for each lane that gets less than it needs, and one that says what would be enough.
fn shortages(known: &Known, forecast: &Forecast, poll: &Poll) -> Vec<String> {
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
        let need = forecast.hot.need + forecast.open.need + forecast.sweep.map_or(0.0, |sweep| sweep.need);
        let mut enough = need / 0.98;
        let unit = 10f64.powf(enough.log10().floor() - 1.0);
        enough = (enough / unit).ceil() * unit;
        sentences.push(format!(
            "For all of it, raise api.requests_per_day to {} if the vendor allows that, or api.count if its pages hold more than {}.",
            grouped(enough as u64),
            grouped(known.page)
        ));
        sentences.insert(0, String::new());
    }
    sentences
}

fn row(lane: &str, reads: &str, requests: &str, every: &str, seen: &str) -> String {
    format!("{lane:7} {reads:46} {requests:>14}  {every:8} {seen}").trim_end().to_owned()
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time in its two largest units, rounded up.
fn length(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    let (unit, large, small, names) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (1, 60, 60, ("m", "s")),
        3_600..86_400 => (60, 60, 60, ("h", "m")),
        _ => (3_600, 24, 24, ("d", "h")),
    };
    let units = seconds.div_ceil(unit);
    match (units / large, units % small) {
        (whole, 0) => format!("{whole}{}", names.0),
        (whole, rest) => format!("{whole}{} {rest}{}", names.0, names.1),
    }
}
