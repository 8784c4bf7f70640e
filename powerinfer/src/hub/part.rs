//! A file that is on its way: its bytes so far, their digest, and what they are a part of.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::HubError;
use super::event::Sink;
use super::job::Job;
use crate::cache_folder::write_beside;
use crate::policy::Checksum;

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;

/// What the bytes of a `.part` belong to, written beside them before the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) url: String,
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<String>,
    /// Entity tag or date by which the server knows whether the file is still the same.
    pub(super) validator: Option<String>,
}

/// A file that is on its way.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    record_path: PathBuf,
    file: File,
    hasher: Sha256,
    len: u64,
    record: Option<Record>,
}

impl Record {
    /// Whether bytes of this record are bytes of that file, or may be if the server says so.
    fn is_of(&self, job: &Job) -> bool {
        match job.sha256 {
            // What it holds counts, not where it came from: mirrors are as good.
            Some(digest) => self.sha256.as_deref() == Some(&digest.to_string()),
            None => self.sha256.is_none() && self.url == job.url && self.validator.is_some(),
        }
    }
}

impl Part {
    /// Opens what an earlier try left, if it is of use, else begins anew.
    pub(super) fn open(target: &Path, job: &Job, sink: &mut Sink<'_>) -> Result<Self, HubError> {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(HubError::io(folder))?;
        }
        let path = Self::path_of(target);
        let record_path = beside(&path, ".json");
        let record = fs::read(&record_path).ok();
        let record = record.and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        let record = record.filter(|record| record.is_of(job));
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(HubError::io(&path))?;
        let mut part = Self { path, record_path, file, hasher: Sha256::new(), len: 0, record };
        if part.record.is_some() {
            part.read_back(sink)?;
        }
        if part.record.is_none() || job.size.is_some_and(|size| part.len > size) {
            part.restart(sink, "it is of another file")?;
        }
        Ok(part)
    }

    /// Where the bytes of a file are until it is whole.
    pub(super) fn path_of(target: &Path) -> PathBuf {
        beside(target, ".part")
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Says what the bytes that follow belong to.
    pub(super) fn belongs_to(&mut self, record: Record) -> Result<(), HubError> {
        if self.record.as_ref() != Some(&record) {
            let text = serde_json::to_vec(&record).map_err(io::Error::from);
            text.and_then(|text| write_beside(&self.record_path, &text))
                .map_err(|error| self.written(error))?;
            self.record = Some(record);
        }
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(|error| self.written(error))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Throws the bytes away.
    pub(super) fn restart(&mut self, sink: &mut Sink<'_>, reason: &str) -> Result<(), HubError> {
        let lost = self.len;
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(HubError::io(&self.path))?;
        (self.hasher, self.len, self.record) = (Sha256::new(), 0, None);
        if lost > 0 { sink.retreat(lost, reason) } else { Ok(()) }
    }

    /// Removes all traces.
    pub(super) fn discard(self) -> Result<(), HubError> {
        drop(self.file);
        for path in [&self.path, &self.record_path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(HubError::io(path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The digest of the bytes.
    pub(super) fn digest(&self) -> Checksum {
        Checksum::from_digest(self.hasher.clone().finalize().into())
    }

    /// Gives the file its name. From here on it is whole, whatever happens to the machine.
    pub(super) fn keep(self, target: &Path) -> Result<(), HubError> {
        self.file.sync_all().map_err(|error| self.written(error))?;
        fs::rename(&self.path, target).map_err(HubError::io(target))?;
        if let Some(folder) = target.parent() {
            sync_folder(folder).map_err(HubError::io(folder))?;
        }
        // Without its bytes it means nothing, and its removal is a courtesy.
        let _ = fs::remove_file(&self.record_path);
        Ok(())
    }

    fn read_back(&mut self, sink: &mut Sink<'_>) -> Result<(), HubError> {
        let mut block = vec![0; BLOCK];
        loop {
            match self.file.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    self.hasher.update(&block[..n]);
                    self.len += n as u64;
                    sink.advance(n as u64)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(HubError::io(&self.path)(error)),
            }
        }
    }

    /// The error of a write, which has its own name where there is no room.
    fn written(&self, source: io::Error) -> HubError {
        use io::ErrorKind as Kind;
        let path = self.path.clone();
        if matches!(source.kind(), Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge) {
            return HubError::DiskFull { path, written: self.len, source };
        }
        HubError::Io { path, source }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Makes a rename last where the system needs to be told.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
