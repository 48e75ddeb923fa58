//! The vendor's timestamps, read leniently.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, SecondsFormat, SubsecRound, TimeZone, Utc};

use crate::clock::Timestamp;

/// Reads a vendor time, cut to microseconds: ISO 8601 as in the documents' one real value
/// (`2022-04-07T00:30:35.919Z`), the same with a space or without a zone (then UTC, as documented), a bare date, or the
/// documents' placeholder form `YYYY-MM-DD-HH-MM-SS-ZZZ` with a zone name or offset. `None` when it is none of them, or
/// lies outside the years 1900 to 9999.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let at = DateTime::parse_from_rfc3339(text)
        .map(|at| at.to_utc())
        .ok()
        .or_else(|| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").ok().map(|at| at.to_utc()))
        .or_else(|| naive(text).map(|at| at.and_utc()))
        .or_else(|| placeholder_form(text))?;
    (1900..=9999).contains(&at.year()).then(|| at.trunc_subsecs(6))
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

fn placeholder_form(text: &str) -> Option<Timestamp> {
    let at = NaiveDateTime::parse_from_str(text.get(..19)?, "%Y-%m-%d-%H-%M-%S").ok()?;
    let zone = text.get(19..)?.trim_start_matches('-');
    let offset = match zone {
        "" | "Z" | "UTC" | "GMT" => FixedOffset::east_opt(0)?,
        "KST" => FixedOffset::east_opt(9 * 3600)?,
        other => DateTime::parse_from_str(&format!("2000-01-01 00:00:00 {other}"), "%Y-%m-%d %H:%M:%S %z")
            .ok()
            .map(|at| *at.offset())?,
    };
    offset.from_local_datetime(&at).single().map(|at| at.with_timezone(&Utc))
}

/// The form in which a time stands in canonical states, columns and payloads: RFC 3339, UTC, microseconds.
pub fn format(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_of_the_documents() {
        for (text, expected) in [
            ("2022-04-07T00:30:35.919Z", "2022-04-07T00:30:35.919000Z"),
            ("2022-04-07T09:30:35.919+09:00", "2022-04-07T00:30:35.919000Z"),
            ("2022-04-07T00:30:35.9191239Z", "2022-04-07T00:30:35.919123Z"),
            ("2022-04-07 00:30:35", "2022-04-07T00:30:35.000000Z"),
            ("2022-04-07", "2022-04-07T00:00:00.000000Z"),
            ("2022-04-07-00-30-35-UTC", "2022-04-07T00:30:35.000000Z"),
            ("2022-04-07-09-30-35-+0900", "2022-04-07T00:30:35.000000Z"),
            ("2022-04-07-09-30-35-KST", "2022-04-07T00:30:35.000000Z"),
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["YYYY-MM-DD-HH-MM-SS-ZZZ", "", "N/A", "1999-11-31", "+262142-01-01T00:00:00Z", "김2022-04-07-00-30-35"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
