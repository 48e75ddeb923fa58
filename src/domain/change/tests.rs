use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};
use proptest::prelude::*;
use serde_json::json;

use super::super::field::{ALIASES, ATTEMPT, BANK, Field, MATCH, SUBMISSION};
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
fn a_key_that_is_not_unique_in_both_lists_tells_nothing_apart() {
    let with = |matches: Value| state(json!({"aml": {"currentstatus": "Red Flag", "matches": matches}}));
    let (x, y) = (json!({"resource_id": "r", "argos_number": "x"}), json!({"resource_id": "r", "argos_number": "y"}));
    let turned = news(Some(&with(json!([x, y]))), &with(json!([y, x])));
    assert_eq!(names(&turned), ["submission.updated"]);
    for (before, after) in [(json!([x]), json!([y, x])), (json!([y, x]), json!([x]))] {
        let drafts = news(Some(&with(before.clone())), &with(after.clone()));
        let event = if before == json!([x]) { "aml.match_added" } else { "aml.match_removed" };
        assert_eq!(names(&drafts), [event, "submission.updated"]);
        assert_eq!(drafts[0].key, "argos_number=\"y\"");
    }
}

#[test]
fn a_pending_state_that_no_poll_saw_is_inferred_from_its_time() {
    let kyc =
        |result: &str, pending_at: Option<&str>| state(json!({"kyc": {"result": result}, "pending_at": pending_at}));
    let (old, new) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z"));
    for (before, after, inferred) in [
        (kyc("incomplete", None), kyc("approved", new), true),
        (kyc("approved", old), kyc("rejected", new), true),
        (kyc("approved", old), kyc("rejected", old), false),
        (kyc("approved", old), kyc("rejected", None), false),
        (kyc("incomplete", None), kyc("approved", None), false),
        (kyc("incomplete", None), kyc("pending", new), false),
        (kyc("pending", old), kyc("approved", new), false),
    ] {
        let drafts = news(Some(&before), &after);
        assert_eq!(
            (drafts[0].kind, drafts[0].inferred),
            (EventType::KycResultChanged, inferred),
            "{:?}",
            before.value()
        );
    }
}

#[test]
fn what_is_older_than_the_import_is_one_event() {
    let drafts = history(&state(json!({"kyc": {"result": "approved"}, "aml": {"currentstatus": "Red Flag"}})));
    let body = json!({"from": null, "to": "approved", "aml_status": "Red Flag"});
    assert_eq!(drafts, [Draft::new(EventType::SubmissionImported, "", body)]);
}

#[test]
fn p11_payloads_hold_codes_and_no_personal_data() {
    let before = state(json!({"reviewer": "agent", "kyc": {"result": "rejected", "commentCode": ["a"]},
        "aml": {"currentstatus": "Red Flag", "matches": [{"resource_id": "r", "score": 1, "name": "taint"}]},
        "bank_verification": {"result": "fail", "account_number": "taint"}}));
    let after = state(json!({"reviewer": "Jane Taint", "kyc": {"result": "rejected", "commentCode": ["a", "b"]},
        "aml": {"currentstatus": "Red Flag", "matches": [{"resource_id": "r", "score": "2.0", "name": "taint"}]},
        "bank_verification": {"result": "success", "retry_count": 3, "account_number": "taint"},
        "Injection_action": {"type": "address", "data": "taint"}}));
    let drafts = news(Some(&before), &after);
    let told: Vec<Value> = drafts.iter().map(|draft| draft.body.clone()).collect();
    let expected = [
        json!({"from": {"codes": ["a"], "reviewer": "agent"}, "to": {"codes": ["a", "b"], "reviewer": "other"},
            "result": "rejected", "fields": ["kyc.commentCode", "reviewer"]}),
        json!({"from": {"resource_id": "r", "score": 1}, "to": {"resource_id": "r", "score": 2}}),
        json!({"from": {"result": "fail"}, "to": {"result": "success", "retry_count": 3}}),
        json!({"from": null, "to": {"type": "address"}}),
    ];
    assert_eq!(told[..4], expected);
    assert_eq!(names(&drafts[4..]), ["submission.updated"], "its names are tested above");
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
    let before = state(
        json!({"data": {"name": "a", "cf1": "x"}, "kyc": {"result": "pending"}, "new": 1, "empty": {}, "lost": {"a": 1}}),
    );
    let after = state(
        json!({"data": {"name": "b"}, "kyc": {"result": "pending", "attempts": []}, "new": 2, "memo": {"text": "t"}}),
    );
    assert_eq!(
        changed_fields(&before, &after),
        ["data.cf1", "data.name", "kyc.attempts", "lost.a", "memo.text", "new"]
    );
    let (object, deeper) = (json!({"data": {"name": "a"}}), json!({"data": {"name": {"first": "a"}}}));
    let changed = |before: &Value, after: Value| changed_fields(&state(before.clone()), &state(after));
    assert_eq!(changed(&object, json!({"data": "none"})), ["data"], "of another type now");
    assert_eq!(changed(&json!({"data": "none"}), object), ["data"]);
    assert_eq!(changed(&deeper, json!({"data": {"name": {"first": "b"}}})), ["data.name"]);
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

/// What a consumer knows who has read a submission's events and nothing else.
#[derive(Debug, Default, PartialEq)]
struct Replayed {
    result: Value,
    status: Value,
    attempts: usize,
    /// Codes of the matches, and how many matches have these.
    matches: BTreeMap<String, i64>,
}

impl Replayed {
    fn read(&mut self, draft: &Draft) {
        let side = |name: &str| draft.body[name].clone();
        let mut count = |codes: &Value, by| *self.matches.entry(codes.to_string()).or_default() += by;
        match draft.kind {
            EventType::KycResultChanged => {
                assert_eq!(side("from"), self.result);
                self.result = side("to");
            }
            EventType::AmlStatusChanged => {
                assert_eq!(side("from"), self.status);
                self.status = side("to");
            }
            EventType::KycAttemptAdded => self.attempts += 1,
            EventType::AmlMatchAdded => count(&side("to"), 1),
            EventType::AmlMatchRemoved => count(&side("from"), -1),
            EventType::AmlMatchChanged => {
                count(&side("from"), -1);
                count(&side("to"), 1);
            }
            _ => {}
        }
        self.matches.retain(|_, count| *count != 0);
    }

    fn of(state: &State) -> Self {
        let mut matches = BTreeMap::new();
        for found in state.list(&["aml", "matches"]) {
            *matches.entry(match_codes(found).to_string()).or_default() += 1;
        }
        let attempts = state.list(&["kyc", "attempts"]).len();
        Self { result: json!(state.kyc_result()), status: json!(state.aml_status()), attempts, matches }
    }
}

/// Items as one submission shows them over time: attempts become more and change, and none goes.
fn life() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec((any_item(), 0usize..3), 1..6).prop_map(|steps| {
        let (mut attempts, mut cnt) = (Vec::new(), 0);
        let step = |(mut item, more): (Value, usize)| {
            attempts.iter_mut().for_each(|attempt: &mut Value| attempt["errorCode"] = item["kyc"]["result"].clone());
            attempts.extend((0..more).map(|n| json!({"attemptCnt": cnt + n})));
            cnt += more;
            item["kyc"]["attempts"] = json!(attempts);
            item
        };
        steps.into_iter().map(step).collect()
    })
}

/// Two forms of one value: (the one, the other). Null stands for absent, too.
fn forms(kind: Kind) -> BoxedStrategy<(Value, Value)> {
    let text = "[a-z0-9. ]{1,5}".prop_map(Value::String).boxed();
    match kind {
        Kind::Text | Kind::Word => text.prop_map(|text| (text.clone(), text)).boxed(),
        Kind::Decimal => (decimals(), decimals(), 0u32..1000, prop::option::of(1u32..100))
            .prop_map(|(one, other, whole, fraction)| {
                let text = fraction.map_or(whole.to_string(), |fraction| format!("{whole}.{fraction:02}"));
                (one(&text), other(&text))
            })
            .boxed(),
        Kind::Time => (0i64..4_000_000_000, 0u32..1_000_000, 0u32..1000, -12i32..13)
            .prop_map(|(second, micro, beyond, east)| {
                let at = DateTime::from_timestamp(second, micro * 1000 + beyond).unwrap();
                let there = at.with_timezone(&FixedOffset::east_opt(east * 3600).unwrap());
                (json!(at.format("%Y-%m-%d %H:%M:%S%.6f").to_string()), json!(there.to_rfc3339()))
            })
            .boxed(),
        Kind::TextList => (text, any::<bool>())
            .prop_map(|(text, one)| (json!([text]), if one { text } else { json!([text]) }))
            .boxed(),
        Kind::Json => (0u32..100)
            .prop_map(|n| {
                let number: Value = serde_json::from_str(&format!("{n}.0")).unwrap();
                (json!({"a": n, "b": null, "c": [n]}), json!({"c": [number], "a": number}))
            })
            .boxed(),
        Kind::Link => (text, any::<bool>())
            .prop_map(|(link, gone)| (link, if gone { Value::Null } else { json!("else") }))
            .boxed(),
    }
}

/// Ways of writing a number.
fn decimals() -> impl Strategy<Value = fn(&str) -> Value> {
    let ways: [fn(&str) -> Value; 5] = [
        |text| serde_json::from_str(text).unwrap(),
        |text| json!(text),
        |text| json!(format!(" {text}{}", if text.contains('.') { "00" } else { ".00" })),
        |text| serde_json::from_str(&format!("{text}e0")).unwrap(),
        |text| json!(format!("00{text}")),
    ];
    prop::sample::select(ways.to_vec())
}

/// Two forms of an object that holds some of these fields.
fn two_forms(fields: &'static [Field]) -> impl Strategy<Value = (Value, Value)> {
    let field = |field: &'static Field| prop::option::of(forms(field.kind)).prop_map(move |forms| (field.path, forms));
    fields.iter().map(field).collect::<Vec<_>>().prop_map(|all| {
        let (mut one, mut other) = (json!({}), json!({}));
        for (path, (a, b)) in all.into_iter().filter_map(|(path, forms)| Some((path, forms?))) {
            put(&mut one, path, a);
            if !b.is_null() {
                put(&mut other, path, b);
            }
        }
        (one, other)
    })
}

fn put(object: &mut Value, path: &[&str], value: Value) {
    *path.iter().fold(object, |place, key| &mut place[*key]) = value;
}

/// Two forms of an item, the second with the other spelling of what has two.
fn two_items() -> impl Strategy<Value = (Value, Value)> {
    let lists = (prop::collection::vec(two_forms(ATTEMPT), 0..3), prop::collection::vec(two_forms(MATCH), 0..3));
    (two_forms(SUBMISSION), lists, two_forms(BANK)).prop_map(
        |((mut a, mut b), (attempts, matches), (bank_a, bank_b))| {
            for (path, list) in [(["kyc", "attempts"], attempts), (["aml", "matches"], matches)] {
                let (one, other): (Vec<Value>, Vec<Value>) = list.into_iter().unzip();
                put(&mut a, &path, json!(one));
                put(&mut b, &path, json!(other));
            }
            put(&mut a, &["bank_verification"], bank_a);
            put(&mut b, &["bank_verification"], bank_b);
            for (parent, other, documented) in ALIASES {
                let object = parent.iter().fold(&mut b, |place, key| &mut place[*key]).as_object_mut().unwrap();
                if let Some(value) = object.remove(*documented) {
                    object.insert((*other).to_owned(), value);
                }
            }
            (a, b)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(64), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p1_who_has_read_all_events_knows_the_state(life in life()) {
        let (mut known, mut before) = (Replayed::default(), None);
        for item in life {
            let after = state(item);
            news(before.as_ref(), &after).iter().for_each(|draft| known.read(draft));
            prop_assert_eq!(&known, &Replayed::of(&after));
            before = Some(after);
        }
    }

    #[test]
    fn p2_no_form_of_the_same_is_a_change((one, other) in two_items()) {
        let (one, other) = (state(one), state(other));
        prop_assert_eq!(one.value(), other.value());
        prop_assert_eq!(changed_fields(&one, &other), Vec::<String>::new());
        prop_assert_eq!(names(&news(Some(&one), &other)), ["submission.updated"]);
        prop_assert_eq!(one.bytes(), other.bytes());
    }
}
