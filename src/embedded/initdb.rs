//! Making a new cluster.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Output;

use super::home::Home;
use super::{EmbeddedError, Programs, log};

/// Preferences: written once behind what initdb wrote, for the operator to change.
const PREFERENCES: &str = "
# Below: from argos-sync, once, when it made this cluster. Change what you like; durability (fsync, synchronous_commit,
# full_page_writes) is best left on. Connections, logging and the time zone are set on the command line.
max_connections = 100
max_wal_size = '512MB'
jit = off
";

/// Makes the cluster beside its place and moves it there when it is complete, so that a killed initdb leaves nothing
/// that looks like a cluster.
pub(super) async fn run(home: &Home, programs: &Programs) -> Result<(), EmbeddedError> {
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
    let mut output = initdb(home, programs, staging, "C.UTF-8").await?;
    if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("locale") {
        output = initdb(home, programs, staging, "C").await?;
    }
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(EmbeddedError::Initdb { status: output.status, output: log::last_lines(&said) });
    }
    let conf = staging.join("postgresql.conf");
    let mut file = home.open_file(&conf, OpenOptions::new().append(true))?;
    let written = file.write_all(PREFERENCES.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(EmbeddedError::io("write", conf))
}

async fn initdb(home: &Home, programs: &Programs, staging: &Path, locale: &str) -> Result<Output, EmbeddedError> {
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
