//! The dull loop: wait, pass, decide how long to wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::engine::{Engine, Turn};
use super::error::SyncError;
use crate::chain::chain;
use crate::clock::Timestamp;
use crate::config::Settings;

/// Pause after an error that only a person can mend: slow probes instead of a retry storm.
const PROBE: Duration = Duration::from_secs(300);

/// Longest pause that a Retry-After brings about: a longer one is more likely a mistake than a wish.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Longest pause before the first pass.
const FIRST_PAUSE: Duration = Duration::from_secs(3);

/// Shortest rest, so that a clock that goes backwards does not make the loop spin.
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// Longest rest: whatever the plan says, what the database knows may have changed, and the clock may have been set.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Longest pause after a failure of the database, however long the poll interval is.
const DATABASE_PAUSE: Duration = Duration::from_secs(10);

/// Longest pause between two looks at a lease that another process holds.
const LOOK: Duration = Duration::from_secs(10);

/// How many times `lease.ttl` a leader stays away that gave its lease back because the database failed it. The others look
/// at least once in each.
const AWAY: u32 = 2;

/// Polls until it is asked to stop, then gives the lease back. Settings that change are taken up between two turns.
pub async fn run(mut engine: Engine, mut settings: watch::Receiver<Arc<Settings>>) {
    let stop = engine.parts().stop.clone();
    // Replicas and projects that start together should not ask together.
    let mut next = Instant::now() + jitter((engine.parts().settings.poll.interval / 10).min(FIRST_PAUSE));
    let mut last: Option<Last> = None;
    let mut last_error = String::new();
    // Before the first pass, so that a restart shows no gap. A database that fails now will be told of by the pass.
    let _ = stop.run_until_cancelled(engine.show_counts()).await;
    loop {
        engine.parts().heartbeat.expect_within(next.saturating_duration_since(Instant::now()));
        let useful = last.as_ref().is_some_and(|last| last.turn.is_ok());
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = settings.changed() => {
                let changed = settings.borrow_and_update().clone();
                let asks_otherwise = take_up(&mut engine, changed).await;
                next = last.as_ref().map_or(next, |last| last.next(&engine, asks_otherwise));
                continue;
            }
            // A leader that the vendor's side fails lets its lease run out: another one may have the right address, or a
            // sound key.
            () = engine.rest(next), if useful => {}
            () = tokio::time::sleep_until(next), if !useful => {}
        }
        let turn = engine.turn().await;
        log(&turn, &engine.parts().project.id, &mut last_error);
        if matches!(turn, Ok(Turn::Ended(_) | Turn::Rest(_))) {
            engine.prune_when_due().await;
        }
        let last = last.insert(Last { turn, ended: Instant::now(), stood_back: engine.stood_back() });
        if last.stood_back {
            let (project, seconds) = (&engine.parts().project.id, last.pause(&engine).as_secs());
            tracing::warn!(
                project,
                "the database failed this process again and again: for {seconds} s others may lead"
            );
        }
        next = last.ended + last.pause(&engine);
    }
    engine.parts().heartbeat.expect_within(engine.parts().settings.shutdown.grace);
    if let Err(error) = engine.release().await {
        tracing::warn!(error = chain(&error), "the lease was not given back; it runs out by itself");
    }
}

/// How the last turn ended.
struct Last {
    turn: Result<Turn, SyncError>,
    ended: Instant,
    stood_back: bool,
}

impl Last {
    fn pause(&self, engine: &Engine) -> Duration {
        let settings = &engine.parts().settings;
        let pause = pause(&self.turn, engine.parts().clock.now(), settings.poll.interval, settings.lease.ttl);
        if self.stood_back { pause.max(settings.lease.ttl * AWAY) } else { pause }
    }

    /// When the next turn is due after a change of settings: what was waited for may be another matter now, but what the
    /// vendor or the database asked for is not.
    fn next(&self, engine: &Engine, asks_otherwise: bool) -> Instant {
        if at_once(&self.turn, asks_otherwise) { Instant::now() } else { self.ended + self.pause(engine) }
    }
}

/// Whether a change of settings is a reason to have the next turn now.
fn at_once(turn: &Result<Turn, SyncError>, asks_otherwise: bool) -> bool {
    match turn {
        Ok(_) => true,
        Err(SyncError::Api(error)) => asks_otherwise && error.retry_after().is_none(),
        Err(SyncError::OtherProject { .. }) => asks_otherwise,
        Err(_) => false,
    }
}

/// Whether the vendor is asked in another way from now on.
async fn take_up(engine: &mut Engine, settings: Arc<Settings>) -> bool {
    engine.reload(settings).await.unwrap_or_else(|error| {
        let project = &engine.parts().project.id;
        tracing::error!(project, error = chain(&error), "the changed settings cannot be used: the old ones stay");
        false
    })
}

/// How long to wait before the next turn.
fn pause(turn: &Result<Turn, SyncError>, now: Timestamp, interval: Duration, lease_ttl: Duration) -> Duration {
    match turn {
        Ok(Turn::Went | Turn::Ended(_)) => Duration::ZERO,
        Ok(Turn::Rest(until)) => (*until - now).to_std().unwrap_or_default().clamp(SHORTEST_REST, LONGEST_REST),
        Err(SyncError::Api(error)) if error.needs_a_person() => interval.max(PROBE),
        Err(SyncError::Api(error)) => interval.max(error.retry_after().unwrap_or_default().min(LONGEST_RETRY_AFTER)),
        Err(SyncError::Store(_)) => interval.min(DATABASE_PAUSE),
        Err(SyncError::NotLeader { .. }) => interval.min(lease_ttl).min(LOOK),
        // A little more than from one look of another process to its next.
        Err(SyncError::LeftToOthers { .. }) => interval.min(lease_ttl).min(LOOK).mul_f64(1.25),
        Err(_) => interval,
    }
}

/// One line per walk; an error that lasts is told in full once and in short from then on.
fn log(turn: &Result<Turn, SyncError>, project: &str, last_error: &mut String) {
    let error = match turn {
        Ok(Turn::Ended(report)) => {
            last_error.clear();
            return report.log(project);
        }
        Ok(Turn::Went | Turn::Rest(_)) => return,
        Err(error) => error,
    };
    let text = chain(error);
    match error {
        SyncError::NotLeader { .. } if *last_error == text => tracing::debug!(project, "waiting for the lease"),
        SyncError::NotLeader { .. } => tracing::info!(project, "{text}. {}", error.advice()),
        SyncError::LeftToOthers { .. } => tracing::debug!(project, "{text}"),
        _ if *last_error == text => tracing::warn!(project, kind = error.kind(), "the pass failed as before"),
        _ => tracing::error!(project, kind = error.kind(), advice = error.advice(), "{text}"),
    }
    *last_error = text;
}

fn jitter(most: Duration) -> Duration {
    most.mul_f64(f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argos::error::ApiError;

    #[test]
    fn p8_the_pause_after_a_pass_fits_how_it_ended() {
        let seconds = Duration::from_secs;
        let now = Timestamp::default();
        let after = |error: SyncError| pause(&Err(error), now, seconds(30), seconds(20));
        assert_eq!(pause(&Ok(Turn::Went), now, seconds(30), seconds(20)), seconds(0));
        assert_eq!(pause(&Ok(Turn::Rest(now + seconds(7))), now, seconds(30), seconds(20)), seconds(7));
        let tomorrow = Turn::Rest(now + seconds(86_400));
        assert_eq!(pause(&Ok(tomorrow), now, seconds(30), seconds(20)), LONGEST_REST, "it looks again before");
        let too_many = |asked| SyncError::Api(ApiError::TooManyRequests { retry_after: asked });
        assert_eq!(after(too_many(None)), seconds(30));
        assert_eq!(after(too_many(Some(seconds(2)))), seconds(30));
        assert_eq!(after(too_many(Some(seconds(900)))), seconds(900), "longer than api.retry_after_max, and obeyed");
        assert_eq!(after(too_many(Some(seconds(u64::MAX)))), seconds(3600), "absurd");
        assert_eq!(after(SyncError::Api(ApiError::AddressRefused)), PROBE);
        assert_eq!(after(SyncError::Api(ApiError::TimedOut)), seconds(30));
        assert_eq!(after(SyncError::SuspiciouslyEmpty), seconds(30));
        let not_leader = SyncError::NotLeader { project_id: "p".to_owned(), holder: "h".to_owned() };
        assert_eq!(after(not_leader), seconds(10));
        let left = SyncError::LeftToOthers { project_id: "p".to_owned() };
        assert!(after(left) > seconds(10), "others look before it is taken");
    }

    #[test]
    fn p8_changed_settings_end_no_wait_that_the_vendor_asked_for() {
        let api = |error: ApiError| Err(SyncError::Api(error));
        let refused = || api(ApiError::KeyRefused { status: 403, code: None });
        assert!(at_once(&refused(), true) && !at_once(&refused(), false));
        assert!(at_once(&Err(SyncError::OtherProject { asked: 5, same: 0 }), true));
        assert!(at_once(&Ok(Turn::Rest(Timestamp::default())), false), "the plan says what is due");
        assert!(!at_once(&api(ApiError::TooManyRequests { retry_after: Some(Duration::from_secs(900)) }), true));
        let not_leader = SyncError::NotLeader { project_id: "p".to_owned(), holder: "h".to_owned() };
        assert!(!at_once(&Err(not_leader), true));
    }
}
