//! One entry of `kyc.attempts`.

use serde_json::{Map, Value, json};

use super::item::link;
use super::person::Person;
use super::rng::Rng;
use super::script::RETRIES;

/// The attempt at place `place` (from 0), made at `at`.
pub(super) fn attempt(
    rng: &mut Rng,
    person: &Person,
    id: &str,
    place: usize,
    passed: bool,
    code: usize,
    at: &str,
) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
    put("attemptCnt", json!(place + 1));
    let ordinal = ["1st", "2nd", "3rd"][place.min(2)];
    let (retry_code, retry_message) = RETRIES[code];
    // Barcode, glare and the like fail at step 1; the face at step 2.
    let at_step2 = passed || retry_code == "face_compare_fail";
    put(&format!("step1Time{ordinal}"), at.into());
    put("ocrResult", if passed || at_step2 { "success" } else { "fail" }.into());
    if matches!(person.country, "USA" | "CAN" | "MEX") && person.id_type == "drivers_license" {
        put(
            "idBarcodeResult",
            if retry_code == "barcode_protocol_fail" && !passed { "fail" } else { "success" }.into(),
        );
    }
    if at_step2 {
        put(&format!("step2Time{ordinal}"), at.into());
        let face = if passed { rng.between(850, 1_000) } else { rng.between(200, 849) };
        put("faceSimilarityScore", score(rng, face));
        let alive = rng.between(500, 1_000);
        put("livenessScore", score(rng, alive));
        if rng.chance(40) {
            let (score, probability, quality) = (rng.unit() * 100.0, rng.unit(), rng.unit());
            put("liveness", json!({"score": score, "probability": probability, "quality": quality}));
        }
        put("selfieImage", link(id, &format!("selfie{}", place + 1)).into());
        put(
            "verificationParams",
            json!({"fullName": person.full_name, "idType": person.id_type, "issueDate": person.issue_date,
                   "identityNumber": person.identity_number}),
        );
        put("verificationResult", if passed { "success" } else { "fail" }.into());
        if rng.chance(30) {
            let nationality = person.country;
            put("verification", json!({"checked": ["name", "number"], "country": nationality, "ok": passed}));
        }
    }
    if !passed {
        put("retryMsg", json!([retry_message]));
        put("retryCode", json!([retry_code]));
        if rng.chance(20) {
            put("errorCode", "face_not_detected".into());
            put("errorMsg", "No face detected".into());
        }
    }
    Value::Object(map)
}

/// A score in tenths, as the documents show them: whole numbers, fractions, sometimes text.
fn score(rng: &mut Rng, tenths: i64) -> Value {
    match rng.below(10) {
        0 => Value::String(format!("{}.{}", tenths / 10, tenths % 10)),
        1..6 => json!(tenths / 10),
        _ => json!(tenths as f64 / 10.0),
    }
}
