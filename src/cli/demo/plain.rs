//! The demo without a terminal: one line every few seconds.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Playbill;
use super::view::minutes;
use super::watch::{Look, Watch};

const EVERY: Duration = Duration::from_secs(5);

/// Says where everything is, then a line now and then, until `stop`.
pub(super) async fn run(watch: &mut Watch, bill: &Playbill, json: bool, stop: &CancellationToken) {
    bill.urls.iter().for_each(|(name, url)| say(json, &format!("{name:8} {url}")));
    say(json, &format!("look in  {}", bill.psql));
    say(json, &format!("log      {}", bill.log.display()));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
        match watch.look().await {
            Ok(look) => say(json, &format!("{}  {}", minutes(bill.begun.elapsed()), line(&look))),
            Err(_) => say(json, "the database does not answer"),
        }
    }
}

fn line(look: &Look) -> String {
    let results: Vec<_> = look.mirrored.iter().map(|(result, count)| format!("{result} {count}")).collect();
    let since = look.since_pass.map_or_else(|| "none yet".to_owned(), |seconds| format!("{seconds:.1} s ago"));
    format!(
        "{} submissions ({}), {} Red Flags open, {} events, last pass {since}",
        look.submissions(),
        results.join(", "),
        look.red_flags_open,
        look.events
    )
}

/// Prints a line for people: with `--json`, standard output is for the machine.
pub(super) fn say(json: bool, line: &str) {
    if json {
        eprintln!("{line}");
    } else {
        println!("{line}");
    }
}
