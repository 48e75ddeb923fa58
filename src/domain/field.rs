//! Every documented vendor field, and the column that holds it.
//!
//! This is where a new vendor field goes: one line here, one column (with its comment) in a new migration. A test
//! compares these tables with the database's catalog, so forgetting one half fails.
//! Sources: the vendor's field tables of GET /submission (gitbook and developers.argosidentity.com generations).

/// How a field's value is read. A value of another type becomes null in the column and is counted as drift; the stored
/// item keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text. A number or boolean is taken in its JSON form.
    Text,
    /// A word from an open set, on which rules and counts depend: text and nothing else.
    Word,
    /// A number, or a text that is one: `99`, `99.0` and `"99"` are equal.
    Decimal,
    /// A time; compared at microseconds.
    Time,
    /// A list of texts; a single text counts as a list of one (the documents disagree).
    TextList,
    /// Anything, kept as JSON.
    Json,
    /// A link, or an object of links, that may expire: mirrored, but never compared.
    Link,
}

/// A documented field: where it stands in the vendor's object, and its column.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The path in the vendor's object, in the vendor's spelling.
    pub path: &'static [&'static str],
    /// The column's name.
    pub column: &'static str,
    /// How the value is read.
    pub kind: Kind,
}

const fn f(path: &'static [&'static str], column: &'static str, kind: Kind) -> Field {
    Field { path, column, kind }
}

use Kind::{Decimal, Json, Link, Text, TextList, Time, Word};

/// Fields of an item; columns of `argos.submissions`.
pub const SUBMISSION: &[Field] = &[
    f(&["created_at"], "created_at", Time),
    f(&["updated_at"], "updated_at", Time),
    f(&["kyc_result_at"], "kyc_result_at", Time),
    f(&["pending_at"], "pending_at", Time),
    f(&["email"], "email", Text),
    f(&["userid"], "userid", Text),
    f(&["applicant_id"], "applicant_id", Text),
    f(&["reviewer"], "reviewer", Word),
    f(&["kyc", "result"], "kyc_result", Word),
    f(&["kyc", "comment"], "kyc_comment", TextList),
    f(&["kyc", "commentCode"], "kyc_comment_code", TextList),
    f(&["aml", "currentstatus"], "aml_currentstatus", Word),
    f(&["aml", "risk_level_summary"], "aml_risk_level_summary", Word),
    f(&["aml", "raw_data"], "aml_raw_data", Json),
    f(&["data", "name"], "name", Text),
    f(&["data", "full_name"], "full_name", Text),
    f(&["data", "first_name"], "first_name", Text),
    f(&["data", "mid_name"], "mid_name", Text),
    f(&["data", "last_name"], "last_name", Text),
    f(&["data", "full_name_en"], "full_name_en", Text),
    f(&["data", "age_group"], "age_group", Text),
    f(&["data", "gender"], "gender", Text),
    f(&["data", "nationality"], "nationality", Text),
    f(&["data", "date_of_birth"], "date_of_birth", Text),
    f(&["data", "ip_address"], "ip_address", Text),
    f(&["data", "idType"], "id_type", Text),
    f(&["data", "idcard_issuingCountry"], "idcard_issuing_country", Text),
    f(&["data", "idcard_issueDate"], "idcard_issue_date", Text),
    f(&["data", "idcard_expireDate"], "idcard_expire_date", Text),
    f(&["data", "identityNumber"], "identity_number", Text),
    f(&["data", "documentNumber"], "document_number", Text),
    f(&["data", "serialNumber"], "serial_number", Text),
    f(&["data", "address_city"], "address_city", Text),
    f(&["data", "address_country"], "address_country", Text),
    f(&["data", "address_state"], "address_state", Text),
    f(&["data", "address_street"], "address_street", Text),
    f(&["data", "address_street2"], "address_street2", Text),
    f(&["data", "address_zipcode"], "address_zipcode", Text),
    f(&["data", "address_globalCode"], "address_global_code", Text),
    f(&["data", "address_compoundCode"], "address_compound_code", Text),
    f(&["data", "address_formatted"], "address_formatted", Text),
    f(&["data", "address_input"], "address_input", Text),
    f(&["data", "address_detail"], "address_detail", Text),
    f(&["data", "cf1"], "cf1", Text),
    f(&["data", "cf2"], "cf2", Text),
    f(&["data", "cf3"], "cf3", Text),
    f(&["data", "typeOfPermit"], "type_of_permit", Text),
    f(&["data", "typeOfPermitGovKor"], "type_of_permit_gov_kor", Text),
    f(&["data", "expiryDateOfStayKor"], "expiry_date_of_stay_kor", Text),
    f(&["data", "nationalityGovKor"], "nationality_gov_kor", Text),
    f(&["data", "ssnNumber"], "ssn_number", Text),
    f(&["data", "phoneNumber"], "phone_number", Text),
    f(&["data", "privacyShield"], "privacy_shield", Text),
    f(&["data", "curpNumber"], "curp_number", Text),
    f(&["data", "version"], "data_version", Text),
    f(&["additional_list"], "additional_list", Json),
    f(&["id_LivenessScore", "Screen_play"], "id_liveness_screen_play", Decimal),
    f(&["id_LivenessScore", "Paper_printed"], "id_liveness_paper_printed", Decimal),
    f(&["id_LivenessScore", "Replace_portraits"], "id_liveness_replace_portraits", Decimal),
    f(&["Injection_action", "type"], "injection_type", Text),
    f(&["Injection_action", "time"], "injection_time", Time),
    f(&["tokenId"], "token_id", Text),
    f(&["duplicated_information"], "duplicated_information", Text),
    f(&["custom_duplicated_information"], "custom_duplicated_information", Text),
    f(&["recognition_score"], "recognition_score", Decimal),
    f(&["argos_score"], "argos_score", Decimal),
    f(&["image"], "image", Link),
    f(&["memo", "text"], "memo_text", Text),
    f(&["memo", "updated_at"], "memo_updated_at", Time),
    f(&["project_options"], "project_options", Json),
    f(&["OCR_raw"], "ocr_raw", Json),
    f(&["ocr"], "ocr", Json),
    f(&["review"], "review", Json),
    f(&["projection_id"], "projection_id", Text),
];

/// Fields of `kyc.attempts[]`; columns of `argos.attempts`.
pub const ATTEMPT: &[Field] = &[
    f(&["attemptCnt"], "attempt_cnt", Decimal),
    f(&["verificationResult"], "verification_result", Text),
    f(&["ocrResult"], "ocr_result", Text),
    f(&["idBarcodeResult"], "id_barcode_result", Text),
    f(&["verification"], "verification", Json),
    f(&["verificationParams"], "verification_params", Json),
    f(&["errorCode"], "error_code", Text),
    f(&["errorMsg"], "error_msg", Text),
    f(&["retryCode"], "retry_code", TextList),
    f(&["retryMsg"], "retry_msg", TextList),
    f(&["faceSimilarityScore"], "face_similarity_score", Decimal),
    f(&["livenessScore"], "liveness_score", Decimal),
    f(&["liveness", "score"], "liveness_detail_score", Decimal),
    f(&["liveness", "probability"], "liveness_detail_probability", Decimal),
    f(&["liveness", "quality"], "liveness_detail_quality", Decimal),
    f(&["selfieImage"], "selfie_image", Link),
    f(&["step1Time1st"], "step1_time_1st", Time),
    f(&["step1Time2nd"], "step1_time_2nd", Time),
    f(&["step1Time3rd"], "step1_time_3rd", Time),
    f(&["step2Time1st"], "step2_time_1st", Time),
    f(&["step2Time2nd"], "step2_time_2nd", Time),
    f(&["step2Time3rd"], "step2_time_3rd", Time),
];

/// Fields of `aml.matches[]`; columns of `argos.aml_matches`.
pub const MATCH: &[Field] = &[
    f(&["risk_level"], "risk_level", Text),
    f(&["resource_id"], "resource_id", Text),
    f(&["argos_number"], "argos_number", Text),
    f(&["score"], "score", Decimal),
    f(&["risk_icons"], "risk_icons", TextList),
];

/// Fields of `bank_verification`; columns of `argos.bank_verifications`.
pub const BANK: &[Field] = &[
    f(&["result"], "result", Text),
    f(&["type"], "type", Text),
    f(&["bank_code"], "bank_code", Text),
    f(&["account_number"], "account_number", Text),
    f(&["retry_count"], "retry_count", Decimal),
];

/// Where the lists and the object with tables of their own stand in an item, and their fields.
pub const CHILDREN: &[(&[&str], &[Field])] =
    &[(&["kyc", "attempts"], ATTEMPT), (&["aml", "matches"], MATCH), (&["bank_verification"], BANK)];

/// Spellings that some documents use for a documented field: (object, other spelling, documented spelling).
pub const ALIASES: &[(&[&str], &str, &str)] =
    &[(&[], "injection_action", "Injection_action"), (&["bank_verification"], "retry_countj", "retry_count")];
