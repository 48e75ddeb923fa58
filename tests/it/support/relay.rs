//! A way to the database that can fall silent, as when its host vanishes.

use argos_sync::store::database::options;
use sqlx::ConnectOptions;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Passes on what it is sent, until it is frozen.
pub struct Relay {
    /// The database, through the relay.
    pub url: String,
    frozen: CancellationToken,
}

impl Relay {
    /// A relay to the database of this URL.
    pub async fn to(url: &str) -> Self {
        let target = options(url).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut through = target.to_url_lossy();
        through.set_host(Some("127.0.0.1")).unwrap();
        through.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let frozen = CancellationToken::new();
        let relay = Self { url: through.to_string(), frozen: frozen.clone() };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server: Box<dyn Stream> = match target.get_socket() {
                    Some(directory) => {
                        let socket = directory.join(format!(".s.PGSQL.{}", target.get_port()));
                        Box::new(UnixStream::connect(socket).await.unwrap())
                    }
                    None => Box::new(TcpStream::connect((target.get_host(), target.get_port())).await.unwrap()),
                };
                let frozen = frozen.clone();
                tokio::spawn(async move {
                    if frozen.run_until_cancelled(copy_bidirectional(&mut client, &mut server)).await.is_none() {
                        // Both ends stay open.
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        relay
    }

    /// Nothing passes any more, in either direction; no connection is closed.
    pub fn freeze(&self) {
        self.frozen.cancel();
    }
}
