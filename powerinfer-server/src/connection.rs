//! One connection: requests whose heads arrive in time, until the client or the server is done.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
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

/// Serves `stream` until it ends, or until `stopping` and its request is answered.
pub(crate) async fn serve(
    stream: TcpStream,
    router: Router,
    head_timeout: Duration,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?; // tokens are small, and nobody likes to wait for them
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        Box::pin(async move { Ok::<_, Infallible>(answer(router, request.map(Body::new)).await) })
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
                std::pin::Pin::new(&mut connection).graceful_shutdown();
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
    stream.shutdown().await
}

async fn answer(router: Router, request: Request) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
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
