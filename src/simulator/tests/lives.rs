//! What submissions do over time.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;

use super::super::*;
use super::*;

#[tokio::test]
async fn same_seed_same_truth() {
    let (one, two) = (start(Options::default()).await, start(Options::default()).await);
    let other = start(Options { seed: 2, ..Options::default() }).await;
    assert_eq!(one.truth().len(), 200);
    assert_eq!(one.truth(), two.truth());
    assert_ne!(one.truth(), other.truth());
}

#[tokio::test]
async fn freeze_holds_everything_still() {
    let clock = clock();
    let options = Options { rate: 0.1, life: 0.5, ..Options::default() };
    let simulator = Simulator::start(options, clock.clone()).await.unwrap();
    clock.advance(TimeDelta::minutes(30));
    simulator.freeze();
    let before = simulator.truth();
    assert_eq!(before.len(), 200 + 180);
    clock.advance(TimeDelta::hours(9));
    assert_eq!(simulator.truth(), before);
    simulator.thaw();
    assert_eq!(simulator.truth(), before);
    clock.advance(TimeDelta::minutes(10));
    let after = simulator.truth();
    assert_eq!(after.len(), before.len() + 60);
    assert_ne!(after[..before.len()], before[..], "lives go on");
    let times = |items: &[Value]| items.iter().map(|item| item["created_at"].clone()).collect::<Vec<_>>();
    assert_eq!(times(&after[..before.len()]), times(&before), "the past stays as it was");
}

#[tokio::test]
async fn a_state_file_continues() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let options =
        Options { rate: 1.0, life: 0.01, state_file: Some(folder.path().join("sim.json")), ..Options::default() };
    let first = Simulator::start(options.clone(), clock.clone()).await.unwrap();
    clock.advance(TimeDelta::seconds(100));
    let some = id(&first.truth()[3]);
    first.patch(&some, json!({"memo": {"text": "laid"}}));
    first.put_raw("rawone", clock.now(), r#"{"submission_id":"rawone","x":1e400,"y":"\ud800"}"#);
    first.freeze();
    let before = first.truth();
    first.stop().await.unwrap();
    clock.advance(TimeDelta::days(1));
    let second = Simulator::start(Options { seed: 9, ..options }, clock.clone()).await.unwrap();
    assert_eq!(second.truth(), before);
    clock.advance(TimeDelta::seconds(50));
    assert_eq!(second.truth().len(), before.len() + 50);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn links_differ_on_every_read() {
    let simulator = start(Options::default()).await;
    let (one, two) = (read(&simulator, "?count=200").await, read(&simulator, "?count=200").await);
    let pairs = || one["Items"].as_array().unwrap().iter().zip(two["Items"].as_array().unwrap());
    let (a, b) = pairs().find(|(item, _)| item["image"].is_object()).unwrap();
    assert_ne!(a["image"]["idImage"], b["image"]["idImage"]);
    assert!(pairs().all(|(a, b)| no_links(a.clone()) == no_links(b.clone())));
    assert!(!one.to_string().contains(item::TOKEN));
}

#[tokio::test]
async fn all_documented_fields_occur() {
    let simulator =
        start(Options { initial: 3_000, history: Duration::from_secs(90 * 86_400), ..Options::default() }).await;
    let mut seen = BTreeSet::new();
    for item in simulator.truth() {
        collect("", &item, &mut seen);
    }
    let documented = "data.name data.gender data.nationality data.date_of_birth data.ip_address data.idType \
        data.idcard_issuingCountry data.idcard_issueDate data.idcard_expireDate data.identityNumber data.documentNumber \
        data.address_city data.address_country data.address_state data.address_street data.address_zipcode \
        data.address_globalCode data.address_compoundCode data.address_formatted data.address_input data.address_detail \
        data.cf1 data.cf2 data.cf3 data.full_name data.first_name data.last_name email reviewer submission_id applicant_id \
        created_at kyc_result_at updated_at pending_at userid additional_list.answer additional_list.inputValue \
        additional_list.blockType kyc.result kyc.comment kyc.commentCode kyc.attempts.attemptCnt \
        kyc.attempts.idBarcodeResult kyc.attempts.verificationResult kyc.attempts.verification.ok \
        kyc.attempts.verificationParams.fullName kyc.attempts.errorCode kyc.attempts.errorMsg kyc.attempts.step1Time1st \
        kyc.attempts.step1Time2nd kyc.attempts.step1Time3rd kyc.attempts.step2Time1st kyc.attempts.step2Time2nd \
        kyc.attempts.step2Time3rd kyc.attempts.retryMsg kyc.attempts.retryCode kyc.attempts.faceSimilarityScore \
        kyc.attempts.selfieImage kyc.attempts.livenessScore kyc.attempts.liveness.score kyc.attempts.liveness.probability \
        kyc.attempts.liveness.quality kyc.attempts.ocrResult aml.raw_data.total_hits aml.risk_level_summary \
        aml.currentstatus aml.matches.risk_level aml.matches.argos_number aml.matches.resource_id aml.matches.score \
        aml.matches.risk_icons bank_verification.result bank_verification.type bank_verification.bank_code \
        bank_verification.account_number bank_verification.retry_count id_LivenessScore.Screen_play \
        id_LivenessScore.Paper_printed id_LivenessScore.Replace_portraits Injection_action.type Injection_action.time \
        tokenId memo.text image.selfieImage duplicated_information recognition_score argos_score";
    let missing: Vec<_> = documented.split_whitespace().filter(|field| !seen.contains(*field)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn collect(path: &str, value: &Value, seen: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                collect(&format!("{path}{}{key}", if path.is_empty() { "" } else { "." }), value, seen);
            }
        }
        Value::Array(all) => all.iter().for_each(|one| collect(path, one, seen)),
        _ => {}
    }
    seen.insert(path.to_owned());
}

#[tokio::test]
async fn a_killed_run_takes_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let options = Options { rate: 1.0, state_file: Some(folder.path().join("sim.json")), ..Options::default() };
    let first = Simulator::start(options.clone(), clock.clone()).await.unwrap();
    clock.advance(TimeDelta::seconds(60));
    let before = first.truth();
    drop(first);
    let slower = Options { rate: 0.5, ..options };
    let second = Simulator::start(slower, clock.clone()).await.unwrap();
    assert_eq!(second.truth(), before);
    clock.advance(TimeDelta::seconds(60));
    assert_eq!(second.truth().len(), before.len() + 30);
}

#[tokio::test]
async fn the_time_after_a_kill_is_not_active() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let options = Options { rate: 1.0, state_file: Some(folder.path().join("sim.json")), ..Options::default() };
    let first = Simulator::start(options.clone(), clock.clone()).await.unwrap();
    clock.advance(TimeDelta::seconds(60));
    let before = first.truth().len();
    drop(first);
    clock.advance(TimeDelta::days(14));
    let second = Simulator::start(options, clock.clone()).await.unwrap();
    let after = second.truth().len();
    assert!((before..=before + 30).contains(&after), "{after}");
    clock.advance(TimeDelta::seconds(60));
    assert_eq!(second.truth().len(), after + 60);
}
