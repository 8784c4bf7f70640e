//! The one unsafe module: owning handles over the C ABI, with safe methods.
//!
//! The contract is `powerinfer.h`; SAFETY lines quote it. Every block holds one unsafe operation.

mod auto;
mod callbacks;
mod context;
mod device;
mod dtype;
mod error;
mod file;
mod model;
mod placement;
mod system;

use std::mem::MaybeUninit;

use once_cell::sync::OnceCell;

pub(crate) use auto::{LayerPlan, Rates, StageRates, Tuning, default_threads};
pub(crate) use callbacks::{LoadHooks, LogLevel};
pub(crate) use context::{CancelRef, ContextHandle, ContextSettings, RawLayerStats, RawStats};
pub(crate) use device::device_info;
pub(crate) use dtype::{
    dequantize_row, dtype_info, measure_kernel, measure_read_bandwidth, quantize_row,
};
pub use error::{CoreError, CoreErrorKind};
pub(crate) use file::FileHandle;
pub(crate) use model::{ModelHandle, ModelSettings};
pub(crate) use placement::{PlacementHandle, PlacementSettings, RawCounts, default_vram_budget};
pub(crate) use system::{memory_bytes, peak_memory_bytes};

/// The library that is linked and these bindings were made from different headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbiMismatch {
    pub(crate) expected: u32,
    pub(crate) found: u32,
}

/// Compares the linked library with the bindings, once in a process.
pub(crate) fn check_abi() -> Result<(), AbiMismatch> {
    static CHECKED: OnceCell<()> = OnceCell::new();
    CHECKED
        .get_or_try_init(|| {
            let expected = powerinfer_sys::PI_ABI_VERSION;
            // SAFETY: takes nothing, reads a constant of the library.
            let found = unsafe { powerinfer_sys::pi_abi_version() };
            if found == expected { Ok(()) } else { Err(AbiMismatch { expected, found }) }
        })
        .copied()
}

/// Name of the CPU operators in use.
pub(crate) fn cpu_name() -> &'static str {
    // SAFETY: takes nothing; returns a terminated string constant of the library.
    let name = unsafe { powerinfer_sys::pi_cpu_name() };
    // SAFETY: non-null, terminated and never freed (a constant of the library).
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
    name.to_str().unwrap_or("unknown")
}

/// `sizeof(T)` in the width of the `struct_size` fields.
fn struct_size<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("the structs of the ABI are a few hundred bytes")
}

/// Fills a struct of the ABI that the core writes as a whole.
///
/// `T` must be a plain struct of `powerinfer_sys`: integers, floats, raw pointers and optional
/// function pointers, for which all-zero bytes are a value. `fill` gets zeroed memory.
fn out_struct<T: AbiStruct>() -> T {
    let zeroed = MaybeUninit::<T>::zeroed();
    // SAFETY: `AbiStruct` promises that all-zero bytes are a valid T.
    let mut value = unsafe { zeroed.assume_init() };
    value.set_size(struct_size::<T>());
    value
}

/// A struct of the ABI that starts with `struct_size`.
///
/// # Safety
/// All-zero bytes must be a valid value: integers, floats, raw pointers, optional functions only.
unsafe trait AbiStruct {
    fn set_size(&mut self, size: u32);
}

macro_rules! abi_structs {
    ($($name:ident),+ $(,)?) => {$(
        // SAFETY: declared in powerinfer.h with integers, floats, pointers and arrays of them only.
        unsafe impl AbiStruct for powerinfer_sys::$name {
            fn set_size(&mut self, size: u32) {
                self.struct_size = size;
            }
        }
    )+};
}

abi_structs!(
    pi_file_info,
    pi_meta_info,
    pi_tensor_info,
    pi_dtype_info,
    pi_device_info,
    pi_model_options,
    pi_model_info,
    pi_context_options,
    pi_stats,
    pi_layer_stats,
    pi_rates,
    pi_layer_plan,
    pi_placement_options,
    pi_placement_info,
    pi_placement_part,
    pi_placement_layer,
);
