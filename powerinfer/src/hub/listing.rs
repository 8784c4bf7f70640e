//! The files of a repository, and which of them make up a model.

use std::fmt::Write as _;
use std::io::Read as _;

use serde::Deserialize;

use super::HubError;
use super::client::{Ask, Client, header};
use super::job::{Job, Kind};
use super::retry::Failure;
use super::source::Repository;
use super::url;
use crate::policy::Checksum;

/// No list of files is longer, in bytes or pages.
const MAX_BYTES: u64 = 16 << 20;
const MAX_PAGES: usize = 20;

/// What marks the next page in a `Link` header.
const NEXT: &str = "rel=\"next\"";

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) path: String,
    pub(super) size: u64,
    /// Known of large files only.
    pub(super) sha256: Option<Checksum>,
}

/// A row as the hub writes it.
#[derive(Debug, Deserialize)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

/// Asks for the files of a repository.
pub(super) fn list(
    client: &Client,
    endpoint: &str,
    repository: &Repository,
) -> Result<Vec<RemoteFile>, Failure> {
    let mut next = Some(address(endpoint, repository));
    let mut files = Vec::new();
    for _ in 0..MAX_PAGES {
        let Some(page) = next else { break };
        let mut reply = client.get(Ask { url: &page, from: 0, validator: None })?;
        let mut text = Vec::new();
        let read = reply.body.by_ref().take(MAX_BYTES).read_to_end(&mut text);
        read.map_err(|error| Failure::again(format!("the list of files broke off: {error}")))?;
        files.extend(parse(&text, &page)?);
        next = header(&reply.headers, "link").and_then(next_page).map(|to| url::join(&page, to));
    }
    Ok(files)
}

/// Where the list of a repository's files is.
pub(super) fn address(endpoint: &str, repository: &Repository) -> String {
    let Repository { id, revision } = repository;
    format!("{endpoint}/api/models/{id}/tree/{}?recursive=true", url::encode(revision))
}

fn parse(text: &[u8], page: &str) -> Result<Vec<RemoteFile>, HubError> {
    let rows: Vec<Row> = serde_json::from_slice(text).map_err(|error| HubError::Listing {
        url: url::shown(page).to_owned(),
        reason: format!("{} ({error})", super::job::describe(None, text)),
    })?;
    let files = rows.into_iter().filter(|row| row.kind == "file").map(|row| {
        let digest = row.lfs.as_ref().map(|lfs| {
            let digits = lfs.oid.strip_prefix("sha256:").unwrap_or(&lfs.oid);
            Checksum::parse(Some(&format!("sha256:{digits}")))
        });
        let sha256 = digest.and_then(Result::ok).flatten();
        RemoteFile { path: row.path, size: row.lfs.map_or(row.size, |lfs| lfs.size), sha256 }
    });
    Ok(files.collect())
}

/// The address of the next page in a `Link` header.
fn next_page(link: &str) -> Option<&str> {
    let part = link.split(',').find(|part| part.contains(NEXT))?;
    part.split_once('<')?.1.split_once('>').map(|(address, _)| address)
}

/// The model file that is meant: the named one, else the expected one, else the only one.
pub(super) fn choose<'f>(
    files: &'f [RemoteFile],
    repository: &Repository,
    named: Option<&str>,
    expected: Option<&str>,
) -> Result<&'f RemoteFile, HubError> {
    let by_path = |path: &str| files.iter().find(|file| file.path == path);
    if let Some(path) = named {
        return by_path(path).ok_or_else(|| no_model(files, repository));
    }
    if let Some(file) = expected.and_then(by_path) {
        return Ok(file);
    }
    let ending =
        |ending| files.iter().filter(move |file: &&RemoteFile| file.path.ends_with(ending));
    let sparse: Vec<&RemoteFile> = ending(".powerinfer.gguf").collect();
    let models = if sparse.is_empty() { ending(".gguf").collect() } else { sparse };
    match models[..] {
        [] => Err(no_model(files, repository)),
        [only] => Ok(only),
        _ => {
            let repository = repository.to_string();
            let mut lines = String::new();
            for file in models {
                let _ = writeln!(lines, "  {repository}/{}  ({} bytes)", file.path, file.size);
            }
            Err(HubError::Choose { repository, files: lines.trim_end().to_owned() })
        }
    }
}

fn no_model(files: &[RemoteFile], repository: &Repository) -> HubError {
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).take(12).collect();
    let found = if paths.is_empty() { "no file".to_owned() } else { paths.join(", ") };
    HubError::NoModelFile { repository: repository.to_string(), found }
}

/// What must be fetched for a model: its file, its statistics and its GPU index.
pub(super) fn jobs(
    files: &[RemoteFile],
    model: &RemoteFile,
    endpoint: &str,
    repository: &Repository,
) -> Vec<Job> {
    let folder = model.path.rfind('/').map_or("", |end| &model.path[..=end]);
    let name = Job::model_name(&model.path);
    let index = format!("{}.generated.gpuidx", model.path);
    let job = |file: &RemoteFile, kind, target: String| {
        let Repository { id, revision } = repository;
        let (revision, path) = (url::encode(revision), url::encode(&file.path));
        let url = format!("{endpoint}/{id}/resolve/{revision}/{path}");
        Job { url, target, kind, size: Some(file.size), sha256: file.sha256 }
    };
    let mut jobs = vec![job(model, Kind::Model, name.to_owned())];
    for file in files {
        let Some(path) = file.path.strip_prefix(folder) else { continue };
        // Only names that cannot lead elsewhere: these come from the server.
        if let Some(layer) = statistics_layer(path) {
            let target = format!("activation/activation_{layer}.pt");
            jobs.push(job(file, Kind::Statistics, target));
        } else if file.path == index {
            jobs.push(job(file, Kind::GpuIndex, format!("{name}.generated.gpuidx")));
        }
    }
    jobs
}

/// The layer that `activation/activation_<layer>.pt` is about.
fn statistics_layer(path: &str) -> Option<u32> {
    let digits = path.strip_prefix("activation/activation_")?.strip_suffix(".pt")?;
    let layer = digits.parse().ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn repository() -> Repository {
        Repository { id: "o/r".to_owned(), revision: "main".to_owned() }
    }

    fn files(paths: &[&str]) -> Vec<RemoteFile> {
        let file = |path: &&str| RemoteFile { path: (*path).to_owned(), size: 7, sha256: None };
        paths.iter().map(file).collect()
    }

    #[test]
    fn a_list_of_the_hub_is_read() {
        let text = format!(
            r#"[{{"type":"directory","oid":"x","size":0,"path":"activation"}},
            {{"type":"file","oid":"5b","size":12,"path":"README.md","xetHash":"1"}},
            {{"type":"file","oid":"6c","size":1,"path":"m.gguf",
              "lfs":{{"oid":"{HEX}","size":4108,"pointerSize":135}}}}]"#
        );
        let found = parse(text.as_bytes(), "https://h/?x").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].size, found[0].sha256), (12, None));
        assert_eq!(found[1].size, 4108);
        assert_eq!(found[1].sha256.unwrap().to_string(), format!("sha256:{HEX}"));
        let error = parse(b"<html>", "https://h/?secret").unwrap_err().to_string();
        assert!(error.contains("web page") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn pages_follow_one_another() {
        let link = "<https://h/a?cursor=1>; rel=\"prev\", </b?cursor=2>; rel=\"next\"";
        assert_eq!(next_page(link), Some("/b?cursor=2"));
        assert_eq!(next_page("<https://h/a>; rel=\"prev\""), None);
    }

    #[test]
    fn the_only_model_is_meant_and_several_are_a_question() {
        let path = |files: &[&str], named, expected| {
            choose(&self::files(files), &repository(), named, expected)
                .map(|file| file.path.clone())
        };
        let two = ["README.md", "a.powerinfer.gguf", "b.powerinfer.gguf", "c.gguf"];
        assert_eq!(path(&two[1..2], None, None).unwrap(), two[1]);
        assert_eq!(path(&[two[1], two[3]], None, None).unwrap(), two[1]);
        assert_eq!(path(&two[3..], None, None).unwrap(), two[3]);
        assert_eq!(path(&two, None, Some(two[2])).unwrap(), two[2]);
        assert_eq!(path(&two, Some(two[3]), Some(two[2])).unwrap(), two[3]);
        let error = path(&two, None, Some("gone.gguf")).unwrap_err().to_string();
        assert!(error.contains("hf://o/r/a.powerinfer.gguf  (7 bytes)"), "{error}");
        assert!(error.contains("b.powerinfer.gguf") && !error.contains("c.gguf"), "{error}");
        let error = path(&two[..1], None, None).unwrap_err().to_string();
        assert!(error.contains("found README.md"), "{error}");
        assert!(path(&two, Some("gone.gguf"), None).is_err());
    }

    #[test]
    fn statistics_and_index_come_along_and_nothing_leaves_the_folder() {
        let files = files(&[
            "d/m.powerinfer.gguf",
            "d/m.powerinfer.gguf.generated.gpuidx",
            "d/activation/activation_0.pt",
            "d/activation/activation_10.pt",
            "d/activation/activation_../../../x.pt",
            "d/activation/activation_+1.pt",
            "d/../activation/activation_2.pt",
            "activation/activation_3.pt",
            "d/README.md",
        ]);
        let jobs = jobs(&files, &files[0], "https://h", &repository());
        let targets: Vec<&str> = jobs.iter().map(|job| job.target.as_str()).collect();
        assert_eq!(
            targets,
            [
                "model.powerinfer.gguf",
                "model.powerinfer.gguf.generated.gpuidx",
                "activation/activation_0.pt",
                "activation/activation_10.pt",
            ]
        );
        assert_eq!(jobs[0].url, "https://h/o/r/resolve/main/d/m.powerinfer.gguf");
    }
}
