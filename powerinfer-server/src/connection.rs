//! One connection: requests whose heads arrive in time, until the client or the server is done.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// What a client gets whose request does not arrive. The rest of the connection is of no use.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\n\
connection: close\r\ncontent-length: 123\r\n\r\n\
{\"error\":{\"message\":\"the head of the request did not arrive in time\",\
\"type\":\"timeout_error\",\"param\":null,\"code\":\"timeout\"}}";

/// How long a client may go on to send a body that nobody reads. Closing at once would take the
/// answer from it.
const LINGER: Duration = Duration::from_secs(2);

/// Serves `stream` until it ends, or until `stopping` and its request is answered.
pub(crate) async fn serve(
    stream: TcpStream,
    router: Router,
    head_timeout: Duration,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?; // tokens are small, and nobody likes to wait for them
    let is_read = Arc::new(AtomicBool::new(true));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let answer = answer(router.clone(), request, Arc::clone(&is_read));
        Box::pin(async move { Ok::<_, Infallible>(answer.await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_headers(100)
        .serve_connection(TokioIo::new(stream), service);
    let result = {
        let mut stopped = pin!(async move {
            // A sender that is gone means the same.
            let _ = stopping.wait_for(|&stopping| stopping).await;
        });
        let mut is_told = false;
        poll_fn(|context| {
            if !is_told && stopped.as_mut().poll(context).is_ready() {
                is_told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            connection.poll_without_shutdown(context)
        })
        .await
    };
    let is_slow = result.as_ref().is_err_and(hyper::Error::is_timeout);
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    // To one that only kept its connection open for later there is nothing to say.
    if is_slow && !parts.read_buf.is_empty() {
        stream.write_all(TOO_SLOW).await?;
    }
    stream.shutdown().await?;
    if !is_read.load(Ordering::Relaxed) {
        let mut nowhere = tokio::io::sink();
        let rest = tokio::io::copy(&mut stream, &mut nowhere);
        let _ = tokio::time::timeout(LINGER, rest).await; // it was answered, however this ends
    }
    Ok(())
}

/// The answer to a request. One that is given before all of the body was read is the last one of
/// its connection, and says so.
async fn answer(
    router: Router,
    request: hyper::Request<Incoming>,
    is_read: Arc<AtomicBool>,
) -> Response {
    let request = request.map(|body| {
        is_read.store(hyper::body::Body::is_end_stream(&body), Ordering::Relaxed);
        Body::new(Watched { body, is_read: Arc::clone(&is_read) })
    });
    let mut response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if !is_read.load(Ordering::Relaxed) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that tells whether all of it was read.
struct Watched {
    body: Incoming,
    is_read: Arc<AtomicBool>,
}

impl hyper::body::Body for Watched {
    type Data = <Incoming as hyper::body::Body>::Data;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_slow_clients_is_as_long_as_it_says() {
        let text = std::str::from_utf8(TOO_SLOW).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "timeout");
    }
}
