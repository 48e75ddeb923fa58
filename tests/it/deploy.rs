//! What is shipped in `deploy/` is what its tools accept, and fits the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The most that `systemd-analyze security` may count against the unit, in tenths: what remains is that it uses the network.
const EXPOSURE: &str = "15";

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap()
}

/// What a tool says; `None`: it is not installed (tests/setup installs it where it may).
fn said_by(mut command: Command) -> Option<(Output, String)> {
    let Ok(output) = command.output() else {
        eprintln!("{} is not installed: not checked", command.get_program().display());
        return None;
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output, text))
}

#[test]
fn the_unit_is_right_and_gives_the_daemon_few_rights() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("argos-sync.service");
    // Where the program is while it is tested.
    let program = format!("ExecStart={}", env!("CARGO_BIN_EXE_argos-sync"));
    let text = read("systemd/argos-sync.service");
    assert!(text.contains("\nExecStart=argos-sync run "), "{text}");
    std::fs::write(&unit, text.replace("ExecStart=argos-sync", &program)).unwrap();
    let systemd_analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", directory.path().display()));
        command.args(["--no-pager", "--man=no"]).args(arguments).arg(&unit);
        said_by(command)
    };
    let Some((verified, said)) = systemd_analyze(&["verify"]) else { return };
    assert!(verified.status.success() && said.is_empty(), "{said}");
    let (rated, said) = systemd_analyze(&["security", "--offline=true", "--threshold", EXPOSURE]).unwrap();
    assert!(rated.status.success(), "{said}");
}
