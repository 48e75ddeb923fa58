//! What can go wrong with a request, and what to do about it.

use std::time::Duration;

/// Why an answer could not be used. Display says what happened; [`ApiError::advice`] what it means and what to do.
/// Neither holds the key, a URL's query or anything from a body except a documented error code.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No connection.
    #[error("cannot reach the vendor's API")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A deadline passed.
    #[error("the vendor's API did not answer in time")]
    TimedOut,
    /// The connection broke while the answer was read.
    #[error("the answer broke off")]
    BrokeOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// 401, 403 `Forbidden`, `invalid_project`, `invalid_admin`.
    #[error("the API key was refused (status {status}{})", with_code(.code))]
    KeyRefused {
        /// HTTP status.
        status: u16,
        /// The vendor's error code, if it gave a documented one.
        code: Option<&'static str>,
    },
    /// 403 with the message of the address allow-list.
    #[error("this machine's address was refused (status 403, explicit deny)")]
    AddressRefused,
    /// Another 4xx.
    #[error("the request was refused (status {status}{})", with_code(.code))]
    BadRequest {
        /// HTTP status.
        status: u16,
        /// The vendor's error code, if it gave a documented one.
        code: Option<&'static str>,
    },
    /// 413.
    #[error("the answer would be too large for the vendor (status 413)")]
    AnswerTooLargeForVendor,
    /// 429.
    #[error("too many requests (status 429)")]
    TooManyRequests {
        /// What Retry-After asked for.
        retry_after: Option<Duration>,
    },
    /// 408, 425 and 5xx.
    #[error("the vendor's server failed (status {status}{})", with_code(.code))]
    ServerFailed {
        /// HTTP status.
        status: u16,
        /// The vendor's error code, if it gave a documented one.
        code: Option<&'static str>,
        /// What Retry-After asked for.
        retry_after: Option<Duration>,
    },
    /// 3xx.
    #[error("the API redirects (status {status}); the key was not sent on")]
    Redirected {
        /// HTTP status.
        status: u16,
    },
    /// Past `api.max_response_bytes` or `limits.page_items`.
    #[error("the answer is larger than the limit ({limit})")]
    TooLarge {
        /// The limit and its unit.
        limit: String,
    },
    /// A 200 that is not the documented envelope.
    #[error("the answer is not a list of submissions: {what}")]
    NotAList {
        /// What it is instead, without its content.
        what: &'static str,
    },
    /// A 200 that carries an error.
    #[error("the answer is an error in a success status{}", with_code(.code))]
    ErrorInSuccess {
        /// The vendor's error code, if it gave a documented one.
        code: Option<&'static str>,
    },
    /// The answer is encrypted.
    #[error("the answer is encrypted, and api.encryption is off")]
    Encrypted,
    /// The answer is encrypted, and the settings do not open it.
    #[error("the answer is encrypted and cannot be decrypted: {what}")]
    Undecryptable {
        /// What is wrong with it, without its content.
        what: &'static str,
    },
    /// 4xx, with the words in which the vendor says that a request's encryption cannot be read.
    #[error("the vendor could not decrypt the request (status {status})")]
    RequestNotDecrypted {
        /// HTTP status.
        status: u16,
    },
    /// No request may be sent now.
    #[error("the request budget of today (UTC) is spent")]
    BudgetSpent,
}

/// rustls says so inside of an I/O error.
fn refuses_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let refuses = |inner: &(dyn std::error::Error + Send + Sync + 'static)| {
        inner.downcast_ref::<rustls::Error>().is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)))
            || refuses_certificate(inner)
    };
    inside.is_some_and(refuses) || error.source().is_some_and(refuses_certificate)
}

fn with_code(code: &Option<&'static str>) -> String {
    code.map(|code| format!(", {code}")).unwrap_or_default()
}

/// The documented error codes of GET /submission (developers.argosidentity.com, table 5-3).
const CODES: &[&str] = &[
    "invalid_payload",
    "missing_data",
    "invalid_project",
    "invalid_admin",
    "invalid_parameter",
    "invalid_format",
    "processing_error",
];

/// The documented code that a body names. Others are not repeated: an error text may hold anything.
pub fn known_code(code: &str) -> Option<&'static str> {
    CODES.iter().copied().find(|known| *known == code)
}

impl ApiError {
    /// All values of [`ApiError::kind`], for metrics that stand at 0 from the start.
    pub const KINDS: [&'static str; 16] = [
        "unreachable",
        "timed_out",
        "broke_off",
        "key_refused",
        "address_refused",
        "bad_request",
        "answer_too_large_for_vendor",
        "too_many_requests",
        "server_failed",
        "redirected",
        "too_large",
        "not_a_list",
        "encrypted",
        "decryption_failed",
        "encryption_refused",
        "budget_spent",
    ];

    /// A short name, for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timed_out",
            Self::BrokeOff(_) => "broke_off",
            Self::KeyRefused { .. } => "key_refused",
            Self::AddressRefused => "address_refused",
            Self::BadRequest { .. } => "bad_request",
            Self::AnswerTooLargeForVendor => "answer_too_large_for_vendor",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::ServerFailed { .. } | Self::ErrorInSuccess { .. } => "server_failed",
            Self::Redirected { .. } => "redirected",
            Self::TooLarge { .. } => "too_large",
            Self::NotAList { .. } => "not_a_list",
            Self::Encrypted => "encrypted",
            Self::Undecryptable { .. } => "decryption_failed",
            Self::RequestNotDecrypted { .. } => "encryption_refused",
            Self::BudgetSpent => "budget_spent",
        }
    }

    /// Whether the same request may succeed in a moment.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::BrokeOff(_)
            | Self::TooManyRequests { .. }
            | Self::ServerFailed { .. }
            | Self::ErrorInSuccess { .. }
            | Self::NotAList { .. } => true,
            Self::KeyRefused { .. }
            | Self::AddressRefused
            | Self::BadRequest { .. }
            | Self::AnswerTooLargeForVendor
            | Self::Redirected { .. }
            | Self::TooLarge { .. }
            | Self::Encrypted
            | Self::Undecryptable { .. }
            | Self::RequestNotDecrypted { .. }
            | Self::BudgetSpent => false,
        }
    }

    /// Whether only a person can mend it, so that polling slows to a probe.
    pub fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::KeyRefused { .. }
                | Self::AddressRefused
                | Self::BadRequest { .. }
                | Self::Redirected { .. }
                | Self::Encrypted
                | Self::Undecryptable { .. }
                | Self::RequestNotDecrypted { .. }
        )
    }

    /// Whether the vendor understood the request and does not want to answer it: 4xx, for whatever reason it gives.
    pub fn refuses(&self) -> bool {
        matches!(self, Self::KeyRefused { .. } | Self::AddressRefused | Self::BadRequest { .. })
    }

    /// Whether a request for one submission may fail like this because of that submission, so that another one may
    /// succeed: not where the key, the address, the settings, the rate or the way to the vendor are to blame.
    pub fn may_be_one_submission(&self) -> bool {
        match self {
            Self::BadRequest { status, .. } => *status != 403,
            Self::ServerFailed { retry_after, .. } => retry_after.is_none(),
            Self::TimedOut
            | Self::BrokeOff(_)
            | Self::ErrorInSuccess { .. }
            | Self::NotAList { .. }
            | Self::TooLarge { .. }
            | Self::AnswerTooLargeForVendor => true,
            Self::Unreachable(_)
            | Self::KeyRefused { .. }
            | Self::AddressRefused
            | Self::TooManyRequests { .. }
            | Self::Redirected { .. }
            | Self::Encrypted
            | Self::Undecryptable { .. }
            | Self::RequestNotDecrypted { .. }
            | Self::BudgetSpent => false,
        }
    }

    /// Whether a smaller page may succeed.
    pub fn page_too_large(&self) -> bool {
        matches!(self, Self::AnswerTooLargeForVendor | Self::TooLarge { .. })
    }

    /// Whether the vendor asks for a pause, be it without saying for how long.
    pub fn asks_for_a_pause(&self) -> bool {
        matches!(self, Self::TooManyRequests { .. }) || self.retry_after().is_some()
    }

    /// Whether a smaller page may succeed because it takes the vendor less time.
    pub fn page_too_slow(&self) -> bool {
        matches!(self, Self::TimedOut | Self::ServerFailed { status: 502 | 504, .. })
    }

    /// The pause that the vendor asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } | Self::ServerFailed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What it means and what to do: one sentence for the operator.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable(error) if refuses_certificate(&**error) => {
                "This machine does not trust the server's certificate: install ca-certificates, or the issuer of the proxy that opens TLS, and check api.base_url."
            }
            Self::Unreachable(_) => {
                "Check api.base_url, DNS, the firewall and HTTPS_PROXY; run goes on trying and loses nothing."
            }
            Self::TimedOut => {
                "The vendor or the network is slow; run goes on trying. If it lasts, lower api.count or raise api.timeout."
            }
            Self::BrokeOff(_) => "The connection was cut in mid-answer; the daemon asks again and loses nothing.",
            Self::KeyRefused { code: Some("invalid_project"), .. } => {
                "The key belongs to no valid project: copy the project's key from the ARGOS dashboard into api.key or api.key_file."
            }
            Self::KeyRefused { code: Some("invalid_admin"), .. } => {
                "The key's account has no permission for this project: have it granted in the ARGOS dashboard, or use the project's own key."
            }
            Self::KeyRefused { .. } => {
                "The key is missing, wrong or withdrawn: copy the project's key from the ARGOS dashboard into api.key or api.key_file."
            }
            Self::AddressRefused => {
                "The project allows only listed addresses: add this machine's public address (or the proxy's) to the API allow-list in the ARGOS dashboard."
            }
            Self::BadRequest { code: Some("invalid_payload"), .. } => {
                "The vendor could not read the parameters: api.parameters should be \"query\" unless the vendor told you otherwise."
            }
            Self::BadRequest { code: Some("missing_data"), .. } => {
                "The vendor misses a parameter: try the other api.dialect, or api.parameters = \"body\"."
            }
            Self::BadRequest { code: Some("invalid_parameter"), .. } => {
                "The vendor does not know a parameter: try the other api.dialect."
            }
            Self::BadRequest { code: Some("invalid_format"), .. } => {
                "The vendor does not accept a parameter's form, most likely the dates': try the other api.dialect."
            }
            Self::BadRequest { status: 403 | 404, .. } => {
                "There is nothing at this address: check that api.base_url ends in the version, as in https://rest-api.argosidentity.com/v3."
            }
            Self::BadRequest { .. } => {
                "The vendor refuses the request as it is: check api.base_url, api.dialect and api.parameters."
            }
            Self::AnswerTooLargeForVendor => "A page is too large for the vendor: lower api.count.",
            Self::TooManyRequests { .. } => {
                "The key's rate limit is reached: the daemon slows down. If it lasts, lower api.requests_per_second or find what else uses the key."
            }
            Self::ServerFailed { code: Some("processing_error"), .. }
            | Self::ErrorInSuccess { code: Some("processing_error") } => {
                "The vendor reports an unknown error of its own; run goes on trying. If it lasts, ask the vendor's support."
            }
            Self::ServerFailed { .. } | Self::ErrorInSuccess { .. } => {
                "The fault is on the vendor's side; run goes on trying. If it lasts, ask the vendor's support."
            }
            Self::Redirected { .. } => {
                "The address has moved: set api.base_url to the new one after checking that it is the vendor's."
            }
            Self::TooLarge { .. } => "Lower api.count, or raise api.max_response_bytes if pages are really that large.",
            Self::NotAList { .. } => {
                "Something else answered than the documented API, perhaps a proxy or a maintenance page: check api.base_url; run goes on trying."
            }
            Self::Encrypted => {
                "The project has the \"secure data transmission\" option on: run argos-sync find-cipher, which prints the api.encryption settings to use, or switch the option off in the ARGOS dashboard."
            }
            Self::Undecryptable { .. } => {
                "The api.encryption settings or the secret do not fit, perhaps since the API key was changed; nothing is stored: argos-sync find-cipher tries all settings on one answer."
            }
            Self::RequestNotDecrypted { .. } => {
                "The project takes encrypted requests only, or does not understand ours: set api.encryption_requests = true; if it is set, check the other api.encryption settings and the secret."
            }
            Self::BudgetSpent => {
                "Requests go on at 00:00 UTC. Raise api.requests_per_day if the vendor allows more, or poll.interval to need less."
            }
        }
    }
}
