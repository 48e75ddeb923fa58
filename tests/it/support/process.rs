//! The real program, as a process.

use std::process::{Command, Stdio};

/// `argos-sync` with a clean environment.
pub fn argos_sync() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_argos-sync"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ARGOS_SYNC")
            || ["DATABASE_URL", "NOTIFY_SOCKET", "WATCHDOG_USEC"].iter().any(|other| name == *other)
        {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}
