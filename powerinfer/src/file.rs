//! A GGUF or PWRI container: what it says about itself, without loading a model.

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dtype::DType;
use crate::error::Error;
use crate::ffi::{self, CoreError, FileHandle};
use crate::metadata::{Metadata, MetadataError};

/// An open model file. Cheap to clone; weights are mapped and read only when they are used.
///
/// # Examples
///
/// ```no_run
/// let file = powerinfer::GgufFile::open("model.gguf")?;
/// println!("{:?}", file.metadata().string("general.architecture")?);
/// for tensor in file.tensors() {
///     let tensor = tensor?;
///     println!("{} {:?} {}", tensor.name, tensor.shape, tensor.dtype);
/// }
/// # Ok::<(), powerinfer::Error>(())
/// ```
#[derive(Clone)]
pub struct GgufFile {
    inner: Arc<Inner>,
}

struct Inner {
    handle: FileHandle,
    path: Option<PathBuf>,
}

/// What the header of a container says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct FileInfo {
    /// Version of the container: 2 or 3.
    pub version: u32,
    /// The file is `PowerInfer`'s sparse kind (magic PWRI) and not plain GGUF.
    pub is_sparse: bool,
    /// Tensors begin at multiples of this many bytes.
    pub alignment: u32,
    /// Size of the file.
    pub file_bytes: u64,
    /// Where tensor data begins.
    pub data_offset: u64,
    /// Number of metadata entries.
    pub n_metadata: u64,
    /// Number of tensors.
    pub n_tensors: u64,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct TensorInfo {
    /// Its name, such as `blk.0.ffn_up.weight`.
    pub name: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Elements in each dimension; the first is the row length.
    pub shape: Vec<u64>,
    /// Where its data begins, from the start of the file.
    pub offset: u64,
    /// Size of its data in bytes.
    pub bytes: u64,
}

impl GgufFile {
    /// Maps a file and checks its header, metadata and tensor table.
    ///
    /// # Errors
    ///
    /// [`Error::OpenFile`]: the file cannot be read, is no GGUF or PWRI file, contradicts itself or
    /// is truncated. [`Error::AbiMismatch`] if the wrong native library is linked.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        ffi::check_abi()?;
        let path = path.as_ref();
        let refused = |source| Error::OpenFile { path: path.to_owned(), source };
        let c_path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| {
            refused(CoreError::invalid_argument("a path cannot contain a zero byte"))
        })?;
        let handle = FileHandle::open(&c_path).map_err(refused)?;
        Ok(Self { inner: Arc::new(Inner { handle, path: Some(path.to_owned()) }) })
    }

    /// Reads a container from memory, which is copied.
    ///
    /// # Errors
    ///
    /// [`Error::OpenBytes`] if the bytes are no valid container. [`Error::AbiMismatch`] as for
    /// [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        ffi::check_abi()?;
        let handle = FileHandle::from_bytes(bytes).map_err(Error::OpenBytes)?;
        Ok(Self { inner: Arc::new(Inner { handle, path: None }) })
    }

    /// Where the file lies; `None` for one read from memory.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// Describes the container.
    pub fn info(&self) -> FileInfo {
        let raw = self.inner.handle.info();
        FileInfo {
            version: raw.version,
            is_sparse: raw.is_sparse != 0,
            alignment: raw.alignment,
            file_bytes: raw.file_bytes,
            data_offset: raw.data_offset,
            n_metadata: raw.n_metadata,
            n_tensors: raw.n_tensors,
        }
    }

    /// The metadata, by key or as a list.
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata::new(&self.inner.handle)
    }

    /// Lists the tensors in file order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Result<TensorInfo, Error>> + '_ {
        let count = usize::try_from(self.info().n_tensors).unwrap_or(usize::MAX);
        (0..count).map(|index| self.tensor(index as u64))
    }

    fn tensor(&self, index: u64) -> Result<TensorInfo, Error> {
        let raw = self.inner.handle.tensor(index)?;
        let name = std::str::from_utf8(raw.name)
            .map_err(|_| MetadataError::NotUtf8 { what: format!("the name of tensor {index}") })?;
        let dims = usize::try_from(raw.n_dims).unwrap_or(usize::MAX).min(raw.shape.len());
        Ok(TensorInfo {
            name: name.to_owned(),
            dtype: DType::from_id(raw.dtype)?,
            shape: raw.shape[..dims].to_vec(),
            offset: raw.offset,
            bytes: raw.n_bytes,
        })
    }

    pub(crate) fn handle(&self) -> &FileHandle {
        &self.inner.handle
    }
}

impl fmt::Debug for GgufFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GgufFile")
            .field("path", &self.inner.path)
            .field("info", &self.info())
            .finish_non_exhaustive()
    }
}
