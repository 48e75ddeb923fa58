//! What goes back over the wire, and how the sending may go wrong.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should.
    Whole,
    /// In the middle, but with a matching length.
    Truncated,
    /// In the middle, with the connection closed.
    Reset,
    /// Never.
    Endless,
    /// It never begins.
    Stalled,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) retry_after: Option<String>,
    pub(super) body: String,
    pub(super) ending: Ending,
    /// How many items the body holds.
    pub(super) items: usize,
}

impl Answer {
    pub(super) fn json(status: u16, body: impl Into<String>) -> Self {
        let (body, ending) = (body.into(), Ending::Whole);
        Self { status, content_type: "application/json", retry_after: None, body, ending, items: 0 }
    }

    /// An error as the gateway in front of the vendor words it.
    pub(super) fn gateway(status: u16, message: &str) -> Self {
        Self::json(status, serde_json::json!({ "message": message }).to_string())
    }

    pub(super) fn html(status: u16) -> Self {
        let body = "<html><head><title>Service</title></head><body><h1>We will be back soon</h1></body></html>";
        Self { content_type: "text/html", ..Self::json(status, body) }
    }

    /// The response. Waits here for ever, or until the simulator stops, if the answer is stalled.
    pub(super) async fn send(self, date: &str, stop: CancellationToken) -> Response {
        let length = self.body.len();
        let body = match self.ending {
            Ending::Whole => Body::from(self.body),
            Ending::Truncated => {
                let mut bytes = self.body.into_bytes();
                bytes.truncate(length / 2);
                Body::from(bytes)
            }
            Ending::Reset | Ending::Endless => {
                let mut text = self.body.into_bytes();
                let endless = self.ending == Ending::Endless;
                if endless {
                    text = br#"{"Items":[{"submission_id":""#.to_vec();
                } else {
                    text.truncate(length / 2);
                }
                Body::from_stream(ReaderStream::new(Broken { text, sent: 0, flushed: false, endless, stop }))
            }
            Ending::Stalled => {
                stop.cancelled().await;
                Body::empty()
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.ending == Ending::Reset {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let texts = [(header::DATE, Some(date)), (header::RETRY_AFTER, self.retry_after.as_deref())];
        for (name, text) in texts {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// A body that breaks off or never ends. It stops with the simulator, so that no connection outlives it.
struct Broken {
    text: Vec<u8>,
    sent: usize,
    flushed: bool,
    endless: bool,
    stop: CancellationToken,
}

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let end = (self.sent + buffer.remaining()).min(self.text.len());
        let at_end = self.sent == end && !self.endless;
        if at_end && !self.flushed {
            // A pause makes the server send what it has, so that the client sees a beginning.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.stop.is_cancelled() || at_end {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        buffer.put_slice(&self.text[self.sent..end]);
        self.sent = end;
        if self.endless {
            let filler = buffer.remaining();
            buffer.initialize_unfilled().fill(b'a');
            buffer.advance(filler);
        }
        Poll::Ready(Ok(()))
    }
}
