//! The server process: making its cluster, starting it, and never leaving it behind.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::home::Home;
use super::{EmbeddedError, Programs};

/// Waits until its standard input ends, which it does when our process is gone, however it went; then stops the server.
/// The first line is the server's process id, a second one says that the server was stopped in order. Arguments: the
/// data directory and the socket's.
const GUARD: &str = r#"
trap '' HUP INT TERM
IFS= read -r pid || exit 0
IFS= read -r word && exit 0
kill -INT "$pid" 2>/dev/null
n=0
while kill -0 "$pid" 2>/dev/null && [ "$n" -lt 400 ]; do
    n=$((n + 1))
    [ "$n" -eq 200 ] && kill -QUIT "$pid" 2>/dev/null
    sleep 0.1 2>/dev/null || sleep 1
done
[ "$1" = "$2" ] || rmdir -- "$2" 2>/dev/null
"#;

/// Tells the guard its process id and then becomes the server. So there is no moment at which a server runs that the
/// guard does not know of.
const LAUNCH: &str = r#"umask 077; log=$1; shift; echo $$; exec "$@" >>"$log" 2>&1"#;

/// Invariants: what the rest of argos-sync relies on. Given on the command line, where no file can undo them.
///
/// The log names no values: messages of client errors stay with the client (`log_min_messages = log`), and details and
/// statements, which would quote rows, are left out of the rest.
const SETTINGS: &[&str] = &[
    "port=5432",
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "ssl=off",
    "cluster_name=argos-sync",
    "timezone=UTC",
    "log_timezone=UTC",
    "logging_collector=off",
    "log_destination=stderr",
    "log_min_messages=log",
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
    "log_statement=none",
    "log_min_duration_statement=-1",
    "log_parameter_max_length=0",
    "log_parameter_max_length_on_error=0",
];

/// Preferences: written once behind what initdb wrote, for the operator to change.
const PREFERENCES: &str = "
# Below: from argos-sync, once, when it made this cluster. Change what you like; durability (fsync, synchronous_commit,
# full_page_writes) is best left on. Connections, logging and the time zone are set on the command line.
max_connections = 100
max_wal_size = '512MB'
jit = off
";

const LOG_LIMIT: u64 = 8 << 20;
const LOG_KEPT: u64 = 1 << 20;
const TAIL_LINES: usize = 20;

/// Makes the cluster beside its place and moves it there when it is complete, so that a killed initdb leaves nothing
/// that looks like a cluster.
pub(super) async fn initdb(home: &Home, programs: &Programs) -> Result<(), EmbeddedError> {
    clear_killed_initdbs(home);
    // A name of its own: an initdb whose argos-sync was killed may still be writing.
    let staging = home.dir().join(format!("initdb-{}", uuid::Uuid::new_v4().simple()));
    home.make_dir(&staging)?;
    let made = fill(home, programs, &staging).await;
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&staging);
        return made;
    }
    std::fs::rename(&staging, home.pgdata()).map_err(EmbeddedError::io("move the new cluster to", home.pgdata()))?;
    let sync = || File::open(home.dir())?.sync_all();
    sync().map_err(EmbeddedError::io("write", home.dir()))
}

async fn fill(home: &Home, programs: &Programs, staging: &Path) -> Result<(), EmbeddedError> {
    let mut output = run_initdb(home, programs, staging, "C.UTF-8").await?;
    if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("locale") {
        output = run_initdb(home, programs, staging, "C").await?;
    }
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(EmbeddedError::Initdb { status: output.status, output: last_lines(&said) });
    }
    let conf = staging.join("postgresql.conf");
    let mut file = home.open_file(&conf, OpenOptions::new().append(true))?;
    let written = file.write_all(PREFERENCES.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(EmbeddedError::io("write", conf))
}

async fn run_initdb(
    home: &Home,
    programs: &Programs,
    staging: &Path,
    locale: &str,
) -> Result<std::process::Output, EmbeddedError> {
    let program = programs.dir().join("initdb");
    let mut command = home.command(&program);
    command.arg("--pgdata").arg(staging).args(["--username=argos", "--encoding=UTF8", "--data-checksums"]);
    // Whoever can enter the socket's directory is trusted: it is 0700.
    command.args(["--auth-local=trust", "--auth-host=reject", "--no-instructions"]).arg(format!("--locale={locale}"));
    command.kill_on_drop(true).output().await.map_err(|source| home.spawn_error(program, source))
}

fn clear_killed_initdbs(home: &Home) {
    for entry in home.dir().read_dir().into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"initdb-") {
            // Whatever resists (a killed initdb's last writes) goes the next time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A running server of ours. Dropped without [`Server::stop`], its guard stops it.
#[derive(Debug)]
pub(super) struct Server {
    // The guard first: dropped before the child, it can rely on the process id, which nobody has reaped.
    guard: Guard,
    child: Child,
    log_keeper: AbortHandle,
    /// How long the log was before this server.
    log_start: u64,
}

#[derive(Debug)]
struct Guard {
    pipe: std::io::PipeWriter,
    child: Child,
}

impl Server {
    /// Starts the server; it may not answer yet.
    pub(super) fn launch(home: &Home, programs: &Programs, socket_dir: &Path) -> Result<Self, EmbeddedError> {
        // Made before the server's shell needs it; both only ever append.
        let mut log = home.open_file(&home.log(), OpenOptions::new().read(true).append(true).create(true))?;
        let shorten = |log: &mut File| cut(log).and_then(|()| log.metadata());
        let log_start = shorten(&mut log).map_err(EmbeddedError::io("shorten", home.log()))?.len();
        let sh = Path::new("/bin/sh");
        let pipe = || {
            let (reader, writer) = std::io::pipe()?;
            let second = writer.try_clone()?;
            Ok((reader, writer, second))
        };
        let (reader, writer, second) = pipe().map_err(|source| home.spawn_error(sh, source))?;

        let mut guard = home.command(sh);
        guard.args(["-c", GUARD, "argos-sync-guard"]).arg(home.dir()).arg(socket_dir).stdin(reader);
        let guard = Guard { pipe: writer, child: spawn_quietly(guard, home)? };

        let mut server = home.command(sh);
        server.args(["-c", LAUNCH, "argos-sync"]).arg(home.log()).arg(programs.dir().join("postgres"));
        server.arg("-D").arg(home.pgdata()).arg("-k").arg(socket_dir);
        for setting in SETTINGS {
            server.args(["-c", setting]);
        }
        server.stdout(second).stderr(Stdio::null());
        let child = server.spawn().map_err(|source| home.spawn_error(sh, source))?;
        Ok(Self { guard, child, log_keeper: keep_short(log, home.log()), log_start })
    }

    /// How the server ended, if it did.
    pub(super) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the server ends by itself.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.guard.dismiss();
        Ok(status)
    }

    /// The last lines this server wrote to its log.
    pub(super) fn log_tail(&self, home: &Home) -> String {
        let read = || {
            let mut file = home.open_file(&home.log(), OpenOptions::new().read(true)).ok()?;
            let end = file.metadata().ok()?.len();
            // Cut meanwhile, it is shorter than it was, and all of it is this server's.
            let start = if end < self.log_start { 0 } else { self.log_start };
            file.seek(SeekFrom::Start(start.max(end.saturating_sub(8 << 10)))).ok()?;
            let mut text = Vec::new();
            file.read_to_end(&mut text).ok()?;
            Some(text)
        };
        last_lines(&read().unwrap_or_default())
    }

    /// Fast shutdown, a hard one after 20 s, and the guard's end.
    pub(super) async fn stop(mut self) -> std::io::Result<()> {
        for (signal, patience) in [(Signal::SIGINT, 20), (Signal::SIGQUIT, 20), (Signal::SIGKILL, 5)] {
            // `None` once the child was waited for; its id may then belong to somebody else.
            if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), signal);
            }
            if let Ok(ended) = timeout(Duration::from_secs(patience), self.child.wait()).await {
                ended?;
                break;
            }
        }
        self.guard.dismiss();
        self.guard.child.wait().await?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.log_keeper.abort();
    }
}

impl Guard {
    fn dismiss(&mut self) {
        // If the guard is gone already there is nobody to tell.
        let _ = self.pipe.write_all(b"stopped\n");
    }
}

fn spawn_quietly(mut command: Command, home: &Home) -> Result<Child, EmbeddedError> {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|source| home.spawn_error("/bin/sh", source))
}

/// The server appends to one file for as long as it runs, and we run as long as the server does: so we keep it short.
fn keep_short(mut log: File, path: PathBuf) -> AbortHandle {
    let keeper = async move {
        loop {
            sleep(Duration::from_secs(60)).await;
            if let Err(error) = cut(&mut log) {
                tracing::warn!(log = %path.display(), %error, "cannot shorten the private database's log");
            }
        }
    };
    tokio::spawn(keeper).abort_handle()
}

/// Leaves the last part of a file that has grown past [`LOG_LIMIT`]. What the server writes meanwhile may be lost.
fn cut(file: &mut File) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    if length > LOG_LIMIT {
        let mut kept = Vec::new();
        file.seek(SeekFrom::Start(length - LOG_KEPT.min(length)))?;
        file.read_to_end(&mut kept)?;
        let line = kept.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(0)?;
        file.write_all(&kept[line..])?;
    }
    Ok(())
}

fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.trim().lines().collect();
    if lines.is_empty() { "(nothing)".into() } else { lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n") }
}

/// True if a server process is there that is not our child, be it serving, starting or stopping: one that is being
/// stopped by the guard of a killed argos-sync, or one started by hand.
pub(super) fn is_running(home: &Home) -> bool {
    postmaster_pid(home).is_some_and(|(pid, _)| is_postgres_on(pid, &home.pgdata()))
}

/// The process id and the socket directory in postmaster.pid.
pub(super) fn postmaster_pid(home: &Home) -> Option<(Pid, Option<String>)> {
    let text = std::fs::read_to_string(home.pgdata().join("postmaster.pid")).ok()?;
    let pid = text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)?;
    let socket_dir = text.lines().nth(4).map(str::trim).filter(|dir| dir.starts_with('/'));
    Some((Pid::from_raw(pid), socket_dir.map(str::to_owned)))
}

/// Process ids are used again (after a reboot or in a new container soon), also for other servers: the command line
/// tells.
fn is_postgres_on(pid: Pid, pgdata: &Path) -> bool {
    if matches!(kill(pid, None), Err(nix::errno::Errno::ESRCH)) {
        return false;
    }
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).ok().or_else(|| {
        let ps = std::process::Command::new("ps").args(["-o", "args=", "-ww", "-p"]).arg(pid.to_string()).output();
        ps.ok().map(|output| output.stdout)
    });
    let pgdata = pgdata.as_os_str().as_encoded_bytes();
    command_line.is_some_and(|line| line.windows(pgdata.len()).any(|part| part == pgdata))
}

/// A lock file left by a killed server whose process id now belongs to another process of the same user would make
/// PostgreSQL refuse to start. With our own id in it, PostgreSQL knows that it is stale (its parent cannot be the old
/// server) and still checks that no process of the old server holds its shared memory.
pub(super) fn disown_stale_lock(home: &Home) -> Result<(), EmbeddedError> {
    let stale = |(pid, _): &(Pid, _)| kill(*pid, None).is_ok() && !is_postgres_on(*pid, &home.pgdata());
    if !postmaster_pid(home).as_ref().is_some_and(stale) {
        return Ok(());
    }
    let path = home.pgdata().join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    let mut file = home.open_file(&path, OpenOptions::new().write(true).truncate(true))?;
    let written = file.write_all(format!("{}\n{rest}", std::process::id()).as_bytes());
    written.map_err(EmbeddedError::io("write", path))
}
