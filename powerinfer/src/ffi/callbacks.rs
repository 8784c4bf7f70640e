//! Log and progress callbacks of a model load. A panic is parked and resumed after the C call.

use std::any::Any;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use powerinfer_sys as sys;

/// Severity of a message of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl LogLevel {
    /// Levels that these bindings do not know are finer than the ones they do.
    fn from_raw(level: sys::pi_log_level) -> Self {
        match level {
            sys::PI_LOG_ERROR => Self::Error,
            sys::PI_LOG_WARN => Self::Warn,
            sys::PI_LOG_INFO => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// Hears what the core says during a load. Returning false from `progress` stops it.
pub(crate) struct LoadHooks<'a> {
    pub(crate) log: &'a mut dyn FnMut(LogLevel, &str),
    pub(crate) progress: &'a mut dyn FnMut(u64, u64) -> bool,
}

/// The `user` pointer of both callbacks.
pub(super) struct Parked<'a> {
    pub(super) hooks: LoadHooks<'a>,
    pub(super) panic: Option<Box<dyn Any + Send>>,
}

impl Parked<'_> {
    /// Runs a hook unless one has panicked already; says what to do when none ran.
    fn guard<T>(&mut self, otherwise: T, call: impl FnOnce(&mut LoadHooks<'_>) -> T) -> T {
        if self.panic.is_some() {
            return otherwise;
        }
        // To assert this is right: after a panic the hooks are never called again, only dropped.
        match catch_unwind(AssertUnwindSafe(|| call(&mut self.hooks))) {
            Ok(value) => value,
            Err(panic) => {
                self.panic = Some(panic);
                otherwise
            }
        }
    }
}

/// A `pi_log_fn`.
///
/// # Safety
/// `user` points to a `Parked` that nobody else uses during the call; `message` is terminated.
pub(super) unsafe extern "C" fn on_log(
    user: *mut c_void,
    level: sys::pi_log_level,
    message: *const c_char,
) {
    // SAFETY: the caller's promise; callbacks run one at a time, on the loading thread.
    let parked = unsafe { &mut *user.cast::<Parked<'_>>() };
    // SAFETY: the caller's promise.
    let message = unsafe { CStr::from_ptr(message) };
    parked.guard((), |hooks| (hooks.log)(LogLevel::from_raw(level), &message.to_string_lossy()));
}

/// A `pi_progress_fn`: 0 stops the load.
///
/// # Safety
/// `user` points to a `Parked` that nobody else uses during the call.
pub(super) unsafe extern "C" fn on_progress(user: *mut c_void, done: u64, total: u64) -> u32 {
    // SAFETY: the caller's promise; callbacks run one at a time, on the loading thread.
    let parked = unsafe { &mut *user.cast::<Parked<'_>>() };
    let go_on = parked.guard(false, |hooks| (hooks.progress)(done, total));
    u32::from(go_on)
}
