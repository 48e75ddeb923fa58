//! The parameters of GET /submission, in both dialects and both places.

use chrono::NaiveDate;
use serde_json::{Map, Value};

use crate::config::{Dialect, Parameters};

/// `nextpageKey`, to be sent back byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// `nextpageKey.id`
    pub id: String,
    /// `nextpageKey.created_at`
    pub created_at: String,
}

/// What to ask for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// One way to select: (parameter, value), e.g. `("submission_id", "...")`.
    pub select: Option<(&'static str, String)>,
    /// First and last created-day, both included.
    pub days: Option<(NaiveDate, NaiveDate)>,
    /// The part of each item to show (`request_type`): `kyc`, `aml`, `data` or `others`, one beside `submission_id`. Such
    /// a page shows no `created_at`. `None`: whole items.
    pub request_type: Option<&'static str>,
    /// Page size; the vendor may clip it.
    pub count: Option<u32>,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Another way of writing it than the configured one, to find out whether the vendor reads that.
    pub style: Style,
}

/// How a query is written, where that is not as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Instead of `api.dialect`.
    pub dialect: Option<Dialect>,
    /// Instead of `api.parameters`.
    pub parameters: Option<Parameters>,
}

impl Query {
    /// The parameters, in the dialect's date format (`YYYY-MM-DD` or `YYYYMMDD`: the documents disagree).
    pub fn parameters(&self, dialect: Dialect) -> Vec<(&'static str, String)> {
        let format = match self.style.dialect.unwrap_or(dialect) {
            Dialect::Idcheck => "%Y-%m-%d",
            Dialect::V3 => "%Y%m%d",
        };
        let mut parameters: Vec<(&'static str, String)> = self.select.clone().into_iter().collect();
        if let Some((first, last)) = self.days {
            parameters.push(("start_date", first.format(format).to_string()));
            parameters.push(("end_date", last.format(format).to_string()));
        }
        if let Some(part) = self.request_type {
            parameters.push(("request_type", part.to_owned()));
        }
        if let Some(count) = self.count {
            parameters.push(("count", count.to_string()));
        }
        if let Some(cursor) = &self.cursor {
            parameters.push(("nextpage_id", cursor.id.clone()));
            parameters.push(("nextpage_date", cursor.created_at.clone()));
        }
        parameters
    }
}

/// The parameters as the JSON body of a GET, as one document has it (developers.argosidentity.com, "Request Body").
/// `count` is a number there.
pub fn body(parameters: &[(&'static str, String)]) -> String {
    let value = |name: &str, text: &String| match (name, text.parse::<u32>()) {
        ("count", Ok(count)) => Value::from(count),
        _ => Value::from(text.clone()),
    };
    let object: Map<_, _> = parameters.iter().map(|(name, text)| ((*name).to_owned(), value(name, text))).collect();
    Value::Object(object).to_string()
}
