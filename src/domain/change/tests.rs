use proptest::prelude::*;
use serde_json::json;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "reads better at the calls")]
fn state(item: Value) -> State {
    State::of(&item)
}

fn names(drafts: &[Draft]) -> Vec<&'static str> {
    drafts.iter().map(|draft| draft.kind.as_str()).collect()
}

#[test]
fn p1_a_new_submission_tells_everything_from_null_in_order() {
    let after = state(json!({
        "submission_id": "s", "pending_at": "2022-04-07T00:30:35Z",
        "kyc": {"result": "approved", "attempts": [{"attemptCnt": 1}, {"attemptCnt": 2}]},
        "aml": {"currentstatus": "Red Flag", "risk_level_summary": "High", "matches": [{"resource_id": "r"}]},
        "bank_verification": {"result": "success"}, "Injection_action": {"type": "address"}
    }));
    let drafts = news(None, &after);
    assert_eq!(
        names(&drafts),
        [
            "submission.created",
            "kyc.attempt_added",
            "kyc.attempt_added",
            "kyc.result_changed",
            "aml.status_changed",
            "aml.red_flag_raised",
            "aml.match_added",
            "aml.risk_changed",
            "bank_verification.changed",
            "injection.performed"
        ]
    );
    let result = drafts.iter().find(|draft| draft.kind == EventType::KycResultChanged).unwrap();
    assert!(result.inferred, "pending_at tells of a pending state that no poll saw");
}

#[test]
fn a_red_flag_goes_on_off_on() {
    let flag = |status: &str| state(json!({"kyc": {"result": "approved"}, "aml": {"currentstatus": status}}));
    let (on, off) = (flag("Red Flag"), flag("Not Screened"));
    assert_eq!(names(&news(Some(&off), &on)), ["aml.status_changed", "aml.red_flag_raised", "submission.updated"]);
    assert_eq!(names(&news(Some(&on), &off)), ["aml.status_changed", "aml.red_flag_cleared", "submission.updated"]);
    let gone = state(json!({"kyc": {"result": "approved"}}));
    assert_eq!(names(&news(Some(&on), &gone)), ["submission.updated"], "missing is not cleared");
    let empty = state(json!({"kyc": {"result": "approved"}, "aml": {}}));
    assert_eq!(names(&news(Some(&on), &empty)), ["submission.updated"], "nor is an empty one");
    let unclear = state(json!({"kyc": {"result": "approved"}, "aml": {"raw_data": {"hits": 1}}}));
    assert_eq!(names(&news(Some(&on), &unclear)), ["aml.status_changed", "submission.updated"]);
}

#[test]
fn attempts_are_matched_by_count_where_unique_else_by_place() {
    let with = |attempts: Value| state(json!({"kyc": {"result": "incomplete", "attempts": attempts}}));
    let before = with(json!([{"attemptCnt": 1, "errorCode": "a"}, {"attemptCnt": 2}]));
    let moved = with(json!([{"attemptCnt": 2}, {"attemptCnt": 1, "errorCode": "b"}, {"attemptCnt": 3}]));
    let drafts = news(Some(&before), &moved);
    assert_eq!(names(&drafts), ["kyc.attempt_added", "kyc.attempt_changed", "submission.updated"]);
    assert_eq!(drafts[1].body["from"]["errorCode"], "a");
    let twice = with(json!([{"attemptCnt": 1, "errorCode": "a"}, {"attemptCnt": 1, "errorCode": "c"}]));
    // 1 is not unique any more, so the first goes by place (equal); the second has no twin: 2 still goes by its count.
    assert_eq!(names(&news(Some(&before), &twice)), ["kyc.attempt_added", "submission.updated"]);
}

#[test]
fn matches_are_matched_by_resource_then_number_then_content() {
    let with = |matches: Value| state(json!({"aml": {"currentstatus": "Red Flag", "matches": matches}}));
    let before = with(json!([{"resource_id": "r1", "score": 90}, {"argos_number": "a2"}, {"score": 1}, {"score": 1}]));
    let after = with(json!([{"score": 1}, {"argos_number": "a2", "score": 3}, {"resource_id": "r1", "score": "90.0"}]));
    let drafts = news(Some(&before), &after);
    assert_eq!(names(&drafts), ["aml.match_changed", "aml.match_removed", "submission.updated"]);
    assert_eq!(drafts[1].place, 1, "the second of two equal ones is the one that went");
}

#[test]
fn detail_is_told_without_the_comment() {
    let with =
        |comment: &str| state(json!({"kyc": {"result": "rejected", "comment": comment, "commentCode": ["other"]}}));
    let drafts = news(Some(&with("for Jane")), &with("for Jack"));
    assert_eq!(names(&drafts), ["kyc.detail_changed", "submission.updated"]);
    assert!(!format!("{drafts:?}").contains("Ja"));
}

#[test]
fn names_of_changed_fields_go_two_levels_deep() {
    let before = state(json!({"data": {"name": "a", "cf1": "x"}, "kyc": {"result": "pending"}, "new": 1, "empty": {}}));
    let after = state(
        json!({"data": {"name": "b"}, "kyc": {"result": "pending", "attempts": []}, "new": 2, "memo": {"text": "t"}}),
    );
    assert_eq!(changed_fields(&before, &after), ["data.cf1", "data.name", "empty", "kyc.attempts", "memo.text", "new"]);
}

fn any_item() -> impl Strategy<Value = Value> {
    let attempt = (0u8..3, "[ab]?").prop_map(|(cnt, code)| json!({"attemptCnt": cnt, "errorCode": code}));
    let found = (prop::option::of(0u8..3), 0u8..3).prop_map(|(id, score)| json!({"resource_id": id, "score": score}));
    let result = prop::sample::select(vec!["incomplete", "pending", "approved", "rejected", "new"]);
    let status = prop::option::of(prop::sample::select(vec!["Red Flag", "Not Screened", "?"]));
    (result, prop::collection::vec(attempt, 0..4), status, prop::collection::vec(found, 0..4)).prop_map(
        |(result, attempts, status, matches)| json!({"kyc": {"result": result, "attempts": attempts}, "aml": {"currentstatus": status, "matches": matches}}),
    )
}

proptest! {
    #[test]
    fn p2_no_change_no_names_and_no_two_events_share_an_id(a in any_item(), b in any_item()) {
        let (a, b) = (state(a), state(b));
        prop_assert!(changed_fields(&a, &a).is_empty());
        prop_assert_eq!(changed_fields(&a, &b).is_empty(), a == b);
        for drafts in [news(None, &a), news(Some(&a), &b)] {
            let ids: BTreeSet<_> = drafts.iter().map(|draft| (draft.kind, draft.key.clone(), draft.place)).collect();
            prop_assert_eq!(ids.len(), drafts.len());
            prop_assert!(drafts.is_sorted_by_key(|draft| draft.kind), "{:?}", names(&drafts));
        }
    }
}
