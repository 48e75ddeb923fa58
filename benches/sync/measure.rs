//! What a process has cost: its own CPU and memory, PostgreSQL's CPU, the data server's.

use std::fs;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::Result;

/// How often a process is looked at while it runs.
const LOOK: Duration = Duration::from_millis(5);

/// Ticks of /proc's CPU times per second: the same on all of Linux's architectures that matter here.
const TICKS: f64 = 100.0;

/// CPU of a process with all its threads, and of its children that it has waited for; seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cpu {
    own: f64,
    reaped: f64,
}

/// The parent and the CPU of a process, from /proc/PID/stat.
fn stat(pid: u32) -> Option<(u32, Cpu)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / TICKS);
    let cpu = Cpu { own: seconds(11)? + seconds(12)?, reaped: seconds(13)? + seconds(14)? };
    Some((fields.get(1)?.parse().ok()?, cpu))
}

/// CPU seconds of a process, without its children.
pub fn cpu_of(pid: u32) -> Result<f64> {
    Ok(stat(pid).ok_or("a process that is measured has ended")?.1.own)
}

/// CPU seconds of a process and all its children, those that have ended included.
pub fn cpu_of_family(parent: u32) -> Result<f64> {
    loop {
        let before = stat(parent).ok_or("PostgreSQL has ended")?.1;
        let mut children = 0.0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let pid = entry.file_name().to_string_lossy().parse().ok();
            if let Some((of, cpu)) = pid.and_then(stat)
                && of == parent
            {
                children += cpu.own + cpu.reaped;
            }
        }
        // A child that ended in between would be missing, or counted twice.
        let after = stat(parent).ok_or("PostgreSQL has ended")?.1;
        if before.reaped == after.reaped {
            return Ok(after.own + after.reaped + children);
        }
    }
}

/// What a process that has ended did.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on standard output.
    pub output: String,
    /// Seconds from its start to its end.
    pub wall: f64,
    /// CPU seconds.
    pub cpu: f64,
    /// The most memory that was resident at any time, in KiB.
    pub peak_kib: u64,
    /// Memory that was resident: (seconds since the start, KiB).
    pub resident: Vec<(f64, u64)>,
}

/// Runs a process to its end. Only one at a time: its CPU is that of all children that end meanwhile.
pub fn run(command: &mut Command) -> Result<Ran> {
    let before = children_cpu()?;
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("no standard output")?;
    let reader = std::thread::spawn(move || std::io::read_to_string(output));
    let (mut peak_kib, mut resident) = (0, Vec::new());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Some(memory) = memory(child.id()) {
            peak_kib = memory.peak_kib;
            resident.push((begun.elapsed().as_secs_f64(), memory.resident_kib));
        }
        std::thread::sleep(LOOK);
    };
    let wall = begun.elapsed().as_secs_f64();
    let output = reader.join().map_err(|_| "reading standard output failed")??;
    Ok(Ran { status, output, wall, cpu: children_cpu()? - before, peak_kib, resident })
}

/// Memory of a process.
pub struct Memory {
    /// What is resident now.
    pub resident_kib: u64,
    /// The most that ever was.
    pub peak_kib: u64,
}

/// The memory of a process; `None`: it has ended. Asked of the process itself: what the system reports at its end may
/// carry over the size of the one that started it.
pub fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some(Memory { resident_kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
}

fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// What the machine has to do besides: the load of the last minute.
pub fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or("?").to_owned()
}
