//! A loaded model: immutable, shared between threads and contexts.

use std::ffi::CStr;
use std::panic::resume_unwind;
use std::ptr::{self, NonNull};

use powerinfer_sys as sys;

use super::callbacks::{Parked, on_log, on_progress};
use super::error::check;
use super::{CoreError, FileHandle, LoadHooks, PlacementHandle, out_struct};

/// Owns a `pi_model`.
#[derive(Debug)]
pub(crate) struct ModelHandle(NonNull<sys::pi_model>);

// SAFETY: "const handles may be shared between threads", and no call but the free in `drop` takes
// a non-const pi_model; the free happens once, on whatever thread drops the handle.
unsafe impl Send for ModelHandle {}
// SAFETY: as above: every method passes the handle as `const pi_model*`.
unsafe impl Sync for ModelHandle {}

/// What a load may choose; the fields of `pi_model_options`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelSettings {
    pub(crate) strategy: u32,
    pub(crate) prefetch: bool,
    pub(crate) lock_memory: bool,
    pub(crate) repack: u32,
    /// `None`: the file's own, or 0.
    pub(crate) sparse_threshold: Option<f32>,
}

impl ModelHandle {
    /// Loads a model, with what a placement says on the GPU. A panic of a hook stops the load and
    /// continues here.
    pub(crate) fn load(
        file: &FileHandle,
        settings: ModelSettings,
        placement: Option<&PlacementHandle>,
        hooks: LoadHooks<'_>,
    ) -> Result<Self, CoreError> {
        // To the core, not a number is the default.
        if settings.sparse_threshold.is_some_and(f32::is_nan) {
            return Err(CoreError::invalid_argument("sparse_threshold: want a number, got NaN"));
        }
        let mut parked = Parked { hooks, panic: None };
        let user = (&raw mut parked).cast();
        let mut options = out_struct::<sys::pi_model_options>();
        // SAFETY: `options` is a whole pi_model_options of ours.
        unsafe { sys::pi_model_options_init(&raw mut options) };
        options.strategy = settings.strategy;
        options.prefetch = u32::from(settings.prefetch);
        options.lock_memory = u32::from(settings.lock_memory);
        options.repack = settings.repack;
        options.sparse_threshold = settings.sparse_threshold.unwrap_or(f32::NAN);
        options.placement = placement.map_or(ptr::null(), PlacementHandle::as_ptr);
        options.log = Some(on_log);
        options.log_user = user;
        options.progress = Some(on_progress);
        options.progress_user = user;

        let mut out = ptr::null_mut();
        // SAFETY: file and placement are alive, `options` and `out` outlive the call, and `user`
        // points to `parked`, which nothing touches until the call, the last use of the callbacks, returns.
        let error = unsafe { sys::pi_model_load(file.as_ptr(), &raw const options, &raw mut out) };
        let model = NonNull::new(out).map(Self);
        let result = check(error);
        if let Some(panic) = parked.panic {
            drop(model);
            resume_unwind(panic);
        }
        result?;
        Ok(model.expect("a call without error has written its result"))
    }

    pub(super) fn as_ptr(&self) -> *const sys::pi_model {
        self.0.as_ptr()
    }

    pub(crate) fn info(&self) -> sys::pi_model_info {
        let mut info = out_struct::<sys::pi_model_info>();
        // SAFETY: the model is alive; `info` names its own size and outlives the call.
        unsafe { sys::pi_model_get_info(self.as_ptr(), &raw mut info) };
        info
    }

    /// Architecture and activation, as the core names them.
    pub(crate) fn names(&self) -> (String, String) {
        let info = self.info();
        (self.copy_text(info.architecture), self.copy_text(info.activation))
    }

    /// Why the weights were not copied, in the core's words; empty if they were.
    pub(crate) fn repack_reason(&self) -> String {
        self.copy_text(self.info().repack_reason)
    }

    /// Copies a text that `pi_model_get_info` wrote for this model.
    fn copy_text(&self, text: *const std::ffi::c_char) -> String {
        debug_assert!(!text.is_null(), "{self:?} has texts");
        // SAFETY: a terminated string of the model, which `self` keeps alive during the copy.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().into_owned()
    }
}

impl Drop for ModelHandle {
    fn drop(&mut self) {
        // SAFETY: ours alone; contexts of the model keep their own share of it.
        unsafe { sys::pi_model_free(self.0.as_ptr()) };
    }
}
