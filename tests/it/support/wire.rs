//! A wire to PostgreSQL that understands what the client says, message by message, and can break at each of them.
//!
//! Of the protocol it knows: a startup packet (a length), then messages (a type byte and a length); no TLS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Database;

/// A message of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Statements as text, such as BEGIN and COMMIT.
    Query,
    /// A statement is prepared.
    Parse,
    /// Of what types are its parameters and rows?
    Describe,
    /// Its parameters.
    Bind,
    /// Do it.
    Execute,
    /// A prepared statement is forgotten.
    Close,
    /// The end of a batch that only prepared a statement.
    Prepared,
    /// The end of a batch that executed a statement: outside of a transaction, its commit.
    Sync,
}

/// A place in what the client says: one message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// How its statement begins.
    pub statement: String,
    /// The message.
    pub message: Message,
    /// How often this message of this statement was sent before.
    pub before: usize,
    /// Whether a transaction was open: begun by a BEGIN before.
    pub in_transaction: bool,
}

impl Point {
    /// Whether what was done becomes true for others here.
    pub fn commits(&self) -> bool {
        self.statement == "COMMIT" || self.message == Message::Sync && !self.in_transaction
    }

    /// Whether the server does something that stays: the others prepare it, or ask for the answer.
    pub fn acts(&self) -> bool {
        matches!(self.message, Message::Query | Message::Execute) || self.commits()
    }
}

/// What becomes of the message at which the wire breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not arrive.
    Unsent,
    /// It arrives and is done, and its answer does not come.
    Unanswered,
}

/// Passes everything on, notes what the client says, and breaks where it is told to.
pub struct Wire {
    /// The database's URL by way of here.
    pub url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    said: Mutex<Vec<Point>>,
    breaks_at: Mutex<Option<(Point, Fate)>>,
    broken: CancellationToken,
    released: CancellationToken,
}

impl Wire {
    /// A wire to a database, which breaks at a point.
    pub async fn to(database: &Database, breaks_at: Option<(Point, Fate)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = (*database.pool.connect_options()).clone();
        let mut url = Url::parse(&database.url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        url.set_query(Some("sslmode=disable"));
        let shared = Arc::new(Shared { breaks_at: Mutex::new(breaks_at), ..Shared::default() });
        let serving = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    client.set_nodelay(true).unwrap();
                    tokio::spawn(serve(client, behind.clone(), shared.clone()));
                }
            }
        });
        Self { url: url.into(), shared, serving }
    }

    /// What was said so far, over all connections.
    pub fn said(&self) -> Vec<Point> {
        self.shared.said.lock().unwrap().clone()
    }

    /// Waits until it breaks. The connection on which it did stays open, and silent, until it is let go.
    pub async fn broken(&self) {
        self.shared.broken.cancelled().await;
    }

    /// Whether it broke.
    pub fn has_broken(&self) -> bool {
        self.shared.broken.is_cancelled()
    }

    /// Closes the connection at which it broke. New ones are served as before.
    pub fn let_go(&self) {
        self.shared.released.cancel();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.serving.abort();
        self.shared.released.cancel();
    }
}

impl Shared {
    /// Notes a message; whether the wire breaks here, and how.
    fn note(&self, message: Message, statement: &str, in_transaction: bool) -> Option<Fate> {
        let mut said = self.said.lock().unwrap();
        let same = |point: &&Point| point.message == message && point.statement == statement;
        let before = said.iter().filter(same).count();
        let point = Point { statement: statement.to_owned(), message, before, in_transaction };
        said.push(point.clone());
        let mut breaks_at = self.breaks_at.lock().unwrap();
        let (_, fate) = breaks_at.take_if(|(at, _)| *at == point)?;
        Some(fate)
    }
}

async fn serve(client: TcpStream, behind: PgConnectOptions, shared: Arc<Shared>) {
    match behind.get_socket() {
        Some(directory) => {
            let socket = directory.join(format!(".s.PGSQL.{}", behind.get_port()));
            Session::new(client, UnixStream::connect(socket).await.unwrap(), shared).run().await;
        }
        None => {
            let server = TcpStream::connect((behind.get_host(), behind.get_port())).await.unwrap();
            server.set_nodelay(true).unwrap();
            Session::new(client, server, shared).run().await;
        }
    }
}

/// One end, and what has come from it and is not yet a whole message.
struct End<S> {
    stream: S,
    bytes: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> End<S> {
    /// Waits for more; whether the other side is still there.
    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.bytes).await, Ok(1..))
    }

    /// The next whole message, whose length begins after so many bytes.
    fn message(&mut self, length_at: usize) -> Option<Vec<u8>> {
        let length = self.bytes.get(length_at..length_at + 4)?;
        let end = length_at + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        (self.bytes.len() >= end).then(|| self.bytes.drain(..end).collect())
    }

    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }
}

struct Session<S> {
    client: End<TcpStream>,
    server: End<S>,
    shared: Arc<Shared>,
    started: bool,
    /// Prepared statements, by name.
    prepared: HashMap<Vec<u8>, String>,
    /// The statement of the last message but Query, until the batch ends.
    current: Option<String>,
    /// Whether the batch executes it.
    executes: bool,
    in_transaction: bool,
    /// Batches that the server has not answered to their end.
    unanswered: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(client: TcpStream, server: S, shared: Arc<Shared>) -> Self {
        Self {
            client: End { stream: client, bytes: Vec::new() },
            server: End { stream: server, bytes: Vec::new() },
            shared,
            started: false,
            prepared: HashMap::new(),
            current: None,
            executes: false,
            in_transaction: false,
            unanswered: 0,
        }
    }

    /// Passes messages on until an end is gone, or the wire breaks; then both connections are closed.
    async fn run(mut self) {
        loop {
            let went_on = tokio::select! {
                there = self.client.fill() => there && self.pass_to_server().await,
                there = self.server.fill() => there && self.pass_to_client().await,
            };
            if !went_on {
                return;
            }
        }
    }

    async fn pass_to_server(&mut self) -> bool {
        while let Some(message) = self.client.message(usize::from(self.started)) {
            let fate = if self.started { self.understand(&message) } else { None };
            self.started = true;
            if fate != Some(Fate::Unsent) && !self.server.send(&message).await {
                return false;
            }
            if let Some(fate) = fate {
                if fate == Fate::Unanswered {
                    self.done(message[0]).await;
                }
                self.shared.broken.cancel();
                self.shared.released.cancelled().await;
                return false;
            }
        }
        true
    }

    async fn pass_to_client(&mut self) -> bool {
        while let Some(message) = self.server.message(1) {
            self.hear(&message);
            if !self.client.send(&message).await {
                return false;
            }
        }
        true
    }

    /// Takes note of a message of the server.
    fn hear(&mut self, message: &[u8]) {
        if message[0] == b'Z' {
            // The first one says that the session is ready.
            self.unanswered = self.unanswered.saturating_sub(1);
            // I: idle.
            self.in_transaction = message[5] != b'I';
        }
    }

    /// Takes note of a message of the client.
    fn understand(&mut self, message: &[u8]) -> Option<Fate> {
        let mut texts = message[5..].split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        let (kind, statement) = match message[0] {
            b'Q' => {
                self.unanswered += 1;
                (Message::Query, beginning(text()))
            }
            b'P' => {
                let (name, statement) = (text().to_vec(), beginning(text()));
                self.prepared.insert(name, statement.clone());
                (Message::Parse, statement)
            }
            b'B' => (Message::Bind, self.named(message[5..].split(|byte| *byte == 0).nth(1)?)),
            // Of a prepared statement, or of a portal: what was bound last.
            b'D' | b'C' if message[5] == b'S' => {
                let name = text()[1..].to_vec();
                (if message[0] == b'D' { Message::Describe } else { Message::Close }, self.named(&name))
            }
            b'D' => (Message::Describe, self.current.clone()?),
            b'C' => (Message::Close, self.current.clone()?),
            b'E' => (Message::Execute, self.current.clone()?),
            b'S' => {
                self.unanswered += 1;
                // Without a statement it only asks whether the server is there.
                let kind = if std::mem::take(&mut self.executes) { Message::Sync } else { Message::Prepared };
                (kind, self.current.take()?)
            }
            _ => return None,
        };
        self.executes |= kind == Message::Execute;
        if !matches!(kind, Message::Query | Message::Prepared | Message::Sync) {
            self.current = Some(statement.clone());
        }
        self.shared.note(kind, &statement, self.in_transaction)
    }

    fn named(&self, name: &[u8]) -> String {
        self.prepared.get(name).cloned().expect("a statement is prepared before it is used")
    }

    /// Waits until the server has done what it was sent last.
    async fn done(&mut self, kind: u8) {
        // The answers to these come when they are asked for.
        const FLUSH: [u8; 5] = [b'H', 0, 0, 0, 4];
        let ends_batch = matches!(kind, b'Q' | b'S');
        if !ends_batch && !self.server.send(&FLUSH).await {
            return;
        }
        loop {
            while let Some(message) = self.server.message(1) {
                self.hear(&message);
                let answers = match kind {
                    b'P' => b"1E".as_slice(),
                    b'D' => b"TnE",
                    b'B' => b"2E",
                    b'C' => b"3E",
                    b'E' => b"CIsE",
                    _ => b"",
                };
                if answers.contains(&message[0]) || ends_batch && self.unanswered == 0 {
                    return;
                }
            }
            if !self.server.fill().await {
                return;
            }
        }
    }
}

/// How a statement begins, in one line.
fn beginning(statement: &[u8]) -> String {
    let text = String::from_utf8_lossy(statement);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(100).collect()
}
