//! Errors of the core: owned C objects become plain Rust values.

use std::ffi::CStr;
use std::ptr::NonNull;

use powerinfer_sys as sys;

/// What kind of failure the core reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CoreErrorKind {
    /// The system refused: missing file, permission, read error.
    Io,
    /// The file contradicts its own format.
    Format,
    /// The input is valid, but this build cannot serve it.
    Unsupported,
    /// An argument is out of its documented range.
    InvalidArgument,
    /// The KV cache cannot hold the batch; nothing was computed.
    ContextFull,
    /// Memory for the work could not be had.
    OutOfMemory,
    /// The work was cancelled.
    Cancelled,
    /// There is no GPU that can be used, or it failed.
    Device,
    /// A bug in the library.
    Internal,
}

impl CoreErrorKind {
    /// An unknown number can only come from a library newer than these bindings: a bug here.
    fn from_raw(kind: sys::pi_error_kind) -> Self {
        match kind {
            sys::PI_ERROR_IO => Self::Io,
            sys::PI_ERROR_FORMAT => Self::Format,
            sys::PI_ERROR_UNSUPPORTED => Self::Unsupported,
            sys::PI_ERROR_INVALID_ARGUMENT => Self::InvalidArgument,
            sys::PI_ERROR_CONTEXT_FULL => Self::ContextFull,
            sys::PI_ERROR_OUT_OF_MEMORY => Self::OutOfMemory,
            sys::PI_ERROR_CANCELLED => Self::Cancelled,
            sys::PI_ERROR_DEVICE => Self::Device,
            _ => Self::Internal,
        }
    }
}

/// What the native core said about a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CoreError {
    /// The class of failure.
    pub kind: CoreErrorKind,
    /// What was wanted and what was found, in the core's words.
    pub message: String,
}

impl CoreError {
    /// An argument that cannot be handed to C at all.
    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self { kind: CoreErrorKind::InvalidArgument, message: message.into() }
    }
}

/// Turns the result of a fallible call into a `Result` and frees the error.
///
/// Visible in `ffi` only, where every argument is the fresh return value of a core call.
pub(super) fn check(error: *mut sys::pi_error) -> Result<(), CoreError> {
    let Some(error) = NonNull::new(error) else { return Ok(()) };
    let error = OwnedError(error);
    Err(CoreError { kind: error.kind(), message: error.message() })
}

/// Frees the C error on every way out.
struct OwnedError(NonNull<sys::pi_error>);

impl OwnedError {
    fn kind(&self) -> CoreErrorKind {
        // SAFETY: non-null and ours until freed in `drop`.
        CoreErrorKind::from_raw(unsafe { sys::pi_error_get_kind(self.0.as_ptr()) })
    }

    fn message(&self) -> String {
        // SAFETY: non-null and ours until freed in `drop`.
        let message = unsafe { sys::pi_error_get_message(self.0.as_ptr()) };
        // SAFETY: a terminated string, "valid until the error is freed", which `drop` does later.
        let message = unsafe { CStr::from_ptr(message) };
        message.to_string_lossy().into_owned()
    }
}

impl Drop for OwnedError {
    fn drop(&mut self) {
        // SAFETY: "an error owned by the caller (pi_error_free)"; nobody else has the pointer.
        unsafe { sys::pi_error_free(self.0.as_ptr()) };
    }
}
