// Generated from powerinfer.h by build/bindings.rs; do not edit.

pub const PI_ABI_VERSION: u32 = 1;
/// the system refused: missing file, permission, read error
pub const PI_ERROR_IO: pi_error_kind = 1;
/// the file contradicts its own format
pub const PI_ERROR_FORMAT: pi_error_kind = 2;
/// valid, but this build cannot serve it
pub const PI_ERROR_UNSUPPORTED: pi_error_kind = 3;
pub const PI_ERROR_INVALID_ARGUMENT: pi_error_kind = 4;
/// the KV cache cannot hold the batch; nothing was computed
pub const PI_ERROR_CONTEXT_FULL: pi_error_kind = 5;
pub const PI_ERROR_OUT_OF_MEMORY: pi_error_kind = 6;
pub const PI_ERROR_CANCELLED: pi_error_kind = 7;
/// a bug in the library
pub const PI_ERROR_INTERNAL: pi_error_kind = 8;
/// no usable GPU, or it failed
pub const PI_ERROR_DEVICE: pi_error_kind = 9;
pub const PI_META_U8: pi_meta_type = 0;
pub const PI_META_I8: pi_meta_type = 1;
pub const PI_META_U16: pi_meta_type = 2;
pub const PI_META_I16: pi_meta_type = 3;
pub const PI_META_U32: pi_meta_type = 4;
pub const PI_META_I32: pi_meta_type = 5;
pub const PI_META_F32: pi_meta_type = 6;
pub const PI_META_BOOL: pi_meta_type = 7;
pub const PI_META_STRING: pi_meta_type = 8;
pub const PI_META_U64: pi_meta_type = 10;
pub const PI_META_I64: pi_meta_type = 11;
pub const PI_META_F64: pi_meta_type = 12;
/// predictor if the file has one; else exact for PWRI, dense for GGUF
pub const PI_STRATEGY_DEFAULT: pi_strategy = 0;
/// reads every neuron
pub const PI_STRATEGY_DENSE: pi_strategy = 1;
/// gate (ungated: up) first, the rest of a neuron only if it fires
pub const PI_STRATEGY_EXACT: pi_strategy = 2;
/// only neurons that the predictor selects, gate first among them
pub const PI_STRATEGY_PREDICTOR: pi_strategy = 3;
/// what is fastest by measurement: see "the strategy auto"
pub const PI_STRATEGY_AUTO: pi_strategy = 4;
/// where it pays and memory allows: see pi_model_info.repack_reason
pub const PI_REPACK_AUTO: u32 = 0;
/// fails with PI_ERROR_OUT_OF_MEMORY rather than not
pub const PI_REPACK_ALWAYS: u32 = 1;
/// keeps everything mapped
pub const PI_REPACK_NEVER: u32 = 2;
pub const PI_LOG_ERROR: pi_log_level = 1;
pub const PI_LOG_WARN: pi_log_level = 2;
pub const PI_LOG_INFO: pi_log_level = 3;
pub const PI_LOG_DEBUG: pi_log_level = 4;
pub const PI_OUTPUT_NONE: pi_output = 0;
/// vocab_size floats
pub const PI_OUTPUT_LOGITS: pi_output = 1;
/// dim floats: the normed last residual, for embeddings
pub const PI_OUTPUT_HIDDEN: pi_output = 2;
/// none was given
pub const PI_GPU_INDEX_NONE: u32 = 0;
/// made for this model and these counts, if any were given
pub const PI_GPU_INDEX_USED: u32 = 1;
/// used; it does not say what it was made for
pub const PI_GPU_INDEX_FOREIGN: u32 = 2;
/// made for another model or other counts: neurons were chosen
pub const PI_GPU_INDEX_STALE: u32 = 3;
/// with its norms
pub const PI_PART_ATTENTION: u32 = 0;
pub const PI_PART_KV_CACHE: u32 = 1;
pub const PI_PART_PREDICTOR: u32 = 2;
/// with the bias of the down projection
pub const PI_PART_FFN_NORM: u32 = 3;
/// with its norm; of a tied one a copy
pub const PI_PART_OUTPUT: u32 = 4;
/// rows of gate, up and down, and the bias of up
pub const PI_PART_NEURONS: u32 = 5;
/// always on the host
pub const PI_PART_EMBEDDING: u32 = 6;
pub const PI_N_PARTS: u32 = 7;
#[repr(C)]
#[derive(Debug)]
pub struct pi_error {
    _unused: [u8; 0],
}
pub type pi_error_kind = u32;
#[repr(C)]
#[derive(Debug)]
pub struct pi_file {
    _unused: [u8; 0],
}
pub type pi_meta_type = u32;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_file_info {
    pub struct_size: u32,
    /// of the container: 2 or 3
    pub version: u32,
    /// 1: magic PWRI, 0: magic GGUF
    pub is_sparse: u32,
    pub alignment: u32,
    pub file_bytes: u64,
    /// where tensor data begins
    pub data_offset: u64,
    pub n_metadata: u64,
    pub n_tensors: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_file_info"][::core::mem::size_of::<pi_file_info>() - 48usize];
    ["Alignment of pi_file_info"][::core::mem::align_of::<pi_file_info>() - 8usize];
    [
        "Offset of field: pi_file_info::struct_size",
    ][::core::mem::offset_of!(pi_file_info, struct_size) - 0usize];
    [
        "Offset of field: pi_file_info::version",
    ][::core::mem::offset_of!(pi_file_info, version) - 4usize];
    [
        "Offset of field: pi_file_info::is_sparse",
    ][::core::mem::offset_of!(pi_file_info, is_sparse) - 8usize];
    [
        "Offset of field: pi_file_info::alignment",
    ][::core::mem::offset_of!(pi_file_info, alignment) - 12usize];
    [
        "Offset of field: pi_file_info::file_bytes",
    ][::core::mem::offset_of!(pi_file_info, file_bytes) - 16usize];
    [
        "Offset of field: pi_file_info::data_offset",
    ][::core::mem::offset_of!(pi_file_info, data_offset) - 24usize];
    [
        "Offset of field: pi_file_info::n_metadata",
    ][::core::mem::offset_of!(pi_file_info, n_metadata) - 32usize];
    [
        "Offset of field: pi_file_info::n_tensors",
    ][::core::mem::offset_of!(pi_file_info, n_tensors) - 40usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_meta_info {
    pub struct_size: u32,
    /// of the elements
    pub type_: pi_meta_type,
    pub is_array: u32,
    pub reserved: u32,
    /// elements; 1 for a scalar
    pub n: u64,
    pub key: *const ::core::ffi::c_char,
    pub key_len: usize,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_meta_info"][::core::mem::size_of::<pi_meta_info>() - 40usize];
    ["Alignment of pi_meta_info"][::core::mem::align_of::<pi_meta_info>() - 8usize];
    [
        "Offset of field: pi_meta_info::struct_size",
    ][::core::mem::offset_of!(pi_meta_info, struct_size) - 0usize];
    [
        "Offset of field: pi_meta_info::type_",
    ][::core::mem::offset_of!(pi_meta_info, type_) - 4usize];
    [
        "Offset of field: pi_meta_info::is_array",
    ][::core::mem::offset_of!(pi_meta_info, is_array) - 8usize];
    [
        "Offset of field: pi_meta_info::reserved",
    ][::core::mem::offset_of!(pi_meta_info, reserved) - 12usize];
    [
        "Offset of field: pi_meta_info::n",
    ][::core::mem::offset_of!(pi_meta_info, n) - 16usize];
    [
        "Offset of field: pi_meta_info::key",
    ][::core::mem::offset_of!(pi_meta_info, key) - 24usize];
    [
        "Offset of field: pi_meta_info::key_len",
    ][::core::mem::offset_of!(pi_meta_info, key_len) - 32usize];
};
impl Default for pi_meta_info {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_tensor_info {
    pub struct_size: u32,
    /// GGML type id
    pub dtype: u32,
    pub n_dims: u32,
    pub reserved: u32,
    /// the length of a row first; unused dimensions are 1
    pub ne: [u64; 4usize],
    /// from the start of the file
    pub offset: u64,
    pub n_bytes: u64,
    pub name: *const ::core::ffi::c_char,
    pub name_len: usize,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_tensor_info"][::core::mem::size_of::<pi_tensor_info>() - 80usize];
    ["Alignment of pi_tensor_info"][::core::mem::align_of::<pi_tensor_info>() - 8usize];
    [
        "Offset of field: pi_tensor_info::struct_size",
    ][::core::mem::offset_of!(pi_tensor_info, struct_size) - 0usize];
    [
        "Offset of field: pi_tensor_info::dtype",
    ][::core::mem::offset_of!(pi_tensor_info, dtype) - 4usize];
    [
        "Offset of field: pi_tensor_info::n_dims",
    ][::core::mem::offset_of!(pi_tensor_info, n_dims) - 8usize];
    [
        "Offset of field: pi_tensor_info::reserved",
    ][::core::mem::offset_of!(pi_tensor_info, reserved) - 12usize];
    [
        "Offset of field: pi_tensor_info::ne",
    ][::core::mem::offset_of!(pi_tensor_info, ne) - 16usize];
    [
        "Offset of field: pi_tensor_info::offset",
    ][::core::mem::offset_of!(pi_tensor_info, offset) - 48usize];
    [
        "Offset of field: pi_tensor_info::n_bytes",
    ][::core::mem::offset_of!(pi_tensor_info, n_bytes) - 56usize];
    [
        "Offset of field: pi_tensor_info::name",
    ][::core::mem::offset_of!(pi_tensor_info, name) - 64usize];
    [
        "Offset of field: pi_tensor_info::name_len",
    ][::core::mem::offset_of!(pi_tensor_info, name_len) - 72usize];
};
impl Default for pi_tensor_info {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_dtype_info {
    pub struct_size: u32,
    /// consecutive elements of a row that share one block
    pub block_elements: u32,
    pub block_bytes: u32,
    /// 1 when the kernels can multiply by it
    pub is_weight: u32,
    /// "q4_0"
    pub name: *const ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_dtype_info"][::core::mem::size_of::<pi_dtype_info>() - 24usize];
    ["Alignment of pi_dtype_info"][::core::mem::align_of::<pi_dtype_info>() - 8usize];
    [
        "Offset of field: pi_dtype_info::struct_size",
    ][::core::mem::offset_of!(pi_dtype_info, struct_size) - 0usize];
    [
        "Offset of field: pi_dtype_info::block_elements",
    ][::core::mem::offset_of!(pi_dtype_info, block_elements) - 4usize];
    [
        "Offset of field: pi_dtype_info::block_bytes",
    ][::core::mem::offset_of!(pi_dtype_info, block_bytes) - 8usize];
    [
        "Offset of field: pi_dtype_info::is_weight",
    ][::core::mem::offset_of!(pi_dtype_info, is_weight) - 12usize];
    [
        "Offset of field: pi_dtype_info::name",
    ][::core::mem::offset_of!(pi_dtype_info, name) - 16usize];
};
impl Default for pi_dtype_info {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_device_info {
    pub struct_size: u32,
    /// of this machine
    pub n_devices: u32,
    /// of memory
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// "cuda", "hip", or "emulated" in tests
    pub api: *const ::core::ffi::c_char,
    pub name: [::core::ffi::c_char; 256usize],
    /// "00000000:3b:00.0": domain, bus, device, function, as NVML wants it
    pub pci_bus_id: [::core::ffi::c_char; 32usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_device_info"][::core::mem::size_of::<pi_device_info>() - 320usize];
    ["Alignment of pi_device_info"][::core::mem::align_of::<pi_device_info>() - 8usize];
    [
        "Offset of field: pi_device_info::struct_size",
    ][::core::mem::offset_of!(pi_device_info, struct_size) - 0usize];
    [
        "Offset of field: pi_device_info::n_devices",
    ][::core::mem::offset_of!(pi_device_info, n_devices) - 4usize];
    [
        "Offset of field: pi_device_info::total_bytes",
    ][::core::mem::offset_of!(pi_device_info, total_bytes) - 8usize];
    [
        "Offset of field: pi_device_info::free_bytes",
    ][::core::mem::offset_of!(pi_device_info, free_bytes) - 16usize];
    [
        "Offset of field: pi_device_info::api",
    ][::core::mem::offset_of!(pi_device_info, api) - 24usize];
    [
        "Offset of field: pi_device_info::name",
    ][::core::mem::offset_of!(pi_device_info, name) - 32usize];
    [
        "Offset of field: pi_device_info::pci_bus_id",
    ][::core::mem::offset_of!(pi_device_info, pci_bus_id) - 288usize];
};
impl Default for pi_device_info {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug)]
pub struct pi_model {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct pi_placement {
    _unused: [u8; 0],
}
/// How feed-forward layers are computed.
pub type pi_strategy = u32;
/** Whether weights are copied from the mapped file into memory with large pages, where sparse rows
 cost less to find. The mapped pages are then given back: resident memory is that of the file.*/
pub type pi_repack = u32;
pub type pi_log_level = u32;
/// Called during pi_model_load only, on the calling thread; must not unwind.
pub type pi_log_fn = ::core::option::Option<
    unsafe extern "C" fn(
        user: *mut ::core::ffi::c_void,
        level: pi_log_level,
        message: *const ::core::ffi::c_char,
    ),
>;
/** Bytes made ready so far and in all; return 0 to stop the load with PI_ERROR_CANCELLED. Called
 while the file is read in, so only with `prefetch`, `lock_memory` or when weights are copied.*/
pub type pi_progress_fn = ::core::option::Option<
    unsafe extern "C" fn(user: *mut ::core::ffi::c_void, done: u64, total: u64) -> u32,
>;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_model_options {
    pub struct_size: u32,
    pub strategy: pi_strategy,
    /// 1: read the whole file during load instead of on first use
    pub prefetch: u32,
    /// 1: lock the weights in memory (implies prefetch)
    pub lock_memory: u32,
    /** for `predictor`, and `auto` with a predictor; NaN (default): the
file's, or 0*/
    pub sparse_threshold: f32,
    /// containers from memory are never copied a second time
    pub repack: pi_repack,
    /// may be NULL
    pub log: pi_log_fn,
    pub log_user: *mut ::core::ffi::c_void,
    /// may be NULL
    pub progress: pi_progress_fn,
    pub progress_user: *mut ::core::ffi::c_void,
    /** What goes to the GPU, planned for this file, this strategy and contexts of the sizes it
 names: see pi_file_place. NULL: nothing, the processor computes all. The model may have one
 context at a time then.*/
    pub placement: *const pi_placement,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_model_options"][::core::mem::size_of::<pi_model_options>() - 64usize];
    [
        "Alignment of pi_model_options",
    ][::core::mem::align_of::<pi_model_options>() - 8usize];
    [
        "Offset of field: pi_model_options::struct_size",
    ][::core::mem::offset_of!(pi_model_options, struct_size) - 0usize];
    [
        "Offset of field: pi_model_options::strategy",
    ][::core::mem::offset_of!(pi_model_options, strategy) - 4usize];
    [
        "Offset of field: pi_model_options::prefetch",
    ][::core::mem::offset_of!(pi_model_options, prefetch) - 8usize];
    [
        "Offset of field: pi_model_options::lock_memory",
    ][::core::mem::offset_of!(pi_model_options, lock_memory) - 12usize];
    [
        "Offset of field: pi_model_options::sparse_threshold",
    ][::core::mem::offset_of!(pi_model_options, sparse_threshold) - 16usize];
    [
        "Offset of field: pi_model_options::repack",
    ][::core::mem::offset_of!(pi_model_options, repack) - 20usize];
    [
        "Offset of field: pi_model_options::log",
    ][::core::mem::offset_of!(pi_model_options, log) - 24usize];
    [
        "Offset of field: pi_model_options::log_user",
    ][::core::mem::offset_of!(pi_model_options, log_user) - 32usize];
    [
        "Offset of field: pi_model_options::progress",
    ][::core::mem::offset_of!(pi_model_options, progress) - 40usize];
    [
        "Offset of field: pi_model_options::progress_user",
    ][::core::mem::offset_of!(pi_model_options, progress_user) - 48usize];
    [
        "Offset of field: pi_model_options::placement",
    ][::core::mem::offset_of!(pi_model_options, placement) - 56usize];
};
impl Default for pi_model_options {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_model_info {
    pub struct_size: u32,
    /** resolved: never PI_STRATEGY_DEFAULT; AUTO only where something is left
to decide, else DENSE*/
    pub strategy: pi_strategy,
    pub n_layers: u32,
    /// width of the residual stream
    pub dim: u32,
    /// feed-forward neurons of a layer
    pub hidden_dim: u32,
    pub n_heads: u32,
    pub n_kv_heads: u32,
    pub head_dim: u32,
    pub vocab_size: u32,
    /// trained
    pub context_length: u32,
    /// the file is PWRI
    pub is_sparse: u32,
    pub has_predictor: u32,
    pub is_gated: u32,
    pub sparse_threshold: f32,
    /// 0 for a plain ReLU
    pub fatrelu_threshold: f32,
    pub reserved: u32,
    /// of tensors in use
    pub weight_bytes: u64,
    /// of these: gate, up and down
    pub ffn_bytes: u64,
    pub predictor_bytes: u64,
    /// "llama", "bamboo", "falcon", "opt"
    pub architecture: *const ::core::ffi::c_char,
    /// "relu", "drelu", "fatrelu", "silu"
    pub activation: *const ::core::ffi::c_char,
    /// of tensor data copied into large pages; 0: not copied
    pub repacked_bytes: u64,
    /// that the copy took
    pub repack_ns: u64,
    /// why nothing was copied, else ""; lives as long as the model
    pub repack_reason: *const ::core::ffi::c_char,
    /// of the GPU that has a part of the model, else ""; likewise
    pub device_name: *const ::core::ffi::c_char,
    /// of weights on it
    pub device_bytes: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_model_info"][::core::mem::size_of::<pi_model_info>() - 144usize];
    ["Alignment of pi_model_info"][::core::mem::align_of::<pi_model_info>() - 8usize];
    [
        "Offset of field: pi_model_info::struct_size",
    ][::core::mem::offset_of!(pi_model_info, struct_size) - 0usize];
    [
        "Offset of field: pi_model_info::strategy",
    ][::core::mem::offset_of!(pi_model_info, strategy) - 4usize];
    [
        "Offset of field: pi_model_info::n_layers",
    ][::core::mem::offset_of!(pi_model_info, n_layers) - 8usize];
    [
        "Offset of field: pi_model_info::dim",
    ][::core::mem::offset_of!(pi_model_info, dim) - 12usize];
    [
        "Offset of field: pi_model_info::hidden_dim",
    ][::core::mem::offset_of!(pi_model_info, hidden_dim) - 16usize];
    [
        "Offset of field: pi_model_info::n_heads",
    ][::core::mem::offset_of!(pi_model_info, n_heads) - 20usize];
    [
        "Offset of field: pi_model_info::n_kv_heads",
    ][::core::mem::offset_of!(pi_model_info, n_kv_heads) - 24usize];
    [
        "Offset of field: pi_model_info::head_dim",
    ][::core::mem::offset_of!(pi_model_info, head_dim) - 28usize];
    [
        "Offset of field: pi_model_info::vocab_size",
    ][::core::mem::offset_of!(pi_model_info, vocab_size) - 32usize];
    [
        "Offset of field: pi_model_info::context_length",
    ][::core::mem::offset_of!(pi_model_info, context_length) - 36usize];
    [
        "Offset of field: pi_model_info::is_sparse",
    ][::core::mem::offset_of!(pi_model_info, is_sparse) - 40usize];
    [
        "Offset of field: pi_model_info::has_predictor",
    ][::core::mem::offset_of!(pi_model_info, has_predictor) - 44usize];
    [
        "Offset of field: pi_model_info::is_gated",
    ][::core::mem::offset_of!(pi_model_info, is_gated) - 48usize];
    [
        "Offset of field: pi_model_info::sparse_threshold",
    ][::core::mem::offset_of!(pi_model_info, sparse_threshold) - 52usize];
    [
        "Offset of field: pi_model_info::fatrelu_threshold",
    ][::core::mem::offset_of!(pi_model_info, fatrelu_threshold) - 56usize];
    [
        "Offset of field: pi_model_info::reserved",
    ][::core::mem::offset_of!(pi_model_info, reserved) - 60usize];
    [
        "Offset of field: pi_model_info::weight_bytes",
    ][::core::mem::offset_of!(pi_model_info, weight_bytes) - 64usize];
    [
        "Offset of field: pi_model_info::ffn_bytes",
    ][::core::mem::offset_of!(pi_model_info, ffn_bytes) - 72usize];
    [
        "Offset of field: pi_model_info::predictor_bytes",
    ][::core::mem::offset_of!(pi_model_info, predictor_bytes) - 80usize];
    [
        "Offset of field: pi_model_info::architecture",
    ][::core::mem::offset_of!(pi_model_info, architecture) - 88usize];
    [
        "Offset of field: pi_model_info::activation",
    ][::core::mem::offset_of!(pi_model_info, activation) - 96usize];
    [
        "Offset of field: pi_model_info::repacked_bytes",
    ][::core::mem::offset_of!(pi_model_info, repacked_bytes) - 104usize];
    [
        "Offset of field: pi_model_info::repack_ns",
    ][::core::mem::offset_of!(pi_model_info, repack_ns) - 112usize];
    [
        "Offset of field: pi_model_info::repack_reason",
    ][::core::mem::offset_of!(pi_model_info, repack_reason) - 120usize];
    [
        "Offset of field: pi_model_info::device_name",
    ][::core::mem::offset_of!(pi_model_info, device_name) - 128usize];
    [
        "Offset of field: pi_model_info::device_bytes",
    ][::core::mem::offset_of!(pi_model_info, device_bytes) - 136usize];
};
impl Default for pi_model_info {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/** Bytes per second, counted as if the stage had read its matrices whole. "Test" has the gate matrix
 (ungated: up), "rest" the others, "predict" fc1 and fc2. "Low" and "high": with 1/8 and 5/8 of
 the neurons listed (test) or not zero (rest).*/
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_stage_rates {
    /// 0 without a predictor
    pub predict: f64,
    pub test_all: f64,
    pub test_listed_low: f64,
    pub test_listed_high: f64,
    pub rest_all_low: f64,
    pub rest_all_high: f64,
    pub rest_listed_low: f64,
    pub rest_listed_high: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_stage_rates"][::core::mem::size_of::<pi_stage_rates>() - 64usize];
    ["Alignment of pi_stage_rates"][::core::mem::align_of::<pi_stage_rates>() - 8usize];
    [
        "Offset of field: pi_stage_rates::predict",
    ][::core::mem::offset_of!(pi_stage_rates, predict) - 0usize];
    [
        "Offset of field: pi_stage_rates::test_all",
    ][::core::mem::offset_of!(pi_stage_rates, test_all) - 8usize];
    [
        "Offset of field: pi_stage_rates::test_listed_low",
    ][::core::mem::offset_of!(pi_stage_rates, test_listed_low) - 16usize];
    [
        "Offset of field: pi_stage_rates::test_listed_high",
    ][::core::mem::offset_of!(pi_stage_rates, test_listed_high) - 24usize];
    [
        "Offset of field: pi_stage_rates::rest_all_low",
    ][::core::mem::offset_of!(pi_stage_rates, rest_all_low) - 32usize];
    [
        "Offset of field: pi_stage_rates::rest_all_high",
    ][::core::mem::offset_of!(pi_stage_rates, rest_all_high) - 40usize];
    [
        "Offset of field: pi_stage_rates::rest_listed_low",
    ][::core::mem::offset_of!(pi_stage_rates, rest_listed_low) - 48usize];
    [
        "Offset of field: pi_stage_rates::rest_listed_high",
    ][::core::mem::offset_of!(pi_stage_rates, rest_listed_high) - 56usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_rates {
    pub struct_size: u32,
    /// that were measured with
    pub n_threads: u32,
    /// for one token
    pub one: pi_stage_rates,
    /// for 16 tokens
    pub many: pi_stage_rates,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_rates"][::core::mem::size_of::<pi_rates>() - 136usize];
    ["Alignment of pi_rates"][::core::mem::align_of::<pi_rates>() - 8usize];
    [
        "Offset of field: pi_rates::struct_size",
    ][::core::mem::offset_of!(pi_rates, struct_size) - 0usize];
    [
        "Offset of field: pi_rates::n_threads",
    ][::core::mem::offset_of!(pi_rates, n_threads) - 4usize];
    ["Offset of field: pi_rates::one"][::core::mem::offset_of!(pi_rates, one) - 8usize];
    [
        "Offset of field: pi_rates::many",
    ][::core::mem::offset_of!(pi_rates, many) - 72usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_layer_plan {
    pub struct_size: u32,
    pub uses_predictor: u32,
    /// of the neurons, for one token; where decisions begin
    pub active_share: f64,
    /// likewise; 0 without a predictor
    pub candidate_share: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_layer_plan"][::core::mem::size_of::<pi_layer_plan>() - 24usize];
    ["Alignment of pi_layer_plan"][::core::mem::align_of::<pi_layer_plan>() - 8usize];
    [
        "Offset of field: pi_layer_plan::struct_size",
    ][::core::mem::offset_of!(pi_layer_plan, struct_size) - 0usize];
    [
        "Offset of field: pi_layer_plan::uses_predictor",
    ][::core::mem::offset_of!(pi_layer_plan, uses_predictor) - 4usize];
    [
        "Offset of field: pi_layer_plan::active_share",
    ][::core::mem::offset_of!(pi_layer_plan, active_share) - 8usize];
    [
        "Offset of field: pi_layer_plan::candidate_share",
    ][::core::mem::offset_of!(pi_layer_plan, candidate_share) - 16usize];
};
#[repr(C)]
#[derive(Debug)]
pub struct pi_context {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_context_options {
    pub struct_size: u32,
    /// tokens that the KV cache holds, all sequences together; 0: the trained length
    pub n_ctx: u32,
    /// sequence ids are 0 .. n_sequences-1; default 1
    pub n_sequences: u32,
    /// tokens computed together; longer batches are cut; default 512
    pub n_batch: u32,
    /// 0: one per physical core that this process may use
    pub n_threads: u32,
    /// GGML id: 1 = F16 (default), 0 = F32
    pub kv_dtype: u32,
    /** 1: in layers that use a predictor, also compute every neuron to count misses
(slow)*/
    pub audit: u32,
    /** Bits that activations are rounded to before they meet quantised weights: 16 (default), which
 keeps logits right to the weights' own rounding, or 8, which is faster for prompts and for
 many sequences.*/
    pub activation_bits: u32,
    /// for `auto` only, which wants both; copied. Of as many threads
    pub rates: *const pi_rates,
    /// (n_layers,)
    pub layer_plans: *const pi_layer_plan,
    /// 1: keep pi_context_get_neuron_counts, 8 bytes a neuron and layer
    pub count_neurons: u32,
    /** With neurons on a GPU: after so many tokens those that fired most lately get the places of
 those that did not, up to 64 a layer; 0 (default): all stay where they were placed. They are
 copied beside the steps, and before a step those that are there take their places: results
 change by the rounding of sums, there, and which step it is depends on the bus.*/
    pub adapt_every: u32,
    /** with a part of the model on a GPU, 1: keep pi_stats.device_ns and what
follows it, for about 4 microseconds a layer and step; default 0*/
    pub time_device: u32,
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of pi_context_options",
    ][::core::mem::size_of::<pi_context_options>() - 64usize];
    [
        "Alignment of pi_context_options",
    ][::core::mem::align_of::<pi_context_options>() - 8usize];
    [
        "Offset of field: pi_context_options::struct_size",
    ][::core::mem::offset_of!(pi_context_options, struct_size) - 0usize];
    [
        "Offset of field: pi_context_options::n_ctx",
    ][::core::mem::offset_of!(pi_context_options, n_ctx) - 4usize];
    [
        "Offset of field: pi_context_options::n_sequences",
    ][::core::mem::offset_of!(pi_context_options, n_sequences) - 8usize];
    [
        "Offset of field: pi_context_options::n_batch",
    ][::core::mem::offset_of!(pi_context_options, n_batch) - 12usize];
    [
        "Offset of field: pi_context_options::n_threads",
    ][::core::mem::offset_of!(pi_context_options, n_threads) - 16usize];
    [
        "Offset of field: pi_context_options::kv_dtype",
    ][::core::mem::offset_of!(pi_context_options, kv_dtype) - 20usize];
    [
        "Offset of field: pi_context_options::audit",
    ][::core::mem::offset_of!(pi_context_options, audit) - 24usize];
    [
        "Offset of field: pi_context_options::activation_bits",
    ][::core::mem::offset_of!(pi_context_options, activation_bits) - 28usize];
    [
        "Offset of field: pi_context_options::rates",
    ][::core::mem::offset_of!(pi_context_options, rates) - 32usize];
    [
        "Offset of field: pi_context_options::layer_plans",
    ][::core::mem::offset_of!(pi_context_options, layer_plans) - 40usize];
    [
        "Offset of field: pi_context_options::count_neurons",
    ][::core::mem::offset_of!(pi_context_options, count_neurons) - 48usize];
    [
        "Offset of field: pi_context_options::adapt_every",
    ][::core::mem::offset_of!(pi_context_options, adapt_every) - 52usize];
    [
        "Offset of field: pi_context_options::time_device",
    ][::core::mem::offset_of!(pi_context_options, time_device) - 56usize];
    [
        "Offset of field: pi_context_options::reserved",
    ][::core::mem::offset_of!(pi_context_options, reserved) - 60usize];
};
impl Default for pi_context_options {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/** One unit of work: n_tokens tokens, any mix of sequences. Tokens of one sequence stand in order,
 and their positions continue that sequence: first its length, then one more each.*/
pub type pi_output = u8;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_batch {
    pub struct_size: u32,
    pub n_tokens: u32,
    /// (n_tokens,)
    pub tokens: *const i32,
    /// (n_tokens,)
    pub positions: *const i32,
    /// (n_tokens,)
    pub sequences: *const i32,
    /// (n_tokens,) bits; NULL: logits of the last token only
    pub outputs: *const pi_output,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_batch"][::core::mem::size_of::<pi_batch>() - 40usize];
    ["Alignment of pi_batch"][::core::mem::align_of::<pi_batch>() - 8usize];
    [
        "Offset of field: pi_batch::struct_size",
    ][::core::mem::offset_of!(pi_batch, struct_size) - 0usize];
    [
        "Offset of field: pi_batch::n_tokens",
    ][::core::mem::offset_of!(pi_batch, n_tokens) - 4usize];
    [
        "Offset of field: pi_batch::tokens",
    ][::core::mem::offset_of!(pi_batch, tokens) - 8usize];
    [
        "Offset of field: pi_batch::positions",
    ][::core::mem::offset_of!(pi_batch, positions) - 16usize];
    [
        "Offset of field: pi_batch::sequences",
    ][::core::mem::offset_of!(pi_batch, sequences) - 24usize];
    [
        "Offset of field: pi_batch::outputs",
    ][::core::mem::offset_of!(pi_batch, outputs) - 32usize];
};
impl Default for pi_batch {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_stats {
    pub struct_size: u32,
    pub reserved: u32,
    pub n_decode_calls: u64,
    pub n_tokens: u64,
    /** weight bytes that the host had to move, each row once per
internal batch*/
    pub weight_bytes_read: u64,
    pub kv_bytes_read: u64,
    pub embed_ns: u64,
    pub attention_ns: u64,
    pub predictor_ns: u64,
    pub ffn_ns: u64,
    pub output_ns: u64,
    /// neurons x layers x tokens
    pub neurons_total: u64,
    /// of these: tested (gate, or ungated up, computed)
    pub neurons_candidate: u64,
    /// of these: non-zero, so that the down row was needed
    pub neurons_active: u64,
    /// audit only: neurons that a dense layer would find non-zero ...
    pub audit_active: u64,
    /// ... and the predictor did not select
    pub audit_missed: u64,
    /// allocated for the cache, on the host
    pub kv_bytes: u64,
    /// allocated beside it
    pub scratch_bytes: u64,
    /// allocated on it, for cache and scratch
    pub device_bytes: u64,
    /// weight bytes that the GPU had to move, likewise
    pub device_bytes_read: u64,
    /// of neurons_active
    pub device_neurons_active: u64,
    /// see pi_context_options.adapt_every
    pub neurons_replaced: u64,
    /// between host and GPU
    pub bus_bytes: u64,
    /// that the host waited for the GPU
    pub device_wait_ns: u64,
    /// that the host computed its share of layers on the GPU
    pub host_share_ns: u64,
    /// that the GPU computed or copied
    pub device_ns: u64,
    /// of this: its own share of layers that the host has a share of
    pub device_share_ns: u64,
    /// that both computed their shares
    pub overlap_ns: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_stats"][::core::mem::size_of::<pi_stats>() - 216usize];
    ["Alignment of pi_stats"][::core::mem::align_of::<pi_stats>() - 8usize];
    [
        "Offset of field: pi_stats::struct_size",
    ][::core::mem::offset_of!(pi_stats, struct_size) - 0usize];
    [
        "Offset of field: pi_stats::reserved",
    ][::core::mem::offset_of!(pi_stats, reserved) - 4usize];
    [
        "Offset of field: pi_stats::n_decode_calls",
    ][::core::mem::offset_of!(pi_stats, n_decode_calls) - 8usize];
    [
        "Offset of field: pi_stats::n_tokens",
    ][::core::mem::offset_of!(pi_stats, n_tokens) - 16usize];
    [
        "Offset of field: pi_stats::weight_bytes_read",
    ][::core::mem::offset_of!(pi_stats, weight_bytes_read) - 24usize];
    [
        "Offset of field: pi_stats::kv_bytes_read",
    ][::core::mem::offset_of!(pi_stats, kv_bytes_read) - 32usize];
    [
        "Offset of field: pi_stats::embed_ns",
    ][::core::mem::offset_of!(pi_stats, embed_ns) - 40usize];
    [
        "Offset of field: pi_stats::attention_ns",
    ][::core::mem::offset_of!(pi_stats, attention_ns) - 48usize];
    [
        "Offset of field: pi_stats::predictor_ns",
    ][::core::mem::offset_of!(pi_stats, predictor_ns) - 56usize];
    [
        "Offset of field: pi_stats::ffn_ns",
    ][::core::mem::offset_of!(pi_stats, ffn_ns) - 64usize];
    [
        "Offset of field: pi_stats::output_ns",
    ][::core::mem::offset_of!(pi_stats, output_ns) - 72usize];
    [
        "Offset of field: pi_stats::neurons_total",
    ][::core::mem::offset_of!(pi_stats, neurons_total) - 80usize];
    [
        "Offset of field: pi_stats::neurons_candidate",
    ][::core::mem::offset_of!(pi_stats, neurons_candidate) - 88usize];
    [
        "Offset of field: pi_stats::neurons_active",
    ][::core::mem::offset_of!(pi_stats, neurons_active) - 96usize];
    [
        "Offset of field: pi_stats::audit_active",
    ][::core::mem::offset_of!(pi_stats, audit_active) - 104usize];
    [
        "Offset of field: pi_stats::audit_missed",
    ][::core::mem::offset_of!(pi_stats, audit_missed) - 112usize];
    [
        "Offset of field: pi_stats::kv_bytes",
    ][::core::mem::offset_of!(pi_stats, kv_bytes) - 120usize];
    [
        "Offset of field: pi_stats::scratch_bytes",
    ][::core::mem::offset_of!(pi_stats, scratch_bytes) - 128usize];
    [
        "Offset of field: pi_stats::device_bytes",
    ][::core::mem::offset_of!(pi_stats, device_bytes) - 136usize];
    [
        "Offset of field: pi_stats::device_bytes_read",
    ][::core::mem::offset_of!(pi_stats, device_bytes_read) - 144usize];
    [
        "Offset of field: pi_stats::device_neurons_active",
    ][::core::mem::offset_of!(pi_stats, device_neurons_active) - 152usize];
    [
        "Offset of field: pi_stats::neurons_replaced",
    ][::core::mem::offset_of!(pi_stats, neurons_replaced) - 160usize];
    [
        "Offset of field: pi_stats::bus_bytes",
    ][::core::mem::offset_of!(pi_stats, bus_bytes) - 168usize];
    [
        "Offset of field: pi_stats::device_wait_ns",
    ][::core::mem::offset_of!(pi_stats, device_wait_ns) - 176usize];
    [
        "Offset of field: pi_stats::host_share_ns",
    ][::core::mem::offset_of!(pi_stats, host_share_ns) - 184usize];
    [
        "Offset of field: pi_stats::device_ns",
    ][::core::mem::offset_of!(pi_stats, device_ns) - 192usize];
    [
        "Offset of field: pi_stats::device_share_ns",
    ][::core::mem::offset_of!(pi_stats, device_share_ns) - 200usize];
    [
        "Offset of field: pi_stats::overlap_ns",
    ][::core::mem::offset_of!(pi_stats, overlap_ns) - 208usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_layer_stats {
    pub struct_size: u32,
    /// how the layer would compute one token now: never DEFAULT or AUTO
    pub strategy: pi_strategy,
    pub neurons_total: u64,
    pub neurons_candidate: u64,
    pub neurons_active: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_layer_stats"][::core::mem::size_of::<pi_layer_stats>() - 32usize];
    ["Alignment of pi_layer_stats"][::core::mem::align_of::<pi_layer_stats>() - 8usize];
    [
        "Offset of field: pi_layer_stats::struct_size",
    ][::core::mem::offset_of!(pi_layer_stats, struct_size) - 0usize];
    [
        "Offset of field: pi_layer_stats::strategy",
    ][::core::mem::offset_of!(pi_layer_stats, strategy) - 4usize];
    [
        "Offset of field: pi_layer_stats::neurons_total",
    ][::core::mem::offset_of!(pi_layer_stats, neurons_total) - 8usize];
    [
        "Offset of field: pi_layer_stats::neurons_candidate",
    ][::core::mem::offset_of!(pi_layer_stats, neurons_candidate) - 16usize];
    [
        "Offset of field: pi_layer_stats::neurons_active",
    ][::core::mem::offset_of!(pi_layer_stats, neurons_active) - 24usize];
};
/** ---- placement ----

 What of a model goes to a device with little memory, planned in exact bytes before anything is
 allocated. Needs neither a device nor the weights. Placed in this order, until the first that
 does not fit: of each layer attention, norms and KV cache together; predictors, if the strategy
 reads them; the output;
 groups of neurons, those with most activations first. A larger budget only adds to a plan, and no
 plan is larger than its budget.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pi_placement_options {
    pub struct_size: u32,
    /// as in pi_context_options, like the next three
    pub n_ctx: u32,
    /// default 1
    pub n_sequences: u32,
    /// default 512
    pub n_batch: u32,
    /// default 1 = F16
    pub kv_dtype: u32,
    /** Neurons placed together; 0: the largest power of two that divides hidden_dim, at most 256.
 In GGUF files, all of a layer.*/
    pub group: u32,
    /// bytes, with the device's own needs; see pi_default_vram_budget
    pub vram_budget: u64,
    /** How often each neuron was active, (n_count_layers, n_count_neurons), the first layer's
 first; copied. NULL: unknown, neurons are placed in file order, evenly over the layers.*/
    pub counts: *const f64,
    pub n_count_layers: u32,
    pub n_count_neurons: u32,
    /// that the counts come from; 0: as many as the largest count
    pub counted_tokens: f64,
    /// of the neurons, for one token, without counts; default 0.1
    pub active_share: f64,
    /// A GPU-index file (*.generated.gpuidx) that says which neurons; NULL: they are chosen.
    pub gpu_index: *const ::core::ffi::c_char,
    /** That the model will be loaded with, and only that: `dense` and `exact` read no predictor, so
 that it gets no room.*/
    pub strategy: pi_strategy,
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of pi_placement_options",
    ][::core::mem::size_of::<pi_placement_options>() - 80usize];
    [
        "Alignment of pi_placement_options",
    ][::core::mem::align_of::<pi_placement_options>() - 8usize];
    [
        "Offset of field: pi_placement_options::struct_size",
    ][::core::mem::offset_of!(pi_placement_options, struct_size) - 0usize];
    [
        "Offset of field: pi_placement_options::n_ctx",
    ][::core::mem::offset_of!(pi_placement_options, n_ctx) - 4usize];
    [
        "Offset of field: pi_placement_options::n_sequences",
    ][::core::mem::offset_of!(pi_placement_options, n_sequences) - 8usize];
    [
        "Offset of field: pi_placement_options::n_batch",
    ][::core::mem::offset_of!(pi_placement_options, n_batch) - 12usize];
    [
        "Offset of field: pi_placement_options::kv_dtype",
    ][::core::mem::offset_of!(pi_placement_options, kv_dtype) - 16usize];
    [
        "Offset of field: pi_placement_options::group",
    ][::core::mem::offset_of!(pi_placement_options, group) - 20usize];
    [
        "Offset of field: pi_placement_options::vram_budget",
    ][::core::mem::offset_of!(pi_placement_options, vram_budget) - 24usize];
    [
        "Offset of field: pi_placement_options::counts",
    ][::core::mem::offset_of!(pi_placement_options, counts) - 32usize];
    [
        "Offset of field: pi_placement_options::n_count_layers",
    ][::core::mem::offset_of!(pi_placement_options, n_count_layers) - 40usize];
    [
        "Offset of field: pi_placement_options::n_count_neurons",
    ][::core::mem::offset_of!(pi_placement_options, n_count_neurons) - 44usize];
    [
        "Offset of field: pi_placement_options::counted_tokens",
    ][::core::mem::offset_of!(pi_placement_options, counted_tokens) - 48usize];
    [
        "Offset of field: pi_placement_options::active_share",
    ][::core::mem::offset_of!(pi_placement_options, active_share) - 56usize];
    [
        "Offset of field: pi_placement_options::gpu_index",
    ][::core::mem::offset_of!(pi_placement_options, gpu_index) - 64usize];
    [
        "Offset of field: pi_placement_options::strategy",
    ][::core::mem::offset_of!(pi_placement_options, strategy) - 72usize];
    [
        "Offset of field: pi_placement_options::reserved",
    ][::core::mem::offset_of!(pi_placement_options, reserved) - 76usize];
};
impl Default for pi_placement_options {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// What became of pi_placement_options.gpu_index.
pub type pi_gpu_index_state = u32;
pub type pi_part = u32;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_placement_info {
    pub struct_size: u32,
    pub n_layers: u32,
    pub hidden_dim: u32,
    pub group: u32,
    pub has_counts: u32,
    pub gpu_index: pi_gpu_index_state,
    pub vram_budget: u64,
    /// the device's own needs: context, workspaces, scratch
    pub reserve: u64,
    /// planned, with the reserve; 0 if nothing fits beside it
    pub device_bytes: u64,
    /// what everything else left for neurons
    pub neuron_budget: u64,
    /// on the device, all layers
    pub n_neurons: u64,
    /** Of all activations, those of neurons on the device; without counts the share of the neurons,
 as if all fired equally often.*/
    pub activation_share: f64,
    /// resolved: never PI_STRATEGY_DEFAULT
    pub strategy: pi_strategy,
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_placement_info"][::core::mem::size_of::<pi_placement_info>() - 80usize];
    [
        "Alignment of pi_placement_info",
    ][::core::mem::align_of::<pi_placement_info>() - 8usize];
    [
        "Offset of field: pi_placement_info::struct_size",
    ][::core::mem::offset_of!(pi_placement_info, struct_size) - 0usize];
    [
        "Offset of field: pi_placement_info::n_layers",
    ][::core::mem::offset_of!(pi_placement_info, n_layers) - 4usize];
    [
        "Offset of field: pi_placement_info::hidden_dim",
    ][::core::mem::offset_of!(pi_placement_info, hidden_dim) - 8usize];
    [
        "Offset of field: pi_placement_info::group",
    ][::core::mem::offset_of!(pi_placement_info, group) - 12usize];
    [
        "Offset of field: pi_placement_info::has_counts",
    ][::core::mem::offset_of!(pi_placement_info, has_counts) - 16usize];
    [
        "Offset of field: pi_placement_info::gpu_index",
    ][::core::mem::offset_of!(pi_placement_info, gpu_index) - 20usize];
    [
        "Offset of field: pi_placement_info::vram_budget",
    ][::core::mem::offset_of!(pi_placement_info, vram_budget) - 24usize];
    [
        "Offset of field: pi_placement_info::reserve",
    ][::core::mem::offset_of!(pi_placement_info, reserve) - 32usize];
    [
        "Offset of field: pi_placement_info::device_bytes",
    ][::core::mem::offset_of!(pi_placement_info, device_bytes) - 40usize];
    [
        "Offset of field: pi_placement_info::neuron_budget",
    ][::core::mem::offset_of!(pi_placement_info, neuron_budget) - 48usize];
    [
        "Offset of field: pi_placement_info::n_neurons",
    ][::core::mem::offset_of!(pi_placement_info, n_neurons) - 56usize];
    [
        "Offset of field: pi_placement_info::activation_share",
    ][::core::mem::offset_of!(pi_placement_info, activation_share) - 64usize];
    [
        "Offset of field: pi_placement_info::strategy",
    ][::core::mem::offset_of!(pi_placement_info, strategy) - 72usize];
    [
        "Offset of field: pi_placement_info::reserved",
    ][::core::mem::offset_of!(pi_placement_info, reserved) - 76usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_placement_part {
    pub struct_size: u32,
    pub reserved: u32,
    pub n_bytes: u64,
    pub device_bytes: u64,
    /** Expected bytes for one token. Dense parts count whole, neurons as often as they fire, the KV
 cache as if it were full.*/
    pub device_read: f64,
    pub host_read: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of pi_placement_part"][::core::mem::size_of::<pi_placement_part>() - 40usize];
    [
        "Alignment of pi_placement_part",
    ][::core::mem::align_of::<pi_placement_part>() - 8usize];
    [
        "Offset of field: pi_placement_part::struct_size",
    ][::core::mem::offset_of!(pi_placement_part, struct_size) - 0usize];
    [
        "Offset of field: pi_placement_part::reserved",
    ][::core::mem::offset_of!(pi_placement_part, reserved) - 4usize];
    [
        "Offset of field: pi_placement_part::n_bytes",
    ][::core::mem::offset_of!(pi_placement_part, n_bytes) - 8usize];
    [
        "Offset of field: pi_placement_part::device_bytes",
    ][::core::mem::offset_of!(pi_placement_part, device_bytes) - 16usize];
    [
        "Offset of field: pi_placement_part::device_read",
    ][::core::mem::offset_of!(pi_placement_part, device_read) - 24usize];
    [
        "Offset of field: pi_placement_part::host_read",
    ][::core::mem::offset_of!(pi_placement_part, host_read) - 32usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct pi_placement_layer {
    pub struct_size: u32,
    /// on the device
    pub n_neurons: u32,
    /// by pi_part; of the output and the embedding 0
    pub device_bytes: [u64; 7usize],
    /// as in pi_placement_info, of this layer
    pub activation_share: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of pi_placement_layer",
    ][::core::mem::size_of::<pi_placement_layer>() - 72usize];
    [
        "Alignment of pi_placement_layer",
    ][::core::mem::align_of::<pi_placement_layer>() - 8usize];
    [
        "Offset of field: pi_placement_layer::struct_size",
    ][::core::mem::offset_of!(pi_placement_layer, struct_size) - 0usize];
    [
        "Offset of field: pi_placement_layer::n_neurons",
    ][::core::mem::offset_of!(pi_placement_layer, n_neurons) - 4usize];
    [
        "Offset of field: pi_placement_layer::device_bytes",
    ][::core::mem::offset_of!(pi_placement_layer, device_bytes) - 8usize];
    [
        "Offset of field: pi_placement_layer::activation_share",
    ][::core::mem::offset_of!(pi_placement_layer, activation_share) - 64usize];
};
unsafe extern "C" {
    /// The PI_ABI_VERSION that the library was built with.
    pub fn pi_abi_version() -> u32;
    /// Name of the CPU operators in use: "scalar", "avx2", "avx512", "neon", "neon-dotprod".
    pub fn pi_cpu_name() -> *const ::core::ffi::c_char;
    pub fn pi_error_get_kind(error: *const pi_error) -> pi_error_kind;
    /// Valid until the error is freed.
    pub fn pi_error_get_message(error: *const pi_error) -> *const ::core::ffi::c_char;
    pub fn pi_error_free(error: *mut pi_error);
    /// Maps and checks a container; weights are not read. Returned strings live as long as the file.
    pub fn pi_file_open(
        path: *const ::core::ffi::c_char,
        out: *mut *mut pi_file,
    ) -> *mut pi_error;
    /// The same for a container in memory, which is copied.
    pub fn pi_file_from_bytes(
        bytes: *const ::core::ffi::c_void,
        n: usize,
        out: *mut *mut pi_file,
    ) -> *mut pi_error;
    pub fn pi_file_free(file: *mut pi_file);
    pub fn pi_file_get_info(file: *const pi_file, out: *mut pi_file_info);
    /// Index of a metadata key, -1 when the file has none.
    pub fn pi_file_find_metadata(
        file: *const pi_file,
        key: *const ::core::ffi::c_char,
    ) -> i64;
    pub fn pi_file_get_metadata(
        file: *const pi_file,
        index: u64,
        out: *mut pi_meta_info,
    ) -> *mut pi_error;
    /// Element j of an integer or boolean value (u64 as its two's complement).
    pub fn pi_file_get_integer(
        file: *const pi_file,
        index: u64,
        j: u64,
        out: *mut i64,
    ) -> *mut pi_error;
    /// Element j of any numeric value.
    pub fn pi_file_get_number(
        file: *const pi_file,
        index: u64,
        j: u64,
        out: *mut f64,
    ) -> *mut pi_error;
    pub fn pi_file_get_string(
        file: *const pi_file,
        index: u64,
        j: u64,
        out: *mut *const ::core::ffi::c_char,
        out_len: *mut usize,
    ) -> *mut pi_error;
    pub fn pi_file_get_tensor(
        file: *const pi_file,
        index: u64,
        out: *mut pi_tensor_info,
    ) -> *mut pi_error;
    /// Fails with PI_ERROR_UNSUPPORTED for an unknown id.
    pub fn pi_dtype_get_info(dtype: u32, out: *mut pi_dtype_info) -> *mut pi_error;
    /// Rounds n floats (a multiple of block_elements) to `out` (n / block_elements * block_bytes bytes).
    pub fn pi_quantize_row(
        dtype: u32,
        x: *const f32,
        n: usize,
        out: *mut ::core::ffi::c_void,
    ) -> *mut pi_error;
    /// The inverse: n floats from their blocks.
    pub fn pi_dequantize_row(
        dtype: u32,
        row: *const ::core::ffi::c_void,
        n: usize,
        out: *mut f32,
    ) -> *mut pi_error;
    /** What the driver says of a GPU. Models use number 0; CUDA_VISIBLE_DEVICES makes another one the
 first. Fails with PI_ERROR_DEVICE where there is none, or the library was built without.*/
    pub fn pi_device_get_info(index: u32, out: *mut pi_device_info) -> *mut pi_error;
    pub fn pi_model_options_init(options: *mut pi_model_options);
    /** Shares `file`, which may be freed afterwards. `options` may be NULL. With a placement it fails
 with PI_ERROR_DEVICE without a GPU, with PI_ERROR_OUT_OF_MEMORY where the GPU has less free
 memory than was planned, or nothing fits beside its own needs, and with PI_ERROR_UNSUPPORTED for
 PI_STRATEGY_AUTO.*/
    pub fn pi_model_load(
        file: *const pi_file,
        options: *const pi_model_options,
        out: *mut *mut pi_model,
    ) -> *mut pi_error;
    pub fn pi_model_free(model: *mut pi_model);
    pub fn pi_model_get_info(model: *const pi_model, out: *mut pi_model_info);
    /// Threads that a context has by default: one per physical core that this process may use.
    pub fn pi_default_threads() -> u32;
    /** A number for everything that decides rates and shares but the processor: tensors, samples of
 their data, thresholds and the build of this library.*/
    pub fn pi_model_fingerprint(model: *const pi_model) -> u64;
    /// Times the stages of a feed-forward on the model's own weights. n_threads 0: the default.
    pub fn pi_model_measure_rates(
        model: *const pi_model,
        n_threads: u32,
        out: *mut pi_rates,
    ) -> *mut pi_error;
    /** Computes a few tokens to see which neurons fire, and decides which layers use their predictor.
 `out` has n_layers elements, each with its struct_size.*/
    pub fn pi_model_plan_layers(
        model: *const pi_model,
        rates: *const pi_rates,
        out: *mut pi_layer_plan,
    ) -> *mut pi_error;
    pub fn pi_context_options_init(options: *mut pi_context_options);
    pub fn pi_context_new(
        model: *const pi_model,
        options: *const pi_context_options,
        out: *mut *mut pi_context,
    ) -> *mut pi_error;
    pub fn pi_context_free(context: *mut pi_context);
    /// All or nothing: on any error the sequences are as long as before.
    pub fn pi_context_decode(
        context: *mut pi_context,
        batch: *const pi_batch,
    ) -> *mut pi_error;
    /** Result row of batch token `i` of the last decode, valid until the next call with this context as
 a non-const argument.*/
    pub fn pi_context_get_logits(
        context: *const pi_context,
        i: u32,
        out: *mut *const f32,
    ) -> *mut pi_error;
    pub fn pi_context_get_hidden(
        context: *const pi_context,
        i: u32,
        out: *mut *const f32,
    ) -> *mut pi_error;
    /// Stops the running decode, or the next one, within one layer. Stays set until it is cleared.
    pub fn pi_context_cancel(context: *const pi_context);
    pub fn pi_context_clear_cancel(context: *mut pi_context);
    /// Tokens in a sequence, in `out`.
    pub fn pi_context_sequence_length(
        context: *const pi_context,
        sequence: u32,
        out: *mut u32,
    ) -> *mut pi_error;
    /// Keeps the first n tokens of a sequence; 0 removes it.
    pub fn pi_context_sequence_truncate(
        context: *mut pi_context,
        sequence: u32,
        n: u32,
    ) -> *mut pi_error;
    /// `target`, which must be empty, becomes the first n tokens of `source`; memory is shared.
    pub fn pi_context_sequence_fork(
        context: *mut pi_context,
        source: u32,
        target: u32,
        n: u32,
    ) -> *mut pi_error;
    /// Free room in the KV cache, in tokens (whole pages).
    pub fn pi_context_room(context: *const pi_context) -> u32;
    /// Counters since creation or the last reset.
    pub fn pi_context_get_stats(context: *const pi_context, out: *mut pi_stats);
    pub fn pi_context_get_layer_stats(
        context: *const pi_context,
        layer: u32,
        out: *mut pi_layer_stats,
    ) -> *mut pi_error;
    /** For each neuron of a layer the number of tokens that needed it: what it adds to the down
 projection was not zero. `out` gets (hidden_dim,) counts, valid until the next call with this
 context as a non-const argument; their sum is neurons_active of the layer. With a predictor,
 neurons that it did not select are not needed. Only for contexts made with count_neurons.*/
    pub fn pi_context_get_neuron_counts(
        context: *const pi_context,
        layer: u32,
        out: *mut *const u64,
    ) -> *mut pi_error;
    /// Sets counters and neuron counts to zero.
    pub fn pi_context_reset_stats(context: *mut pi_context);
    /** The budget for a device with so much free memory: all but a reserve of 256 MiB for its display
 and its driver.*/
    pub fn pi_default_vram_budget(free_bytes: u64) -> u64;
    pub fn pi_placement_options_init(options: *mut pi_placement_options);
    /** Plans for the model of `file`. Fails with PI_ERROR_INVALID_ARGUMENT for options that do not fit
 the model, and for an index whose neurons do not fit the budget; otherwise as pi_file_open, for
 the index, and pi_model_load. A stale index is no error: see pi_placement_info.gpu_index.*/
    pub fn pi_file_place(
        file: *const pi_file,
        options: *const pi_placement_options,
        out: *mut *mut pi_placement,
    ) -> *mut pi_error;
    pub fn pi_placement_free(placement: *mut pi_placement);
    pub fn pi_placement_get_info(
        placement: *const pi_placement,
        out: *mut pi_placement_info,
    );
    pub fn pi_placement_get_part(
        placement: *const pi_placement,
        part: pi_part,
        out: *mut pi_placement_part,
    ) -> *mut pi_error;
    pub fn pi_placement_get_layer(
        placement: *const pi_placement,
        layer: u32,
        out: *mut pi_placement_layer,
    ) -> *mut pi_error;
    /// The neurons of a layer on the device, ascending; they live as long as the placement.
    pub fn pi_placement_get_neurons(
        placement: *const pi_placement,
        layer: u32,
        out: *mut *const i32,
        out_len: *mut u32,
    ) -> *mut pi_error;
    /** Writes the neurons as a GPU-index file, with fingerprints of the model and the counts in keys of
 our own. The file appears under its name only when it is whole.*/
    pub fn pi_placement_save_gpu_index(
        placement: *const pi_placement,
        path: *const ::core::ffi::c_char,
    ) -> *mut pi_error;
    /** Plain read bandwidth of this machine in bytes per second: n_threads sum `n_bytes` of fresh
 memory; the best of several passes.*/
    pub fn pi_measure_read_bandwidth(
        n_threads: u32,
        n_bytes: usize,
        out: *mut f64,
    ) -> *mut pi_error;
    /** Computes dot products (n_rows of them) of a random matrix of `dtype` with one vector on one
 thread, `axpy` = 1: the transposed product instead; bytes of weights per second, the best of
 several passes.*/
    pub fn pi_measure_kernel(
        dtype: u32,
        axpy: u32,
        n_rows: u32,
        n_cols: u32,
        out: *mut f64,
    ) -> *mut pi_error;
}
