//! Submissions as the vendor's documents describe them, made up: some 2.1 KB each, the same for the same place.

use std::fmt::Write;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};

/// When the submissions of a list were created, in milliseconds since 1970: one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the first one was.
    pub first: i64,
    /// From one to the next.
    pub spacing: i64,
}

impl Times {
    /// From 2022-01-01 on, 2,879 a day. All are older than an import, so they are history.
    pub const OLD: Self = Self { first: 1_640_995_200_000, spacing: 30_011 };

    /// When the submission at a place was created.
    pub fn of(self, place: u64) -> i64 {
        self.first + place as i64 * self.spacing
    }

    /// The first place whose submission was created on this day (UTC) or later.
    pub fn first_on(self, day: NaiveDate) -> u64 {
        let after = day.and_time(NaiveTime::MIN).and_utc().timestamp_millis() - self.first;
        after.max(0).cast_unsigned().div_ceil(self.spacing.cast_unsigned())
    }
}

/// Which submissions have changed at the vendor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Changed {
    /// None.
    #[default]
    None,
    /// One in a hundred; [`changes`] says which.
    OnePercent,
    /// All.
    All,
}

/// How an item is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// Before or after the vendor's change.
    pub changed: Changed,
    /// 0: plainly. Any other number: the same state with other links, another order of keys and other forms of numbers,
    /// different for each.
    pub reading: u64,
}

/// Whether a submission is one of the 1% that change.
pub fn changes(place: u64) -> bool {
    Random::of(place, 0xC0FF_EE00).below(100) == 0
}

/// The id of the submission at a place; [`place_of`] finds the place again.
pub fn id_of(place: u64) -> String {
    let mut random = Random::of(place, 0x1D);
    let mut id: String = (0..10).map(|_| BASE36[random.below(36) as usize] as char).collect();
    for power in (0..6).rev() {
        id.push(BASE36[(place / 36_u64.pow(power) % 36) as usize] as char);
    }
    id
}

/// The place of an id.
pub fn place_of(id: &str) -> Option<u64> {
    let place = u64::from_str_radix(id.get(10..)?, 36).ok()?;
    (id_of(place) == id).then_some(place)
}

const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn of(place: u64, what: u64) -> Self {
        let mut random = Self(place.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ what);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits);
        while text.len() < digits {
            let _ = write!(text, "{:016x}", self.next());
        }
        text.truncate(digits);
        text
    }
}

/// A JSON object in the making: names and JSON.
#[derive(Default)]
struct Object(Vec<(&'static str, String)>);

impl Object {
    /// A text that needs no escapes.
    fn text(&mut self, name: &'static str, text: impl std::fmt::Display) {
        self.0.push((name, format!("\"{text}\"")));
    }

    fn json(&mut self, name: &'static str, json: String) {
        self.0.push((name, json));
    }

    /// Each reading begins with another member.
    fn close(mut self, reading: u64) -> String {
        let first = reading as usize % self.0.len();
        self.0.rotate_left(first);
        let members: Vec<String> = self.0.into_iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// A number of hundredths, in one of the forms that mean the same.
fn number(hundredths: u64, reading: u64) -> String {
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match reading % 4 {
        0 => format!("{whole}.{rest:02}"),
        1 => format!("\"{whole}.{rest:02}\""),
        2 => format!("{whole}.{rest:02}00"),
        _ => format!("{hundredths}e-2"),
    }
}

/// A moment, as the vendor writes it.
pub fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// So many days after 1970.
fn day(days: u64) -> NaiveDate {
    NaiveDate::from_epoch_days(days as i32).unwrap_or_default()
}

const MINUTE: i64 = 60_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

const FIRST_NAMES: &[&str] =
    &["Jhon", "Mina", "Amélie", "Seo-yeon", "Ravi", "Lucía", "Oluwaseun", "민준", "Wei", "Fatima"];
const LAST_NAMES: &[&str] =
    &["Smith", "O'Brien", "García", "Kim", "Müller", "Patel", "Nguyen", "이", "Okafor", "Silva"];
const COUNTRIES: &[&str] = &["USA", "KOR", "BRA", "IND", "DEU", "VNM", "NGA", "PHL", "MEX", "CAN", "FRA", "IDN"];
const CITIES: &[&str] =
    &["Seoul", "Washington", "São Paulo", "Mumbai", "Berlin", "Hà Nội", "Lagos", "Manila", "Toronto"];
const STREETS: &[&str] = &["Teheran-ro", "Pennsylvania Avenue NW", "Avenida Paulista", "Unter den Linden", "MG Road"];
const DOCUMENTS: &[&str] = &["passport", "government_id", "drivers_license", "residence permit"];
const REJECTIONS: &[(&str, &str)] = &[
    ("too_many_retry", "Multiple invalid KYC attempts"),
    ("id_info_dataMismatch", "The entered information does not match with your ID document."),
    ("id_image_badImage", "Fail to read the ID image. Please take a clear picture of your ID document."),
    ("timeout", "KYC rejected due to timeout"),
];

/// The item at a place, as JSON on one line.
pub fn item(place: u64, created_ms: i64, form: Form) -> String {
    let reading = form.reading;
    let changed = match form.changed {
        Changed::None => false,
        Changed::OnePercent => changes(place),
        Changed::All => true,
    };
    let mut random = Random::of(place, 0x17E8);
    let random = &mut random;
    let id = id_of(place);
    let name = format!("{} {}", random.pick(FIRST_NAMES), random.pick(LAST_NAMES));
    let document = random.pick(DOCUMENTS);
    let identity_number = format!("{:06}-{}******", random.below(1_000_000), random.below(4) + 1);
    let issued = day(15_000 + random.below(4_000));

    let mut item = Object::default();
    item.json("data", data(random, &name, document, &identity_number, issued, reading));
    item.text("email", format!("user{place}.{}@example{}.com", random.hex(4), random.below(50)));
    item.text("submission_id", &id);
    item.text("applicant_id", random.hex(24));
    item.text("userid", format!("u-{}", random.below(place + 1)));
    item.text("reviewer", if random.below(5) == 0 { "agent" } else { "system" });

    let was = match random.below(100) {
        0..=69 => "approved",
        70..=84 => "rejected",
        85..=94 => "pending",
        _ => "incomplete",
    };
    let is = match (changed, was) {
        (false, _) => was,
        (true, "approved") => "rejected",
        (true, _) => "approved",
    };
    let mut updated = created_ms + MINUTE + random.below(DAY) as i64;
    if was == "pending" {
        item.text("pending_at", time(updated - 5 * MINUTE));
    }
    if changed {
        updated += 30 * 60 * MINUTE;
    }
    if matches!(is, "approved" | "rejected") {
        item.text("kyc_result_at", time(updated - 1000));
    }
    item.text("created_at", time(created_ms));
    item.text("updated_at", time(updated));

    let mut kyc = Object::default();
    kyc.text("result", is);
    let (code, comment) = random.pick(REJECTIONS);
    if is == "rejected" {
        kyc.json("comment", format!("[\"{comment}\"]"));
        kyc.json("commentCode", format!("[\"{code}\"]"));
    }
    let attempts = random.below(4);
    let person = (name.as_str(), document, identity_number.as_str(), issued);
    let mut list: Vec<String> = (0..attempts)
        .map(|nth| attempt(random, &id, person, nth, created_ms, nth + 1 == attempts && was == "approved", reading))
        .collect();
    let aml = (random.below(100) < 60).then(|| aml(random, reading));
    let bank = (random.below(10) == 0).then(|| bank(random, reading));
    // What the change adds comes last: what was there stays as it was.
    if changed {
        list.push(attempt(random, &id, person, attempts, updated - 10 * MINUTE, is == "approved", reading));
    }
    kyc.json("attempts", format!("[{}]", list.join(",")));
    item.json("kyc", kyc.close(reading));
    if let Some(aml) = aml {
        item.json("aml", aml);
    }
    if let Some(bank) = bank {
        item.json("bank_verification", bank);
    }
    item.close(reading)
}

fn data(
    random: &mut Random,
    name: &str,
    document: &str,
    identity_number: &str,
    issued: NaiveDate,
    reading: u64,
) -> String {
    let (country, city, street) = (random.pick(COUNTRIES), random.pick(CITIES), random.pick(STREETS));
    let (number, zip) = (random.below(900) + 1, random.below(100_000));
    let code = format!("{}HX+{}", random.below(90) + 10, random.hex(2).to_uppercase());
    let mut data = Object::default();
    data.text("name", name);
    data.text("first_name", name.split(' ').next().unwrap_or(name));
    data.text("gender", if random.below(2) == 0 { "male" } else { "female" });
    data.text("nationality", country);
    data.text("date_of_birth", day(random.below(12_000)));
    data.text(
        "ip_address",
        format!("{}.{}.{}.{}", random.below(223) + 1, random.below(256), random.below(256), random.below(256)),
    );
    data.text("idType", document);
    data.text("idcard_issuingCountry", country);
    data.text("idcard_issueDate", issued);
    data.text("idcard_expireDate", day(19_500 + random.below(3_000)));
    data.text("identityNumber", identity_number);
    data.text("documentNumber", format!("M{:08}", random.below(100_000_000)));
    data.text("address_city", city);
    data.text("address_country", country);
    data.text("address_state", format!("{city} State"));
    data.text("address_street", format!("{number} {street}"));
    data.text("address_zipcode", format!("{zip:05}"));
    data.text("address_globalCode", format!("8Q{}{code}", random.hex(2).to_uppercase()));
    data.text("address_compoundCode", format!("{code} {city}, {country}"));
    data.text("address_formatted", format!("{number} {street}, {city} {zip:05}, {country}"));
    data.text("address_input", format!("{number} {street}\\n{city} \\\"{zip:05}\\\""));
    data.text("address_detail", format!("Unit {}, Floor {}", random.below(99), random.below(30)));
    data.text("cf1", format!("campaign-{}", random.below(40)));
    data.text("cf2", random.hex(16));
    data.text("cf3", format!("tier_{}", random.below(4)));
    data.close(reading)
}

fn attempt(
    random: &mut Random,
    id: &str,
    (name, document, identity_number, issued): (&str, &str, &str, NaiveDate),
    nth: u64,
    begun_ms: i64,
    passed: bool,
    reading: u64,
) -> String {
    let at = begun_ms + nth as i64 * 30_000;
    let result = if passed { "success" } else { "fail" };
    let mut params = Object::default();
    params.text("fullName", name);
    params.text("idType", document);
    params.text("issueDate", issued);
    params.text("identityNumber", identity_number);
    let mut attempt = Object::default();
    attempt.json("attemptCnt", (nth + 1).to_string());
    attempt.json("livenessScore", number(8_000 + random.below(2_000), reading));
    attempt.json("faceSimilarityScore", number(7_000 + 10 * random.below(300), reading));
    attempt.text("ocrResult", "success");
    attempt.text("idBarcodeResult", result);
    attempt.text("verificationResult", result);
    attempt.json("verificationParams", params.close(reading));
    attempt.text("step1Time1st", time(at));
    attempt.text("step2Time1st", time(at + 9_000));
    let picture = random.hex(12);
    attempt.text("selfieImage", format!("https://cdn.example.com/selfie/{id}/{picture}.jpg?signature={reading:016x}"));
    if !passed {
        attempt.text("errorCode", "face_compare_fail");
        attempt.text("errorMsg", "Face compare failed");
        attempt.json("retryMsg", "[\"Face compare failed: no matching face\"]".to_owned());
        attempt.json("retryCode", "[\"face_compare_fail\"]".to_owned());
    }
    attempt.close(reading)
}

fn aml(random: &mut Random, reading: u64) -> String {
    let matches = random.below(5);
    let flagged = matches > 0;
    let mut aml = Object::default();
    aml.text("risk_level_summary", if flagged { random.pick(&["High", "Medium", "Low"]) } else { "Not Screened" });
    aml.text("currentstatus", if flagged { "Red Flag" } else { "Not Screened" });
    let list: Vec<String> = (0..matches)
        .map(|_| {
            let mut found = Object::default();
            found.text("risk_level", random.pick(&["HIGH", "MEDIUM", "LOW"]));
            found.text("argos_number", format!("AR{:08}", random.below(100_000_000)));
            found.text("resource_id", random.hex(32));
            found.json("score", number(5_000 + 10 * random.below(500), reading));
            found.json("risk_icons", format!("[\"PEP\",\"{}\"]", random.pick(&["SAN", "RRE", "INS", "POI"])));
            found.close(reading)
        })
        .collect();
    aml.json("matches", format!("[{}]", list.join(",")));
    aml.close(reading)
}

fn bank(random: &mut Random, reading: u64) -> String {
    let mut bank = Object::default();
    bank.text("result", if random.below(8) == 0 { "fail" } else { "success" });
    bank.text("type", "occupancy");
    bank.text("bank_code", format!("{:03}", random.below(100)));
    bank.text("account_number", format!("{:012}", random.below(1_000_000_000_000)));
    bank.json("retry_count", random.below(3).to_string());
    bank.close(reading)
}
