//! The real program, as a process.

use std::process::{Command, Stdio};

/// Another build of the program to test, such as one with a mistake in it that a test must notice.
const PROGRAM: &str = "ARGOS_SYNC_TEST_PROGRAM";

/// `argos-sync` with a clean environment.
pub fn argos_sync() -> Command {
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_argos-sync").into());
    let mut command = Command::new(program);
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
