//! Pulls a model: what is meant, which files that is, and the policy that makes them a model.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use super::client::Client;
use super::download::Downloader;
use super::event::Sink;
use super::job::{Job, Kind};
use super::lock::Lock;
use super::part::Part;
use super::retry::patiently;
use super::source::{Repository, check_name};
use super::{CatalogueEntry, Hub, HubError, ModelSource, PullEvent, StoredModel};
use super::{listing, url};
use crate::cache_folder::write_beside;
use crate::policy::{Checksum, Policy};

/// What is asked of a pull beside its source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullOptions {
    name: Option<String>,
    checksum: Option<Checksum>,
}

impl PullOptions {
    /// Calls the model so, and not as its source does.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Keeps the model file only if it has this digest.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = Some(checksum);
        self
    }
}

/// What is meant by a source.
struct Meaning {
    name: String,
    source: ModelSource,
    entry: Option<&'static CatalogueEntry>,
}

impl Hub {
    /// Fetches a model, unless it is here. What an earlier pull left is gone on with; where another
    /// process pulls the same model, its end is waited for.
    ///
    /// `tell` hears how it goes and may stop it, which keeps what was fetched.
    ///
    /// # Errors
    ///
    /// Any [`HubError`].
    pub fn pull(
        &self,
        source: &ModelSource,
        options: &PullOptions,
        tell: &mut dyn FnMut(&PullEvent<'_>) -> ControlFlow<()>,
    ) -> Result<StoredModel, HubError> {
        let meaning = self.meaning(source, options)?;
        let mut sink = Sink::new(tell);
        let _lock = Lock::take(self.folder(), &meaning.name, &mut sink)?;
        let stored = self.read(&meaning.name)?;
        if meaning.is_here(&stored, options)? {
            sink.event(&PullEvent::Present { name: &meaning.name })?;
            return Ok(stored);
        }
        if self.options.offline {
            return Err(HubError::Offline { what: meaning.source.to_string() });
        }
        let client = Client::new(&self.options);
        let jobs = self.jobs(&client, &meaning, options, &mut sink)?;
        let mut policy = meaning.policy(&jobs[0].target)?;
        let checksum = self.fetch_all(&client, &meaning.name, &jobs, &mut sink)?;
        policy.audit.checksum = Some(checksum.to_string());
        let yaml = policy.to_yaml().map_err(HubError::policy(&meaning.name))?;
        write_beside(&stored.policy, yaml.as_bytes()).map_err(HubError::io(&stored.policy))?;
        self.read(&meaning.name)?.whole()
    }

    /// The name and the place of what is meant.
    fn meaning(&self, source: &ModelSource, options: &PullOptions) -> Result<Meaning, HubError> {
        let (source, entry) = match source {
            ModelSource::Name(name) => {
                match (CatalogueEntry::find_or_suggest(name), self.find(name)) {
                    (Ok(entry), _) => (at_hub(entry.repository()?), Some(entry)),
                    // Pulled under a name of its own, and asked for again.
                    (Err(_), Ok(StoredModel { source: Some(source), name, .. })) => {
                        let options = PullOptions { name: Some(name), ..options.clone() };
                        return self.meaning(&source.parse()?, &options);
                    }
                    (Err(error), _) => return Err(error),
                }
            }
            ModelSource::Hub { repository, file: None } => {
                (source.clone(), CatalogueEntry::of_repository(repository))
            }
            _ => (source.clone(), None),
        };
        let name = options.name.clone().or_else(|| entry.map(|entry| entry.name.to_owned()));
        let name = name.unwrap_or_else(|| source.default_name());
        check_name(&name)?;
        Ok(Meaning { name, source, entry })
    }

    /// The files to fetch, the model first.
    fn jobs(
        &self,
        client: &Client,
        meaning: &Meaning,
        options: &PullOptions,
        sink: &mut Sink<'_>,
    ) -> Result<Vec<Job>, HubError> {
        let mut jobs = match &meaning.source {
            ModelSource::Hub { repository, file } => {
                let expected = meaning.entry.map(CatalogueEntry::policy).transpose()?;
                let expected = expected.map(|policy| policy.model_path);
                let endpoint = &self.options.endpoint;
                let address = listing::address(endpoint, repository);
                let files = patiently(self.options.patience, &address, sink, || {
                    listing::list(client, endpoint, repository)
                })?;
                let (named, expected) = (file.as_deref(), expected.as_deref());
                let model = listing::choose(&files, repository, named, expected)?;
                listing::jobs(&files, model, endpoint, repository)
            }
            ModelSource::Url(address) | ModelSource::Name(address) => vec![Job {
                url: address.clone(),
                target: Job::model_name(address).to_owned(),
                kind: Kind::Model,
                size: None,
                sha256: None,
            }],
        };
        let model = &mut jobs[0];
        if let (Some(wanted), Some(found)) = (options.checksum, model.sha256)
            && wanted != found
        {
            let url = url::shown(&model.url).to_owned();
            return Err(HubError::ChecksumMismatch { url, wanted, found });
        }
        model.sha256 = options.checksum.or(model.sha256);
        Ok(jobs)
    }

    /// Fetches what is not there yet and gives the digest of the model.
    fn fetch_all(
        &self,
        client: &Client,
        name: &str,
        jobs: &[Job],
        sink: &mut Sink<'_>,
    ) -> Result<Checksum, HubError> {
        let folder = self.model_folder(name);
        fs::create_dir_all(&folder).map_err(HubError::io(&folder))?;
        let bytes = jobs.iter().map(|job| job.size).sum::<Option<u64>>();
        sink.event(&PullEvent::Downloading { name, files: jobs.len(), bytes })?;
        sink.expect(bytes);
        let space = (self.space)(&folder);
        space.check(jobs.iter().map(|job| missing(job, &folder)).sum())?;
        let downloader = Downloader { client, patience: self.options.patience, space: &space };
        let mut digests = Vec::new();
        for job in jobs {
            let target = folder.join(&job.target);
            digests.push(match present(job, &target, sink)? {
                Some(digest) => digest,
                None => downloader.fetch(job, &target, sink)?,
            });
        }
        Ok(digests[0])
    }
}

impl Meaning {
    /// Whether the model is here, so that there is nothing to do.
    fn is_here(&self, stored: &StoredModel, options: &PullOptions) -> Result<bool, HubError> {
        let wanted = self.recorded_source();
        let Some(found) = stored.source.clone() else { return Ok(false) };
        if found != wanted {
            return Err(HubError::NameTaken { name: self.name.clone(), found, wanted });
        }
        let digest = options.checksum.map(|digest| digest.to_string());
        let is_wanted = digest.is_none() || digest == stored.checksum;
        Ok(is_wanted && stored.is_intact())
    }

    /// How the model will be run; its digest is not known yet.
    fn policy(&self, model_path: &str) -> Result<Policy, HubError> {
        let policy = self.entry.map(CatalogueEntry::policy).transpose()?;
        let mut policy = policy.unwrap_or_else(|| Policy::new(""));
        model_path.clone_into(&mut policy.model_path);
        policy.audit.source_repo = Some(self.recorded_source());
        policy.validate().map_err(HubError::policy(&self.name))?;
        Ok(policy)
    }

    /// The source as it is written down: an address without what may be a key.
    fn recorded_source(&self) -> String {
        url::shown(&self.source.to_string()).to_owned()
    }
}

fn at_hub(repository: Repository) -> ModelSource {
    ModelSource::Hub { repository, file: None }
}

/// Bytes of a file that are still to come, as far as its size is known.
fn missing(job: &Job, folder: &Path) -> u64 {
    let target = folder.join(&job.target);
    let len = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let size = job.size.unwrap_or(0);
    size.saturating_sub(len(&target).max(len(&Part::path_of(&target))))
}

/// The digest of a file that an earlier pull has fetched already.
fn present(job: &Job, target: &Path, sink: &mut Sink<'_>) -> Result<Option<Checksum>, HubError> {
    let Some(size) = job.size else { return Ok(None) };
    if !target.metadata().is_ok_and(|found| found.is_file() && found.len() == size) {
        return Ok(None);
    }
    let digest =
        Checksum::of_file(target, &mut |_, _| {}).map_err(HubError::policy(&job.target))?;
    // Without a digest of the server, a whole file of the right size is taken for the right one:
    // it got its name only when all its bytes were there.
    if job.sha256.is_some_and(|wanted| wanted != digest) {
        return Ok(None);
    }
    sink.event(&PullEvent::File { file: &job.target, bytes: job.size, present: size })?;
    sink.advance(size)?;
    Ok(Some(digest))
}
