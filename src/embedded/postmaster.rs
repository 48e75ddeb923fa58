//! What PostgreSQL's own lock file, postmaster.pid, says about a server that is not our child.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::EmbeddedError;
use super::home::Home;

/// True if a server process is there that is not our child, be it serving, starting or stopping: one that is being
/// stopped by the guard of a killed argos-sync, or one started by hand.
pub(super) fn is_running(home: &Home) -> bool {
    lock_file(home).is_some_and(|(pid, _)| is_postgres_on(pid, &home.pgdata()))
}

/// The process id and the socket directory in postmaster.pid.
pub(super) fn lock_file(home: &Home) -> Option<(Pid, Option<String>)> {
    let text = std::fs::read_to_string(home.pgdata().join("postmaster.pid")).ok()?;
    let pid = text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)?;
    let socket_dir = text.lines().nth(4).map(str::trim).filter(|dir| dir.starts_with('/'));
    Some((Pid::from_raw(pid), socket_dir.map(str::to_owned)))
}

/// Process ids are used again (after a reboot or in a new container soon), also for other servers: the command line
/// tells.
fn is_postgres_on(pid: Pid, pgdata: &Path) -> bool {
    if matches!(kill(pid, None), Err(Errno::ESRCH)) {
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
    if !lock_file(home).as_ref().is_some_and(stale) {
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
