//! The file that tells which process serves: its first line is the process id, its second the URL. A
//! third one, `downloading`, is there as long as the server fetches its model and has no address yet.
//!
//! The server holds a lock on it for all its life, so that a file left behind is known as such, and
//! no other process with the same number is ever taken for the server.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

const TRIES: u32 = 10;
const PERIOD: Duration = Duration::from_millis(5);
const DOWNLOADING: &str = "downloading\n";

/// The file of this server; it goes with it.
#[derive(Debug)]
pub(in super::super) struct PidFile {
    path: PathBuf,
    file: File,
}

/// The process that holds a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Holder {
    pub(in super::super) pid: u32,
    /// Where it listens, or will when it has its model.
    pub(in super::super) address: SocketAddr,
    pub(in super::super) is_downloading: bool,
}

impl PidFile {
    /// Writes the file of a server that listens, unless another server holds it.
    pub(in super::super) fn create(path: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        match Self::hold(path)? {
            Ok(file) => {
                file.listens(address)?;
                Ok(file)
            }
            Err(holder) => {
                let holder = holder.map_or("another server".to_owned(), |holder| {
                    format!("the server on {}, process {},", holder.address, holder.pid)
                });
                let path = path.display();
                anyhow::bail!("{path}: {holder} holds this file: stop it, or name another")
            }
        }
    }

    /// Writes the file of a server that fetches its model first; who holds the file, if another
    /// server does.
    #[cfg(feature = "hub")]
    pub(in super::super) fn downloading(
        path: &Path,
        address: SocketAddr,
    ) -> anyhow::Result<Result<Self, Option<Holder>>> {
        let file = Self::hold(path)?;
        if let Ok(file) = &file {
            file.write(&format!("{}{DOWNLOADING}", lines(address)))?;
        }
        Ok(file)
    }

    /// Notes that the server listens.
    pub(in super::super) fn listens(&self, address: SocketAddr) -> anyhow::Result<()> {
        self.write(&lines(address))
    }

    fn hold(path: &Path) -> anyhow::Result<Result<Self, Option<Holder>>> {
        let failed = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(failed)?;
        }
        let options =
            || File::options().read(true).write(true).create(true).truncate(false).clone();
        let file = options().open(path).with_context(failed)?;
        if !lock(&file, FlockOperation::NonBlockingLockExclusive).with_context(failed)? {
            return holder(path).map(Err);
        }
        file.set_len(0).with_context(failed)?;
        Ok(Ok(Self { path: path.to_owned(), file }))
    }

    /// The text is written over the last one, which it begins like, so that whoever reads meanwhile
    /// finds both lines whole.
    fn write(&self, text: &str) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", self.path.display());
        self.file.write_all_at(text.as_bytes(), 0).with_context(failed)?;
        self.file.set_len(text.len() as u64).with_context(failed)
    }
}

fn lines(address: SocketAddr) -> String {
    format!("{}\nhttp://{address}\n", std::process::id())
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A file that stays is not locked, and so says nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The process that holds a file; none if nobody does.
pub(super) fn holder(path: &Path) -> anyhow::Result<Option<Holder>> {
    let failed = || format!("cannot read {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(failed)?,
    };
    if lock(&file, FlockOperation::NonBlockingLockShared).with_context(failed)? {
        return Ok(None);
    }
    let mut text = String::new();
    for _ in 0..TRIES {
        text = std::fs::read_to_string(path).with_context(failed)?;
        if let Some(holder) = parse(&text) {
            return Ok(Some(holder));
        }
        std::thread::sleep(PERIOD); // it has the lock, but has not written yet
    }
    anyhow::bail!("{}: wanted a process id and a URL, found {text:?}", path.display())
}

fn parse(text: &str) -> Option<Holder> {
    let (pid, rest) = text.split_once('\n')?;
    let (url, rest) = rest.split_once('\n')?;
    let address = url.strip_prefix("http://")?.parse().ok()?;
    Some(Holder { pid: pid.parse().ok()?, address, is_downloading: rest == DOWNLOADING })
}

/// Whether the lock could be had. Whoever looks has it for a moment, so it is tried again.
fn lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    for _ in 0..TRIES {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(PERIOD),
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
        let pid = std::process::id();
        let here = Holder { pid, address, is_downloading: false };
        assert_eq!(holder(&path).unwrap(), Some(here));
        let error = PidFile::create(&path, address).unwrap_err().to_string();
        assert!(error.contains(&pid.to_string()), "{error}");
        drop(file);
        assert!(!path.exists());
        std::fs::write(&path, "1\nhttp://127.0.0.1:8081\n").unwrap();
        assert_eq!(holder(&path).unwrap(), None, "left behind");
    }

    #[test]
    #[cfg(feature = "hub")]
    fn a_file_tells_that_its_server_has_no_model_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serve.pid");
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let file = PidFile::downloading(&path, any).unwrap().unwrap();
        let pid = std::process::id();
        let early = Holder { pid, address: any, is_downloading: true };
        assert_eq!(holder(&path).unwrap(), Some(early));
        assert_eq!(PidFile::downloading(&path, any).unwrap().unwrap_err(), Some(early));
        let address = "127.0.0.1:43210".parse().unwrap();
        file.listens(address).unwrap();
        let late = Holder { pid, address, is_downloading: false };
        assert_eq!(holder(&path).unwrap(), Some(late));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{pid}\nhttp://127.0.0.1:43210\n"));
    }
}
