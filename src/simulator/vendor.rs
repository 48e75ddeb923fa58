//! The vendor's side: from the parts of a request to an answer.

use axum::extract::Query;
use axum::http::{Method, Uri};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::answer::{Answer, Ending};
use super::encryption::{Encryption, Harm};
use super::faults::{Fault, Mischief};
use super::mangle::mangle;
use super::page::{self, Dates, Manner};
use super::query::{self, Ask, Refusal};
use super::rng::Rng;
use super::view::Subset;
use super::world::{Source, World};
use super::{Options, person};
use crate::clock::Timestamp;

/// A request as it came in.
pub(super) struct Incoming<'a> {
    pub(super) number: u64,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) body: &'a str,
    /// The key that is valid now.
    pub(super) key: &'a str,
    pub(super) key_ok: bool,
}

/// A `Date` header.
pub(super) fn http_date(at: Timestamp) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Answers a request.
pub(super) fn answer(
    incoming: &Incoming<'_>,
    world: &mut World,
    mischief: &mut Mischief,
    options: &Options,
    now: Timestamp,
) -> Answer {
    let number = incoming.number;
    if let Some(instead) = instead(mischief, number, now) {
        return instead;
    }
    let mut answer = honest(incoming, world, mischief, options, now);
    seal(&mut answer, mischief, options, incoming);
    if mischief.happens(Fault::WrongContentType, number).is_some() {
        answer.content_type = "text/plain";
    }
    if mischief.happens(Fault::TruncatedJson, number).is_some() {
        answer.ending = Ending::Truncated;
    } else if mischief.happens(Fault::Reset, number).is_some() {
        answer.ending = Ending::Reset;
    }
    answer
}

/// Encrypts a good answer. Whether the vendor encrypts errors is not documented; here they stay readable.
fn seal(answer: &mut Answer, mischief: &mut Mischief, options: &Options, incoming: &Incoming<'_>) {
    let number = incoming.number;
    let mut happens = |fault| mischief.happens(fault, number).is_some();
    let encryption = match &options.encryption {
        _ if answer.status != 200 => return,
        Some(encryption) if !happens(Fault::InTheClear) => encryption,
        None if happens(Fault::Encrypted) => &Encryption::default(),
        _ => return,
    };
    let harm = match happens(Fault::CipherCut) {
        true => Harm::Cut,
        false if happens(Fault::CipherGarbled) => Harm::Garbled,
        false => Harm::None,
    };
    answer.body = encryption.seal(&answer.body, incoming.key, Rng::of(options.seed, number, "iv"), harm);
}

/// A fault that answers in place of the vendor.
fn instead(mischief: &mut Mischief, number: u64, now: Timestamp) -> Option<Answer> {
    let mut happens = |fault| mischief.happens(fault, number);
    let many = || Answer::gateway(429, "Too Many Requests");
    if let Some(seconds) = happens(Fault::RetryAfterSeconds) {
        return Some(Answer { retry_after: Some(seconds.to_string()), ..many() });
    }
    if let Some(seconds) = happens(Fault::RetryAfterDate) {
        let then = TimeDelta::try_seconds(seconds).and_then(|by| now.checked_add_signed(by)).unwrap_or(now);
        return Some(Answer { retry_after: Some(http_date(then)), ..many() });
    }
    let denied = r#"{"Message":"User is not authorized to access this resource with an explicit deny"}"#;
    let answers: [(Fault, fn() -> Answer); 9] = [
        (Fault::Status429, || Answer::gateway(429, "Too Many Requests")),
        (Fault::Status500, || Answer::gateway(500, "Internal Server Error")),
        (Fault::Status502, || Answer::html(502)),
        (Fault::Status503, || Answer::gateway(503, "Service Unavailable")),
        (Fault::Status504, || Answer::gateway(504, "Endpoint request timed out")),
        (Fault::Status401, || Answer::gateway(401, "Unauthorized")),
        (Fault::Status413, || Answer::gateway(413, "Request Entity Too Large")),
        (Fault::ForbiddenKey, || Answer::gateway(403, "Forbidden")),
        (Fault::Html200, || Answer::html(200)),
    ];
    for (fault, answer) in answers {
        if happens(fault).is_some() {
            return Some(answer());
        }
    }
    if happens(Fault::ForbiddenAddress).is_some() {
        return Some(Answer::json(403, denied));
    }
    if happens(Fault::Error200).is_some() {
        return Some(Answer::json(200, r#"{"statusCode":200,"success":false,"errorCode":"processing_error"}"#));
    }
    if happens(Fault::Message200).is_some() {
        return Some(Answer::gateway(200, "Internal server error"));
    }
    for (fault, ending) in [(Fault::Stall, Ending::Stalled), (Fault::EndlessBody, Ending::Endless)] {
        if happens(fault).is_some() {
            return Some(Answer { ending, ..Answer::json(200, "") });
        }
    }
    None
}

fn honest(
    incoming: &Incoming<'_>,
    world: &mut World,
    mischief: &mut Mischief,
    options: &Options,
    now: Timestamp,
) -> Answer {
    if !incoming.key_ok {
        return Answer::gateway(403, "Forbidden");
    }
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(incoming.uri).map(|Query(pairs)| pairs);
    let Ok(pairs) = pairs else {
        return Answer::gateway(400, "Invalid Query String parameters");
    };
    let (pairs, body) = match &options.encryption {
        None => (pairs, incoming.body.to_owned()),
        Some(encryption) => match encryption.open(pairs, incoming.body, incoming.key) {
            Some(opened) => opened,
            // As documented for GET .../projection.
            None => return Answer::gateway(400, "Invalid encrypted body"),
        },
    };
    world.catch_up(now);
    let body = if mischief.happens(Fault::IgnoreBody, incoming.number).is_some() { String::new() } else { body };
    let result = match (incoming.method, incoming.uri.path()) {
        (&Method::GET, "/v3/submission") => query::parameters(pairs, &body)
            .and_then(|pairs| submissions(&pairs, incoming.number, world, mischief, options, now)),
        (&Method::GET, "/v3/submission/applicant") => {
            query::parameters(pairs, &body).and_then(|pairs| applicant(&pairs, world, now))
        }
        // What the gateway says to a path or method it does not know.
        _ => return Answer::gateway(403, "Missing Authentication Token"),
    };
    result.unwrap_or_else(|Refusal { code, message, .. }| {
        Answer::json(400, json!({"errorCode": code, "message": message}).to_string())
    })
}

fn submissions(
    pairs: &[(String, String)],
    number: u64,
    world: &World,
    mischief: &mut Mischief,
    options: &Options,
    now: Timestamp,
) -> Result<Answer, Refusal> {
    let mut happens = |fault| mischief.happens(fault, number);
    let mut nothing = false;
    let mut ask = match query::read(pairs, options.dialect, options.count_max) {
        Err(refusal) if refusal.date => {
            nothing = happens(Fault::WrongDatesNothing).is_some();
            if !nothing && happens(Fault::WrongDatesEverything).is_none() {
                return Err(refusal);
            }
            let other = |(name, _): &&(String, String)| name != "start_date" && name != "end_date";
            let others: Vec<_> = pairs.iter().filter(other).cloned().collect();
            query::read(&others, options.dialect, options.count_max)?
        }
        other => other?,
    };
    if let Some((status, body)) = ask.id.as_ref().and_then(|id| mischief.by_id.get(id)) {
        return Ok(Answer::json(*status, body.as_str()));
    }
    let mut happens = |fault| mischief.happens(fault, number);
    if ask.subset == Some(Subset::Aml)
        && let Some(status) = happens(Fault::RefuseAml)
    {
        return Ok(Answer::gateway(u16::try_from(status).unwrap_or(400), "Forbidden"));
    }
    if ask.subset.is_some() && happens(Fault::IgnoreRequestType).is_some() {
        ask.subset = None;
    }
    let list = ask.id.is_none();
    let mut manner = Manner {
        order: options.order,
        ties: None,
        thin: options.thin_lists,
        dates: Dates::Created(0),
        end_excluded: false,
        lag: i64::MIN,
        token: format!("read{number}"),
    };
    if list {
        // A walk keeps the order that it began with.
        match ask.cursor.as_ref().map(page::unsalt) {
            Some(Some((cursor, salt))) => (ask.cursor, manner.ties) = (Some(cursor), Some(salt)),
            Some(None) => {}
            None => manner.ties = happens(Fault::ShuffleTies).map(|_| number),
        }
        if happens(Fault::Heavy).is_some_and(|most| ask.count > usize::try_from(most).unwrap_or(0)) {
            return Ok(Answer::gateway(504, "Endpoint request timed out"));
        }
        if let Some(most) = happens(Fault::CountClip) {
            ask.count = ask.count.min(usize::try_from(most).unwrap_or(1).max(1));
        }
        if happens(Fault::IgnoreCount).is_some() {
            ask.count = 2_000;
        }
        if let Some(seconds) = happens(Fault::IndexLag) {
            manner.lag = seconds.saturating_mul(1000);
        }
        if ask.from.is_some() || ask.to.is_some() {
            let choices = [
                (Fault::IgnoreDates, Dates::Ignored),
                (Fault::UpdatedDates, Dates::Updated),
                (Fault::KstDates, Dates::Created(9)),
            ];
            if let Some((_, dates)) = choices.into_iter().find(|(fault, _)| happens(*fault).is_some()) {
                manner.dates = dates;
            } else if let Some(hours) = happens(Fault::DatesOffset) {
                manner.dates = Dates::Created(hours);
            }
            manner.end_excluded = happens(Fault::EndExcluded).is_some();
        }
        nothing = nothing || happens(Fault::Empty).is_some();
    }
    let mut page = if nothing { page::Page::default() } else { page::page(world, &ask, &manner, now) };
    if list && let Some((first, _)) = page.items.first().cloned() {
        spoil_keys(&mut page, &first, world, &ask, &manner, mischief, number, now);
    }
    mangle(&mut page.items, mischief, options.seed, number);
    let items: Vec<_> = page.items.iter().map(|(_, text)| text.as_str()).collect();
    if let Some(salt) = manner.ties {
        page.next = page.next.map(|key| page::salted(&key, salt));
    }
    let next = page.next.as_ref().map(|key| format!(r#","nextpageKey":{}"#, query::shown(key))).unwrap_or_default();
    let answer = Answer::json(200, format!(r#"{{"Items":[{}]{next}}}"#, items.join(",")));
    Ok(Answer { items: items.len(), ..answer })
}

/// The faults of paging.
#[expect(clippy::too_many_arguments, reason = "one place, called once")]
fn spoil_keys(
    page: &mut page::Page,
    first: &super::world::Key,
    world: &World,
    ask: &Ask,
    manner: &Manner,
    mischief: &mut Mischief,
    number: u64,
    now: Timestamp,
) {
    if let Some(key) = page::gap(ask, first, manner)
        && mischief.happens(Fault::EmptyPageWithKey, number).is_some()
    {
        *page = page::Page { items: Vec::new(), next: Some(key) };
        return;
    }
    if let Some(cursor) = &ask.cursor {
        if mischief.happens(Fault::RepeatKey, number).is_some() {
            page.next = Some(cursor.clone());
        }
        // The page before costs a walk, so it is only looked for when it may be needed.
        if mischief.includes(Fault::CycleKey)
            && let Some(key) = page::before(world, ask, manner)
            && mischief.happens(Fault::CycleKey, number).is_some()
        {
            page.next = Some(key);
        }
        if let Some(former) = page::at(world, cursor, ask, manner, now)
            && mischief.happens(Fault::Duplicates, number).is_some()
        {
            page.items.insert(0, former);
        }
    }
}

/// The approved submissions of one human.
fn applicant(pairs: &[(String, String)], world: &World, now: Timestamp) -> Result<Answer, Refusal> {
    let missing =
        || Refusal { code: "missing_data", message: "Required input data is missing".to_owned(), date: false };
    let (_, wanted) = pairs.iter().find(|(name, _)| name == "applicant_id").ok_or_else(missing)?;
    let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let mut found = Vec::new();
    for (key, source) in world.range(everything) {
        if let Source::Born(n, _) = source
            && person::applicant_id(world.state.seed, n) != *wanted
        {
            continue;
        }
        let Ok(item) = world.look(key, source, now) else {
            continue;
        };
        if item["applicant_id"].as_str() == Some(wanted) {
            let mut one = json!({"submission_id": *key.1});
            for name in ["email", "duplicated_information"] {
                if let Some(value) = item.get(name) {
                    one[name] = value.clone();
                }
            }
            found.push(one);
        }
    }
    let items = found.len();
    Ok(Answer { items, ..Answer::json(200, Value::Array(found).to_string()) })
}
