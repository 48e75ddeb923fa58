//! What a request asks for: the documented parameters, read as strictly as the dialect says.

use chrono::NaiveDate;
use serde_json::Value;

use super::Dialect;
use super::item::iso;
use super::view::Subset;
use super::world::Key;
use crate::clock::Timestamp;

/// The parameters of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ask {
    pub(super) id: Option<String>,
    pub(super) userid: Option<String>,
    pub(super) email: Option<String>,
    pub(super) count: usize,
    pub(super) cursor: Option<Key>,
    pub(super) from: Option<NaiveDate>,
    pub(super) to: Option<NaiveDate>,
    pub(super) subset: Option<Subset>,
}

/// Why a request is refused: a documented error code and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// True for a date in the wrong format, which some servers would not refuse.
    pub(super) date: bool,
}

fn refuse(code: &'static str, message: String) -> Refusal {
    Refusal { code, message, date: false }
}

fn format(name: &str) -> Refusal {
    Refusal {
        date: name == "start_date" || name == "end_date",
        ..refuse("invalid_format", format!("Invalid format: {name}"))
    }
}

/// The parameters of the query and, for names that are not there, of a JSON body.
pub(super) fn parameters(query: Vec<(String, String)>, body: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut all = query;
    if body.trim().is_empty() {
        return Ok(all);
    }
    let Ok(Value::Object(body)) = serde_json::from_str(body) else {
        return Err(refuse("invalid_payload", "Invalid payload".to_owned()));
    };
    for (name, value) in body {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return Err(format(&name)),
        };
        if all.iter().all(|(known, _)| *known != name) {
            all.push((name, text));
        }
    }
    Ok(all)
}

/// Reads the parameters.
pub(super) fn read(parameters: &[(String, String)], dialect: Dialect, count_max: u32) -> Result<Ask, Refusal> {
    let mut ask = Ask { count: if dialect == Dialect::V3 { 2_000 } else { 50 }, ..Ask::default() };
    let (mut next_id, mut next_date) = (None, None);
    for (name, value) in parameters {
        let name = name.as_str();
        // An empty value is most likely a mistake of the caller, so it is not taken for "no filter".
        if value.is_empty() {
            return Err(format(name));
        }
        match name {
            "submission_id" => ask.id = Some(value.clone()),
            "userid" => ask.userid = Some(value.clone()),
            "email" => ask.email = Some(value.clone()),
            "count" => {
                ask.count = value.parse().ok().filter(|count| *count > 0).ok_or_else(|| format(name))?;
            }
            "nextpage_id" => next_id = Some(value.clone()),
            "nextpage_date" => next_date = Some(moment(value).ok_or_else(|| format(name))?),
            "start_date" => ask.from = Some(day(value, dialect).ok_or_else(|| format(name))?),
            "end_date" => ask.to = Some(day(value, dialect).ok_or_else(|| format(name))?),
            "request_type" => ask.subset = Some(Subset::named(value).ok_or_else(|| format(name))?),
            _ => {
                return Err(refuse("invalid_parameter", format!("Invalid parameter: {name}")));
            }
        }
    }
    ask.count = ask.count.min(count_max.max(1) as usize);
    ask.cursor = match (next_id, next_date) {
        (Some(id), Some(date)) => Some((date, id.into())),
        (None, None) => None,
        _ => {
            return Err(refuse("missing_data", "Required input data is missing".to_owned()));
        }
    };
    Ok(ask)
}

/// A cursor's date must come back byte for byte as it was given.
fn moment(text: &str) -> Option<i64> {
    let at = chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (iso(at) == text).then(|| at.timestamp_millis())
}

fn day(text: &str, dialect: Dialect) -> Option<NaiveDate> {
    let dashed = || Some(text).filter(|t| t.len() == 10).and_then(|t| NaiveDate::parse_from_str(t, "%Y-%m-%d").ok());
    let plain = || Some(text).filter(|t| t.len() == 8).and_then(|t| NaiveDate::parse_from_str(t, "%Y%m%d").ok());
    match dialect {
        Dialect::Idcheck => dashed(),
        Dialect::V3 => plain(),
        Dialect::Both => dashed().or_else(plain),
    }
}

/// The start of a day in milliseconds.
pub(super) fn midnight(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
}

/// A key as the two parts of `nextpageKey`.
pub(super) fn shown(key: &Key) -> Value {
    let created_at = Timestamp::from_timestamp_millis(key.0).unwrap_or_default();
    serde_json::json!({"id": *key.1, "created_at": iso(created_at)})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(dialect: Dialect, pairs: &[(&str, &str)]) -> Result<Ask, Refusal> {
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        read(&pairs, dialect, 2_000)
    }

    #[test]
    fn each_dialect_has_its_dates_and_its_count() {
        assert!(ask(Dialect::Idcheck, &[("start_date", "2026-01-02")]).is_ok());
        let refusal = ask(Dialect::Idcheck, &[("start_date", "20260102")]).unwrap_err();
        assert_eq!(refusal.message, "Invalid format: start_date");
        assert!(ask(Dialect::V3, &[("end_date", "20260102")]).is_ok());
        assert!(ask(Dialect::V3, &[("end_date", "2026-01-02")]).is_err());
        assert_eq!(ask(Dialect::V3, &[]).unwrap().count, 2_000);
        assert_eq!(ask(Dialect::Both, &[]).unwrap().count, 50);
        assert_eq!(ask(Dialect::Both, &[("count", "9999")]).unwrap().count, 2_000);
    }

    #[test]
    fn mistakes_are_refused() {
        assert_eq!(ask(Dialect::Both, &[("cursor", "1")]).unwrap_err().code, "invalid_parameter");
        assert_eq!(ask(Dialect::Both, &[("nextpage_id", "1")]).unwrap_err().code, "missing_data");
        let reformatted = [("nextpage_id", "a"), ("nextpage_date", "2026-01-02T00:00:00+00:00")];
        assert_eq!(ask(Dialect::Both, &reformatted).unwrap_err().message, "Invalid format: nextpage_date");
        assert!(parameters(Vec::new(), "[1]").is_err());
        assert_eq!(parameters(Vec::new(), r#"{"count":7}"#).unwrap(), [("count".to_owned(), "7".to_owned())]);
    }
}
