//! The way back: what the engine tells of one request, to a handler that may go away.

use std::sync::Arc;

use powerinfer::{Error, Event, Finished, Piece, RequestHandle};
use tokio::sync::mpsc;

use crate::error::ApiError;

/// What became of a request, for its handler.
#[derive(Debug)]
pub(crate) enum Told {
    Piece(Piece),
    Finished(Box<Finished>),
    Embedded { vector: Vec<f32>, tokens: usize },
    Failed(ApiError),
}

/// The engine's end. Dropping it without a last event means that the engine was lost.
pub(super) struct Sender(mpsc::UnboundedSender<Event>);

/// The handler's end. A request whose reply is dropped is cancelled.
#[derive(Debug)]
pub(crate) struct Reply {
    events: mpsc::UnboundedReceiver<Event>,
    handle: RequestHandle,
    is_over: bool,
}

/// What holds a reply is no longer than its text: `max_tokens` or the context bounds it.
pub(super) fn channel(handle: RequestHandle) -> (Sender, Reply) {
    let (sender, events) = mpsc::unbounded_channel();
    (Sender(sender), Reply { events, handle, is_over: false })
}

impl Sender {
    /// Passes an event on, if anyone still listens.
    pub(super) fn send(&self, event: Event) {
        let _ = self.0.send(event); // who went away has cancelled
    }
}

impl Reply {
    /// The next thing told; nothing after the last one.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        if self.is_over {
            return None;
        }
        loop {
            let told = match self.events.recv().await {
                Some(Event::Piece(piece)) => return Some(Told::Piece(piece)),
                Some(Event::Finished(finished)) => Told::Finished(finished),
                Some(Event::Embedded { vector, tokens }) => Told::Embedded { vector, tokens },
                Some(Event::Failed(error)) => Told::Failed(refusal(&error)),
                Some(_) => continue,
                None => Told::Failed(super::lost()),
            };
            self.is_over = true;
            return Some(told);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.is_over {
            self.handle.cancel();
        }
    }
}

fn refusal(error: &Arc<Error>) -> ApiError {
    ApiError::from(&**error)
}
