//! One process at a time for each model.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use fs4::{FileExt, TryLockError};

use super::HubError;
use super::event::{PullEvent, Sink};

/// How often a waiting process looks whether it is its turn.
const LOOK: Duration = Duration::from_millis(200);

/// The right to change a model, until dropped; the system takes it back from a process that ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a model, or nothing where another process has it.
    pub(super) fn try_take(folder: &Path, name: &str) -> Result<Option<Self>, HubError> {
        // Beside the models, as a lock must outlive what it guards.
        let folder = folder.join(".locks");
        fs::create_dir_all(&folder).map_err(HubError::io(&folder))?;
        let path = folder.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(HubError::io(&path))?;
        match FileExt::try_lock(&file) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(HubError::io(&path)(error)),
        }
    }

    /// Takes the lock of a model, and waits for it if need be.
    pub(super) fn take(folder: &Path, name: &str, sink: &mut Sink<'_>) -> Result<Self, HubError> {
        let mut told = false;
        loop {
            if let Some(lock) = Self::try_take(folder, name)? {
                return Ok(lock);
            }
            if !told {
                sink.event(&PullEvent::Waiting { name })?;
                told = true;
            }
            sink.sleep(LOOK)?;
        }
    }
}
