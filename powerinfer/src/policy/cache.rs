//! Digests of files that were hashed before, in the user's cache folder.
//!
//! One small file an entry, named after the hash of the path. Whatever goes wrong with it is a
//! miss: the cache only saves time.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::Checksum;
use super::checksum::hexadecimal;
use crate::cache_folder::{cache_folder, write_beside};

/// A file that changed more recently can change again without its time showing it.
const SETTLED: Duration = Duration::from_secs(2);

/// What identifies the content of a file without reading it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    path: PathBuf,
    size: u64,
    modified: SystemTime,
    number: (u64, u64), // device and inode; zeros where there are none
}

impl Stamp {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let file = path.metadata()?;
        let (size, modified) = (file.len(), file.modified()?);
        Ok(Self { size, modified, number: number(&file), path })
    }

    fn is_settled(&self) -> bool {
        self.modified.elapsed().is_ok_and(|age| age > SETTLED)
    }

    /// The first line of an entry.
    fn line(&self) -> Option<String> {
        let nanoseconds = self.modified.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        let (device, inode) = self.number;
        Some(format!("1 {} {nanoseconds} {device} {inode}", self.size))
    }
}

#[cfg(unix)]
fn number(file: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// A folder of entries, or none where the user has no cache folder.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    pub(super) fn of_user() -> Self {
        Self { folder: cache_folder("checksums") }
    }

    #[cfg(test)]
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// The digest of the file that `stamp` identifies, if it is remembered.
    pub(super) fn get(&self, stamp: &Stamp) -> Option<Checksum> {
        let text = fs::read_to_string(self.entry(stamp)?).ok()?;
        let (line, digest) = text.split_once('\n')?;
        if line != stamp.line()? {
            return None;
        }
        Checksum::parse(Some(digest)).ok()?
    }

    /// Remembers a digest, unless the file is too young to be recognised.
    pub(super) fn put(&self, stamp: &Stamp, digest: Checksum) {
        let (Some(entry), Some(line)) = (self.entry(stamp), stamp.line()) else { return };
        if !stamp.is_settled() {
            return;
        }
        if let Err(error) = write_beside(&entry, format!("{line}\n{digest}\n").as_bytes()) {
            tracing::debug!(path = %entry.display(), %error, "checksum not remembered");
        }
    }

    fn entry(&self, stamp: &Stamp) -> Option<PathBuf> {
        let name = Sha256::digest(stamp.path.as_os_str().as_encoded_bytes());
        Some(self.folder.as_ref()?.join(hexadecimal(&name)))
    }
}
