//! The vendor, for one project: does it answer, is it asked in the way that it reads, and whose submissions are these?

use std::time::Duration;

use url::Url;

use super::clock;
use super::database::{Known, Mirrored, is_name_known};
use super::report::{Finding, pending, skip_the_rest};
use crate::app::AppError;
use crate::argos::client::{Answer, Client};
use crate::argos::decode::Refusal;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::{Query, Style};
use crate::chain::chain;
use crate::cli::plan::table;
use crate::clock::Clock;
use crate::config::{Api, Dialect, Parameters, Project, Settings};
use crate::domain::calendar::Filter;
use crate::domain::hash::HashKey;
use crate::exit::Exit;
use crate::heartbeat::Heartbeat;
use crate::metrics::Metrics;
use crate::status::forecast::forecast;
use crate::sync::error::SyncError;
use crate::sync::plan;
use crate::words::grouped;

/// All checks, in their order.
const CHECKS: [&str; 5] = ["answer", "clock", "encryption", "submissions", "project"];

/// Requests for one project, second tries included.
const MOST: u64 = 12;
/// The longest time for all of it.
const ALL: Duration = Duration::from_secs(40);
/// The longest time for a request with its second try.
const REQUEST: Duration = Duration::from_secs(20);

/// Asked for on each page. More on one tell that the vendor does not read it.
const COUNT: u32 = 2;

/// A project, and whom to ask.
struct Examination<'a> {
    settings: &'a Settings,
    project: &'a Project,
    clock: &'a Clock,
    client: Client,
    findings: Vec<Finding>,
}

/// Looks at everything, for a little more than half a minute at most.
pub(super) async fn examine(settings: &Settings, number: usize, known: Option<&Known>, clock: &Clock) -> Vec<Finding> {
    let project = &settings.projects[number];
    let mirrored = known.and_then(|known| known.projects.get(&project.id));
    let mut findings = match client(settings, project, &project.api.base_url, clock) {
        _ if project.api.key.is_none() => vec![Finding::skipped("all", "values")],
        Ok(client) => {
            let mut examination = Examination { settings, project, clock, client, findings: Vec::new() };
            let key = known.map(|known| &known.key);
            if tokio::time::timeout(ALL, examination.all(mirrored.zip(key))).await.is_err() {
                let late = pending(&examination.findings, &CHECKS).unwrap_or("project");
                examination.fail(late, &ApiError::TimedOut);
            }
            skip_the_rest(&mut examination.findings, &CHECKS);
            let requests = format!("{} made by this command", MOST - examination.client.pace.left());
            examination.findings.push(Finding::ok("requests", requests));
            examination.findings
        }
        Err(error) => vec![Finding::told("answer", chain(&error), error.exit())],
    };
    findings.extend(mirrored.and_then(|mirrored| budget(mirrored, project, settings, clock)));
    findings
}

/// A client that gives up soon, with permits that the day's budget can bear.
fn client(settings: &Settings, project: &Project, base_url: &Url, clock: &Clock) -> Result<Client, AppError> {
    let second = Duration::from_secs(1);
    let api = Api {
        base_url: base_url.clone(),
        connect_timeout: project.api.connect_timeout.min(5 * second),
        read_timeout: project.api.read_timeout.min(10 * second),
        timeout: project.api.timeout.min(15 * second),
        requests_per_second: project.api.requests_per_second.max(1.0),
        retries: project.api.retries.min(1),
        backoff_initial: project.api.backoff_initial.min(second),
        backoff_max: project.api.backoff_max.min(second),
        retry_after_max: project.api.retry_after_max.min(2 * second),
        ..project.api.clone()
    };
    let metrics = Metrics::new(&ApiError::KINDS, &Refusal::REASONS).map_err(AppError::Metrics)?.project(&project.id);
    let client = Client::new(&api, &settings.limits, clock.clone(), metrics, Heartbeat::new());
    let client = client.map_err(AppError::Client)?;
    client.pace.grant(MOST, ALL);
    Ok(client)
}

async fn ask(client: &Client, query: &Query) -> Result<Answer<Page>, ApiError> {
    tokio::time::timeout(REQUEST, client.submissions(query)).await.unwrap_or(Err(ApiError::TimedOut))
}

impl Examination<'_> {
    async fn all(&mut self, mirrored: Option<(&Mirrored, &HashKey)>) {
        let answer = match ask(&self.client, &self.newest()).await {
            Ok(answer) => answer,
            Err(error) => return self.explain(&error).await,
        };
        self.findings.push(Finding::ok("answer", format!("{} answers", self.project.api.base_url)));
        if let Some(date) = answer.date {
            let asked = (answer.sent_at, answer.received_at);
            self.findings.push(clock::judge("the vendor's", clock::ahead(date, asked)));
        }
        self.findings.push(encryption(&self.project.api, &answer.content));
        let finding = self.submissions(&answer.content).await;
        self.findings.push(finding);
        if let Some((mirrored, key)) = mirrored {
            let finding = self.same_project(mirrored, key).await;
            self.findings.push(finding);
        }
    }

    fn fail(&mut self, check: &'static str, error: &ApiError) {
        self.findings.push(Finding::failed(check, chain(error), error.advice(), Exit::Api));
    }

    /// A short page of the newest days, as the daemon asks for them.
    fn newest(&self) -> Query {
        let days = Filter::UNKNOWN.asked(plan::hot_days(self.clock.now(), self.settings.poll.lookback));
        Query { days: Some(days), count: Some(COUNT), ..Query::default() }
    }

    /// The same, written otherwise than configured.
    fn written(&self, dialect: Dialect, parameters: Parameters) -> Query {
        Query { style: Style { dialect: Some(dialect), parameters: Some(parameters) }, ..self.newest() }
    }

    /// Why there is no answer: where the error leaves that open, by asking in other ways.
    async fn explain(&mut self, error: &ApiError) {
        let cure = match error {
            ApiError::Unreachable(_) => self.unreachable(error).await,
            ApiError::BadRequest { status: 403 | 404, .. } => self.other_address().await,
            ApiError::BadRequest { .. } => self.other_way().await,
            _ => None,
        };
        match cure {
            None => self.fail("answer", error),
            Some(cure) => self.findings.push(Finding::failed("answer", chain(error), cure, Exit::Api)),
        }
    }

    async fn unreachable(&self, error: &ApiError) -> Option<String> {
        let url = &self.project.api.base_url;
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        // A certificate was shown: there is an address.
        if chain(error).contains("certificate") || is_name_known(host.trim_matches(['[', ']']), port).await {
            return None;
        }
        Some(format!(
            "The name {host} is not known here: check api.base_url and this machine's DNS, or set HTTPS_PROXY if only a \
             proxy can reach it."
        ))
    }

    /// Whether the address that was meant answers: with the version, or without the path of the list.
    async fn other_address(&self) -> Option<String> {
        let configured = &self.project.api.base_url;
        let path = configured.path().trim_end_matches('/');
        let meant = path.strip_suffix("/submission").map_or_else(|| format!("{path}/v3"), str::to_owned);
        let mut url = configured.clone();
        url.set_path(&meant);
        let client = client(self.settings, self.project, &url, self.clock).ok()?;
        client.pace.grant(self.client.pace.left(), ALL);
        let answer = ask(&client, &self.newest()).await;
        self.client.pace.grant(client.pace.left(), ALL);
        answer.is_ok().then(|| format!("{url} answers: set api.base_url to it."))
    }

    /// Which other way of writing a request is understood.
    async fn other_way(&self) -> Option<String> {
        let api = &self.project.api;
        let (dialect, place) = (other_dialect(api.dialect), other_place(api.parameters));
        for (dialect, place) in [(dialect, api.parameters), (api.dialect, place), (dialect, place)] {
            if ask(&self.client, &self.written(dialect, place)).await.is_ok_and(|answer| honoured(&answer.content)) {
                return Some(would_work(api, dialect, place));
            }
        }
        None
    }

    /// What the page shows, and what it would show if it were asked for in another way.
    async fn submissions(&self, page: &Page) -> Finding {
        let (check, api) = ("submissions", &self.project.api);
        if !honoured(page) {
            return self.count_ignored(page).await;
        }
        if !page.is_empty() {
            return Finding::ok(check, "of the last days are shown");
        }
        let any = Query { count: Some(COUNT), ..Query::default() };
        let seen = match ask(&self.client, &any).await {
            Ok(answer) if answer.content.is_empty() => {
                return Finding::note(
                    check,
                    "it answers, and shows no submission at all",
                    "Fine if the project is new. If its dashboard shows some: this is another project's key.",
                );
            }
            Ok(_) => "none of the last days; older ones are shown",
            Err(error) => return Finding::failed(check, chain(&error), error.advice(), Exit::Api),
        };
        let dialect = other_dialect(api.dialect);
        let otherwise = ask(&self.client, &self.written(dialect, api.parameters)).await;
        if otherwise.is_ok_and(|answer| !answer.content.is_empty()) {
            let seen = "none of the last days, and some when days are written in the other form";
            return Finding::failed(check, seen, would_work(api, dialect, api.parameters), Exit::Api);
        }
        Finding::note(check, seen, "Fine if nobody has submitted anything in these days.")
    }

    /// More came than was asked for: either the parameter is not read, or none is.
    async fn count_ignored(&self, page: &Page) -> Finding {
        let (check, api) = ("submissions", &self.project.api);
        let seen = format!("asked for {COUNT} on a page, {} came", page.len());
        let place = other_place(api.parameters);
        match ask(&self.client, &self.written(api.dialect, place)).await {
            Ok(answer) if honoured(&answer.content) => {
                let cure =
                    format!("Parameters are not read where they are sent. {}", would_work(api, api.dialect, place));
                Finding::failed(check, seen, cure, Exit::Api)
            }
            _ => Finding::note(
                check,
                seen,
                "The vendor does not honour count: pages are as large as it likes. Raise api.max_response_bytes and \
                 limits.page_items if they are refused.",
            ),
        }
    }

    /// Whether known submissions answer, if the key is not the one that they came with.
    async fn same_project(&mut self, mirrored: &Mirrored, key: &HashKey) -> Finding {
        let check = "project";
        let source = key.source(&self.client.identity());
        if mirrored.source.is_none() || mirrored.source.as_deref() == Some(&source[..]) {
            return Finding::ok(check, "server, key and dialect are those that the stored submissions came with");
        }
        let (mut asked, mut same) = (0, 0);
        for id in &mirrored.ids {
            let query = Query { select: Some(("submission_id", id.clone())), ..Query::default() };
            match ask(&self.client, &query).await {
                Ok(answer) => same += usize::from(answer.content.items().any(|item| item.submission_id == Some(id))),
                Err(ApiError::BadRequest { .. }) => {}
                Err(error) => return Finding::failed(check, chain(&error), error.advice(), Exit::Api),
            }
            asked += 1;
        }
        if let Some(error) = SyncError::other_project(asked, same) {
            return Finding::failed(check, chain(&error), error.advice(), Exit::Api);
        }
        let seen = format!("server, key or dialect has changed; {same} of {asked} stored submissions answer by id");
        Finding::ok(check, seen)
    }
}

/// Whether no more came than was asked for.
fn honoured(page: &Page) -> bool {
    page.len() <= COUNT as usize
}

fn other_dialect(dialect: Dialect) -> Dialect {
    match dialect {
        Dialect::Idcheck => Dialect::V3,
        Dialect::V3 => Dialect::Idcheck,
    }
}

fn other_place(parameters: Parameters) -> Parameters {
    match parameters {
        Parameters::Query => Parameters::Body,
        Parameters::Body => Parameters::Query,
    }
}

/// The settings that differ from those in force.
fn would_work(api: &Api, dialect: Dialect, parameters: Parameters) -> String {
    let dialect = (dialect != api.dialect).then_some(match dialect {
        Dialect::Idcheck => "api.dialect = \"idcheck\"",
        Dialect::V3 => "api.dialect = \"v3\"",
    });
    let parameters = (parameters != api.parameters).then_some(match parameters {
        Parameters::Query => "api.parameters = \"query\"",
        Parameters::Body => "api.parameters = \"body\"",
    });
    let settings: Vec<&str> = dialect.into_iter().chain(parameters).collect();
    format!("With {} it answers: set that.", settings.join(" and "))
}

fn encryption(api: &Api, page: &Page) -> Finding {
    let check = "encryption";
    match (page.sealed, api.encryption.mode.is_some()) {
        (true, _) => Finding::ok(check, "answers are encrypted, and the settings open them"),
        (false, false) => Finding::ok(check, "off, on both sides"),
        (false, true) => Finding::note(
            check,
            "the vendor answers in the clear although api.encryption is set",
            "If the project's \"secure data transmission\" option is off, set api.encryption = \"off\".",
        ),
    }
}

/// Whether the day's requests are enough for what is known to be there.
fn budget(mirrored: &Mirrored, project: &Project, settings: &Settings, clock: &Clock) -> Option<Finding> {
    let facts = &mirrored.facts;
    let submissions = facts.calendar.submissions(None);
    if submissions == 0 {
        return None;
    }
    let forecast = forecast(facts, project, &settings.poll, clock.now());
    let seen =
        format!("{} requests a day for {} submissions", grouped(project.api.requests_per_day), grouped(submissions));
    let short =
        [Some(forecast.hot), Some(forecast.open), forecast.sweep].into_iter().flatten().any(|share| share.short);
    if !short {
        return Some(Finding::ok("budget", seen));
    }
    let page = plan::page(facts.project.page_items, project.api.count.into());
    let sentences = table::shortages(page, &forecast, &settings.poll);
    Some(Finding::note("budget", format!("{seen}: too few"), sentences))
}
