//! The checksum of a model file: written form, hashing, and comparison with the policy's.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::PolicyError;
use super::cache::{Cache, Stamp};

/// Bytes that are hashed at a time; progress is told as often.
const BLOCK: usize = 1 << 20;

const PREFIX: &str = "sha256:";

/// A SHA-256 digest, of a file or of what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum([u8; 32]);

/// Whether a digest found earlier may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// Yes, if path, size, modification time and file number are unchanged.
    #[default]
    Use,
    /// No: the file is read, and its digest remembered.
    Force,
}

/// What came out of a comparison that found no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumOutcome {
    /// The digest is the wanted one.
    Verified {
        /// Whether it was remembered instead of computed.
        cached: bool,
    },
    /// The policy has no digest, so nothing was compared.
    Unset,
}

impl Checksum {
    /// Reads the written form. None, an empty text and a placeholder (`unset`, `TODO`, `<...>`,
    /// zeros, each with or without `sha256:`) are no digest.
    ///
    /// # Errors
    ///
    /// [`PolicyError::MalformedChecksum`] for any other text.
    pub fn parse(text: Option<&str>) -> Result<Option<Self>, PolicyError> {
        let Some(text) = text.map(str::trim).filter(|text| !is_placeholder(text)) else {
            return Ok(None);
        };
        let malformed = || PolicyError::MalformedChecksum { found: text.to_owned(), place: None };
        let digits = text.strip_prefix(PREFIX).ok_or_else(malformed)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return Err(malformed());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (digit(pair[0]), digit(pair[1]));
            *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(malformed)?;
        }
        Ok(Some(Self(bytes)))
    }

    pub(crate) fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Hashes a file. `progress` is told the bytes read and the size of the file.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Read`].
    pub fn of_file(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, PolicyError> {
        let read = |source| PolicyError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        let (mut hasher, mut done) = (Sha256::new(), 0);
        let mut block = vec![0; BLOCK];
        loop {
            let n = match file.read(&mut block) {
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read(error)),
            };
            if n == 0 {
                return Ok(Self(hasher.finalize().into()));
            }
            hasher.update(&block[..n]);
            done += n as u64;
            progress(done, size.max(done));
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hexadecimal(&self.0))
    }
}

/// Compares a file with a policy's checksum.
///
/// A digest is remembered in the user's cache folder (`$XDG_CACHE_HOME/powerinfer` or
/// `~/.cache/powerinfer`), so that a large file is read once. `progress` is told the bytes read and
/// the size of the file, if it is read.
///
/// # Errors
///
/// [`PolicyError::MalformedChecksum`], [`PolicyError::Read`] or [`PolicyError::ChecksumMismatch`].
pub fn verify_checksum(
    path: &Path,
    wanted: Option<&str>,
    mode: CacheMode,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ChecksumOutcome, PolicyError> {
    verify_in(&Cache::of_user(), path, wanted, mode, progress)
}

fn verify_in(
    cache: &Cache,
    path: &Path,
    wanted: Option<&str>,
    mode: CacheMode,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ChecksumOutcome, PolicyError> {
    let Some(wanted) = Checksum::parse(wanted)? else { return Ok(ChecksumOutcome::Unset) };
    let read = |source| PolicyError::Read { path: path.to_owned(), source };
    let before = Stamp::of(path).map_err(read)?;
    // Only a match is believed without reading: a stale entry must not condemn a file.
    if mode == CacheMode::Use && cache.get(&before) == Some(wanted) {
        return Ok(ChecksumOutcome::Verified { cached: true });
    }
    let found = Checksum::of_file(path, progress)?;
    if Stamp::of(path).map_err(read)? == before {
        cache.put(&before, found);
    }
    if found != wanted {
        let (wanted, found) = (wanted.to_string(), found.to_string());
        return Err(PolicyError::ChecksumMismatch { path: path.to_owned(), wanted, found });
    }
    Ok(ChecksumOutcome::Verified { cached: false })
}

fn is_placeholder(text: &str) -> bool {
    let digest = text.strip_prefix(PREFIX).unwrap_or(text).trim();
    let named = ["unset", "todo", "tbd"].iter().any(|name| digest.eq_ignore_ascii_case(name));
    let bracketed = digest.starts_with('<') && digest.ends_with('>');
    named || bracketed || digest.bytes().all(|byte| byte == b'0')
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// A folder with the file `model` of this content, last changed long ago.
    fn model(content: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, content, 3600);
        folder
    }

    fn write(folder: &tempfile::TempDir, content: &[u8], seconds_ago: u64) {
        let path = folder.path().join("model");
        std::fs::write(&path, content).unwrap();
        let time = SystemTime::now() - Duration::from_secs(seconds_ago);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    fn verify(
        folder: &tempfile::TempDir,
        wanted: &str,
        mode: CacheMode,
    ) -> Result<ChecksumOutcome, PolicyError> {
        let cache = Cache::in_folder(folder.path().join("cache"));
        verify_in(&cache, &folder.path().join("model"), Some(wanted), mode, &mut |_, _| {})
    }

    fn verified(cached: bool) -> ChecksumOutcome {
        ChecksumOutcome::Verified { cached }
    }

    #[test]
    fn a_digest_is_remembered_until_it_is_forced_or_the_file_changes() {
        let folder = model(b"abc");
        assert_eq!(verify(&folder, ABC, CacheMode::Use).unwrap(), verified(false));
        assert_eq!(verify(&folder, ABC, CacheMode::Use).unwrap(), verified(true));
        assert_eq!(verify(&folder, ABC, CacheMode::Force).unwrap(), verified(false));
        write(&folder, b"abd", 1800);
        let error = verify(&folder, ABC, CacheMode::Use).unwrap_err();
        let PolicyError::ChecksumMismatch { wanted, found, .. } = error else { panic!("{error}") };
        assert_eq!(wanted, ABC);
        assert_eq!(verify(&folder, &found, CacheMode::Use).unwrap(), verified(true));
    }

    #[test]
    fn force_sees_a_change_that_hides_behind_size_and_time() {
        let folder = model(b"abc");
        let path = folder.path().join("model");
        verify(&folder, ABC, CacheMode::Use).unwrap();
        let time = path.metadata().unwrap().modified().unwrap();
        std::fs::write(&path, b"abd").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(verify(&folder, ABC, CacheMode::Use).unwrap(), verified(true));
        assert!(verify(&folder, ABC, CacheMode::Force).is_err());
    }

    #[test]
    fn a_file_changed_just_now_is_not_remembered() {
        let folder = model(b"abc");
        write(&folder, b"abc", 0);
        for _ in 0..2 {
            assert_eq!(verify(&folder, ABC, CacheMode::Use).unwrap(), verified(false));
        }
    }

    #[test]
    fn a_broken_or_unwritable_cache_is_a_miss() {
        let folder = model(b"abc");
        verify(&folder, ABC, CacheMode::Use).unwrap();
        for entry in std::fs::read_dir(folder.path().join("cache")).unwrap() {
            std::fs::write(entry.unwrap().path(), b"\xffrubbish").unwrap();
        }
        assert_eq!(verify(&folder, ABC, CacheMode::Use).unwrap(), verified(false));
        assert_eq!(verify(&folder, ABC, CacheMode::Use).unwrap(), verified(true));
        std::fs::remove_dir_all(folder.path().join("cache")).unwrap();
        std::fs::write(folder.path().join("cache"), b"a file, not a folder").unwrap();
        assert_eq!(verify(&folder, ABC, CacheMode::Use).unwrap(), verified(false));
    }

    #[test]
    fn placeholders_are_unset_and_other_texts_malformed() {
        let zeros = format!("sha256:{}", "0".repeat(64));
        for text in [
            "",
            "unset",
            "sha256:unset",
            "sha256:TODO",
            "<fill in>",
            "sha256:<x>",
            "sha256:",
            &zeros,
        ] {
            assert_eq!(Checksum::parse(Some(text)).unwrap(), None, "{text}");
        }
        assert_eq!(Checksum::parse(None).unwrap(), None);
        let (short, unprefixed) = (&ABC[..70], &ABC[7..]);
        let letter = ABC.replace('f', "g");
        for text in [short, unprefixed, &letter, "md5:900150983cd24fb0", "sha256:é"] {
            let error = Checksum::parse(Some(text)).unwrap_err();
            assert!(matches!(error, PolicyError::MalformedChecksum { .. }), "{text}: {error}");
        }
        assert_eq!(Checksum::parse(Some(ABC)).unwrap().unwrap().to_string(), ABC);
        let upper = format!("sha256:{}", ABC[7..].to_uppercase());
        assert_eq!(Checksum::parse(Some(&upper)).unwrap().unwrap().to_string(), ABC);
    }

    #[test]
    fn progress_ends_at_the_size_and_a_missing_file_is_an_error() {
        let folder = model(&vec![7; 3 * BLOCK / 2]);
        let mut told = Vec::new();
        Checksum::of_file(&folder.path().join("model"), &mut |done, size| told.push((done, size)))
            .unwrap();
        let size = 3 * BLOCK as u64 / 2;
        assert_eq!(told, [(BLOCK as u64, size), (size, size)]);
        std::fs::remove_file(folder.path().join("model")).unwrap();
        let error = verify(&folder, ABC, CacheMode::Use).unwrap_err();
        assert!(matches!(error, PolicyError::Read { .. }), "{error}");
    }
}
