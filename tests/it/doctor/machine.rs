//! The port, the clocks, the private PostgreSQL.

use std::net::TcpListener;

use super::*;
use crate::support::daemon::Daemon;
use crate::support::postgres::reachable;

#[tokio::test]
async fn a_taken_port_is_told_and_who_has_it() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let told = doctor(&vendor, &database, &[("http.listen", &address)]).await;
    told.ends_with(8);
    told.has("http.listen", "failed", &[&address, "change http.listen, or stop what uses the port"]);

    // Another web server: the simulator is one.
    let told = doctor(&vendor, &database, &[("http.listen", &vendor.addr().to_string())]).await;
    told.ends_with(8);

    let told = doctor(&vendor, &database, &[("http.listen", "192.0.2.1:9464")]).await;
    told.ends_with(8);
    told.has("http.listen", "failed", &["does not have the address"]);

    let told = doctor(&vendor, &database, &[("http.listen", "0.0.0.0:0")]).await;
    told.ends_with(0);
    told.has("status page", "note", &["no http.token_file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_on_the_port_is_no_failure() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let base_url = vendor.base_url();
    let environment = [
        ("ARGOS_SYNC__API__BASE_URL", base_url.as_str()),
        ("ARGOS_SYNC__API__KEY", "simulated-key"),
        ("ARGOS_SYNC__DATABASE__URL", &database.url),
        ("ARGOS_SYNC__LEASE__HOLDER", "sync-a"),
    ];
    let daemon = Daemon::start(&environment).await;
    program::eventually("it leads", async || {
        match database.number("select count(*) from argos.leases where holder = 'sync-a'").await {
            1 => Ok(()),
            none => Err(none),
        }
    })
    .await;
    let (address, database_url) = (daemon.address.to_string(), &database.url);
    let changes = [("http.listen", address.as_str()), ("database.hash_secret", "")];
    let told = Told::by(command(&base_url, database_url, &changes)).await;
    told.ends_with(0);
    told.has("http.listen", "note", &["another argos-sync", &address, "its loops turn", "Fine if that is the daemon"]);
    told.has("writer", "note", &["sync-a writes for project default"]);

    let changes = [&changes[..], &[("lease.holder", "sync-a")]].concat();
    let told = Told::by(command(&base_url, database_url, &changes)).await;
    told.has("writer", "note", &["No two may share the name"]);
    daemon.stop().await;
    let told = Told::by(command(&base_url, database_url, &changes)).await;
    told.has("writer", "ok", &["nobody writes"]);
}

#[tokio::test]
async fn clocks_that_disagree_are_told() {
    let database = Database::fresh().await;
    for (seconds, outcome, code, part) in [
        (30, "ok", 0, "agree"),
        (630, "note", 0, "10 min behind the vendor's"),
        (-7_300, "note", 0, "2 h ahead of the vendor's"),
        (-90_000, "failed", 1, "start_date"),
    ] {
        let vendor = vendor(with_faults(&format!("clock-skew={seconds}"))).await;
        let told = doctor(&vendor, &database, &[]).await;
        told.ends_with(code);
        let of_vendor = told.findings.iter().find(|one| one["check"] == "clock" && one["group"] == "vendor").unwrap();
        assert_eq!(of_vendor["outcome"], outcome, "{of_vendor}");
        assert!(of_vendor.to_string().contains(part), "{of_vendor}");
        told.has("clock", "ok", &["the database's agree"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_postgres_that_cannot_be_is_told() {
    let vendor = vendor(with_faults("")).await;
    let directory = tempfile::tempdir().unwrap();
    reachable(directory.path());
    let without = async |data_dir: &str, programs: Option<&str>| {
        let mut command = command(&vendor.base_url(), "", &[("database.data_dir", data_dir), ("database.url", "")]);
        if let Some(programs) = programs {
            command.env("PATH", "").env("ARGOS_SYNC_PG_BINDIR", programs);
        }
        Told::by(command).await
    };
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("empty")).unwrap();
    let told = without(&at("data"), Some(&at("empty"))).await;
    told.ends_with(7);
    told.has("private PostgreSQL", "failed", &["no PostgreSQL server programs", "Install", "database.url"]);
    assert!(told.checks("skipped").contains(&"all"), "{:?}", told.ended);

    std::fs::write(at("file"), "").unwrap();
    let told = without(&at("file/data"), None).await;
    told.ends_with(7);
    told.has("private PostgreSQL", "failed", &["check the path, its permissions and free space"]);

    std::fs::create_dir(at("others")).unwrap();
    std::fs::write(at("others/somebody's"), "").unwrap();
    let told = without(&at("others"), None).await;
    told.ends_with(7);
    told.has("private PostgreSQL", "failed", &["was not made by argos-sync"]);

    let told = without(&at("data"), None).await;
    told.ends_with(0);
    told.has("private PostgreSQL", "note", &["Fine on a laptop"]);
    told.has("schema", "note", &["run will do it"]);
    assert!(!std::path::Path::new(&at("data/postgres/postmaster.pid")).exists(), "it is stopped again");
}
