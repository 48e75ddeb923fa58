//! Finding PostgreSQL's server programs, and saying how to install them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// Older servers are not tested with and soon without support.
const OLDEST: u32 = 15;

/// A directory that holds `postgres` and `initdb`, version 15 or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    dir: PathBuf,
    major: u32,
}

impl Programs {
    /// Looks in `ARGOS_SYNC_PG_BINDIR` alone if it is set; else in `PATH`, then where packages install, the highest
    /// version first.
    pub fn find() -> Result<Self, EmbeddedError> {
        choose(&candidates(), None)
    }

    /// As [`Programs::find`], but the version that made the cluster in `data_dir`.
    pub(super) fn find_for(data_dir: &Path, cluster: Option<u32>) -> Result<Self, EmbeddedError> {
        choose(&candidates(), cluster.map(|major| (data_dir, major)))
    }

    /// The directory of the programs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// PostgreSQL's major version, for example 17.
    pub fn major(&self) -> u32 {
        self.major
    }
}

fn candidates() -> Vec<PathBuf> {
    if let Some(dir) = std::env::var_os("ARGOS_SYNC_PG_BINDIR").filter(|dir| !dir.is_empty()) {
        return vec![dir.into()];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for (parent, prefix, inner) in [
        ("/usr/lib/postgresql", "", "bin"), // Debian, Ubuntu
        ("/usr", "pgsql-", "bin"),          // PGDG on Fedora, RHEL
        ("/usr/lib", "postgresql", "bin"),  // openSUSE
        ("/usr/libexec", "postgresql", ""), // Alpine
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
    ] {
        dirs.extend(versions(Path::new(parent), prefix, inner));
    }
    dirs
}

/// `parent/prefixN/inner`, the highest N first.
fn versions(parent: &Path, prefix: &str, inner: &str) -> Vec<PathBuf> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let version = name.to_str().and_then(|name| name.strip_prefix(prefix)).map(|rest| rest.trim_start_matches('@'));
        if let Some(version) = version.and_then(|version| version.parse::<u32>().ok()) {
            found.insert(version, entry.path().join(inner));
        }
    }
    found.into_values().rev().collect()
}

fn choose(candidates: &[PathBuf], cluster: Option<(&Path, u32)>) -> Result<Programs, EmbeddedError> {
    let found: Vec<Programs> = candidates.iter().filter_map(|dir| look(dir)).collect();
    let Some(newest) = found.iter().max_by_key(|programs| programs.major) else {
        return Err(EmbeddedError::NotFound { searched: list(candidates), advice: advice() });
    };
    if newest.major < OLDEST {
        return Err(EmbeddedError::TooOld { newest: newest.major, dir: newest.dir.clone(), advice: advice() });
    }
    let wanted = |programs: &&Programs| match cluster {
        Some((_, major)) => programs.major == major,
        None => programs.major >= OLDEST,
    };
    match (found.iter().find(wanted), cluster) {
        (Some(programs), _) => Ok(programs.clone()),
        (None, Some((data_dir, cluster))) => {
            let mut majors: Vec<String> = found.iter().map(|programs| programs.major.to_string()).collect();
            majors.dedup();
            Err(EmbeddedError::OtherMajor { data_dir: data_dir.into(), cluster, found: majors.join(", ") })
        }
        (None, None) => unreachable!("the newest is new enough"),
    }
}

fn look(dir: &Path) -> Option<Programs> {
    // A relative PATH entry would name another directory for the server, whose working directory is `/`.
    if !dir.is_absolute() || !dir.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    let major = major(std::str::from_utf8(&output.stdout).ok()?)?;
    Some(Programs { dir: dir.into(), major })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15; `postgres (PostgreSQL) 18beta1` is 18.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

fn list(dirs: &[PathBuf]) -> String {
    if let [only] = dirs {
        return only.display().to_string();
    }
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    format!("PATH or the usual places ({})", dirs.join(", "))
}

fn advice() -> String {
    if cfg!(target_os = "macos") {
        return "brew install postgresql@17".into();
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    match install_command(&release) {
        Some(command) if nix::unistd::geteuid().is_root() => command,
        Some(command) => format!("sudo sh -c '{command}'"),
        None => "with your system's package manager, the package of the PostgreSQL server".into(),
    }
}

/// The command (free of single quotes) that installs a PostgreSQL of at least 15 on the system that `os_release`
/// describes.
fn install_command(os_release: &str) -> Option<String> {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    let version = field("VERSION_ID");
    // Debian's testing and sid, and Arch, have no version: they are new enough.
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(u32::MAX);
    let (id, like) = (field("ID"), field("ID_LIKE"));
    let family = [id.as_str()].into_iter().chain(like.split(' '));
    for name in family {
        let command = match name {
            // A derivative (ID_LIKE) counts versions in its own way; ask for the vendor-neutral repository only where
            // the distribution is known to ship an older server.
            "debian" | "ubuntu" => {
                let old = (id == "debian" && major < 12) || (id == "ubuntu" && major < 24);
                debian(old)
            }
            "fedora" | "rhel" | "centos" => {
                let module = id != "fedora" && matches!(major, 8 | 9);
                let install =
                    if module { "module install -y postgresql:16/server" } else { "install -y postgresql-server" };
                format!("dnf {install}")
            }
            "alpine" => "apk add postgresql17".into(),
            "arch" => "pacman -S --noconfirm postgresql".into(),
            "suse" | "opensuse" => "zypper install -y postgresql-server".into(),
            _ => continue,
        };
        return Some(command);
    }
    None
}

/// Debian's package makes and starts a cluster of its own when it is installed; a drop-in turns that off beforehand.
/// (Writing `createcluster.conf` itself would make ucf ask a question during the installation.)
fn debian(old: bool) -> String {
    let dir = "/etc/postgresql-common/createcluster.d";
    let quiet =
        format!("mkdir -p {dir} && echo \"create_main_cluster = false\" > {dir}/argos-sync.conf && apt-get update");
    if old {
        let repository = "/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y";
        format!(
            "{quiet} && apt-get install -y postgresql-common ca-certificates && {repository} && apt-get install -y postgresql-17"
        )
    } else {
        format!("{quiet} && apt-get install -y postgresql")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(root: &Path, version: &str) -> PathBuf {
        let dir = root.join(version);
        std::fs::create_dir(&dir).unwrap();
        for program in ["initdb", "postgres"] {
            let script = format!("#!/bin/sh\necho '{program} (PostgreSQL) {version} (Fake)'\n");
            std::fs::write(dir.join(program), script).unwrap();
            std::fs::set_permissions(dir.join(program), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("postgres (EnterpriseDB) x"), None);
    }

    #[test]
    fn the_first_that_fits_is_chosen() {
        let root = tempfile::tempdir().unwrap();
        let dirs: Vec<PathBuf> = ["13.9", "16.1", "17.2"].map(|version| fake(root.path(), version)).into();
        let dirs = [vec![root.path().join("absent")], dirs].concat();
        let data = Path::new("/data");
        assert_eq!(choose(&dirs, None).unwrap().major(), 16);
        assert_eq!(choose(&dirs, Some((data, 17))).unwrap().major(), 17);
        assert!(matches!(choose(&dirs[..2], None), Err(EmbeddedError::TooOld { newest: 13, .. })));
        assert!(matches!(choose(&dirs[..1], None), Err(EmbeddedError::NotFound { .. })));
        let error = choose(&dirs, Some((data, 15))).unwrap_err().to_string();
        assert!(error.contains("/data was made by PostgreSQL 15, but only 13, 16, 17 is installed"), "{error}");
    }

    #[test]
    fn the_highest_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for name in ["postgresql@9", "postgresql@16", "postgresql15", "postgresql", "mysql@8"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let found = versions(root.path(), "postgresql", "bin");
        let expected = ["postgresql@16/bin", "postgresql15/bin", "postgresql@9/bin"].map(|name| root.path().join(name));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_advice_fits_the_system() {
        let on = |release: &str| install_command(release).unwrap_or_default();
        let bookworm = on("PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert!(bookworm.contains("create_main_cluster = false"), "{bookworm}");
        assert!(bookworm.ends_with("apt-get install -y postgresql"), "{bookworm}");
        assert!(on("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"22.04\"").ends_with("postgresql-17"));
        assert!(on("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"22\"").ends_with("-y postgresql"));
        assert_eq!(on("ID=fedora\nVERSION_ID=41"), "dnf install -y postgresql-server");
        let rocky = on("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"");
        assert_eq!(rocky, "dnf module install -y postgresql:16/server");
        assert_eq!(on("ID=plan9"), "");
        assert!(!bookworm.contains('\''));
    }
}
