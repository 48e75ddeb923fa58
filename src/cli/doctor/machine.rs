//! This machine: the port, and what the private PostgreSQL needs.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::report::Finding;
use crate::app::{self, AppError, EMBEDDED_DATABASE};
use crate::chain::chain;
use crate::config::{Http, Settings};
use crate::embedded::Cluster;
use crate::exit::Exit;
use crate::http;

/// How long whoever holds the port may take to say who it is.
const ANSWER: Duration = Duration::from_secs(2);
/// How much of its answer is read.
const ENOUGH: u64 = 256 * 1024;
/// How long the private PostgreSQL may take to start.
const START: Duration = Duration::from_secs(45);

/// The port, and the page on it.
pub(super) async fn http(settings: &Http) -> Vec<Finding> {
    if !settings.enabled {
        return vec![Finding::ok("http.listen", "off")];
    }
    let mut findings = vec![port(settings.listen).await];
    if settings.status_page && settings.token.is_none() && !settings.listen.ip().is_loopback() {
        findings.push(Finding::note(
            "status page",
            format!("not shown: {} is not a loopback address, and there is no http.token_file", settings.listen),
            "It shows ids of submissions: give it a token, or set http.status_page = false.",
        ));
    }
    findings
}

async fn port(address: SocketAddr) -> Finding {
    let check = "http.listen";
    let Err(source) = http::bind(address).await else { return Finding::ok(check, format!("{address} is free")) };
    let cure = match source.kind() {
        ErrorKind::AddrInUse => return taken(address, source).await,
        ErrorKind::PermissionDenied => "Ports below 1024 are root's: change http.listen.",
        ErrorKind::AddrNotAvailable => {
            "This machine does not have the address: change http.listen, e.g. to 127.0.0.1:9464."
        }
        _ => "Change http.listen.",
    };
    Finding::failed(check, format!("cannot listen on {address}: {source}"), cure, Exit::Listen)
}

/// Somebody listens there: one of us?
async fn taken(address: SocketAddr, source: std::io::Error) -> Finding {
    let check = "http.listen";
    let is_ours = get(address, "/metrics").await.is_some_and(|answer| answer.contains("argos_sync_build_info"));
    if !is_ours {
        return Finding::told(check, chain(&AppError::Listen { address, source }), Exit::Listen);
    }
    let alive = get(address, "/livez").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"));
    let well = if alive { "its loops turn" } else { "its loop is stuck, or it does not answer" };
    Finding::note(
        check,
        format!("another argos-sync serves {address}; {well}"),
        match alive {
            true => "Fine if that is the daemon. A second one on this machine needs another http.listen.",
            false => "Restart it. A second one on this machine needs another http.listen.",
        },
    )
}

/// What is served, head and body; nothing if nobody answers in time.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let here = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let ask = async {
        let mut stream = TcpStream::connect((here, address.port())).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ENOUGH).read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(ANSWER, ask).await.ok()?.ok()
}

/// Starts the private PostgreSQL, or joins it, if that is what `run` would do.
pub(super) async fn private_postgres(settings: &Settings) -> Option<Result<Cluster, AppError>> {
    if settings.database.url.is_some() {
        return None;
    }
    let directory = app::data_dir(settings);
    let started = tokio::time::timeout(START, app::start_cluster(&directory)).await;
    let late = || {
        let message = format!("it did not start within {} s in {}", START.as_secs(), directory.display());
        Err(AppError::Other { message, exit: Exit::Postgres })
    };
    Some(started.unwrap_or_else(|_| late()))
}

pub(super) fn private(started: &Result<Cluster, AppError>) -> Finding {
    let check = "private PostgreSQL";
    match started {
        Ok(cluster) => Finding::note(
            check,
            format!("no database.url is set: {EMBEDDED_DATABASE} in {} is used", cluster.data_dir().display()),
            "Fine on a laptop. Nobody backs it up: set database.url or database.url_file on a server.",
        ),
        Err(error) => Finding::failed(
            check,
            chain(error),
            "It is for a laptop or a trial: on a server, set database.url or database.url_file.",
            error.exit(),
        ),
    }
}
