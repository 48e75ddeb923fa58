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

/// The same, with so many descriptors and no more.
pub fn limited(descriptors: u32) -> Command {
    let program = argos_sync();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null());
    command
}
