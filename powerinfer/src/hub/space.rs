//! Room on the disk.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::HubError;

/// Bytes that a disk keeps free.
const RESERVE: u64 = 64 << 20;

/// The disk of a folder, and who says how much of it is free.
pub(super) struct Space {
    pub(super) folder: PathBuf,
    pub(super) available: fn(&Path) -> io::Result<u64>,
}

impl Space {
    /// The disk that the system knows.
    pub(super) fn of_system(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), available: |folder| fs4::available_space(folder) }
    }

    /// Refuses to begin with what would not fit.
    pub(super) fn check(&self, bytes: u64) -> Result<(), HubError> {
        let available = (self.available)(&self.folder).map_err(HubError::io(&self.folder))?;
        let needed = bytes.saturating_add(RESERVE);
        if bytes == 0 || available >= needed {
            return Ok(());
        }
        Err(HubError::NoSpace { folder: self.folder.clone(), needed, available })
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("folder", &self.folder).finish_non_exhaustive()
    }
}
