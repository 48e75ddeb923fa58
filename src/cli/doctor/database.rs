//! The database: can it be reached, is it one that will do, may the role do the daemon's work, and who does it now?

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::clock;
use super::report::{Finding, pending, skip_the_rest};
use crate::chain::chain;
use crate::clock::{Clock, Timestamp};
use crate::config::{Database, Settings};
use crate::domain::hash::HashKey;
use crate::exit::Exit;
use crate::store::error::{POOLER, StoreError};
use crate::store::server::{self, OLDEST, Room, Server};
use crate::store::status::{self, Facts, Writer};
use crate::store::{database, erasure, rights};
use crate::words;

/// All checks, in their order: each needs those before it.
const CHECKS: [&str; 9] =
    ["connection", "pooler", "server", "clock", "connections", "rights", "schema", "hash secret", "writer"];

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest wait for a name, for a statement, and to see whether a pooler keeps one waiting.
const STEP: Duration = Duration::from_secs(5);
/// The longest time for all of it.
const ALL: Duration = Duration::from_secs(30);

/// So many known submissions tell whose key it is.
const ASKED: i64 = 3;

/// What the database tells that is needed to judge the vendor's answers.
pub(super) struct Known {
    pub(super) key: HashKey,
    pub(super) projects: BTreeMap<String, Mirrored>,
}

/// A project that the database knows.
pub(super) struct Mirrored {
    pub(super) facts: Facts,
    /// Whose data it is, as the daemon has noted it.
    pub(super) source: Option<Vec<u8>>,
    /// Some submissions that it holds.
    pub(super) ids: Vec<String>,
}

/// Why nothing more can be looked at: told already.
struct Told;

struct Examination<'a> {
    settings: &'a Settings,
    clock: &'a Clock,
    findings: Vec<Finding>,
}

/// Looks at everything, for half a minute at most.
pub(super) async fn examine(settings: &Settings, url: &SecretString, clock: &Clock) -> (Vec<Finding>, Option<Known>) {
    let mut examination = Examination { settings, clock, findings: Vec::new() };
    let known = match tokio::time::timeout(ALL, examination.all(url.expose_secret())).await {
        Ok(known) => known.ok(),
        Err(_) => {
            let late = pending(&examination.findings, &CHECKS).unwrap_or("writer");
            examination.findings.push(failed(late, &StoreError::Unanswered));
            None
        }
    };
    skip_the_rest(&mut examination.findings, &CHECKS);
    (examination.findings, known)
}

/// A failure with the sentences that it has everywhere.
fn failed(check: &'static str, error: &StoreError) -> Finding {
    Finding::failed(check, chain(error), error.advice(), Exit::Database)
}

impl Examination<'_> {
    async fn all(&mut self, url: &str) -> Result<Known, Told> {
        let options = database::options(url).map_err(|error| self.fail("connection", &error))?;
        let mut connection = self.connect("connection", &options).await?;
        self.findings.push(Finding::ok("connection", shown(&options)));
        self.pooler(&options, &mut connection).await?;
        let server = self.server(&mut connection).await?;
        let room = server::room(&mut connection).await.map_err(|error| self.fail("connections", &error))?;
        self.findings.push(connections(&room, self.settings.database.max_connections));
        self.rights(&mut connection).await?;
        self.schema(&mut connection, &server).await?;
        self.hash_secret(&mut connection).await
    }

    fn fail(&mut self, check: &'static str, error: &StoreError) -> Told {
        self.findings.push(failed(check, error));
        Told
    }

    async fn connect(&mut self, check: &'static str, options: &PgConnectOptions) -> Result<PgConnection, Told> {
        let patience = self.settings.database.connect_timeout.min(CONNECT);
        let connected = tokio::time::timeout(patience, options.connect()).await;
        let error = match connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let cure = unreachable(&error, options, patience).await;
        let error = StoreError::doing("connecting")(error);
        let (seen, cure) = match cure {
            Some((seen, cure)) => (seen, cure),
            None => (chain(&error), error.advice().to_owned()),
        };
        self.findings.push(Finding::failed(check, seen, cure, Exit::Database));
        Err(Told)
    }

    /// A second session tells whether both have a server process of their own.
    async fn pooler(&mut self, options: &PgConnectOptions, first: &mut PgConnection) -> Result<(), Told> {
        let mut second = self.connect("pooler", options).await?;
        let pooled = server::is_pooled(first, &mut second, STEP).await;
        // It must not count as a connection of somebody else's.
        let _ = second.close().await;
        match pooled {
            Ok(false) => self.findings.push(Finding::ok("pooler", "none that keeps no sessions")),
            Ok(true) => {
                let seen = "sessions share the server's processes: a pooler in transaction mode. What a session sets, \
                            locks or prepares is lost";
                self.findings.push(Finding::failed("pooler", seen, POOLER, Exit::Database));
                return Err(Told);
            }
            Err(error) => return Err(self.fail("pooler", &error)),
        }
        Ok(())
    }

    async fn server(&mut self, connection: &mut PgConnection) -> Result<Server, Told> {
        let before = self.clock.now();
        let server = server::look(connection).await.map_err(|error| self.fail("server", &error))?;
        let asked = (before, self.clock.now());
        let finding = judge_server(&server, self.settings.database.migrate);
        let usable = !finding.is_failure();
        self.findings.push(finding);
        if !usable {
            return Err(Told);
        }
        self.findings.push(clock::judge("the database's", clock::ahead(server.now, asked)));
        database::look_only(connection, STEP).await.map_err(|error| self.fail("server", &error))?;
        Ok(server)
    }

    async fn rights(&mut self, connection: &mut PgConnection) -> Result<(), Told> {
        let pruning = self.settings.retention.outbox.is_some();
        let missing = rights::missing(connection, pruning).await.map_err(|error| self.fail("rights", &error))?;
        let finding = match missing.as_slice() {
            [] => Finding::ok("rights", "no grant of docs/postgresql.md is missing"),
            missing => Finding::failed(
                "rights",
                "the role may not do all that the daemon does",
                format!("As the owner of the tables:\n{}", missing.join("\n")),
                Exit::Database,
            ),
        };
        let lacking = finding.is_failure();
        self.findings.push(finding);
        if lacking { Err(Told) } else { Ok(()) }
    }

    async fn schema(&mut self, connection: &mut PgConnection, server: &Server) -> Result<(), Told> {
        match database::compatible(connection).await {
            Ok(()) => self.findings.push(Finding::ok("schema", "argos, as this version makes it")),
            Err(StoreError::NotMigrated) if self.settings.database.migrate => {
                self.findings.push(to_be_migrated(server));
                return Err(Told);
            }
            Err(error) => return Err(self.fail("schema", &error)),
        }
        Ok(())
    }

    async fn hash_secret(&mut self, connection: &mut PgConnection) -> Result<Known, Told> {
        let settings: &Database = &self.settings.database;
        let key = database::look_at_hash_key(connection, settings).await;
        let key = key.map_err(|error| self.fail("hash secret", &error))?;
        let seen = if settings.hash_secret.is_some() { "the configured one fits" } else { "the database's own" };
        self.findings.push(Finding::ok("hash secret", seen));
        let mut projects = BTreeMap::new();
        for project in &self.settings.projects {
            let mirrored = mirrored(connection, &project.id, self.clock.now()).await;
            let mirrored = mirrored.map_err(|error| self.fail("writer", &error))?;
            let writer = mirrored.as_ref().map(|mirrored| &mirrored.facts.writer);
            self.findings.push(who_writes(&project.id, writer, self.settings.lease.holder.as_deref()));
            projects.extend(mirrored.map(|mirrored| (project.id.clone(), mirrored)));
        }
        Ok(Known { key, projects })
    }
}

/// Where it is, without the password.
fn shown(options: &PgConnectOptions) -> String {
    let place = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("{} at {place}, as {}", database, options.get_username())
}

/// What is wrong with the way to the server, where the error itself leaves that open.
async fn unreachable(error: &sqlx::Error, options: &PgConnectOptions, patience: Duration) -> Option<(String, String)> {
    let (host, port) = (options.get_host(), options.get_port());
    let place = format!("{host}:{port}");
    let told = |seen: String, cure: &str| Some((seen, cure.to_owned()));
    match error {
        sqlx::Error::Tls(cause) if cause.to_string().contains("does not support TLS") => told(
            format!("{place} offers no TLS, and sslmode in database.url asks for it"),
            "Switch TLS on at the server (ssl = on); on this machine or a socket, sslmode=disable will do.",
        ),
        _ if options.get_socket().is_some() => None,
        sqlx::Error::Io(cause) if cause.kind() == ErrorKind::ConnectionRefused => told(
            format!("{place} refuses connections: no PostgreSQL listens there"),
            "Check that it runs, its listen_addresses and port, and that database.url names it.",
        ),
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut if !is_name_known(host, port).await => told(
            format!("the name {host} is not known here"),
            "Check the host in database.url, and this machine's DNS.",
        ),
        sqlx::Error::PoolTimedOut => told(
            format!("{place} did not answer within {}", words::at_most(patience)),
            "A firewall may drop the packets, or it is another machine: check host and port in database.url.",
        ),
        _ => None,
    }
}

/// Whether a name has an address. One that is not answered for in time has none.
pub(super) async fn is_name_known(host: &str, port: u16) -> bool {
    let found = tokio::time::timeout(STEP, tokio::net::lookup_host((host, port))).await;
    found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some()))
}

/// Whether it is one that will do.
fn judge_server(server: &Server, migrates: bool) -> Finding {
    let check = "server";
    let name = format!("PostgreSQL {}", server.version_name);
    if server.version < OLDEST {
        let cure = format!("argos-sync needs {} or later: upgrade the server.", OLDEST / 10_000);
        return Finding::failed(check, format!("it is {name}"), cure, Exit::Database);
    }
    if server.encoding != "UTF8" {
        let cure = "Names of people need UTF8: create the database with encoding 'UTF8' template template0.";
        return Finding::failed(check, format!("the database's encoding is {}", server.encoding), cure, Exit::Database);
    }
    if server.read_only {
        let what = if server.standby { "it is a standby" } else { "default_transaction_read_only is on" };
        let cure = match server.standby {
            true => "Point database.url at the primary.",
            false => "Somebody has set it for the server, the database or the role: switch it off there.",
        };
        return Finding::failed(check, format!("it is read-only: {what}"), cure, Exit::Database);
    }
    let rights = if migrates && !server.may_migrate { ", whose schema this role may not change" } else { "" };
    Finding::ok(check, format!("{name}{rights}"))
}

fn connections(room: &Room, wanted: u32) -> Finding {
    let free = room.free.max(0);
    let seen = format!("{free} of {} free, by the limit of {}", room.limit, room.of);
    match free >= i64::from(wanted) {
        true => Finding::ok("connections", seen),
        false => Finding::note(
            "connections",
            seen,
            format!(
                "The daemon takes up to {wanted} (database.max_connections), and a replica the same: raise the limit, or \
                 find who holds them. A daemon that runs has its own already."
            ),
        ),
    }
}

/// The schema is missing or behind, and `run` is to mend that.
fn to_be_migrated(server: &Server) -> Finding {
    let error = StoreError::NotMigrated;
    match server.may_migrate {
        true => Finding::note("schema", error.to_string(), "argos-sync run will do it at its start."),
        false => Finding::failed(
            "schema",
            format!("{error}, and the role {} may not do it", server.role),
            "Run argos-sync migrate as the owner of the tables; or, for the quick way of docs/postgresql.md, let this \
             role own the database.",
            Exit::Database,
        ),
    }
}

async fn mirrored(
    connection: &mut PgConnection,
    project: &str,
    now: Timestamp,
) -> Result<Option<Mirrored>, StoreError> {
    let Some(facts) = status::facts(connection, project, now).await? else { return Ok(None) };
    Ok(Some(Mirrored {
        facts,
        source: erasure::source(connection, project).await?,
        ids: erasure::known_live(connection, project, "", ASKED).await?,
    }))
}

/// Who writes for a project, and whether that is somebody under our own name.
fn who_writes(project: &str, writer: Option<&Writer>, own_name: Option<&str>) -> Finding {
    let check = "writer";
    let Some(writer) = writer else {
        return Finding::ok(check, format!("project {project} is new: no daemon has begun with it"));
    };
    let Some(holder) = writer.holder.as_deref().filter(|_| writer.held) else {
        return Finding::ok(check, format!("nobody writes for project {project} now"));
    };
    if own_name == Some(holder) {
        let seen = format!("{holder} writes for project {project}: the name in lease.holder");
        let cure = "Fine if that is this machine's daemon. No two may share the name: they would take the lease from each \
                    other at every page.";
        return Finding::note(check, seen, cure);
    }
    Finding::note(
        check,
        format!("{holder} writes for project {project}"),
        "Fine if that is your daemon. Another one waits, and takes over when it ends.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Outcome;

    fn server() -> Server {
        Server {
            version: 170_002,
            version_name: "17.2".to_owned(),
            standby: false,
            read_only: false,
            encoding: "UTF8".to_owned(),
            role: "argos_sync".to_owned(),
            may_migrate: true,
            now: Clock::system().now(),
        }
    }

    #[test]
    fn a_server_that_will_not_do_is_told() {
        assert_eq!(judge_server(&server(), true).outcome, Outcome::Ok);
        let old = Server { version: 140_011, version_name: "14.11".to_owned(), ..server() };
        let finding = judge_server(&old, true);
        assert_eq!((finding.outcome, finding.seen.as_str()), (Outcome::Failed, "it is PostgreSQL 14.11"));
        assert!(finding.cure.unwrap().contains("15 or later"));
        let standby = Server { standby: true, read_only: true, ..server() };
        let finding = judge_server(&standby, true);
        assert!(finding.seen.contains("standby") && finding.cure.unwrap().contains("primary"));
        assert!(judge_server(&Server { may_migrate: false, ..server() }, true).seen.contains("may not change"));
    }

    #[test]
    fn who_writes_is_told() {
        let writer =
            |holder: Option<&str>, held| Writer { holder: holder.map(str::to_owned), epoch: 1, expires_at: None, held };
        let told = |holder, held| who_writes("p", Some(&writer(holder, held)), Some("me"));
        assert!(told(Some("other"), true).seen.starts_with("other writes"));
        assert!(told(Some("other"), false).seen.starts_with("nobody"));
        assert!(told(None, false).seen.starts_with("nobody"));
        assert!(told(Some("me"), true).cure.unwrap().contains("No two may share"));
    }
}
