//! The file that tells which process serves: its first line is the process id, its second the URL.
//!
//! The server holds a lock on it for all its life, so that a file left behind is known as such, and
//! no other process with the same number is ever taken for the server.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

/// The file of this server; it goes with it.
#[derive(Debug)]
pub(in super::super) struct PidFile {
    path: PathBuf,
    _file: File,
}

impl PidFile {
    /// Writes the file, unless another server holds it.
    pub(in super::super) fn create(path: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let failed = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(failed)?;
        }
        let options =
            || File::options().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options().open(path).with_context(failed)?;
        if !lock(&file, FlockOperation::NonBlockingLockExclusive).with_context(failed)? {
            let holder = holder(path)?.map_or("another server".to_owned(), |(pid, address)| {
                format!("the server on {address}, process {pid},")
            });
            anyhow::bail!("{}: {holder} holds this file: stop it, or name another", path.display());
        }
        file.set_len(0).with_context(failed)?;
        write!(file, "{}\nhttp://{address}\n", std::process::id()).with_context(failed)?;
        Ok(Self { path: path.to_owned(), _file: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A file that stays is not locked, and so says nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The process that holds a file and the address of its server; none if nobody does.
pub(super) fn holder(path: &Path) -> anyhow::Result<Option<(u32, SocketAddr)>> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(failed)?,
    };
    if lock(&file, FlockOperation::NonBlockingLockShared).with_context(failed)? {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(failed)?;
    let parsed = parse(&text);
    parsed
        .with_context(|| {
            format!("{}: wanted a process id and a URL, found {text:?}", path.display())
        })
        .map(Some)
}

fn parse(text: &str) -> Option<(u32, SocketAddr)> {
    let (pid, url) = text.trim_end().split_once('\n')?;
    Some((pid.parse().ok()?, url.strip_prefix("http://")?.parse().ok()?))
}

/// Whether the lock could be had. Whoever looks has it for a moment, so it is tried again.
fn lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    for _ in 0..10 {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_its_server_as_long_as_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/serve.pid");
        let address = "127.0.0.1:8081".parse().unwrap();
        assert_eq!(holder(&path).unwrap(), None, "no file");
        let file = PidFile::create(&path, address).unwrap();
        assert_eq!(holder(&path).unwrap(), Some((std::process::id(), address)));
        let error = PidFile::create(&path, address).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(file);
        assert!(!path.exists());
        std::fs::write(&path, "1\nhttp://127.0.0.1:8081\n").unwrap();
        assert_eq!(holder(&path).unwrap(), None, "left behind");
    }
}
