//! Files of `torch.save` that hold one vector: a zip archive with a pickle that describes the
//! vector, and the bytes of its elements.

mod element;
mod error;
mod pickle;
mod value;

use std::io::{self, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use element::ByteOrder;
use pickle::MAX_PICKLE;
use value::Tensor;

pub use error::{PickleError, TorchError};

/// How archives begin.
const ZIP_MAGIC: &[u8] = b"PK";
/// How files of `torch` before 1.6 begin: the number 0x1950a86a20f9469cfc6c as a pickle.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
/// No model has so many neurons in a layer; bounds what a compressed entry may become.
const MAX_ELEMENTS: u64 = 1 << 24;
/// The longest of `little` and `big`, and something to show of others.
const MAX_BYTE_ORDER: u64 = 16;

/// Reads the one vector in a file of `torch.save`, whatever its element type is.
///
/// The pickle inside is interpreted by an allow-list: it can describe a vector, and nothing that it
/// contains is executed. No more memory is taken than the file accounts for, at most 128 MiB.
/// 64-bit integers are rounded to the 53 bits of a double.
///
/// # Errors
///
/// [`TorchError`], which says what was wanted and what was found.
pub fn read_torch_vector(mut reader: impl Read + Seek) -> Result<Vec<f64>, TorchError> {
    check_magic(&mut reader)?;
    let mut archive = Archive(ZipArchive::new(reader)?);
    let prefix = archive.prefix()?;
    let name = format!("{prefix}data.pkl");
    let tensor = pickle::read(&archive.at_most(&name, MAX_PICKLE)?)?;
    let order = archive.byte_order(&prefix)?;
    let storage = &tensor.storage;
    if storage.elements > MAX_ELEMENTS {
        return Err(TorchError::TooLarge { found: storage.elements });
    }
    let wanted = storage.elements * storage.element.size() as u64;
    let bytes = archive.exactly(&format!("{prefix}data/{}", storage.key), wanted)?;
    elements(&tensor, &bytes, order)
}

fn check_magic(reader: &mut (impl Read + Seek)) -> Result<(), TorchError> {
    let mut found = Vec::new();
    reader.by_ref().take(LEGACY_MAGIC.len() as u64).read_to_end(&mut found)?;
    reader.seek(SeekFrom::Start(0))?;
    if found.starts_with(LEGACY_MAGIC) {
        return Err(TorchError::Legacy);
    }
    if !found.starts_with(ZIP_MAGIC) {
        found.truncate(4);
        return Err(TorchError::NotZip { found });
    }
    Ok(())
}

/// The vector's elements, which need not be neighbours in the storage.
fn elements(tensor: &Tensor, bytes: &[u8], order: ByteOrder) -> Result<Vec<f64>, TorchError> {
    let Tensor { storage, offset, size, stride } = tensor;
    let (offset, size, stride) = (*offset, *size, *stride);
    if size == 0 {
        return Err(TorchError::Empty);
    }
    let last = (size - 1).checked_mul(stride).and_then(|last| last.checked_add(offset));
    // With a stride of 0 a vector may be longer than what it repeats.
    if last.is_none_or(|last| last >= storage.elements) || size > storage.elements {
        let elements = storage.elements;
        return Err(TorchError::OutOfStorage { elements, offset, size, stride });
    }
    let number = |i: u64| {
        let index = usize::try_from(offset + i * stride).expect("inside of what is in memory");
        let width = storage.element.size();
        storage.element.number(&bytes[index * width..][..width], order)
    };
    Ok((0..size).map(number).collect())
}

/// Parts of an archive, with limits to their lengths.
struct Archive<R>(ZipArchive<R>);

impl<R: Read + Seek> Archive<R> {
    /// What stands before `data.pkl` in the names of the parts.
    fn prefix(&self) -> Result<String, TorchError> {
        let mut prefixes = Vec::new();
        for name in self.0.file_names() {
            let name = name?;
            let prefix = name.strip_suffix("data.pkl");
            prefixes.extend(
                prefix
                    .filter(|prefix| prefix.is_empty() || prefix.ends_with('/'))
                    .map(str::to_owned),
            );
        }
        match (prefixes.pop(), prefixes.len()) {
            (Some(prefix), 0) => Ok(prefix),
            (Some(_), others) => Err(TorchError::SeveralPickles { found: others + 1 }),
            (None, _) => Err(TorchError::MissingEntry { name: "data.pkl".to_owned() }),
        }
    }

    /// What the archive says; files of `torch` before 2.1 say nothing and are little-endian.
    fn byte_order(&mut self, prefix: &str) -> Result<ByteOrder, TorchError> {
        let found = match self.at_most(&format!("{prefix}byteorder"), MAX_BYTE_ORDER) {
            Err(TorchError::MissingEntry { .. }) => return Ok(ByteOrder::Little),
            found => found?,
        };
        match &found[..] {
            b"little" => Ok(ByteOrder::Little),
            b"big" => Ok(ByteOrder::Big),
            other => {
                Err(TorchError::ByteOrder { found: String::from_utf8_lossy(other).into_owned() })
            }
        }
    }

    fn at_most(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, TorchError> {
        let bytes = self.entry(name, limit)?;
        let found = bytes.len() as u64;
        if found > limit {
            let wanted = format!("at most {limit}");
            return Err(TorchError::EntrySize { name: name.to_owned(), wanted, found });
        }
        Ok(bytes)
    }

    fn exactly(&mut self, name: &str, wanted: u64) -> Result<Vec<u8>, TorchError> {
        let bytes = self.entry(name, wanted)?;
        let found = bytes.len() as u64;
        if found != wanted {
            let wanted = wanted.to_string();
            return Err(TorchError::EntrySize { name: name.to_owned(), wanted, found });
        }
        Ok(bytes)
    }

    /// A part, or its first `limit + 1` bytes if it has more.
    fn entry(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, TorchError> {
        let entry = match self.0.by_name(name) {
            Err(ZipError::FileNotFound) => {
                return Err(TorchError::MissingEntry { name: name.to_owned() });
            }
            entry => entry?,
        };
        let mut bytes = Vec::new();
        let archive = |error: io::Error| TorchError::Archive { message: error.to_string() };
        entry.take(limit + 1).read_to_end(&mut bytes).map_err(archive)?;
        Ok(bytes)
    }
}
