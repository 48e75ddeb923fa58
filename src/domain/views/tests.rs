use proptest::prelude::*;
use serde_json::json;

use super::*;

fn names(names: &[&str]) -> Fields {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn laid(stored: &Value, shown: &[&str], removed: &[&str], sticky: bool, item: Value) -> Merged {
    let (shown, removed) = (names(shown), names(removed));
    let sticky = if sticky { removed.clone() } else { Fields::new() };
    merge(item, &Before { stored, shown: &shown, removed: &removed, sticky: &sticky })
}

#[test]
fn what_a_view_never_showed_is_kept() {
    let stored = json!({"submission_id": "s", "updated_at": "u", "data": {"name": "n", "gender": "f"},
                        "kyc": {"result": "approved", "attempts": [1]}, "aml": {"currentstatus": "Red Flag"}});
    let thin = json!({"submission_id": "s", "data": {"name": "m"}, "kyc": {"result": "rejected"}});
    let merged = laid(&stored, &["data.name", "kyc.result"], &[], true, thin);
    assert!(!merged.held());
    assert_eq!(merged.shown, names(&["data.name", "kyc.result"]));
    assert_eq!(
        merged.item,
        json!({"submission_id": "s", "updated_at": "u", "data": {"name": "m", "gender": "f"},
               "kyc": {"result": "rejected", "attempts": [1]}, "aml": {"currentstatus": "Red Flag"}})
    );
}

#[test]
fn what_a_view_had_shown_is_removed_at_once_or_held() {
    let stored = json!({"email": "e", "pending_at": "p", "data": {"name": "n", "cf1": "x"}, "kyc": {"result": "approved", "comment": "c"}});
    let shown = fields(&stored);
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let less = json!({"email": null, "data": {"name": "n"}, "kyc": {"result": "approved"}});
    let merged = laid(&stored, &shown, &[], true, less);
    assert_eq!(merged.lost, names(&["data.cf1", "email"]));
    assert!(merged.held() && !merged.blanked);
    assert_eq!(merged.item, json!({"email": "e", "data": {"name": "n", "cf1": "x"}, "kyc": {"result": "approved"}}));
    assert!(!merged.shown.contains("pending_at"), "so that another view may go on showing it");
    assert!(merged.shown.contains("email"));
    // Marked as removed (hold mode): kept without a word.
    let less = json!({"pending_at": "p", "data": {"name": "n"}, "kyc": {"result": "approved", "comment": "c"}});
    let merged = laid(&stored, &shown, &["email", "data.cf1"], true, less);
    assert!(!merged.held());
    assert_eq!(merged.item, stored);
}

#[test]
fn p7_a_blanked_submission_is_held_as_a_whole() {
    let stored = json!({"submission_id": "s", "created_at": "c", "email": "e", "data": {"name": "n", "idType": "t"},
                        "kyc": {"result": "approved", "attempts": [1]}, "aml": {"currentstatus": "Red Flag"}});
    let shown = fields(&stored);
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let blank =
        json!({"submission_id": "s", "created_at": "c", "data": {"idType": "t"}, "kyc": {"result": "rejected"}});
    let merged = laid(&stored, &shown, &[], true, blank.clone());
    assert!(merged.blanked && merged.held());
    assert_eq!(merged.lost, names(&["aml.currentstatus", "data.name", "email", "kyc.attempts"]));
    let mut expected = stored.clone();
    expected["kyc"]["result"] = json!("rejected");
    assert_eq!(merged.item, expected, "other changes are taken over");
    assert!(!laid(&stored, &["kyc.result"], &[], true, blank).held(), "a view that never showed more");

    let mut marked = stored.clone();
    marked["data"]["name"] = json!(" deleted submission");
    let merged = laid(&stored, &shown, &[], true, marked.clone());
    assert!(merged.blanked && merged.lost == names(&["data.name"]) && merged.item == stored);
    assert!(!laid(&marked, &shown, &[], true, marked.clone()).held(), "always stored like that");
    let erased = json!({"submission_id": "s", "created_at": "c"});
    assert!(
        !laid(
            &erased,
            &[],
            &["data.name"],
            true,
            json!({"submission_id": "s", "created_at": "c", "data": {"name": MARKER}})
        )
        .held()
    );
}

#[test]
fn what_is_left_without_some_fields_keeps_its_id_and_what_was_empty() {
    let item =
        json!({"submission_id": "s", "memo": {}, "data": {"name": "n"}, "kyc": {"result": "approved", "comment": "c"}});
    let left = without(&item, |field| ["data.name", "kyc.comment"].contains(&field));
    assert_eq!(left, json!({"submission_id": "s", "memo": {}, "kyc": {"result": "approved"}}));
    assert_eq!(without(&item, |_| true), json!({"submission_id": "s"}));
    assert_eq!(without(&item, |_| false), item);
}

#[test]
fn p7_what_tells_who_somebody_is_is_personal() {
    for (fields, expected) in [
        (&["email"][..], true),
        (&["kyc.result", "data.name"], true),
        (&["data.idType", "kyc.result", "created_at"], false),
        (&["kyc.comment"], false),
        (&[], false),
    ] {
        assert_eq!(personal(&names(fields)), expected, "{fields:?}");
    }
}

#[test]
fn an_applicant_id_goes_with_the_approval() {
    let stored = json!({"applicant_id": "a", "kyc": {"result": "approved"}});
    let answer = |result: &str| json!({"kyc": {"result": result}});
    let shown = ["applicant_id", "kyc.result"];
    assert_eq!(laid(&stored, &shown, &[], true, answer("approved")).lost, names(&["applicant_id"]));
    let merged = laid(&stored, &shown, &[], true, answer("rejected"));
    assert!(!merged.held() && merged.item == answer("rejected"));
}

#[test]
fn a_screening_that_is_missing_is_kept() {
    let stored = json!({"data": {"name": "n"}, "aml": {"currentstatus": "Red Flag", "matches": [1]}});
    let shown = ["data.name", "aml.currentstatus", "aml.matches"];
    for aml in [json!(null), json!({})] {
        let merged = laid(&stored, &shown, &[], true, json!({"data": {"name": "n"}, "aml": aml}));
        assert!(merged.screening_missing && merged.item == stored);
    }
    let merged = laid(&stored, &shown, &[], true, json!({"data": {"name": "n"}, "aml": {"raw_data": 1}}));
    assert!(merged.screening_missing);
    assert_eq!(merged.item["aml"], json!({"raw_data": 1, "currentstatus": "Red Flag"}));
    let cleared = json!({"data": {"name": "n"}, "aml": {"currentstatus": "Not Screened"}});
    let merged = laid(&stored, &shown, &[], true, cleared.clone());
    assert!(!merged.held() && merged.item == cleared);
}

#[test]
fn p7_what_was_removed_does_not_come_back_by_a_list() {
    let stored = json!({"submission_id": "s", "kyc": {"result": "approved"}});
    let again =
        json!({"submission_id": "s", "email": "e", "data": {"name": "n", "cf1": "x"}, "kyc": {"result": "rejected"}});
    let merged = laid(&stored, &[], &["email", "data.name"], true, again.clone());
    assert!(merged.held());
    assert_eq!((merged.returned, merged.refused), (names(&[]), names(&["email", "data.name"])));
    assert_eq!(merged.item, json!({"submission_id": "s", "data": {"cf1": "x"}, "kyc": {"result": "rejected"}}));
    let merged = laid(&stored, &[], &["email", "data.name"], false, again.clone());
    assert!(!merged.held() && merged.item == again);
    assert_eq!((merged.returned, merged.refused), (names(&["email", "data.name"]), names(&[])));
}

#[test]
fn two_spellings_are_one_field() {
    let stored = json!({"injection_action": {"type": "t"}, "bank_verification": {"retry_countj": 1, "result": "fail"}});
    let item = json!({"Injection_action": {"type": "u"}, "bank_verification": {"retry_count": 2, "result": "fail"}});
    assert_eq!(fields(&stored), fields(&item));
    let shown = fields(&stored);
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let merged = laid(&stored, &shown, &[], true, item.clone());
    assert_eq!(merged.item, item);
    assert_eq!(name(Some("data"), "Jane Doe"), "data.other");
}

#[test]
fn p2_what_is_kept_goes_into_the_object_that_an_answer_shows() {
    let (one, other) = ("injection_action", "Injection_action");
    for (stored, shown) in [(one, one), (one, other), (other, one), (other, other)] {
        let before = json!({stored: {"type": "t", "time": "old"}});
        let merged = laid(&before, &["Injection_action.type"], &[], true, json!({shown: {"type": "u"}}));
        assert_eq!(merged.item, json!({shown: {"type": "u", "time": "old"}}), "{stored}, shown as {shown}");
    }
}

#[test]
fn what_no_earlier_view_could_show_belongs_to_the_first_sight() {
    let stored = json!({"kyc": {"result": "approved"}});
    let answer =
        json!({"kyc": {"result": "rejected", "attempts": [1]}, "aml": {"currentstatus": "Red Flag"}, "email": "e"});
    let sight = first_sight(&stored, &answer, |field| field == "email");
    let expected = json!({"kyc": {"result": "approved", "attempts": [1]}, "aml": {"currentstatus": "Red Flag"}});
    assert_eq!(sight, Some(expected));
    assert_eq!(first_sight(&stored, &answer, |_| true), None);
}

#[test]
fn a_list_that_lags_takes_back_only_what_an_id_answer_changed() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(restores(&list(&["kyc.result"]), &list(&["kyc.attempts"])), "it never shows attempts");
    assert!(!restores(&list(&["kyc.result", "email"]), &list(&["email"])));
    assert!(!restores(&[], &[]));
}

fn any_item() -> impl Strategy<Value = Value> {
    let text = prop::option::of("[ab]");
    (text.clone(), text.clone(), text.clone(), text.clone(), text).prop_map(|(email, name, cf1, comment, status)| {
        json!({"submission_id": "s", "email": email, "data": {"name": name, "cf1": cf1},
               "kyc": {"result": "approved", "comment": comment}, "aml": {"currentstatus": status}})
    })
}

proptest! {
    #[test]
    fn p7_no_answer_takes_personal_data_away_by_itself(a in any_item(), b in any_item(), all in any::<bool>()) {
        let (shown, none) = (if all { fields(&a) } else { Fields::new() }, Fields::new());
        let before = Before { stored: &a, shown: &shown, removed: &none, sticky: &none };
        let merged = merge(b.clone(), &before);
        let left = fields(&merged.item);
        for field in fields(&a).iter().filter(|field| erasable(field, &b) || !all) {
            prop_assert!(left.contains(field), "{field}");
        }
        prop_assert!(fields(&b).is_subset(&left));
        // Laid over its own result it changes nothing more.
        let again = merge(b, &Before { stored: &merged.item, shown: &merged.shown, removed: &none, sticky: &none });
        prop_assert_eq!(fields(&again.item), left);
        prop_assert_eq!(&again.item, &merged.item);
        prop_assert_eq!(again.lost, merged.lost);
    }
}
