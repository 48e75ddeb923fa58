//! The limit: the same rows, loaded by COPY into the same tables with the same indexes, in one transaction. What has to be
//! fetched, split, compared and decided beforehand is not in it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};

use crate::Result;
use crate::stage::{Stage, connect, execute};

/// The argument that makes the bench the loader.
pub const LOAD: &str = "load-tables";

/// What an import writes, in an order that foreign keys allow.
const TABLES: [&str; 11] = [
    "projects",
    "created_days",
    "counters",
    "submissions",
    "attempts",
    "aml_matches",
    "bank_verifications",
    "submission_views",
    "submission_versions",
    "alerts",
    "outbox",
];

/// Has PostgreSQL write every table of a database into a file, as COPY gives it. The files lie where it can write.
pub async fn dump(stage: &Stage, database: &str) -> Result<()> {
    let mut connection = connect(&stage.cluster, database).await?;
    for table in TABLES {
        let path = file_of(stage.cluster.data_dir(), table);
        execute(&mut connection, &format!("copy argos.{table} to '{}'", path.display())).await?;
    }
    Ok(connection.close().await?)
}

/// The command that loads those files into a database: a process of its own, as psql would be.
pub fn command(stage: &Stage, database: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(LOAD).arg(stage.cluster.data_dir()).arg(stage.cluster.url(database));
    Ok(command)
}

fn file_of(directory: &Path, table: &str) -> PathBuf {
    directory.join(format!("bench-{table}.copy"))
}

/// Loads the files. Arguments: their directory, and the database's URL.
pub async fn run(arguments: &[String]) -> Result<()> {
    let [directory, url] = arguments else { return Err("DIRECTORY URL".into()) };
    let mut connection = PgConnection::connect_with(&url.parse::<PgConnectOptions>()?).await?;
    connection.execute("begin").await?;
    for table in TABLES {
        let sql = format!("copy argos.{table} from stdin");
        copy_in(&mut connection, &sql, File::open(file_of(Path::new(directory), table))?).await?;
    }
    connection.execute("commit").await?;
    Ok(connection.close().await?)
}

/// Sends a file to a COPY.
pub async fn copy_in(connection: &mut PgConnection, sql: &str, mut file: File) -> Result<()> {
    let mut copy = connection.copy_in_raw(sql).await?;
    let mut chunk = vec![0; 256 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => copy.send(&chunk[..count]).await?,
        };
    }
    copy.finish().await?;
    Ok(())
}
