//! What the driver says of the GPUs of this machine.

use std::ffi::{CStr, c_char};

use powerinfer_sys as sys;

use super::error::check;
use super::{CoreError, out_struct};
use crate::device::DeviceInfo;

/// A GPU, and how many there are.
pub(crate) fn device_info(index: u32) -> Result<(DeviceInfo, u32), CoreError> {
    let mut info = out_struct::<sys::pi_device_info>();
    // SAFETY: `info` names its own size and outlives the call.
    check(unsafe { sys::pi_device_get_info(index, &raw mut info) })?;
    let device = DeviceInfo {
        name: copy_text(info.name.as_ptr()),
        api: copy_text(info.api),
        total_bytes: info.total_bytes,
        free_bytes: info.free_bytes,
        pci_bus_id: copy_text(info.pci_bus_id.as_ptr()),
    };
    Ok((device, info.n_devices))
}

/// Copies a text that the call above has written, or a constant of the library.
fn copy_text(text: *const c_char) -> String {
    debug_assert!(!text.is_null(), "a call without error has written its result");
    // SAFETY: non-null and terminated: the core ends its arrays with a zero, `api` is a constant.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}
