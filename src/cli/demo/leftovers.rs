//! Whether anything outlives the demo. Looked at from outside, after everything says that it has ended.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::embedded::Cluster;

/// Where a demo could leave something.
pub(super) struct Traces {
    server: Option<i32>,
    files: Vec<PathBuf>,
    ports: Vec<SocketAddr>,
}

impl Traces {
    /// Of a running cluster and of ports.
    pub(super) fn of(cluster: &Cluster, ports: Vec<SocketAddr>) -> Self {
        let lock = cluster.data_dir().join("postgres/postmaster.pid");
        let server = std::fs::read_to_string(&lock).ok().and_then(|text| text.lines().next()?.trim().parse().ok());
        Self { server, files: vec![lock, cluster.socket_dir().join(".s.PGSQL.5432")], ports }
    }

    /// What is left.
    pub(super) async fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        // Signal 0 asks whether the process is there; a permission error says that it is.
        if let Some(server) = self.server
            && kill(Pid::from_raw(server), None) != Err(nix::errno::Errno::ESRCH)
        {
            left.push(format!("process {server}"));
        }
        left.extend(self.files.iter().filter(|file| file.exists()).map(|file| file.display().to_string()));
        for port in &self.ports {
            if matches!(timeout(Duration::from_secs(1), TcpStream::connect(port)).await, Ok(Ok(_))) {
                left.push(port.to_string());
            }
        }
        left
    }
}
