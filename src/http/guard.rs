//! Who may see the status page.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};

/// Asks a browser for a name and a password.
const ASK: &str = "Basic realm=\"argos-sync: any name, and http.token as the password\", charset=\"UTF-8\"";

/// With a token: whoever knows it. Without: whoever is on this machine, and nobody if the port can be reached from
/// another one.
pub(super) struct Guard {
    token: Option<SecretString>,
    loopback: bool,
}

impl Guard {
    /// `loopback`: the port listens on a loopback address alone.
    pub(super) fn new(token: Option<SecretString>, loopback: bool) -> Self {
        Self { token, loopback }
    }

    /// `None`: the request is let in; else the answer that says why not.
    pub(super) fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let refused = |text: &'static str| Some((StatusCode::FORBIDDEN, text).into_response());
        match &self.token {
            Some(token) if presented(headers).is_some_and(|given| same(&given, token.expose_secret())) => None,
            Some(_) => {
                let text = "The status page needs http.token: as a bearer token, or as a password with any name.\n";
                Some((StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, ASK)], text).into_response())
            }
            None if !self.loopback => refused(
                "The status page shows ids of submissions. On an address that other machines can reach it needs a \
                 password: set http.token_file.\n",
            ),
            None if local(headers) => None,
            None => refused("Ask for the status page as 127.0.0.1 or localhost, or set http.token_file.\n"),
        }
    }
}

/// The token in an Authorization header, of either kind.
fn presented(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(rest.trim()).ok())??;
    let (_name, password) =
        String::from_utf8(decoded).ok()?.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    Some(password)
}

/// Whether two secrets are the same, in a time that tells nothing: blake3's hashes compare in constant time.
fn same(given: &str, token: &str) -> bool {
    blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes())
}

/// Whether the page was asked for by a name of this machine. A name that a stranger's site has let point here
/// (DNS rebinding) is not one.
fn local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn status(guard: &Guard, headers: &[(header::HeaderName, &str)]) -> StatusCode {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        guard.refusal(&headers).map_or(StatusCode::OK, |refused| refused.status())
    }

    #[test]
    fn a_token_is_asked_for_wherever_one_is_set() {
        for loopback in [true, false] {
            let guard = Guard::new(Some("s3cret".into()), loopback);
            let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
            for right in ["Bearer s3cret".to_owned(), "bearer s3cret".to_owned(), basic("me:s3cret"), basic(":s3cret")]
            {
                assert_eq!(status(&guard, &[(header::AUTHORIZATION, &right)]), StatusCode::OK, "{right}");
            }
            let wrong = ["Bearer s3cre", "Bearer ", "s3cret", "Basic ???", "Digest s3cret", &basic("s3cret")];
            for wrong in wrong {
                assert_eq!(status(&guard, &[(header::AUTHORIZATION, wrong)]), StatusCode::UNAUTHORIZED, "{wrong}");
            }
            assert_eq!(status(&guard, &[(header::HOST, "localhost")]), StatusCode::UNAUTHORIZED);
        }
    }

    #[test]
    fn without_a_token_only_this_machine_sees_it_by_a_name_of_its_own() {
        let guard = Guard::new(None, true);
        for host in ["localhost", "localhost:9464", "127.0.0.1:9464", "127.0.0.2", "[::1]:9464", "[::1]"] {
            assert_eq!(status(&guard, &[(header::HOST, host)]), StatusCode::OK, "{host}");
        }
        for host in ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "192.0.2.1:9464", ""] {
            assert_eq!(status(&guard, &[(header::HOST, host)]), StatusCode::FORBIDDEN, "{host}");
        }
        assert_eq!(status(&guard, &[]), StatusCode::FORBIDDEN);
        let open = Guard::new(None, false);
        assert_eq!(status(&open, &[(header::HOST, "localhost")]), StatusCode::FORBIDDEN);
    }
}
