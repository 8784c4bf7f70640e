//! Stopping a session that computes: by its owner, or because time is up.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ffi::{CancelRef, ContextHandle};

/// Who stopped the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    User,
    Timeout,
}

/// The cancel flag of the core together with the reason why it is set.
#[derive(Debug)]
pub(super) struct Interrupt {
    context: CancelRef,
    /// Set exactly while the core's flag is: both change under this lock, so a late `raise`
    /// cannot leave the flag without a reason.
    cause: Mutex<Option<Cause>>,
}

impl Interrupt {
    pub(super) fn new(context: CancelRef) -> Arc<Self> {
        Arc::new(Self { context, cause: Mutex::new(None) })
    }

    /// Stops the running decode, or the next one. The first cause counts.
    pub(super) fn raise(&self, cause: Cause) {
        let mut current = self.lock();
        current.get_or_insert(cause);
        self.context.cancel();
    }

    /// Why the session is to stop, if it is.
    pub(super) fn cause(&self) -> Option<Cause> {
        *self.lock()
    }

    /// Lets the session go on and tells why it was stopped.
    pub(super) fn clear(&self, context: &mut ContextHandle) -> Option<Cause> {
        let mut current = self.lock();
        context.clear_cancel();
        current.take()
    }

    /// A plain value is whole even if a thread panicked while it held the lock.
    fn lock(&self) -> MutexGuard<'_, Option<Cause>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops a session from another thread.
///
/// It stops prefill as well as decoding within one layer of the model. The session is usable
/// afterwards and knows what it had computed before. A handle may outlive its session and does
/// nothing then.
///
/// # Examples
///
/// ```no_run
/// # let model = powerinfer::Model::load("model.gguf")?;
/// # let mut session = model.session(Default::default())?;
/// let cancel = session.cancel_handle();
/// std::thread::spawn(move || cancel.cancel());
/// let story = session.generate("Once", powerinfer::GenerateOptions::default())?.complete()?;
/// println!("{} ({:?})", story.text, story.finish_reason); // perhaps Cancelled
/// # Ok::<(), powerinfer::Error>(())
/// ```
#[derive(Clone)]
pub struct CancelHandle {
    interrupt: Arc<Interrupt>,
}

impl CancelHandle {
    pub(super) fn new(interrupt: Arc<Interrupt>) -> Self {
        Self { interrupt }
    }

    /// Stops what the session computes. If it computes nothing, its next work is stopped, unless
    /// [`Session::clear_cancel`](crate::Session::clear_cancel) comes first.
    pub fn cancel(&self) {
        self.interrupt.raise(Cause::User);
    }

    /// Whether a cancel waits for the session to notice.
    pub fn is_pending(&self) -> bool {
        self.interrupt.cause() == Some(Cause::User)
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("is_pending", &self.is_pending()).finish()
    }
}
