//! Every request has an id: the client's own, or a new one; it is in the answer and in the log.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones of clients are not taken.
const MAX_LENGTH: usize = 128;

/// The id of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Gives the request its id, and the answer too.
pub(crate) async fn set(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(HEADER).and_then(|value| value.to_str().ok());
    let given = given.filter(|id| is_fine(id)).map(str::to_owned);
    let id = given.unwrap_or_else(|| format!("req-{}", random_hex()));
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

fn is_fine(id: &str) -> bool {
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// 96 random bits in hexadecimal.
pub(crate) fn random_hex() -> String {
    use std::fmt::Write as _;
    let mut bytes = [0; 12];
    if getrandom::fill(&mut bytes).is_err() {
        // Ids need not be secret, only different.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        bytes.copy_from_slice(&now.unwrap_or_default().as_nanos().to_le_bytes()[..12]);
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a string takes everything
        text
    })
}
