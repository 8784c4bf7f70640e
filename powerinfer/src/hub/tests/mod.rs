//! Pulls from servers on this machine, good ones and bad ones.

mod broken;
mod folder;
mod pulls;
mod refusals;
mod server;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{
    Hub, HubError, HubOptions, ModelSource, Patience, PullEvent, PullOptions, StoredModel,
};
use crate::policy::Checksum;
use server::{Answer, RemoteFile, Request, Server, hub_answer};

const PATIENCE: Patience = Patience {
    tries: 5,
    first_delay: Duration::from_millis(1),
    longest_delay: Duration::from_millis(2),
    silence: Duration::from_secs(20),
};

/// The only repository of the servers.
const SOURCE: &str = "hf://o/r";

/// A folder of models and a hub for it.
struct Fixture {
    hub: Hub,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(server: &Server) -> Self {
        Self::with(|options| options.endpoint(&server.url))
    }

    fn with(change: impl FnOnce(HubOptions) -> HubOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = HubOptions::new(folder.path().join("models")).patience(PATIENCE);
        Self { hub: Hub::new(change(options)), _folder: folder }
    }

    fn pull(&self, source: &str) -> Result<StoredModel, HubError> {
        self.pull_with(source, &PullOptions::default())
    }

    fn pull_with(&self, source: &str, options: &PullOptions) -> Result<StoredModel, HubError> {
        let source: ModelSource = source.parse()?;
        self.hub.pull(&source, options, &mut |_| ControlFlow::Continue(()))
    }

    /// Pulls and gives the names of the events, without those of progress.
    fn events(&self, source: &str) -> Vec<String> {
        let mut names = Vec::new();
        let source: ModelSource = source.parse().unwrap();
        let result = self.hub.pull(&source, &PullOptions::default(), &mut |event| {
            if !matches!(event, PullEvent::Progress { .. }) {
                let json = serde_json::to_value(event).unwrap();
                names.push(json["event"].as_str().unwrap().to_owned());
            }
            ControlFlow::Continue(())
        });
        result.unwrap();
        names
    }

    /// The files in the folder of a model, except for locks.
    fn files(&self, name: &str) -> Vec<String> {
        let mut files = Vec::new();
        collect(&self.hub.folder().join(name), "", &mut files);
        files.sort();
        files
    }

    fn model(&self, name: &str) -> PathBuf {
        self.hub.folder().join(name).join("model.powerinfer.gguf")
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// Bytes that begin like a model.
fn model_bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut bytes = b"PWRI".to_vec();
    bytes.extend((4..n).map(|_| u8::try_from(dice.roll(256)).unwrap()));
    bytes
}

fn digits(bytes: &[u8]) -> String {
    let digest = Checksum::from_digest(Sha256::digest(bytes).into()).to_string();
    digest.trim_start_matches("sha256:").to_owned()
}

/// A large file of the hub.
fn remote(path: &'static str, bytes: &[u8]) -> RemoteFile {
    RemoteFile { path, bytes: bytes.to_vec(), sha256: Some(digits(bytes)) }
}

/// A repository with one model.
fn one_model(bytes: &[u8]) -> Vec<RemoteFile> {
    vec![remote("m.powerinfer.gguf", bytes)]
}

/// Counts calls, from 0.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Calls {
    fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}
