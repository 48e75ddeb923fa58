//! Stands between a daemon and its PostgreSQL, and can fall silent: no answer, no closed connection.

use argos_sync::store::database::options;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use url::Url;

use super::Database;

/// Forwards until it is told to fall silent.
pub struct Proxy {
    /// The database's URL by way of here.
    pub url: String,
    speaks: watch::Sender<bool>,
}

impl Proxy {
    /// One in front of a database.
    pub async fn before(database: &Database) -> Self {
        Self::to(&database.url).await
    }

    /// One in front of the database at a URL.
    pub async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = options(url).unwrap();
        let mut url = Url::parse(url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        url.set_query(Some("sslmode=disable"));
        let (speaks, listens) = watch::channel(true);
        tokio::spawn(async move {
            // Ends with the runtime of the test.
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let directory = behind.get_socket().map(|path| path.to_string_lossy().into_owned());
                let host = directory.unwrap_or_else(|| behind.get_host().to_owned());
                // A server that is down: the client's connection is closed.
                if host.starts_with('/') {
                    let socket = format!("{host}/.s.PGSQL.{}", behind.get_port());
                    let Ok(server) = UnixStream::connect(socket).await else { continue };
                    join(client, server, &listens);
                } else {
                    let Ok(server) = TcpStream::connect((host, behind.get_port())).await else { continue };
                    join(client, server, &listens);
                }
            }
        });
        Self { url: url.into(), speaks }
    }

    /// Nothing is forwarded any more, and nothing closed.
    pub fn fall_silent(&self) {
        self.speaks.send_replace(false);
    }

    /// All that was said meanwhile arrives.
    pub fn speak(&self) {
        self.speaks.send_replace(true);
    }
}

fn join(client: TcpStream, server: impl AsyncRead + AsyncWrite + Send + 'static, listens: &watch::Receiver<bool>) {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), tokio::io::split(server));
    tokio::spawn(forward(from_client, to_server, listens.clone()));
    tokio::spawn(forward(from_server, to_client, listens.clone()));
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut listens: watch::Receiver<bool>,
) {
    let mut buffer = [0; 8192];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if listens.wait_for(|speaks| *speaks).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        if count == 0 {
            // The other side may be gone already.
            let _ = to.shutdown().await;
            return;
        }
    }
}
