//! The directory a cluster lives in: whose it is, what is where, and who holds it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::{Uid, geteuid};
use tokio::process::Command;

use super::EmbeddedError;
use super::account::{Account, name_of};

/// Also the mark by which a directory is known to be ours.
const LOCK: &str = "argos-sync.lock";

/// What a socket's path may be long; the systems allow 104 to 108.
const SOCKET_PATH_LIMIT: usize = 100;

/// Passes if the server's user can enter each of the arguments, else prints the first one it cannot.
const CAN_ENTER: &str = r#"for dir; do (cd -- "$dir") 2>/dev/null || { printf %s "$dir"; exit 1; }; done"#;

/// An opened data directory.
///
/// ```text
/// argos-sync.lock   held for as long as an argos-sync owns the server
/// postgres/         PostgreSQL's own files; renamed into place when initdb is through
/// initdb-*          an initdb at work, or one that was killed
/// server.log        the server's log
/// .s.PGSQL.5432     the socket, unless its path would be too long
/// ```
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    account: Account,
}

impl Home {
    /// Makes the directory if it is missing, checks that it is ours, and gives it to the server's user.
    pub(super) async fn open(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let (dir, missing) = resolve(data_dir)?;
        let owner = match missing.last() {
            Some(_) => None,
            None => Some(dir.metadata().map_err(EmbeddedError::io("look at", &dir))?.uid()),
        };
        let account = Account::choose(owner.map(Uid::from_raw))?;
        if let Some(owner) = owner.map(Uid::from_raw)
            && !account.switch
            && owner != account.uid
        {
            return Err(EmbeddedError::WrongOwner { dir, owner: name_of(owner), us: account.name });
        }
        if missing.is_empty() {
            let mut entries = dir.read_dir().map_err(EmbeddedError::io("read", &dir))?;
            if entries.next().is_some() && !dir.join(LOCK).exists() {
                return Err(EmbeddedError::NotOurs { dir });
            }
        }
        let home = Self { dir, account };
        home.check_reachable(&missing).await?;
        home.make(&missing)?;
        Ok(home)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// PostgreSQL's data directory.
    pub(super) fn pgdata(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Who runs the server.
    pub(super) fn user(&self) -> &str {
        &self.account.name
    }

    /// A program run as the server's user, in a process group of its own (Ctrl-C in a terminal is for argos-sync
    /// alone) and without our environment, which may hold secrets or `PG*` variables that would change the server.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("LC_ALL", "C").current_dir("/").process_group(0).stdin(Stdio::null());
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if self.account.switch {
            // Setting the user as root also drops root's supplementary groups.
            command.uid(self.account.uid.as_raw()).gid(self.account.gid.as_raw());
        }
        command
    }

    /// Takes the lock that makes us the owner of the server; `None` if another process (or part of this one) holds it.
    pub(super) fn try_own(&self) -> Result<Option<Flock<File>>, EmbeddedError> {
        let path = self.dir.join(LOCK);
        let lock = self.open_file(&path, OpenOptions::new().read(true).write(true).create(true))?;
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(EmbeddedError::io("lock", path)(errno.into())),
        }
    }

    /// Opens (or makes) a file in a directory of the server's user. That user could have put a link there, and root
    /// must not follow it.
    pub(super) fn open_file(&self, path: &Path, options: &mut OpenOptions) -> Result<File, EmbeddedError> {
        let mut open = || {
            let file = options.mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
            self.give(&file)?;
            Ok(file)
        };
        open().map_err(EmbeddedError::io("open", path))
    }

    /// A new directory (0700) of the server's user.
    pub(super) fn make_dir(&self, path: &Path) -> Result<(), EmbeddedError> {
        let make = || {
            DirBuilder::new().mode(0o700).create(path)?;
            self.give(&File::open(path)?)
        };
        make().map_err(EmbeddedError::io("create", path))
    }

    fn give(&self, file: &File) -> std::io::Result<()> {
        let Account { uid, gid, switch, .. } = &self.account;
        if *switch && file.metadata()?.uid() != uid.as_raw() {
            fchown(file, Some(uid.as_raw()), Some(gid.as_raw()))?;
        }
        Ok(())
    }

    /// The major version that made the cluster; `None` if there is no cluster yet.
    pub(super) fn cluster_major(&self) -> Result<Option<u32>, EmbeddedError> {
        let path = self.pgdata().join("PG_VERSION");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let unreadable =
                    || std::io::Error::new(ErrorKind::InvalidData, format!("it holds {text:?}, not a version"));
                let major = text.trim().parse().map_err(|_| EmbeddedError::io("understand", &path)(unreadable()))?;
                Ok(Some(major))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::io("read", path)(error)),
        }
    }

    /// Where the socket is put: here, or in a short directory if the path would be too long for a socket (or hold
    /// characters that mean something in PostgreSQL's settings). The short one is made if it is missing.
    pub(super) fn socket_dir(&self) -> Result<PathBuf, EmbeddedError> {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-".contains(b);
        let path = self.dir.as_os_str().as_encoded_bytes();
        if path.len() + "/.s.PGSQL.5432".len() <= SOCKET_PATH_LIMIT && path.iter().all(plain) {
            return Ok(self.dir.clone());
        }
        let uid = self.account.uid;
        let run = PathBuf::from(format!("/run/user/{uid}"));
        let base = match run.symlink_metadata() {
            Ok(meta) if meta.is_dir() && meta.uid() == uid.as_raw() => run,
            _ => "/tmp".into(),
        };
        let dir = base.join(format!("argos-sync-{}", &blake3::hash(path).to_hex()[..16]));
        self.make_private(&dir)?;
        Ok(dir)
    }

    /// Anybody may have made `dir` before us: it is used only if it is a real directory that nobody else can enter.
    fn make_private(&self, dir: &Path) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(EmbeddedError::io("create", dir)(error));
            }
            _ => {}
        }
        let meta = dir.symlink_metadata().map_err(EmbeddedError::io("look at", dir))?;
        let (uid, gid) = (self.account.uid.as_raw(), self.account.gid.as_raw());
        let ours = meta.uid() == uid || meta.uid() == geteuid().as_raw();
        if !meta.is_dir() || !ours || meta.mode() & 0o077 != 0 {
            return Err(EmbeddedError::UnsafeSocketDir { dir: dir.into() });
        }
        if meta.uid() != uid {
            lchown(dir, Some(uid), Some(gid)).map_err(EmbeddedError::io("hand over", dir))?;
        }
        Ok(())
    }

    async fn check_reachable(&self, missing: &[PathBuf]) -> Result<(), EmbeddedError> {
        if !self.account.switch {
            return Ok(());
        }
        let mut way: Vec<&Path> =
            self.dir.ancestors().skip(1).filter(|dir| !missing.iter().any(|made| made == dir)).collect();
        way.reverse();
        let mut sh = self.command("/bin/sh");
        sh.args(["-c", CAN_ENTER, "argos-sync"]).args(way);
        let output = sh.output().await.map_err(|source| self.spawn_error("/bin/sh", source))?;
        if output.status.success() {
            return Ok(());
        }
        Err(EmbeddedError::Unreachable {
            data_dir: self.dir.clone(),
            at: String::from_utf8_lossy(&output.stdout).into_owned().into(),
            user: self.account.name.clone(),
        })
    }

    pub(super) fn spawn_error(&self, program: impl Into<PathBuf>, source: std::io::Error) -> EmbeddedError {
        EmbeddedError::Spawn { program: program.into(), user: self.account.name.clone(), source }
    }

    fn make(&self, missing: &[PathBuf]) -> Result<(), EmbeddedError> {
        for dir in missing {
            // Two starts may make them at the same time.
            match DirBuilder::new().mode(0o700).create(dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(EmbeddedError::io("create", dir)(error));
                }
                _ => {}
            }
            // Those on the way stay root's; the server's user only passes through.
            if self.account.switch && *dir != self.dir {
                let passage = Permissions::from_mode(0o711);
                std::fs::set_permissions(dir, passage).map_err(EmbeddedError::io("open the way through", dir))?;
            }
        }
        let own = || {
            let flags = (OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY).bits();
            let dir = OpenOptions::new().read(true).custom_flags(flags).open(&self.dir)?;
            self.give(&dir)?;
            dir.set_permissions(Permissions::from_mode(0o700))
        };
        own().map_err(EmbeddedError::io("take over", &self.dir))
    }
}

/// The absolute path without links, and the part of it that does not exist yet, outermost first.
fn resolve(data_dir: &Path) -> Result<(PathBuf, Vec<PathBuf>), EmbeddedError> {
    let path = std::path::absolute(data_dir).map_err(EmbeddedError::io("find", data_dir))?;
    for existing in path.ancestors() {
        match existing.canonicalize() {
            Ok(real) => {
                let mut dir = real;
                let rest = path.strip_prefix(existing).expect("an ancestor is a prefix");
                let missing = rest.components().map(|component| {
                    dir.push(component);
                    dir.clone()
                });
                let missing = missing.collect();
                return Ok((dir, missing));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(EmbeddedError::io("find", existing)(error)),
        }
    }
    Err(EmbeddedError::io("find", data_dir)(ErrorKind::NotFound.into()))
}

/// Where a cluster of this name lives unless a setting says otherwise: `/var/lib/argos-sync/<name>` for root, else
/// `$XDG_STATE_HOME/argos-sync/<name>`, which is usually `~/.local/state/argos-sync/<name>`.
pub fn default_data_dir(name: &str) -> PathBuf {
    let xdg = || std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || std::env::home_dir().filter(|dir| dir.is_absolute()).map(|home| home.join(".local/state"));
    let state = if geteuid().is_root() { "/var/lib".into() } else { xdg().or_else(home).unwrap_or("/var/tmp".into()) };
    state.join("argos-sync").join(name)
}
