//! The demo's directory: whose it is, and that only one demo is at work in it.
//!
//! ```text
//! demo.lock        held for as long as a demo runs here; says which process
//! demo.log         the daemon's log
//! postgres/        the private cluster (see `embedded`)
//! simulator.json   the simulator's state
//! ```

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

use super::other;
use crate::app::AppError;

/// Also the mark by which a directory is known to be a demo's.
const LOCK: &str = "demo.lock";

/// The log starts anew past this.
const LOG_LIMIT: u64 = 8 * 1024 * 1024;

/// A directory that is ours for as long as this lives.
pub(super) struct Place {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Place {
    /// Makes the directory if it is missing and takes it, unless another demo has it.
    pub(super) fn open(dir: &Path) -> Result<Self, AppError> {
        let failed =
            |doing: &str, error: std::io::Error| other(format!("the demo cannot {doing} {}: {error}", dir.display()));
        make(dir).map_err(|error| failed("create", error))?;
        let dir = dir.canonicalize().map_err(|error| failed("find", error))?;
        let owner = dir.metadata().map_err(|error| failed("look at", error))?.uid();
        if owner != geteuid().as_raw() {
            return Err(other(format!(
                "{} belongs to another user (number {owner}): run the demo as that user, or name another directory with --dir",
                dir.display()
            )));
        }
        let mut entries = dir.read_dir().map_err(|error| failed("read", error))?;
        if entries.next().is_some() && !dir.join(LOCK).exists() {
            return Err(other(format!(
                "{} holds something that is not a demo's: name an empty or new directory with --dir",
                dir.display()
            )));
        }
        let file = open(&dir.join(LOCK), OpenOptions::new().read(true).write(true).create(true))
            .map_err(|error| failed("open its lock in", error))?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut process = String::new();
                let _ = file.read_to_string(&mut process);
                return Err(other(format!(
                    "another argos-sync demo is at work in {} (process {}): stop it, or name another directory with --dir",
                    dir.display(),
                    process.trim()
                )));
            }
            Err((_, errno)) => return Err(failed("lock", errno.into())),
        };
        // Only for the sentence above.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { dir, _lock: lock })
    }

    /// The directory, without links.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where log lines go.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("demo.log")
    }

    /// The log, to append to.
    pub(super) fn log_file(&self) -> Result<File, AppError> {
        let path = self.log();
        let long = path.metadata().is_ok_and(|meta| meta.len() > LOG_LIMIT);
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        let opened = open(&path, &mut options).and_then(|file| {
            if long {
                file.set_len(0)?;
            }
            Ok(file)
        });
        opened.map_err(|error| other(format!("the demo cannot open {}: {error}", path.display())))
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    options.mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

/// Root's PostgreSQL is run by another user, who must pass through.
fn make(dir: &Path) -> std::io::Result<()> {
    let root = geteuid().is_root();
    let dir = std::path::absolute(dir)?;
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ if root => std::fs::set_permissions(dir, Permissions::from_mode(0o711))?,
            _ => {}
        }
    }
    Ok(())
}
