//! What becomes of requests.

use std::sync::Arc;

use super::super::generate_options::FinishReason;
use super::super::token_detail::Piece;
use crate::error::Error;
use crate::metrics::Metrics;

/// Names a request of one [`Scheduler`](super::Scheduler); later ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

impl RequestId {
    /// Its number in the order of submission, from 0.
    pub(in super::super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// What a step did for one request. `Finished`, `Embedded` and `Failed` are the last of theirs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The request left the queue. This comes again if it had to go back for lack of room.
    Started,
    /// More of the text.
    Piece(Piece),
    /// The text is complete, or was cancelled.
    Finished(Box<Finished>),
    /// The embedding: as many floats as the model is wide.
    Embedded {
        /// The vector.
        vector: Vec<f32>,
        /// Tokens that it was made of.
        tokens: usize,
    },
    /// The request cannot be served. An error of the engine reaches all that were running.
    Failed(Arc<Error>),
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Finished {
    /// Why.
    pub finish_reason: FinishReason,
    /// Its tokens, without one that ended it.
    pub tokens: Vec<crate::Token>,
    /// What it cost.
    pub metrics: Metrics,
}
