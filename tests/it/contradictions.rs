//! Where the vendor's documents contradict each other (docs of the API, section 9), as far as reading goes. Numbers are
//! those of that list.

use argos_sync::sync::report::PassReport;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::rows::{rows, submission};
use crate::support::{Verbatim, assert_valid_events};

/// A world in which one item, made of these members, was read; it is news.
async fn read_one(members: &str) -> (Verbatim, PassReport) {
    let vendor = Verbatim::new().await;
    let report = vendor.read(&mut vendor.engine().await, &[news(members)]).await;
    assert_valid_events(&vendor.database.pool).await;
    (vendor, report)
}

fn news(members: &str) -> String {
    format!(r#"{{"submission_id":"s","created_at":"2026-03-10T12:00:00Z",{members}}}"#)
}

/// Names of the events since a position, in order.
async fn events_after(vendor: &Verbatim, position: i64) -> Vec<String> {
    let sql = "select type from argos.outbox where position > $1 and submission_id is not null order by position";
    sqlx::query_scalar(sql).bind(position).fetch_all(&vendor.database.pool).await.unwrap()
}

async fn last_position(vendor: &Verbatim) -> i64 {
    vendor.database.number("select last_position from argos.outbox_counter").await
}

#[tokio::test]
async fn c05_comments_and_codes_are_text_or_list_or_null_or_absent() {
    let forms = [
        (r#""kyc":{"result":"rejected","comment":["a "],"commentCode":["x","y"]}"#, json!(["a "]), json!(["x", "y"])),
        (r#""kyc":{"result":"rejected","comment":"a ","commentCode":"x"}"#, json!(["a "]), json!(["x"])),
        (r#""kyc":{"result":"rejected","comment":null,"commentCode":[]}"#, Value::Null, json!([])),
        (r#""kyc":{"result":"rejected"}"#, Value::Null, Value::Null),
    ];
    for (form, comment, codes) in forms {
        let (vendor, report) = read_one(form).await;
        let row = submission(&vendor.database, "s").await;
        assert_eq!((row["kyc_comment"].clone(), row["kyc_comment_code"].clone()), (comment, codes), "{form}");
        assert!(report.counts.drift.is_empty(), "{form}: {:?}", report.counts.drift);
    }
    let (vendor, _) =
        read_one(r#""kyc":{"attempts":[{"retryMsg":"m","retryCode":"c"},{"retryMsg":["n","o"],"retryCode":null}]}"#)
            .await;
    let attempts = rows(&vendor.database, "attempts").await;
    assert_eq!((&attempts[0]["retry_msg"], &attempts[0]["retry_code"]), (&json!(["m"]), &json!(["c"])));
    assert_eq!((&attempts[1]["retry_msg"], &attempts[1]["retry_code"]), (&json!(["n", "o"]), &Value::Null));
}

#[tokio::test]
async fn c05_a_text_that_becomes_a_list_of_one_is_no_change() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[news(r#""kyc":{"result":"rejected","comment":"a","commentCode":"x"}"#)]).await;
    let again =
        vendor.read(&mut engine, &[news(r#""kyc":{"result":"rejected","comment":["a"],"commentCode":["x"]}"#)]).await;
    assert_eq!((again.counts.unchanged, again.counts.events_total()), (1, 0));
}

#[tokio::test]
async fn c06_scores_are_numbers_or_texts() {
    let (vendor, report) = read_one(
        r#""recognition_score":"88.50","argos_score":77,"id_LivenessScore":{"Screen_play":97.25,"Paper_printed":"1e2"},
           "kyc":{"attempts":[{"attemptCnt":"1","livenessScore":91,"faceSimilarityScore":99.123456789012345678901}]}"#,
    )
    .await;
    let row = submission(&vendor.database, "s").await;
    for (column, expected) in [
        ("recognition_score", "88.5"),
        ("argos_score", "77"),
        ("id_liveness_screen_play", "97.25"),
        ("id_liveness_paper_printed", "100"),
    ] {
        assert_eq!(row[column].to_string(), expected, "{column}");
    }
    let attempts = rows(&vendor.database, "attempts").await;
    assert_eq!(attempts[0]["attempt_cnt"].to_string(), "1");
    assert_eq!(attempts[0]["liveness_score"].to_string(), "91");
    assert_eq!(attempts[0]["face_similarity_score"].to_string(), "99.123456789012345678901", "no digit is lost");
    assert!(report.counts.drift.is_empty());
    let item = vendor.database.text("select item->'recognition_score' from argos.submissions").await;
    assert_eq!(item.as_deref(), Some("\"88.50\""), "raw as sent");
}

#[tokio::test]
async fn c07_times_are_read_leniently_and_never_fail_a_page() {
    for (sent, expected) in [
        ("2022-04-07T00:30:35.919Z", Some("2022-04-07T00:30:35.919+00:00")),
        ("2022-04-07T09:30:35.919+09:00", Some("2022-04-07T00:30:35.919+00:00")),
        ("2022-04-07-00-30-35-UTC", Some("2022-04-07T00:30:35+00:00")),
        ("2022-04-07-09-30-35-KST", Some("2022-04-07T00:30:35+00:00")),
        ("2022-04-07 00:30:35", Some("2022-04-07T00:30:35+00:00")),
        ("YYYY-MM-DD-HH-MM-SS-ZZZ", None),
        ("N/A", None),
        ("", None),
    ] {
        let (vendor, report) = read_one(&format!(r#""updated_at":"{sent}""#)).await;
        let row = submission(&vendor.database, "s").await;
        assert_eq!(row.get("updated_at").and_then(Value::as_str), expected, "{sent}");
        assert_eq!(report.counts.drift.contains_key("bad_field"), expected.is_none(), "{sent}");
        let item = vendor.database.text("select item->>'updated_at' from argos.submissions").await;
        assert_eq!(item.as_deref(), Some(sent), "the original text is kept");
    }
}

#[tokio::test]
async fn c08_the_case_of_risk_levels_and_statuses_is_kept_and_does_not_matter_for_the_flag() {
    for status in ["Red Flag", "RED FLAG", "red flag"] {
        let aml = format!(
            r#""aml":{{"currentstatus":"{status}","risk_level_summary":"HIGH","matches":[{{"risk_level":"High"}}]}}"#
        );
        let (vendor, report) = read_one(&aml).await;
        let row = submission(&vendor.database, "s").await;
        assert_eq!(
            (row["aml_currentstatus"].as_str(), row["aml_risk_level_summary"].as_str()),
            (Some(status), Some("HIGH"))
        );
        assert_eq!(rows(&vendor.database, "aml_matches").await[0]["risk_level"], "High");
        assert!(events_after(&vendor, 0).await.contains(&"aml.red_flag_raised".to_owned()), "{status}");
        assert!(report.counts.drift.is_empty(), "{:?}", report.counts.drift);
        let open = "select value from argos.counters where name = 'red_flags_open'";
        assert_eq!(vendor.database.number(open).await, 1);
    }
}

#[tokio::test]
async fn c08_another_case_of_the_status_neither_clears_nor_raises_the_flag() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[news(r#""aml":{"currentstatus":"Red Flag"}"#)]).await;
    let before = last_position(&vendor).await;
    vendor.read(&mut engine, &[news(r#""aml":{"currentstatus":"RED FLAG"}"#)]).await;
    assert_eq!(events_after(&vendor, before).await, ["aml.status_changed", "submission.updated"]);
}

#[tokio::test]
async fn c09_not_screened_is_a_result_and_an_absent_aml_is_none() {
    let (vendor, _) = read_one(
        r#""kyc":{"result":"approved"},"aml":{"currentstatus":"Not Screened","risk_level_summary":"Not Screened"}"#,
    )
    .await;
    let row = submission(&vendor.database, "s").await;
    assert_eq!(row["aml_currentstatus"], "Not Screened");
    let told = "select payload->>'to' from argos.outbox where type = 'aml.status_changed'";
    assert_eq!(vendor.database.text(told).await.as_deref(), Some("Not Screened"));

    for absent in [r#""kyc":{"result":"approved"}"#, r#""kyc":{"result":"approved"},"aml":null"#] {
        let (vendor, _) = read_one(absent).await;
        let row = submission(&vendor.database, "s").await;
        assert_eq!((row.get("aml_currentstatus"), row.get("aml_risk_level_summary")), (None, None));
        assert_eq!(events_after(&vendor, 0).await, ["submission.created", "kyc.result_changed"]);
    }
}

#[tokio::test]
async fn c11_additional_list_is_a_list_or_one_object() {
    let one = r#"{"answer":"Occupation","inputValue":"engineer","blockType":"text"}"#;
    for form in [format!("[{one}]"), one.to_owned()] {
        let (vendor, report) = read_one(&format!(r#""additional_list":{form}"#)).await;
        let row = submission(&vendor.database, "s").await;
        assert_eq!(
            row["additional_list"],
            json!([{"answer": "Occupation", "inputValue": "engineer", "blockType": "text"}])
        );
        assert!(report.counts.drift.is_empty());
    }
}

#[tokio::test]
async fn c12_both_spellings_are_read() {
    for (injection, retries) in [("Injection_action", "retry_count"), ("injection_action", "retry_countj")] {
        let (vendor, _) = read_one(&format!(
            r#""{injection}":{{"type":"address","time":"2026-03-10T11:00:00Z"}},"bank_verification":{{"result":"fail","{retries}":3}}"#
        ))
        .await;
        let row = submission(&vendor.database, "s").await;
        assert_eq!(row["injection_type"], "address", "{injection}");
        assert_eq!(row["injection_time"], "2026-03-10T11:00:00+00:00", "{injection}");
        assert_eq!(rows(&vendor.database, "bank_verifications").await[0]["retry_count"], 3, "{retries}");
        assert_eq!(
            events_after(&vendor, 0).await,
            ["submission.created", "bank_verification.changed", "injection.performed"]
        );
    }
}

#[tokio::test]
async fn c12_another_spelling_of_the_same_is_no_change() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[news(r#""Injection_action":{"type":"a"},"bank_verification":{"retry_count":3}"#)]).await;
    let again = [news(r#""injection_action":{"type":"a"},"bank_verification":{"retry_countj":"3"}"#)];
    assert_eq!(vendor.read(&mut engine, &again).await.counts.unchanged, 1);
}

#[tokio::test]
async fn c13_old_and_new_names_have_columns_of_their_own() {
    let (vendor, _) = read_one(r#""data":{"name":"Jhon Smith"}"#).await;
    let row = submission(&vendor.database, "s").await;
    assert_eq!((row["name"].as_str(), row.get("full_name")), (Some("Jhon Smith"), None));
    let (vendor, _) = read_one(r#""data":{"full_name":"Jhon Smith","first_name":"Jhon","last_name":"Smith"}"#).await;
    let row = submission(&vendor.database, "s").await;
    assert_eq!(row.get("name"), None);
    assert_eq!(row["full_name"], "Jhon Smith");
    assert_eq!((row["first_name"].as_str(), row["last_name"].as_str()), (Some("Jhon"), Some("Smith")));
}

/// The tombstone of the newer documents: id, date, type of document and result stay.
#[tokio::test]
async fn c14_p7_a_tombstone_empties_the_row_when_it_is_confirmed() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let full = news(
        r#""email":"taint@example.com","userid":"taint","data":{"name":"Taint","idType":"passport"},
           "kyc":{"result":"approved","attempts":[{"attemptCnt":1,"verificationParams":{"fullName":"Taint"}}]},
           "bank_verification":{"account_number":"taint"},
           "aml":{"currentstatus":"Red Flag","raw_data":{"name":"Taint"},"matches":[{"resource_id":"taint"}]}"#,
    );
    let other = news("\"email\":\"b\"").replace("\"s\"", "\"t\"");
    vendor.read(&mut engine, &[full.as_str(), &other]).await;
    let before = last_position(&vendor).await;
    let tombstone = news(r#""data":{"idType":"passport"},"kyc":{"result":"approved"}"#);
    vendor.read(&mut engine, &[tombstone.as_str(), &other]).await;
    assert_eq!(submission(&vendor.database, "s").await["name"], "Taint", "not believed yet");
    for (id, item) in [("s", &tombstone), ("t", &other)] {
        vendor.answers("submission", &[("submission_id", id)], &format!("{{\"Items\":[{item}]}}"));
    }
    engine.confirm().await.unwrap();
    vendor.clock.advance(TimeDelta::hours(6));
    engine.confirm().await.unwrap();
    let row = submission(&vendor.database, "s").await;
    let expected = json!({"submission_id": "s", "created_day": "2026-03-10", "created_at": "2026-03-10T12:00:00+00:00",
                          "kyc_result": "approved", "id_type": "passport"});
    assert_eq!(row, expected, "every erased field is null");
    for table in ["attempts", "aml_matches", "bank_verifications"] {
        assert_eq!(rows(&vendor.database, table).await, json!([]), "{table}");
    }
    let item = vendor.database.text("select item from argos.submissions where submission_id = 's'").await.unwrap();
    assert!(!item.to_lowercase().contains("taint"), "{item}");
    let told = ["submission.erased", "submission.updated"];
    assert_eq!(events_after(&vendor, before).await, told, "gone is not cleared");
}

/// The other half of the older document: a deleted submission is in no list any more. Today that writes nothing.
#[tokio::test]
async fn c14_p7_absence_erases_nothing() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let other = news("\"email\":\"b\"").replace("\"s\"", "\"t\"");
    vendor.read(&mut engine, &[news("\"email\":\"a\""), other.clone()]).await;
    let before = last_position(&vendor).await;
    vendor.read(&mut engine, &[other]).await;
    assert_eq!(submission(&vendor.database, "s").await["email"], "a");
    assert_eq!(last_position(&vendor).await, before);
}

#[tokio::test]
async fn c18_c22_reviewer_and_id_type_are_open_texts() {
    for (reviewer, id_type) in
        [("system", "drivers_licensem"), ("client:jane", "residence permit"), ("AGENT", "drvlic")]
    {
        let (vendor, report) = read_one(&format!(r#""reviewer":"{reviewer}","data":{{"idType":"{id_type}"}}"#)).await;
        let row = submission(&vendor.database, "s").await;
        assert_eq!((row["reviewer"].as_str(), row["id_type"].as_str()), (Some(reviewer), Some(id_type)));
        assert!(report.counts.drift.is_empty());
    }
}

#[tokio::test]
async fn c24_fields_of_aml_are_optional() {
    let (vendor, report) = read_one(
        r#""aml":{"risk_level_summary":"High","currentstatus":"Red Flag","matches":[{"risk_level":"HIGH","resource_id":"r","score":95}]}"#,
    )
    .await;
    let row = submission(&vendor.database, "s").await;
    assert_eq!(row.get("aml_raw_data"), None);
    let expected = json!([{"submission_id": "s", "place": 1, "risk_level": "HIGH", "resource_id": "r", "score": 95}]);
    assert_eq!(rows(&vendor.database, "aml_matches").await, expected);
    assert!(report.counts.drift.is_empty());
}

#[tokio::test]
async fn c25_attempts_go_by_their_count_where_it_is_unique_and_else_by_their_place() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[news(r#""kyc":{"attempts":[{"attemptCnt":1},{"attemptCnt":2}]}"#)]).await;
    // In another order, one more: one is added, none changed.
    let before = last_position(&vendor).await;
    vendor
        .read(&mut engine, &[news(r#""kyc":{"attempts":[{"attemptCnt":3},{"attemptCnt":2},{"attemptCnt":1}]}"#)])
        .await;
    assert_eq!(events_after(&vendor, before).await, ["kyc.attempt_added", "submission.updated"]);
    let counts: Vec<i64> = sqlx::query_scalar("select attempt_cnt::bigint from argos.attempts order by place")
        .fetch_all(&vendor.database.pool)
        .await
        .unwrap();
    assert_eq!(counts, [3, 2, 1], "the vendor's order");

    // All the same count: by place.
    let zeros =
        |second: &str| news(&format!(r#""kyc":{{"attempts":[{{"attemptCnt":0}},{{"attemptCnt":0{second}}}]}}"#));
    vendor.read(&mut engine, &[zeros("")]).await;
    let before = last_position(&vendor).await;
    vendor.read(&mut engine, &[zeros(",\"errorCode\":\"x\"")]).await;
    assert_eq!(events_after(&vendor, before).await, ["kyc.attempt_changed", "submission.updated"]);
}

#[tokio::test]
async fn c26_retry_count_is_stored_as_received() {
    for (sent, expected) in [("0", "0"), ("\"4\"", "4"), ("7.0", "7")] {
        let (vendor, _) = read_one(&format!(r#""bank_verification":{{"result":"fail","retry_count":{sent}}}"#)).await;
        assert_eq!(rows(&vendor.database, "bank_verifications").await[0]["retry_count"].to_string(), expected);
    }
}

#[tokio::test]
async fn c28_kyc_result_at_may_move_or_stay_and_orders_nothing() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let at = |result: &str, at: &str| news(&format!(r#""kyc_result_at":"{at}","kyc":{{"result":"{result}"}}"#));
    vendor.read(&mut engine, &[at("approved", "2026-03-10T12:00:30Z")]).await;
    let before = last_position(&vendor).await;
    // It stays on a flip; then it goes backwards on another; then it moves alone.
    vendor.read(&mut engine, &[at("rejected", "2026-03-10T12:00:30Z")]).await;
    vendor.read(&mut engine, &[at("approved", "2026-03-10T12:00:10Z")]).await;
    vendor.read(&mut engine, &[at("approved", "2026-03-10T12:00:50Z")]).await;
    let expected =
        ["kyc.result_changed", "submission.updated", "kyc.result_changed", "submission.updated", "submission.updated"];
    assert_eq!(events_after(&vendor, before).await, expected);
    let row = submission(&vendor.database, "s").await;
    assert_eq!(
        (row["kyc_result"].as_str(), row["kyc_result_at"].as_str()),
        (Some("approved"), Some("2026-03-10T12:00:50+00:00"))
    );
}

#[tokio::test]
async fn unknown_values_and_unknown_fields_are_kept_and_counted() {
    let members =
        r#""kyc":{"result":"on_hold","new":{"deep":[1]}},"aml":{"currentstatus":"Under Review"},"brand_new":"x""#;
    let (vendor, report) = read_one(members).await;
    let row = submission(&vendor.database, "s").await;
    assert_eq!(
        (row["kyc_result"].as_str(), row["aml_currentstatus"].as_str()),
        (Some("on_hold"), Some("Under Review"))
    );
    let drift = &report.counts.drift;
    assert_eq!((drift.get("unknown_kyc_result"), drift.get("unknown_aml_status")), (Some(&1), Some(&1)), "{drift:?}");
    let item = "select item->>'brand_new' || (item#>>'{kyc,new,deep}') from argos.submissions";
    assert_eq!(vendor.database.text(item).await.as_deref(), Some("x[1]"));
    let told = "select payload->>'to' from argos.outbox where type = 'kyc.result_changed'";
    assert_eq!(vendor.database.text(told).await.as_deref(), Some("on_hold"));
}

/// A field in another type than documented must not get into payloads as it is: their schemas promise types.
#[tokio::test]
async fn p11_retyped_fields_do_not_break_the_events_contract() {
    let retyped = [
        r#""kyc":{"result":"rejected","commentCode":{"code":"x"},"comment":7,"attempts":[{"attemptCnt":1,"errorCode":{"a":1},"retryCode":5,"livenessScore":"high"}]}"#,
        r#""kyc":{"result":"rejected","commentCode":7,"attempts":[{"attemptCnt":[1],"errorCode":404,"retryCode":["a",7,{"b":1}]},"text"]}"#,
        r#""aml":{"currentstatus":"Red Flag","matches":[{"resource_id":7,"risk_level":{"a":1},"score":"n/a","risk_icons":"PEP"},null,[]]}"#,
        r#""bank_verification":{"bank_code":4,"retry_count":"many"},"Injection_action":{"type":["address"],"time":7}"#,
        r#""bank_verification":"success","Injection_action":"done","reviewer":{"by":"x"},"kyc":[],"aml":"Red Flag""#,
    ];
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    for members in retyped {
        let report = vendor.read(&mut engine, &[news(members)]).await;
        assert_eq!(report.counts.quarantined, 0, "{members}");
        assert_valid_events(&vendor.database.pool).await;
    }
}
