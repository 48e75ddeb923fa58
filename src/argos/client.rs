//! Asks the vendor: one request at a time, with deadlines, limits and retries.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, redirect};
use secrecy::ExposeSecret;
use url::{Host, Url};

use super::cipher::{Cipher, KeyError, Variant};
use super::envelope::Page;
use super::error::{ApiError, known_code};
use super::pace::{self, Delays, Pace, retry_after};
use super::query::{self, Query};
use super::sealed::Sealed;
use crate::clock::{Clock, Timestamp};
use crate::config::{Api, Dialect, Limits, Parameters};
use crate::heartbeat::Heartbeat;
use crate::metrics::ProjectMetrics;

/// A client for one project's key.
pub struct Client {
    http: reqwest::Client,
    api: Api,
    page_items: usize,
    key: HeaderValue,
    cipher: Option<Cipher>,
    /// Whether it was said that an answer came in the clear although a cipher is set.
    told: AtomicBool,
    /// Permits and the limit per second.
    pub pace: Pace,
    clock: Clock,
    metrics: ProjectMetrics,
    heartbeat: Heartbeat,
}

/// A body and when it was asked for.
pub struct Answer<T> {
    /// When the (last try of the) request was sent.
    pub sent_at: Timestamp,
    /// When the answer was complete.
    pub received_at: Timestamp,
    /// What time it was by the vendor's clock when it answered.
    pub date: Option<Timestamp>,
    /// What it says.
    pub content: T,
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No key.
    #[error("no API key: set api.key_file (or api.key, or ARGOS_SYNC__API__KEY) to the key from the ARGOS dashboard")]
    NoKey,
    /// The key is not a header value.
    #[error("the API key holds characters that cannot be sent in a header: check api.key or api.key_file")]
    KeyNotAHeader,
    /// The secret is not of the form that `api.encryption_key` says.
    #[error("the key to decrypt answers with cannot be made: check api.encryption_key and the secret")]
    EncryptionKey(#[source] KeyError),
    /// TLS or proxy settings.
    #[error("cannot set up HTTPS: check the system's certificates and HTTPS_PROXY")]
    Http(#[source] reqwest::Error),
}

impl Client {
    /// A client that follows no redirect, so that the key reaches nobody else, and honours HTTPS_PROXY.
    pub fn new(
        api: &Api,
        limits: &Limits,
        clock: Clock,
        metrics: ProjectMetrics,
        heartbeat: Heartbeat,
    ) -> Result<Self, ClientError> {
        let key = api.key.as_ref().ok_or(ClientError::NoKey)?;
        let secret = api.encryption.secret.as_ref().unwrap_or(key).expose_secret();
        let cipher = Variant::chosen(&api.encryption).map(|variant| Cipher::new(variant, secret)).transpose();
        let cipher = cipher.map_err(ClientError::EncryptionKey)?;
        let mut key = HeaderValue::from_str(key.expose_secret()).map_err(|_| ClientError::KeyNotAHeader)?;
        key.set_sensitive(true);
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("argos-sync/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(api.connect_timeout)
            .read_timeout(api.read_timeout)
            .timeout(api.timeout)
            .gzip(true);
        // Validation allows plain http for loopback only; there a proxy makes no sense.
        http = if is_loopback(&api.base_url) { http.no_proxy() } else { http.https_only(true) };
        Ok(Self {
            http: http.build().map_err(ClientError::Http)?,
            api: api.clone(),
            page_items: limits.page_items,
            key,
            cipher,
            told: AtomicBool::new(false),
            pace: Pace::new(api),
            clock,
            metrics,
            heartbeat,
        })
    }

    /// Puts a client with other settings in the place of this one. The permits that are left go on.
    pub fn replace_with(&mut self, new: Self) {
        let former = std::mem::replace(self, new);
        let same_rate = self.api.requests_per_second.total_cmp(&former.api.requests_per_second).is_eq();
        self.pace = if same_rate { former.pace } else { former.pace.changed(&self.api) };
    }

    /// What decides whose list is read: server, key and dialect.
    pub fn identity(&self) -> [&[u8]; 3] {
        let dialect = match self.api.dialect {
            Dialect::Idcheck => "idcheck",
            Dialect::V3 => "v3",
        };
        [self.api.base_url.as_str().as_bytes(), self.key.as_bytes(), dialect.as_bytes()]
    }

    /// Asks for a page of GET /submission.
    pub async fn submissions(&self, query: &Query) -> Result<Answer<Page>, ApiError> {
        self.submissions_within(query, &mut self.delays()).await
    }

    /// The pauses between the tries of one request.
    pub fn delays(&self) -> Delays {
        Delays::new(&self.api)
    }

    /// The same with tries that were begun before: when the permits run out in the middle of them, the caller gets more
    /// and asks again, and that must not start the tries anew.
    pub async fn submissions_within(&self, query: &Query, delays: &mut Delays) -> Result<Answer<Page>, ApiError> {
        let by_id = query.select.as_ref().is_some_and(|(name, _)| *name == "submission_id");
        let parameters = query.parameters(self.api.dialect);
        let place = query.style.parameters.unwrap_or(self.api.parameters);
        let read = |body| Page::split(body, self.cipher.as_ref(), self.page_items, by_id);
        let answer = self.tried("submission", &parameters, place, delays, read).await?;
        if self.cipher.is_some() && !answer.content.sealed {
            self.in_the_clear();
        }
        Ok(answer)
    }

    /// Asks for a page and gives it as it came, encrypted or not.
    pub async fn raw(&self, query: &Query) -> Result<Vec<u8>, ApiError> {
        let parameters = query.parameters(self.api.dialect);
        Ok(self.tried("submission", &parameters, self.api.parameters, &mut self.delays(), Ok).await?.content)
    }

    /// Asks GET /submission/applicant for the approved submissions of one person: a bare list.
    pub async fn applicant(&self, applicant_id: &str) -> Result<Vec<serde_json::Value>, ApiError> {
        let parameters = [("applicant_id", applicant_id.to_owned())];
        let read = |body: Vec<u8>| {
            let not_json = |_| ApiError::NotAList { what: "not the documented JSON" };
            let sealed = std::str::from_utf8(&body).map_or(Ok(None), Sealed::find)?;
            let Some(sealed) = sealed else { return serde_json::from_slice(&body).map_err(not_json) };
            let plain = sealed.open(self.cipher.as_ref().ok_or(ApiError::Encrypted)?)?;
            let no_list = |_| ApiError::Undecryptable { what: "it comes out as JSON, but as no list" };
            serde_json::from_str(&plain).map_err(no_list)
        };
        Ok(self
            .tried("submission/applicant", &parameters, self.api.parameters, &mut self.delays(), read)
            .await?
            .content)
    }

    /// Asks until an answer can be read, or no try is left.
    async fn tried<T>(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
        place: Parameters,
        delays: &mut Delays,
        read: impl Fn(Vec<u8>) -> Result<T, ApiError>,
    ) -> Result<Answer<T>, ApiError> {
        loop {
            let answer = self.ask(path, parameters, place).await;
            match answer.and_then(|Answer { content, sent_at, received_at, date }| {
                Ok(Answer { content: read(content)?, sent_at, received_at, date })
            }) {
                Ok(answer) => return Ok(answer),
                Err(error) => self.pause(delays, error).await?,
            }
        }
    }

    /// Notes that an answer was not encrypted. It is used all the same: TLS has brought it.
    fn in_the_clear(&self) {
        self.metrics.drift("not_encrypted", 1);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the vendor answers in the clear although api.encryption is set: if the project's \"secure data \
                 transmission\" option is off, set api.encryption = \"off\" (said once)"
            );
        }
    }

    /// After a failed try: waits until the next one is due, or gives the error back when there is none.
    async fn pause(&self, delays: &mut Delays, error: ApiError) -> Result<(), ApiError> {
        // Permits that ran out are no answer; the caller knows whether the day's budget is spent, or only a block of it.
        if !matches!(error, ApiError::BudgetSpent) {
            self.metrics.request_error(error.kind());
        }
        if !error.retryable() {
            return Err(error);
        }
        let Some(delay) = delays.next(error.retry_after(), self.api.retry_after_max) else { return Err(error) };
        tracing::debug!(kind = error.kind(), delay_ms = delay.as_millis() as u64, "the request is tried again");
        self.heartbeat.expect_within(delay);
        tokio::time::sleep(delay).await;
        Ok(())
    }

    async fn ask(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
        place: Parameters,
    ) -> Result<Answer<Vec<u8>>, ApiError> {
        self.heartbeat.expect_within(pace::period(&self.api));
        self.pace.wait().await;
        if !self.pace.take() {
            return Err(ApiError::BudgetSpent);
        }
        self.heartbeat.expect_within(self.api.timeout);
        let parameters = &*self.sealed(parameters);
        let (sent_at, started) = (self.clock.now(), Instant::now());
        let mut request = self.http.get(self.url(path, parameters, place)).header("x-api-key", self.key.clone());
        if place == Parameters::Body {
            request = request.header(CONTENT_TYPE, "application/json").body(query::body(parameters));
        }
        let response = request.send().await.map_err(transport);
        let status = response.as_ref().ok().map(|response| response.status().as_u16());
        let date = response.as_ref().ok().and_then(date);
        let result = match response {
            Ok(response) => self.read(response).await,
            Err(error) => Err(error),
        };
        self.metrics.request(status, started.elapsed());
        Ok(Answer { sent_at, received_at: self.clock.now(), date, content: result? })
    }

    /// The parameters, encrypted if the settings say so: all of them as one JSON object, sent as the parameter `body`
    /// (developers.argosidentity.com, GET/Submission, section 6).
    fn sealed<'p>(&self, parameters: &'p [(&'static str, String)]) -> Cow<'p, [(&'static str, String)]> {
        match &self.cipher {
            Some(cipher) if self.api.encryption.requests => {
                let mut fresh = [0; 16];
                getrandom::fill(&mut fresh).expect("the system gives random bytes");
                vec![("body", cipher.encrypt(query::body(parameters).as_bytes(), fresh))].into()
            }
            _ => parameters.into(),
        }
    }

    fn url(&self, path: &str, parameters: &[(&'static str, String)], place: Parameters) -> Url {
        let mut url = self.api.base_url.clone();
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        if place == Parameters::Query && !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url
    }

    /// Reads a body up to the limit, counted after decompression, and turns an error status into its error.
    async fn read(&self, mut response: Response) -> Result<Vec<u8>, ApiError> {
        let status = response.status().as_u16();
        // A date is meant by the clock that wrote it, which may be a day off ours.
        let now = date(&response).unwrap_or_else(|| self.clock.now());
        let retry_after = header(&response, RETRY_AFTER).and_then(|value| retry_after(value, now));
        let success = response.status().is_success();
        // An error's body is read only for its documented code.
        let limit = if success { self.api.max_response_bytes } else { 64 * 1024 };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= limit => body.extend_from_slice(&chunk),
                Ok(Some(_)) if success => {
                    return Err(ApiError::TooLarge { limit: format!("{limit} bytes, api.max_response_bytes") });
                }
                Ok(Some(_) | None) => break,
                Err(error) if success => return Err(transport(error)),
                Err(_) => break,
            }
        }
        if success {
            return Ok(body);
        }
        // Whether errors are encrypted is not documented.
        let plain = self
            .cipher
            .as_ref()
            .and_then(|cipher| Sealed::find(std::str::from_utf8(&body).ok()?).ok()??.open(cipher).ok());
        Err(refused(status, plain.as_ref().map_or(body.as_slice(), String::as_bytes), retry_after))
    }
}

fn header(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// When the vendor answered, by its own clock.
fn date(response: &Response) -> Option<Timestamp> {
    let date = chrono::DateTime::parse_from_rfc2822(header(response, DATE)?).ok()?;
    Some(date.to_utc())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The error of a transport failure. The URL is taken out: its query may hold an e-mail address.
fn transport(error: reqwest::Error) -> ApiError {
    let error = error.without_url();
    if error.is_timeout() {
        ApiError::TimedOut
    } else if error.is_connect() {
        ApiError::Unreachable(Box::new(error))
    } else {
        ApiError::BrokeOff(Box::new(error))
    }
}

/// The error of an error status. The status decides first: the vendor's table of error codes is shared with another
/// endpoint (argos-api.md, section 6).
fn refused(status: u16, body: &[u8], retry_after: Option<Duration>) -> ApiError {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str);
    let code = text("errorCode").or_else(|| text("code")).and_then(known_code);
    let message = text("message").or_else(|| text("Message")).unwrap_or_default();
    let said = message.to_ascii_lowercase();
    match status {
        300..=399 => ApiError::Redirected { status },
        403 if message.contains("explicit deny") || message.contains("not authorized to access this resource") => {
            ApiError::AddressRefused
        }
        // What the vendor says on other endpoints (argos-api.md, section 5).
        400..=499 if said.contains("encrypted body") || said.contains("decryption is fail") => {
            ApiError::RequestNotDecrypted { status }
        }
        // What the vendor's gateway says of a path that it does not know.
        403 if message == "Missing Authentication Token" => ApiError::BadRequest { status, code },
        401 | 403 => ApiError::KeyRefused { status, code },
        400..=499 if matches!(code, Some("invalid_project" | "invalid_admin")) => ApiError::KeyRefused { status, code },
        413 => ApiError::AnswerTooLargeForVendor,
        429 => ApiError::TooManyRequests { retry_after },
        408 | 425 | 500..=599 => ApiError::ServerFailed { status, code, retry_after },
        _ => ApiError::BadRequest { status, code },
    }
}
