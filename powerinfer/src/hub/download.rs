//! Fetches one file: tries, goes on where the last try ended, and keeps nothing unverified.

use std::io::{self, Read};
use std::path::Path;

use ureq::http::StatusCode;

use super::HubError;
use super::client::{Ask, Client, Reply, header, number};
use super::event::{PullEvent, Sink};
use super::job::{Job, START_BYTES, describe};
use super::options::Patience;
use super::part::{Part, Record};
use super::retry::{Failure, Tries};
use super::space::Space;
use super::url;
use crate::policy::Checksum;

/// Bytes that are read at a time.
const BLOCK: usize = 256 << 10;

/// What is needed to fetch files.
#[derive(Debug)]
pub(super) struct Downloader<'a> {
    pub(super) client: &'a Client,
    pub(super) patience: Patience,
    pub(super) space: &'a Space,
}

/// How a try ended that did not fail.
enum Outcome {
    /// All bytes are there.
    Whole,
    /// The bytes are of no use: neither these nor those that would follow.
    Useless(HubError),
}

impl Downloader<'_> {
    /// Fetches a file to its place and gives its digest.
    pub(super) fn fetch(
        &self,
        job: &Job,
        target: &Path,
        sink: &mut Sink<'_>,
    ) -> Result<Checksum, HubError> {
        let mut part = Part::open(target, job, sink)?;
        let (file, bytes, present) = (job.target.as_str(), job.size, part.len());
        sink.event(&PullEvent::File { file, bytes, present })?;
        let mut tries = Tries::new(self.patience, part.len());
        loop {
            match self.attempt(job, &mut part, sink) {
                Ok(Outcome::Whole) => break,
                Ok(Outcome::Useless(error)) => {
                    part.discard()?;
                    return Err(error);
                }
                Err(failure) => tries.failed(failure, &job.url, part.len(), sink)?,
            }
        }
        let found = part.digest();
        if let Some(wanted) = job.sha256.filter(|&wanted| wanted != found) {
            part.discard()?;
            return Err(HubError::ChecksumMismatch { url: shown(job), wanted, found });
        }
        part.keep(target)?;
        Ok(found)
    }

    fn attempt(&self, job: &Job, part: &mut Part, sink: &mut Sink<'_>) -> Result<Outcome, Failure> {
        if part.len() > 0 && job.size == Some(part.len()) {
            return Ok(Outcome::Whole);
        }
        // A known digest is checked here; without one the server must say that nothing changed.
        let validator = part.record().and_then(|record| record.validator.clone());
        let validator = validator.filter(|_| job.sha256.is_none());
        let ask = Ask { url: &job.url, from: part.len(), validator: validator.as_deref() };
        let mut reply = self.client.get(ask)?;
        let size = match self.begin(job, part, &reply, sink)? {
            Ok(size) => size,
            Err(error) => return Ok(Outcome::Useless(error)),
        };
        receive(job, part, &mut reply, size, sink)
    }

    /// Compares what the server offers with what is wanted and what is there. Gives the size of
    /// the file, if it is known, or the error that makes everything useless.
    fn begin(
        &self,
        job: &Job,
        part: &mut Part,
        reply: &Reply,
        sink: &mut Sink<'_>,
    ) -> Result<Result<Option<u64>, HubError>, Failure> {
        if let (Some(wanted), Some(found)) = (job.sha256, reply.linked_digest)
            && wanted != found
        {
            let (wanted, found) = (wanted.to_string(), found.to_string());
            return Ok(Err(HubError::Changed { url: shown(job), wanted, found }));
        }
        let size = position(part, reply, sink)?.or(reply.linked_size);
        if let (Some(wanted), Some(found)) = (job.size, size)
            && wanted != found
        {
            return Ok(Err(HubError::SizeMismatch { url: shown(job), wanted, found }));
        }
        let size = size.or(job.size);
        if size.is_none() && job.sha256.is_none() {
            return Ok(Err(HubError::Unverifiable { url: shown(job) }));
        }
        if let (None, Some(size)) = (job.size, size) {
            self.space.check(size - size.min(part.len()))?;
            sink.expect(Some(size));
        }
        let sha256 = job.sha256.map(|digest| digest.to_string());
        let (url, validator) = (job.url.clone(), validator(reply));
        part.belongs_to(Record { url, size, sha256, validator })?;
        Ok(Ok(size))
    }
}

/// Sees that what follows belongs behind what is there. Gives the size of the whole file.
fn position(part: &mut Part, reply: &Reply, sink: &mut Sink<'_>) -> Result<Option<u64>, Failure> {
    let mut again = |part: &mut Part, reason: &str| {
        part.restart(sink, reason).map_or_else(Failure::Final, |()| Failure::again(reason))
    };
    if reply.status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(again(part, "the server has not the rest of the file"));
    }
    if reply.status != StatusCode::PARTIAL_CONTENT {
        if part.len() > 0 {
            part.restart(sink, "the server sends the file from its start")?;
        }
        return Ok(number(&reply.headers, "content-length"));
    }
    let range = header(&reply.headers, "content-range").and_then(content_range);
    let Some((_, size)) = range.filter(|&(start, _)| start == part.len()) else {
        return Err(again(part, "the server sent another part of the file"));
    };
    let changed = part.record().is_some_and(|record| {
        let other_size = record.size.is_some() && size.is_some() && record.size != size;
        let other_tag = record.sha256.is_none() && record.validator != validator(reply);
        other_size || other_tag
    });
    if changed {
        return Err(again(part, "the file at the server is another one"));
    }
    Ok(size)
}

/// Takes the bytes that come, up to the end.
fn receive(
    job: &Job,
    part: &mut Part,
    reply: &mut Reply,
    size: Option<u64>,
    sink: &mut Sink<'_>,
) -> Result<Outcome, Failure> {
    let mut block = vec![0; BLOCK];
    let mut filled = 0;
    loop {
        let n = read(&mut reply.body, &mut block[filled..])?;
        filled += n;
        let is_start = part.len() == 0;
        if is_start && n > 0 && filled < START_BYTES {
            continue; // too few to tell what they are
        }
        let is_cut_off = n == 0 && size.is_some_and(|size| part.len() + (filled as u64) < size);
        if is_start
            && !job.kind.starts_like(&block[..filled])
            && !(is_cut_off && filled < START_BYTES)
        {
            let found = describe(header(&reply.headers, "content-type"), &block[..filled]);
            let (url, wanted) = (shown(job), job.kind.wanted());
            return Ok(Outcome::Useless(HubError::WrongContent { url, wanted, found }));
        }
        part.append(&block[..filled])?;
        sink.advance(filled as u64)?;
        filled = 0;
        match size {
            Some(wanted) if part.len() > wanted => {
                let (url, found) = (shown(job), part.len());
                return Ok(Outcome::Useless(HubError::SizeMismatch { url, wanted, found }));
            }
            _ if n > 0 => {}
            Some(wanted) if part.len() < wanted => {
                return Err(Failure::again(format!("the connection ended at byte {}", part.len())));
            }
            _ => return Ok(Outcome::Whole),
        }
    }
}

fn read(body: &mut dyn Read, block: &mut [u8]) -> Result<usize, Failure> {
    loop {
        match body.read(block) {
            Ok(n) => return Ok(n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::again(format!("the connection broke: {error}"))),
        }
    }
}

/// By what the server will know whether the file is still the same: never a weak tag.
fn validator(reply: &Reply) -> Option<String> {
    let tag = header(&reply.headers, "etag").filter(|tag| tag.starts_with('"'));
    tag.or_else(|| header(&reply.headers, "last-modified")).map(str::to_owned)
}

/// First byte and size of `bytes 10-19/20`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, size.trim().parse().ok()))
}

fn shown(job: &Job) -> String {
    url::shown(&job.url).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 10-19/20"), Some((10, Some(20))));
        assert_eq!(content_range("bytes 10-19/*"), Some((10, None)));
        for text in ["", "bytes */20", "bytes=1-2/3", "bytes x-2/3", "lines 1-2/3"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
