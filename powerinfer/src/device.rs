//! The GPUs of this machine.

use crate::error::Error;
use crate::ffi::{self, CoreError};

/// A GPU, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// What it is called.
    pub name: String,
    /// What it is programmed with: `cuda` or `hip`.
    pub api: String,
    /// Bytes of its memory.
    pub total_bytes: u64,
    /// Of these: not in use now, by any program.
    pub free_bytes: u64,
    /// Where it is plugged in: `00000000:3b:00.0`.
    pub pci_bus_id: String,
}

/// The GPUs of this machine. Models use the first; `CUDA_VISIBLE_DEVICES` makes another one that.
///
/// # Errors
///
/// [`Error::Device`] if there is none, if its driver is missing or too old, or if this build is
/// without the feature `cuda`. The message says which.
pub fn devices() -> Result<Vec<DeviceInfo>, Error> {
    let (first, n) = ffi::device_info(0)?;
    let mut devices = vec![first];
    for index in 1..n {
        devices.push(ffi::device_info(index)?.0);
    }
    Ok(devices)
}

/// The GPU that models use.
pub(crate) fn first() -> Result<DeviceInfo, CoreError> {
    ffi::device_info(0).map(|(device, _)| device)
}
