//! Who a submission is about: names, contacts, documents and address.
//!
//! Everything that would be personal data in the real world carries a marker (`Taintname7`, `taint7@example.com`,
//! `TAINT-ID-7`), so that a hunt for leaks can search logs and metrics for "aint".

use serde_json::{Map, Value, json};

use super::rng::Rng;

/// The fixed facts of one applicant.
pub(super) struct Person {
    /// Older documents show `name`; newer ones show `full_name`, `first_name` and `last_name`.
    pub(super) newer: bool,
    pub(super) full_name: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) email: Option<String>,
    pub(super) userid: Option<String>,
    pub(super) country: &'static str,
    pub(super) id_type: &'static str,
    pub(super) identity_number: String,
    pub(super) issue_date: String,
    birth_date: String,
    gender: &'static str,
    who: u64,
}

const GIVEN: &[&str] = &[
    "John",
    "María",
    "김민준",
    "José",
    "Zoë",
    "이서연",
    "Łukasz",
    "Aisha",
    "Nguyễn",
    "François",
    "박지훈",
    "Priya",
    "Søren",
    "Ana",
    "Müller",
    "さくら",
];
/// Country, city, state, zip code, street, plus code, name in English.
type Place = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str);
const PLACES: &[Place] = &[
    ("USA", "Washington", "DC", "20500", "Pennsylvania Ave", "87C4VXX7+39", "USA"),
    ("KOR", "Seoul", "서울특별시", "06236", "테헤란로", "8Q98HXPG+MP", "South Korea"),
    ("BRA", "São Paulo", "SP", "01310-100", "Av. Paulista", "588MC8QV+XX", "Brazil"),
    ("MEX", "Mérida", "Yucatán", "97000", "Calle 60", "76GGX9CM+2F", "Mexico"),
    ("CAN", "Montréal", "QC", "H2Y 1C6", "Rue Saint-Paul", "87Q8GC4W+6X", "Canada"),
    ("IND", "Pune", "MH", "411001", "MG Road", "7JCMGV9G+4H", "India"),
    ("DEU", "Köln", "NRW", "50667", "Domstraße", "9F28WXR5+GG", "Germany"),
    ("VNM", "Hà Nội", "HN", "100000", "Tràng Tiền", "7PH72VF4+9Q", "Vietnam"),
];

/// The number of the human behind submission `n`. Now and then someone submits twice in a row.
pub(super) fn who(n: u64) -> u64 {
    if n % 20 == 19 { n - 1 } else { n }
}

/// The id under which the vendor groups approved submissions of the same human.
pub(super) fn applicant_id(seed: u64, n: u64) -> String {
    format!("app{}", Rng::of(seed, who(n), "applicant").word(17))
}

/// The id of submission `n`. Newer ones have an underscore, as in the newer samples.
pub(super) fn submission_id(seed: u64, n: u64) -> String {
    let mut rng = Rng::of(seed, n, "id");
    let id = rng.word(15);
    if n.is_multiple_of(3) { format!("{id}_{}", rng.word(2)) } else { id }
}

/// The e-mail address, if one was given. Cheap, because searches ask it of every submission.
pub(super) fn email(seed: u64, n: u64) -> Option<String> {
    (!Rng::of(seed, who(n), "email").chance(7)).then(|| format!("taint{}@example.com", who(n)))
}

/// The customer's own id, if one was given. Some customers use e-mail addresses.
pub(super) fn userid(seed: u64, n: u64) -> Option<String> {
    match Rng::of(seed, who(n), "userid").below(100) {
        0..25 => None,
        25..35 => Some(format!("taint{}@example.com", who(n))),
        _ => Some(format!("user-taint{}", who(n))),
    }
}

impl Person {
    pub(super) fn of(seed: u64, n: u64) -> Self {
        let who = who(n);
        let mut rng = Rng::of(seed, who, "person");
        let first_name = rng.pick(GIVEN).to_owned();
        let last_name = format!("Taintname{who}");
        let country = rng.pick(PLACES).0;
        Self {
            newer: n % 5 >= 2,
            full_name: format!("{first_name} {last_name}"),
            first_name,
            last_name,
            email: email(seed, n),
            userid: userid(seed, n),
            country,
            id_type: match country {
                "IND" => rng.pick(&["aadhaar", "pancard", "passport"]),
                "USA" | "CAN" | "MEX" => rng.pick(&["drivers_license", "government_id", "passport"]),
                _ => rng.pick(&[
                    "passport",
                    "government_id",
                    "residence_permit",
                    "visa",
                    "vehicle_registration_certificate",
                ]),
            },
            identity_number: format!("TAINT-ID-{who}"),
            issue_date: date(&mut rng, 2014, 2024),
            birth_date: date(&mut rng, 1950, 2006),
            gender: rng.pick(&["male", "female"]),
            who,
        }
    }

    /// The `data` object of a new submission.
    pub(super) fn data(&self, seed: u64, n: u64) -> Map<String, Value> {
        let mut rng = Rng::of(seed, n, "data");
        let mut data = Map::new();
        let mut put = |key: &str, value: String| data.insert(key.to_owned(), Value::String(value));
        if self.newer {
            put("full_name", self.full_name.clone());
            put("first_name", self.first_name.clone());
            put("last_name", self.last_name.clone());
            put("age_group", rng.pick(&["ADULT", "TEEN", "N/A"]).to_owned());
        } else {
            put("name", self.full_name.clone());
        }
        put("gender", self.gender.to_owned());
        put("nationality", self.country.to_owned());
        put("date_of_birth", self.birth_date.clone());
        put("ip_address", format!("203.0.113.{}", rng.below(255)));
        put("idType", self.id_type.to_owned());
        put("idcard_issuingCountry", self.country.to_owned());
        put("idcard_issueDate", self.issue_date.clone());
        if rng.chance(80) {
            // Permanent documents show no date.
            put("idcard_expireDate", if rng.chance(5) { "N/A".to_owned() } else { date(&mut rng, 2027, 2034) });
        }
        put("identityNumber", self.identity_number.clone());
        if rng.chance(60) {
            put("documentNumber", format!("TAINT-ID-{}-D", self.who));
        }
        for (key, share) in [("cf1", 50), ("cf2", 20), ("cf3", 10)] {
            if rng.chance(share) {
                put(key, format!("{key}-{}", rng.word(6)));
            }
        }
        if self.country == "KOR" && rng.chance(30) {
            put("typeOfPermit", "F-4".to_owned());
            put("typeOfPermitGovKor", "재외동포(F-4)".to_owned());
            put("expiryDateOfStayKor", date(&mut rng, 2027, 2030));
            put("nationalityGovKor", "USA".to_owned());
        }
        if self.country == "USA" && rng.chance(15) {
            put("ssnNumber", format!("TAINT-ID-{}-SSN", self.who));
            put("phoneNumber", format!("+1-202-555-01{} taint{}", rng.digits(2), self.who));
        }
        if rng.chance(40) {
            data.extend(self.address(seed, n, 0));
        }
        data
    }

    /// The address fields; every `edition` is another address.
    pub(super) fn address(&self, seed: u64, n: u64, edition: u64) -> Map<String, Value> {
        let mut rng = Rng::of(seed, n ^ (edition << 48), "address");
        let (country, city, state, zip, street, code, land) = rng.pick(PLACES);
        let house = rng.between(1, 99);
        let local = code.get(4..).unwrap_or(code);
        let fields = json!({
            "address_city": city, "address_country": country, "address_state": state, "address_zipcode": zip,
            "address_street": format!("{house} {street}"), "address_globalCode": code,
            "address_compoundCode": format!("{local} {city}, {land}"),
            "address_formatted": format!("{house} {street}, {city}, {state} {zip}, {land}"),
            "address_input": format!("{house} {street} Taintname{}", self.who),
            "address_detail": format!("Unit {} Taintname{}", rng.between(1, 40), self.who),
        });
        match fields {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

fn date(rng: &mut Rng, from: i64, to: i64) -> String {
    format!("{}-{:02}-{:02}", rng.between(from, to), rng.between(1, 12), rng.between(1, 28))
}
