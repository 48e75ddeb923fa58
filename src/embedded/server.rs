//! The server process: started, stopped, and never left behind.

use std::io::Write;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::home::Home;
use super::{EmbeddedError, Programs, log};

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
        let (log, log_start) = log::open(home)?;
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
        Ok(Self { guard, child, log_keeper: log::keep_short(log, home.log()), log_start })
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
        log::tail(home, self.log_start)
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
