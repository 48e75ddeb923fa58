//! PostgreSQL as people have it: absent, refusing, too full, without rights, migrated by another release.

use std::net::{TcpListener, TcpStream};

use argos_sync::embedded::Cluster;
use argos_sync::store::database::options;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use super::*;
use crate::support::postgres::reachable;
use crate::support::relay::Relay;
use crate::support::rows::written;
use crate::support::world::World;

/// The database's URL, changed.
fn unlike(url: &str, change: impl FnOnce(PgConnectOptions) -> PgConnectOptions) -> String {
    change(options(url).unwrap()).to_url_lossy().to_string()
}

/// The same with another query part.
fn with_query(url: &str, query: &str) -> String {
    format!("{}?{query}", url.split('?').next().unwrap())
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_and_why() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("postgres://u:s3cret@{}/d", silent.local_addr().unwrap());
    let without_tls = with_query(&Relay::to(&database.url).await.url, "sslmode=require");
    let certificate = with_query(&format!("postgres://u:s3cret@127.0.0.1:{}/d", tls()), "sslmode=verify-full");
    let no_role = unlike(&database.url, |options| options.username("nobody_of_this_name").password("s3cret"));
    let no_database = unlike(&database.url, |options| options.database("nothing_of_this_name"));
    for (url, parts) in [
        ("postgres://u:s3cret@database.invalid/d", ["the name database.invalid is not known", "DNS"]),
        ("postgres://u:s3cret@127.0.0.1:1/d", ["no PostgreSQL listens there", "listen_addresses"]),
        (&silent, ["did not answer within 1s", "firewall"]),
        (&without_tls, ["offers no TLS", "ssl = on"]),
        (&certificate, ["UnknownIssuer", "sslrootcert"]),
        (&no_role, ["28", "refuses the user or password"]),
        (&no_database, ["3D000", "does not exist: create it"]),
    ] {
        let changes = [("database.connect_timeout", "1s")];
        let told = Told::by(command(&vendor.base_url(), url, &changes)).await;
        told.ends_with(4);
        told.has("connection", "failed", &parts);
        let depend = ["pooler", "server", "clock", "connections", "rights", "schema", "hash secret", "writer"];
        assert_eq!(told.checks("skipped"), depend);
        told.has("answer", "ok", &[]);
    }
}

/// A TLS server that speaks as much of PostgreSQL's protocol as comes before the certificate.
fn tls() -> u16 {
    use std::io::{Read, Write};

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    crate::support::world::install_tls();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../support/tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../support/tls/server.key")).unwrap();
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = |mut stream: TcpStream| {
                stream.read_exact(&mut [0; 8])?;
                stream.write_all(b"S")?;
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                rustls::StreamOwned::new(connection, stream).read(&mut [0; 1])
            };
            // The client ends it when it has seen the certificate.
            let _ = serve(stream);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_a_closed_door_and_a_standby_are_told() {
    let vendor = vendor(with_faults("")).await;
    let directory = tempfile::tempdir().unwrap();
    reachable(directory.path());
    let at = directory.path().join("cluster");
    let cluster = Cluster::start(&at).await.unwrap();
    let rules = "local all with_password scram-sha-256\nlocal all kept_out reject\nlocal all all trust\n";
    std::fs::write(cluster.data_dir().join("postgres/pg_hba.conf"), rules).unwrap();
    let admin = cluster.url("postgres");
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    for sql in
        ["create role with_password login password 's3cret'", "create role kept_out login", "select pg_reload_conf()"]
    {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let as_role = |role: &str| unlike(&admin, |options| options.username(role).password("s3cret-not"));
    let asked = async |url: &str| Told::by(command(&vendor.base_url(), url, &[])).await;
    let told = asked(&as_role("with_password")).await;
    told.ends_with(4);
    told.has("connection", "failed", &["28P01", "password authentication failed", "check database.url"]);
    let told = asked(&as_role("kept_out")).await;
    told.has("connection", "failed", &["pg_hba.conf", "add a line for this machine"]);
    cluster.stop().await.unwrap();

    std::fs::write(at.join("postgres/standby.signal"), "").unwrap();
    let cluster = Cluster::start(&at).await.unwrap();
    let told = asked(&cluster.url("postgres")).await;
    told.ends_with(4);
    told.has("server", "failed", &["standby", "primary"]);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_that_will_not_do_is_told() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let name = database.pool.connect_options().get_database().unwrap().to_owned();
    database.execute(&format!("alter database {name} set default_transaction_read_only = on")).await;
    let told = doctor(&vendor, &database, &[]).await;
    told.ends_with(4);
    told.has("server", "failed", &["default_transaction_read_only is on", "switch it off"]);

    let latin = format!("{name}_latin");
    let sql = format!("create database {latin} encoding 'LATIN1' locale 'C' template template0");
    // The other database of this test may not be written to by now.
    let admin = unlike(&database.url, |options| options.database("postgres"));
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    let told = Told::by(command(&vendor.base_url(), &unlike(&admin, |options| options.database(&latin)), &[])).await;
    let drop = format!("drop database {latin} with (force)");
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
    told.ends_with(4);
    told.has("server", "failed", &["LATIN1", "encoding 'UTF8'"]);
}

/// A role of a test's own, that may log in; dropped by [`Role::drop`].
struct Role<'d> {
    name: String,
    url: String,
    database: &'d Database,
}

impl<'d> Role<'d> {
    async fn new(database: &'d Database, name: &str, attributes: &str) -> Self {
        let name = format!("argos_doctor_{}_{name}", std::process::id());
        database.execute(&format!("create role {name} login password 's3cret' {attributes}")).await;
        let url = unlike(&database.url, |options| options.username(&name).password("s3cret"));
        Self { name, url, database }
    }

    async fn drop(self) {
        self.database.execute(&format!("drop owned by {0}; drop role {0}", self.name)).await;
    }
}

#[tokio::test]
async fn missing_rights_are_named_as_the_statements_that_grant_them() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let role = Role::new(&database, "rights", "").await;
    let base_url = vendor.base_url();
    let asked = async |changes: &[(&str, &str)]| {
        let changes = [&[("database.migrate", "false")], changes].concat();
        Told::by(command(&base_url, &role.url, &changes)).await
    };
    let told = asked(&[]).await;
    told.ends_with(4);
    let cure = told.findings.iter().find(|one| one["check"] == "rights").unwrap()["cure"].as_str().unwrap().to_owned();
    let statements: Vec<&str> = cure.lines().filter(|line| line.starts_with("grant ")).collect();
    assert_eq!(statements.len(), 9, "{cure}");
    assert_eq!(statements[0], format!("grant usage on schema argos to {};", role.name));
    for statement in &statements {
        database.execute(statement).await;
    }
    let told = asked(&[]).await;
    told.ends_with(0);
    told.has("rights", "ok", &[]);

    // One at a time: that statement, and no other.
    for grant in [
        "grant usage on schema argos to ROLE;",
        "grant insert on argos.leases to ROLE;",
        "grant update (item) on argos.submission_versions to ROLE;",
        "grant update, delete on argos.erasures, argos.walks to ROLE;",
    ] {
        let grant = grant.replace("ROLE", &role.name);
        database.execute(&grant.replace("grant ", "revoke ").replace(" to ", " from ")).await;
        let told = asked(&[]).await;
        let cure = told.says("rights", "failed");
        let named: Vec<&str> = cure.lines().filter(|line| line.starts_with("grant ")).collect();
        assert_eq!(named, [grant.as_str()]);
        database.execute(&grant).await;
    }
    let told = asked(&[("retention.outbox", "30d")]).await;
    told.has("rights", "failed", &[&format!("grant delete on argos.outbox to {};", role.name)]);
    role.drop().await;
}

#[tokio::test]
async fn a_schema_that_is_not_this_releases_is_told() {
    let vendor = vendor(with_faults("")).await;
    let bare = Database::bare().await;
    let told = doctor(&vendor, &bare, &[]).await;
    told.ends_with(0);
    told.has("schema", "note", &["not migrated", "run will do it"]);
    let told = doctor(&vendor, &bare, &[("database.migrate", "false")]).await;
    told.ends_with(4);
    told.has("schema", "failed", &["not migrated", "Run argos-sync migrate"]);
    let role = Role::new(&bare, "bare", "").await;
    let told = Told::by(command(&vendor.base_url(), &role.url, &[])).await;
    told.ends_with(4);
    told.has("schema", "failed", &[&role.name, "may not do it", "as the owner"]);
    role.drop().await;

    let database = Database::fresh().await;
    let last = "from argos._sqlx_migrations where version = (select max(version) from argos._sqlx_migrations)";
    database.execute(&format!("create table public.kept as select * {last}; delete {last}")).await;
    doctor(&vendor, &database, &[]).await.has("schema", "note", &["not migrated"]);
    database.execute("insert into argos._sqlx_migrations select * from public.kept").await;
    database.execute("update argos.compatibility set min_writer = 99").await;
    let told = doctor(&vendor, &database, &[]).await;
    told.ends_with(4);
    told.has("schema", "failed", &["newer argos-sync", "Install the newer"]);
    database.execute("update argos._sqlx_migrations set checksum = '\\x00' where version = 1").await;
    doctor(&vendor, &database, &[]).await.has("schema", "failed", &["another build"]);
}

#[tokio::test]
async fn a_database_with_no_room_is_told() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let role = Role::new(&database, "room", "connection limit 3").await;
    let asked = async || {
        // A session that was closed a moment ago may still count.
        let sessions = format!("select count(*) from pg_stat_activity where usename = '{}'", role.name);
        program::eventually("no session is left", async || match database.number(&sessions).await {
            0 => Ok(()),
            some => Err(some),
        })
        .await;
        Told::by(command(&vendor.base_url(), &role.url, &[("database.migrate", "false")])).await
    };
    asked().await.has("connections", "note", &["of 3 free", "the role (connection limit)", "max_connections"]);
    let name = database.pool.connect_options().get_database().unwrap().to_owned();
    let idle = database.number("select count(*) from pg_stat_activity where datname = current_database()").await;
    database.execute(&format!("alter database {name} connection limit {}", idle + 3)).await;
    database.execute(&format!("alter role {} connection limit -1", role.name)).await;
    asked().await.has("connections", "note", &["the database (connection limit)"]);
    database.execute(&format!("alter database {name} connection limit -1")).await;
    database.execute(&format!("alter role {} connection limit 1", role.name)).await;
    let told = asked().await;
    told.ends_with(4);
    told.has("pooler", "failed", &["53300", "No connection is left"]);
    role.drop().await;
}

#[tokio::test]
async fn another_hash_secret_is_told_once_something_was_hashed() {
    let world = World::new(Options { initial: 20, ..Options::default() }).await;
    let other = "ab".repeat(32);
    let changes = [("database.hash_secret", other.as_str())];
    let told = doctor(&world.simulator, &world.database, &changes).await;
    told.ends_with(0);
    told.has("hash secret", "ok", &["the configured one fits"]);
    world.engine().await.once().await.unwrap();
    let told = doctor(&world.simulator, &world.database, &changes).await;
    told.ends_with(4);
    told.has("hash secret", "failed", &["database.hash_secret differs", "Remove database.hash_secret"]);
}

#[tokio::test]
async fn nothing_is_written_and_no_lease_is_taken() {
    let world = World::new(Options { initial: 20, ..Options::default() }).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    engine.release().await.unwrap();
    let places = "select xmin, ctid, 'l', l::text from argos.leases l union all
                  select xmin, ctid, 'p', p::text from argos.projects p union all
                  select xmin, ctid, 's', s::text from argos.secret s union all
                  select xmin, ctid, 'b', b::text from argos.request_budget b union all
                  select xmin, ctid, 'w', w::text from argos.walks w order by 3, 4";
    let before = (written(&world.database).await, world.database.fingerprint(places).await);
    // Another key than the one that its submissions came with: the longest way through.
    let other = vendor(Options { initial: 20, api_key: "s3cret".to_owned(), ..Options::default() }).await;
    let told = doctor(&other, &world.database, &[("api.key", "s3cret")]).await;
    told.ends_with(0);
    told.has("project", "ok", &["3 of 3 stored submissions"]);
    assert_eq!((written(&world.database).await, world.database.fingerprint(places).await), before);
}

#[tokio::test]
async fn a_database_that_hangs_holds_nothing_up() {
    let (vendor, database) = (vendor(with_faults("stall")).await, Database::fresh().await);
    // What doctor reads waits for somebody's lock, and the vendor never answers.
    let mut lock = database.pool.begin().await.unwrap();
    sqlx::query("lock table argos._sqlx_migrations").execute(&mut *lock).await.unwrap();
    let told = doctor(&vendor, &database, &[]).await;
    told.ends_with(4);
    told.has("schema", "failed", &["57014"]);
    told.has("answer", "failed", &["did not answer in time"]);
    lock.rollback().await.unwrap();
}
