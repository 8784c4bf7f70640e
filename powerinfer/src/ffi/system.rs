//! What the operating system says about this process.

/// Largest resident size of this process so far, where the system tells it.
#[cfg(unix)]
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole rusage that outlives the call.
    let status = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: integers only, zeroed above and filled by the successful call.
    let usage = unsafe { usage.assume_init() };
    // The unit is the one thing the systems do not agree about.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    u64::try_from(usage.ru_maxrss).ok()?.checked_mul(unit)
}

/// Largest resident size of this process so far: not told by this system.
#[cfg(not(unix))]
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    None
}

/// Memory of this machine in bytes, where the system tells it.
#[cfg(unix)]
pub(crate) fn memory_bytes() -> Option<u64> {
    // SAFETY: takes a number and returns a number; unknown names give -1.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    // SAFETY: as above.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(page).ok()?)
}

/// Memory of this machine: not told by this system.
#[cfg(not(unix))]
pub(crate) fn memory_bytes() -> Option<u64> {
    None
}
