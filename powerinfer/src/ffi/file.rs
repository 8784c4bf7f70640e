//! An open container: mapped or copied, checked by the core, never changed.

use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};
use std::slice;

use powerinfer_sys as sys;

use super::error::check;
use super::{CoreError, out_struct};

/// Owns a `pi_file`.
#[derive(Debug)]
pub(crate) struct FileHandle(NonNull<sys::pi_file>);

// SAFETY: "const handles may be shared between threads", and no call but the free in `drop` takes
// a non-const pi_file; the free happens once, on whatever thread drops the handle.
unsafe impl Send for FileHandle {}
// SAFETY: as above: every method passes the handle as `const pi_file*`.
unsafe impl Sync for FileHandle {}

/// Type, shape and key of one metadata entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawMeta<'f> {
    pub(crate) kind: u32,
    pub(crate) is_array: bool,
    pub(crate) len: u64,
    pub(crate) key: &'f [u8],
}

/// One entry of the tensor table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawTensor<'f> {
    pub(crate) name: &'f [u8],
    pub(crate) dtype: u32,
    pub(crate) n_dims: u32,
    pub(crate) shape: [u64; 4],
    pub(crate) offset: u64,
    pub(crate) n_bytes: u64,
}

impl FileHandle {
    pub(crate) fn open(path: &CStr) -> Result<Self, CoreError> {
        let mut out = ptr::null_mut();
        // SAFETY: `path` is terminated and `out` outlives the call.
        check(unsafe { sys::pi_file_open(path.as_ptr(), &raw mut out) })?;
        Ok(Self::adopt(out))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CoreError> {
        let mut out = ptr::null_mut();
        // SAFETY: pointer and length describe `bytes`, which is copied before the call returns.
        check(unsafe {
            sys::pi_file_from_bytes(bytes.as_ptr().cast(), bytes.len(), &raw mut out)
        })?;
        Ok(Self::adopt(out))
    }

    fn adopt(file: *mut sys::pi_file) -> Self {
        Self(NonNull::new(file).expect("a call without error has written its result"))
    }

    pub(super) fn as_ptr(&self) -> *const sys::pi_file {
        self.0.as_ptr()
    }

    pub(crate) fn info(&self) -> sys::pi_file_info {
        let mut info = out_struct::<sys::pi_file_info>();
        // SAFETY: the file is alive; `info` names its own size and outlives the call.
        unsafe { sys::pi_file_get_info(self.as_ptr(), &raw mut info) };
        info
    }

    /// Index of a key, if the file has it.
    pub(crate) fn find(&self, key: &CStr) -> Option<u64> {
        // SAFETY: the file is alive and `key` is terminated.
        let index = unsafe { sys::pi_file_find_metadata(self.as_ptr(), key.as_ptr()) };
        u64::try_from(index).ok()
    }

    pub(crate) fn metadata(&self, index: u64) -> Result<RawMeta<'_>, CoreError> {
        let mut info = out_struct::<sys::pi_meta_info>();
        // SAFETY: the file is alive; `info` names its own size and outlives the call.
        check(unsafe { sys::pi_file_get_metadata(self.as_ptr(), index, &raw mut info) })?;
        Ok(RawMeta {
            kind: info.type_,
            is_array: info.is_array != 0,
            len: info.n,
            key: borrow_bytes(self, info.key, info.key_len),
        })
    }

    pub(crate) fn integer(&self, index: u64, j: u64) -> Result<i64, CoreError> {
        let mut out = 0;
        // SAFETY: the file is alive and `out` outlives the call.
        check(unsafe { sys::pi_file_get_integer(self.as_ptr(), index, j, &raw mut out) })?;
        Ok(out)
    }

    pub(crate) fn number(&self, index: u64, j: u64) -> Result<f64, CoreError> {
        let mut out = 0.0;
        // SAFETY: the file is alive and `out` outlives the call.
        check(unsafe { sys::pi_file_get_number(self.as_ptr(), index, j, &raw mut out) })?;
        Ok(out)
    }

    pub(crate) fn string(&self, index: u64, j: u64) -> Result<&[u8], CoreError> {
        let mut out = ptr::null();
        let mut len = 0;
        // SAFETY: the file is alive; `out` and `len` outlive the call.
        check(unsafe {
            sys::pi_file_get_string(self.as_ptr(), index, j, &raw mut out, &raw mut len)
        })?;
        Ok(borrow_bytes(self, out, len))
    }

    pub(crate) fn tensor(&self, index: u64) -> Result<RawTensor<'_>, CoreError> {
        let mut info = out_struct::<sys::pi_tensor_info>();
        // SAFETY: the file is alive; `info` names its own size and outlives the call.
        check(unsafe { sys::pi_file_get_tensor(self.as_ptr(), index, &raw mut info) })?;
        Ok(RawTensor {
            name: borrow_bytes(self, info.name, info.name_len),
            dtype: info.dtype,
            n_dims: info.n_dims,
            shape: info.ne,
            offset: info.offset,
            n_bytes: info.n_bytes,
        })
    }
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        // SAFETY: ours alone; models that use the file keep their own share of it.
        unsafe { sys::pi_file_free(self.0.as_ptr()) };
    }
}

/// Names a string that the core has returned for `file`, which keeps it alive.
fn borrow_bytes(_file: &FileHandle, data: *const c_char, len: usize) -> &[u8] {
    if data.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: "returned strings live as long as the file", which the result borrows; the core
    // wrote pointer and length together and never changes a file's bytes.
    unsafe { slice::from_raw_parts(data.cast::<u8>(), len) }
}
