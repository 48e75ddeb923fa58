//! A submission as the vendor would show it: the script up to an age, written down as JSON.

use serde_json::{Map, Value, json};

use super::attempt;
use super::person::{self, Person};
use super::rng::Rng;
use super::screening;
use super::script::{REJECTS, Step, script};
use super::timeline::Timeline;
use crate::clock::Timestamp;

/// Stands in every link where a token goes. The token is filled in when an item is served, another one each time,
/// because the vendor's links expire.
pub(super) const TOKEN: &str = "@@TOKEN@@";

/// A time as the vendor writes it: ISO 8601, milliseconds, UTC.
pub(super) fn iso(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A link to an image.
pub(super) fn link(id: &str, kind: &str) -> String {
    format!("https://images.example.com/{id}/{kind}.jpg?X-Amz-Expires=300&X-Amz-Signature={TOKEN}")
}

/// Submission `n`, born at active time `birth`, as it is at active time `now`.
pub(super) fn item(seed: u64, n: u64, life: f64, timeline: &Timeline, birth: i64, now: i64) -> Value {
    let person = Person::of(seed, n);
    let steps = script(seed, n, person.country == "KOR", life);
    let mut draft = Draft::born(seed, n, person, iso(timeline.wall(birth)));
    for (count, (after, step)) in steps.iter().enumerate() {
        // Not a range check on the sum: a long script on an old submission must not overflow.
        if *after > now.saturating_sub(birth) {
            break;
        }
        draft.apply(count as u64, *step, &iso(timeline.wall(birth.saturating_add(*after))));
    }
    draft.finish()
}

struct Draft {
    seed: u64,
    n: u64,
    person: Person,
    item: Map<String, Value>,
    data: Map<String, Value>,
    attempts: Vec<Value>,
    kyc: Map<String, Value>,
    updated_at: Option<String>,
}

impl Draft {
    fn born(seed: u64, n: u64, person: Person, created_at: String) -> Self {
        let mut rng = Rng::of(seed, n, "item");
        let data = person.data(seed, n);
        let mut item = Map::new();
        let id = person::submission_id(seed, n);
        item.insert("submission_id".into(), id.into());
        item.insert("created_at".into(), created_at.into());
        if let Some(email) = &person.email {
            item.insert("email".into(), email.clone().into());
        }
        if let Some(userid) = &person.userid {
            item.insert("userid".into(), userid.clone().into());
        }
        if rng.chance(15) {
            item.insert("tokenId".into(), format!("tok_{}", rng.word(20)).into());
        }
        if person.newer {
            item.insert(
                "project_options".into(),
                json!({"option_aml": true, "option_addressData": rng.chance(40), "option_idNumber": true,
                       "policy_approvePeriod": 365, "policy_blacklistCountries": ["PRK", "IRN"]}),
            );
        }
        if rng.chance(25) {
            item.insert(
                "additional_list".into(),
                json!([{"answer": "Occupation", "inputValue": format!("Engineer Taintname{n}"), "blockType": "text"},
                       {"answer": "Source of funds", "inputValue": "salary", "blockType": "select"}]),
            );
        }
        let mut kyc = Map::new();
        kyc.insert("result".into(), "incomplete".into());
        Self { seed, n, person, item, data, attempts: Vec::new(), kyc, updated_at: None }
    }

    fn apply(&mut self, count: u64, step: Step, at: &str) {
        let mut rng = Rng::of(self.seed, self.n ^ (count << 48), "step");
        match step {
            Step::Attempt { passed, code } => self.attempt(&mut rng, passed, code, at),
            Step::Bank { tries, passed } => {
                let mut account = Rng::of(self.seed, self.n, "bank");
                let kind = if account.chance(80) { "occupancy" } else { "nameCheck" };
                let bank = json!({"result": if passed { "success" } else { "fail" }, "type": kind,
                    "bank_code": account.pick(&["004", "020", "088", "090", "20"]),
                    "account_number": format!("TAINT-ID-{}-{}", self.n, account.digits(6)), "retry_count": tries});
                self.item.insert("bank_verification".into(), bank);
            }
            Step::Pending => {
                self.kyc.insert("result".into(), "pending".into());
                self.item.insert("pending_at".into(), at.into());
            }
            Step::Approved { by } => {
                self.decide("approved", by, at);
                self.kyc.remove("comment");
                self.kyc.remove("commentCode");
                let applicant = person::applicant_id(self.seed, self.n);
                self.item.insert("applicant_id".into(), applicant.into());
            }
            Step::Rejected { by, code } => {
                self.decide("rejected", by, at);
                self.item.remove("applicant_id");
                let (code, comment) = REJECTS[code];
                self.kyc.insert("comment".into(), json!([comment]));
                self.kyc.insert("commentCode".into(), json!([code]));
            }
            Step::AmlClear | Step::RedFlag | Step::MatchAdded | Step::MatchRemoved | Step::FlagCleared => {
                let before = self.item.remove("aml");
                let after = screening::screened(self.seed, self.n, count, step, before, &self.person.full_name);
                self.item.insert("aml".into(), after);
                // Nothing documents that a screening moves updated_at, so here it does not.
                return;
            }
            Step::Memo => {
                let text = format!("Asked Taintname{} for another document ({})", self.n, rng.word(4));
                self.item.insert("memo".into(), json!({"text": text, "updated_at": at}));
            }
            Step::Injection => {
                self.data.extend(self.person.address(self.seed, self.n, count));
                self.item.insert("Injection_action".into(), json!({"type": "address", "time": at}));
            }
            Step::AddressEdited => self.data.extend(self.person.address(self.seed, self.n, count)),
        }
        self.updated_at = Some(at.to_owned());
    }

    fn attempt(&mut self, rng: &mut Rng, passed: bool, code: usize, at: &str) {
        let id = person::submission_id(self.seed, self.n);
        let place = self.attempts.len();
        self.attempts.push(attempt::attempt(rng, &self.person, &id, place, passed, code, at));
        if !passed {
            return;
        }
        let score = |rng: &mut Rng| json!(rng.between(7_000, 9_999) as f64 / 100.0);
        if rng.chance(60) {
            let scores =
                json!({"Screen_play": score(rng), "Paper_printed": score(rng), "Replace_portraits": score(rng)});
            self.item.insert("id_LivenessScore".into(), scores);
        }
        let duplicates = Rng::of(self.seed, person::who(self.n), "duplicate").word(32);
        self.item.insert("duplicated_information".into(), duplicates.into());
        for name in ["recognition_score", "argos_score"] {
            if rng.chance(70) {
                // Shown in quotes in the documents, so sometimes text here.
                let score = score(rng);
                let score = if rng.chance(50) { Value::String(score.to_string()) } else { score };
                self.item.insert(name.into(), score);
            }
        }
        if rng.chance(50) {
            let mut image = Map::new();
            for kind in ["idImage", "idBackImage", "selfieImage", "addressImage"] {
                image.insert(kind.into(), link(&id, kind).into());
            }
            self.item.insert("image".into(), image.into());
        }
        if rng.chance(10) {
            let name = &self.person.full_name;
            self.item.insert("OCR_raw".into(), json!({"rotate": {"value": "0"}, "name": {"value": name}}));
        }
    }

    fn decide(&mut self, result: &str, by: &str, at: &str) {
        self.kyc.insert("result".into(), result.into());
        // One printed sample of a rejected submission has neither reviewer nor kyc_result_at.
        if !self.n.is_multiple_of(11) {
            self.item.insert("reviewer".into(), by.into());
            // The time of the first decision; a later flip does not move it.
            self.item.entry("kyc_result_at").or_insert_with(|| at.into());
        }
    }

    fn finish(mut self) -> Value {
        if !self.attempts.is_empty() {
            self.kyc.insert("attempts".into(), self.attempts.into());
        }
        // Some samples never show updated_at.
        if let Some(at) = self.updated_at
            && !self.n.is_multiple_of(11)
        {
            self.item.insert("updated_at".into(), at.into());
        }
        self.item.insert("data".into(), self.data.into());
        self.item.insert("kyc".into(), self.kyc.into());
        Value::Object(self.item)
    }
}
