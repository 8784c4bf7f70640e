//! Plans of what goes to a device, between the core and Rust.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::slice;

use powerinfer_sys as sys;

use super::error::check;
use super::{CoreError, FileHandle, out_struct};

/// Owns a `pi_placement`, which is never changed.
#[derive(Debug)]
pub(crate) struct PlacementHandle(NonNull<sys::pi_placement>);

// SAFETY: "const handles may be shared between threads", and no call but the free in `drop` takes
// a non-const pi_placement; the free happens once, on whatever thread drops the handle.
unsafe impl Send for PlacementHandle {}
// SAFETY: as above: every method passes the handle as `const pi_placement*`.
unsafe impl Sync for PlacementHandle {}

/// What a plan is made for; the fields of `pi_placement_options`.
#[derive(Debug)]
pub(crate) struct PlacementSettings<'a> {
    pub(crate) n_ctx: u32,
    pub(crate) n_sequences: u32,
    pub(crate) n_batch: u32,
    pub(crate) kv_dtype: u32,
    pub(crate) group: u32,
    pub(crate) vram_budget: u64,
    pub(crate) counts: Option<RawCounts<'a>>,
    pub(crate) active_share: f64,
    pub(crate) gpu_index: Option<&'a CStr>,
    pub(crate) strategy: sys::pi_strategy,
}

/// Counts of activations, `n_layers` times `n_neurons`.
#[derive(Debug)]
pub(crate) struct RawCounts<'a> {
    pub(crate) values: &'a [f64],
    pub(crate) n_layers: u32,
    pub(crate) n_neurons: u32,
    pub(crate) tokens: f64,
}

impl PlacementHandle {
    pub(crate) fn plan(
        file: &FileHandle,
        settings: &PlacementSettings<'_>,
    ) -> Result<Self, CoreError> {
        let mut options = out_struct::<sys::pi_placement_options>();
        options.n_ctx = settings.n_ctx;
        options.n_sequences = settings.n_sequences;
        options.n_batch = settings.n_batch;
        options.kv_dtype = settings.kv_dtype;
        options.group = settings.group;
        options.vram_budget = settings.vram_budget;
        options.active_share = settings.active_share;
        options.gpu_index = settings.gpu_index.map_or(ptr::null(), CStr::as_ptr);
        options.strategy = settings.strategy;
        if let Some(counts) = &settings.counts {
            let wanted = u64::from(counts.n_layers) * u64::from(counts.n_neurons);
            assert_eq!(counts.values.len() as u64, wanted, "the core reads as many counts");
            options.counts = counts.values.as_ptr();
            options.n_count_layers = counts.n_layers;
            options.n_count_neurons = counts.n_neurons;
            options.counted_tokens = counts.tokens;
        }
        let mut out = ptr::null_mut();
        // SAFETY: the file is alive; the options name their own size, their path is terminated and
        // their counts are as many as they say, asserted above; all outlive the call.
        check(unsafe { sys::pi_file_place(file.as_ptr(), &raw const options, &raw mut out) })?;
        Ok(Self(NonNull::new(out).expect("a call without error has written its result")))
    }

    pub(super) fn as_ptr(&self) -> *const sys::pi_placement {
        self.0.as_ptr()
    }

    pub(crate) fn info(&self) -> sys::pi_placement_info {
        let mut info = out_struct::<sys::pi_placement_info>();
        // SAFETY: the placement is alive; `info` names its own size and outlives the call.
        unsafe { sys::pi_placement_get_info(self.as_ptr(), &raw mut info) };
        info
    }

    /// Of a `PI_PART_*`.
    pub(crate) fn part(&self, part: u32) -> sys::pi_placement_part {
        let mut out = out_struct::<sys::pi_placement_part>();
        // SAFETY: the placement is alive; `out` names its own size and outlives the call.
        let result =
            check(unsafe { sys::pi_placement_get_part(self.as_ptr(), part, &raw mut out) });
        result.expect("the core knows every part");
        out
    }

    /// Of one of the model's layers.
    pub(crate) fn layer(&self, layer: u32) -> sys::pi_placement_layer {
        let mut out = out_struct::<sys::pi_placement_layer>();
        // SAFETY: the placement is alive; `out` names its own size and outlives the call.
        let result =
            check(unsafe { sys::pi_placement_get_layer(self.as_ptr(), layer, &raw mut out) });
        result.expect("the plan has every layer of the model");
        out
    }

    /// Neurons of a layer on the device, ascending.
    pub(crate) fn neurons(&self, layer: u32) -> Result<&[i32], CoreError> {
        let mut data = ptr::null();
        let mut n = 0;
        // SAFETY: the placement is alive; `data` and `n` outlive the call.
        check(unsafe {
            sys::pi_placement_get_neurons(self.as_ptr(), layer, &raw mut data, &raw mut n)
        })?;
        if data.is_null() || n == 0 {
            return Ok(&[]);
        }
        let n = usize::try_from(n).expect("usize has 32 bits at least");
        // SAFETY: "they live as long as the placement", which the result borrows; the core wrote
        // pointer and length together and never changes them.
        Ok(unsafe { slice::from_raw_parts(data, n) })
    }

    pub(crate) fn save_gpu_index(&self, path: &CStr) -> Result<(), CoreError> {
        // SAFETY: the placement is alive and `path` is terminated.
        check(unsafe { sys::pi_placement_save_gpu_index(self.as_ptr(), path.as_ptr()) })
    }
}

impl Drop for PlacementHandle {
    fn drop(&mut self) {
        // SAFETY: ours alone, and freed once.
        unsafe { sys::pi_placement_free(self.0.as_ptr()) };
    }
}

/// The budget for a device with so much free memory.
pub(crate) fn default_vram_budget(free_bytes: u64) -> u64 {
    // SAFETY: takes and returns a number.
    unsafe { sys::pi_default_vram_budget(free_bytes) }
}
