//! One item, or two with a byte between them that no text holds: decoded or refused, compared, told.

#![no_main]

use std::collections::BTreeSet;

use argos_sync::argos::decode::{Refusal, decode};
use argos_sync::argos::envelope::RawItem;
use argos_sync::config::Limits;
use argos_sync::domain::canonical::canonical;
use argos_sync::domain::change::{changed_fields, history, news};
use argos_sync::domain::event::EventType;
use argos_sync::domain::submission::{Drift, State, Submission};
use argos_sync::domain::views::fields;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits =
    Limits { item_bytes: 1 << 20, item_depth: 64, item_children: 2000, page_items: 10_000, walk_pages: 100_000 };

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0xff).map(one);
    let (before, after) = (parts.next().flatten(), parts.next().flatten());
    if let (Some(before), Some(after)) = (before, after) {
        let (before, after) = (before.state, after.state);
        assert_eq!(changed_fields(&before, &after).is_empty(), before == after);
        let drafts = news(Some(&before), &after);
        let ids: BTreeSet<_> = drafts.iter().map(|draft| (draft.kind, &draft.key, draft.place)).collect();
        assert_eq!(ids.len(), drafts.len());
        assert!(drafts.is_sorted_by_key(|draft| draft.kind));
    }
});

fn one(data: &[u8]) -> Option<Submission> {
    let json = std::str::from_utf8(data).ok()?;
    let mut counts = Drift::new();
    let submission = match decode(RawItem { json, submission_id: Some("s") }, &LIMITS, &mut counts) {
        Ok(submission) => submission,
        Err(refusal) => {
            assert!(Refusal::REASONS.contains(&refusal.reason));
            return None;
        }
    };
    let state = &submission.state;
    assert_eq!(canonical(state.value()), *state.value());
    let read_again = serde_json::from_slice(&state.bytes()).unwrap();
    assert_eq!(State::of(&read_again), *state);
    assert!(!submission.item.to_string().contains("\\u0000"), "PostgreSQL refuses it");
    assert!(changed_fields(state, state).is_empty());
    let told: Vec<_> = news(Some(state), state).into_iter().map(|draft| draft.kind).collect();
    assert_eq!(told, [EventType::SubmissionUpdated]);
    assert_eq!(history(state).len(), 1);
    assert!(news(None, state).len() > submission.attempt_rows(&mut counts).len());
    submission.row(&mut counts);
    submission.match_rows(&mut counts);
    submission.bank_row(&mut counts);
    state.unknown_values(&mut counts);
    state.reject_codes();
    assert!(fields(&submission.item).iter().all(|name| name.is_ascii()));
    Some(submission)
}
