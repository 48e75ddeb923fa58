//! A vendor that answers verbatim bytes: what no decent HTTP server would send. One connection, one request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    /// Request line and headers, as sent.
    pub head: String,
    /// The body.
    pub body: String,
    /// When it was complete.
    pub at: std::time::Instant,
}

impl Request {
    /// Path and query, as sent.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The query as sent, empty if there is none.
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    /// The query's parameters, decoded, in their order.
    pub fn parameters(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query().as_bytes()).into_owned().collect()
    }

    /// Every value of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// What to do with a request.
#[derive(Clone)]
pub enum Reply {
    /// Send these bytes and close.
    Bytes(Vec<u8>),
    /// Send these bytes, then reset the connection.
    Reset(Vec<u8>),
    /// Send these bytes, then nothing, and hold the connection.
    Stall(Vec<u8>),
    /// Send the first, then the second again and again until the client closes.
    Endless(Vec<u8>, Vec<u8>),
    /// Send these bytes one by one, this far apart.
    Trickle(Vec<u8>, Duration),
}

impl Reply {
    /// A whole response.
    pub fn status(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head =
            format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
        Self::Bytes([head.as_bytes(), body].concat())
    }

    /// A whole 200 with JSON.
    pub fn json(body: impl AsRef<[u8]>) -> Self {
        Self::status(200, "content-type: application/json\r\n", body)
    }
}

/// Serves until dropped.
pub struct Vendor {
    /// Where it listens.
    pub addr: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    serving: JoinHandle<()>,
}

impl Vendor {
    /// A vendor that answers the nth request (from 0) with what `reply` says.
    pub async fn start(reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (log, reply) = (Arc::clone(&requests), Arc::new(reply));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                connections.spawn(async move {
                    // A client that gives up is what many tests are about.
                    let _ = serve(stream, &log, &*reply).await;
                });
            }
        });
        Self { addr, requests, serving }
    }

    /// A vendor with one answer to everything.
    pub async fn always(reply: Reply) -> Self {
        Self::start(move |_, _| reply.clone()).await
    }

    /// What to configure as `api.base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v3", self.addr)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    reply: &(impl Fn(usize, &Request) -> Reply + ?Sized),
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let mut request = Request {
        head: String::from_utf8(bytes[..head_end].to_vec()).unwrap(),
        body: String::new(),
        at: std::time::Instant::now(),
    };
    let length = request.header("content-length").first().map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_end + length {
        stream.read_buf(&mut bytes).await?;
    }
    request.body = String::from_utf8(bytes[head_end..].to_vec()).unwrap();
    let (number, reply) = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        (log.len() - 1, reply)
    };
    match reply(number, &request) {
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
        }
        Reply::Reset(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            stream.set_zero_linger()?;
        }
        Reply::Stall(bytes) => {
            stream.write_all(&bytes).await?;
            // Until the client gives up.
            while stream.read(&mut [0; 64]).await? > 0 {}
        }
        Reply::Endless(first, then) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&then).await?;
            }
        }
        Reply::Trickle(bytes, pause) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    Ok(())
}
