//! Typed access to the metadata of a file.

use std::ffi::CString;
use std::fmt;

use crate::ffi::{CoreError, FileHandle};

/// Why a metadata value could not be read as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The value has another type than the reader needs.
    #[error("metadata `{key}`: want {wanted}, the file has {found}")]
    WrongType {
        /// Key of the entry.
        key: String,
        /// The type that was asked for.
        wanted: &'static str,
        /// The type in the file.
        found: String,
    },
    /// The value does not fit into the type that the reader needs.
    #[error("metadata `{key}`: want {wanted}, the file has {found}")]
    OutOfRange {
        /// Key of the entry.
        key: String,
        /// The type that was asked for.
        wanted: &'static str,
        /// The value in the file.
        found: String,
    },
    /// Text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// Which text.
        what: String,
    },
    /// The core refused an entry that it lists.
    #[error("reading metadata failed")]
    Core(#[from] CoreError),
}

/// Type of a metadata value or of the elements of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are the types they are named after")]
pub enum MetadataType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Bool,
    String,
}

/// One scalar, or one element of an array.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum MetadataValue {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// Any floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text; bytes that are not UTF-8 read as U+FFFD.
    String(String),
}

/// The metadata of a file.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'f> {
    file: &'f FileHandle,
}

/// One metadata entry.
#[derive(Debug, Clone, Copy)]
pub struct MetadataEntry<'f> {
    file: &'f FileHandle,
    index: u64,
    key: &'f [u8],
    kind: MetadataType,
    is_array: bool,
    len: u64,
}

impl<'f> Metadata<'f> {
    pub(crate) fn new(file: &'f FileHandle) -> Self {
        Self { file }
    }

    /// Lists all entries in file order.
    ///
    /// # Errors
    ///
    /// Items are [`MetadataError::Core`] if the core cannot describe an entry.
    pub fn entries(self) -> impl Iterator<Item = Result<MetadataEntry<'f>, MetadataError>> {
        (0..self.file.info().n_metadata).map(move |index| MetadataEntry::new(self.file, index))
    }

    /// Finds an entry by its key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::Core`] if the core cannot describe the entry.
    pub fn get(self, key: &str) -> Result<Option<MetadataEntry<'f>>, MetadataError> {
        // A key with a zero byte in it is in no file that the core accepts.
        let Ok(key) = CString::new(key) else { return Ok(None) };
        self.file.find(&key).map(|index| MetadataEntry::new(self.file, index)).transpose()
    }

    /// Reads an integer of any width; `None` if the file has no such key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::WrongType`] or [`MetadataError::OutOfRange`].
    pub fn u64(self, key: &str) -> Result<Option<u64>, MetadataError> {
        self.scalar(key, "an unsigned integer", |value| match value {
            MetadataValue::Unsigned(n) => Some(Ok(*n)),
            MetadataValue::Signed(n) => Some(u64::try_from(*n).map_err(|_| ())),
            _ => None,
        })
    }

    /// Reads an integer of any width that fits 32 bits; `None` if the file has no such key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::WrongType`] or [`MetadataError::OutOfRange`].
    pub fn u32(self, key: &str) -> Result<Option<u32>, MetadataError> {
        self.scalar(key, "a 32-bit unsigned integer", |value| match value {
            MetadataValue::Unsigned(n) => Some(u32::try_from(*n).map_err(|_| ())),
            MetadataValue::Signed(n) => Some(u32::try_from(*n).map_err(|_| ())),
            _ => None,
        })
    }

    /// Reads a floating-point number; `None` if the file has no such key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::WrongType`].
    pub fn f64(self, key: &str) -> Result<Option<f64>, MetadataError> {
        self.scalar(key, "a floating-point number", |value| match value {
            MetadataValue::Float(x) => Some(Ok(*x)),
            _ => None,
        })
    }

    /// Reads a truth value; `None` if the file has no such key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::WrongType`].
    pub fn bool(self, key: &str) -> Result<Option<bool>, MetadataError> {
        self.scalar(key, "a truth value", |value| match value {
            MetadataValue::Bool(x) => Some(Ok(*x)),
            _ => None,
        })
    }

    /// Reads a text; `None` if the file has no such key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::WrongType`] or [`MetadataError::NotUtf8`].
    pub fn string(self, key: &str) -> Result<Option<&'f str>, MetadataError> {
        let Some(entry) = self.get(key)? else { return Ok(None) };
        if entry.is_array || entry.kind != MetadataType::String {
            return Err(entry.wrong_type("a string"));
        }
        let text = std::str::from_utf8(self.file.string(entry.index, 0)?);
        text.map(Some).map_err(|_| MetadataError::NotUtf8 { what: format!("metadata `{key}`") })
    }

    /// Reads an array of strings as bytes, since vocabularies hold entries that are not UTF-8;
    /// `None` if the file has no such key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::WrongType`].
    pub fn strings(self, key: &str) -> Result<Option<Vec<&'f [u8]>>, MetadataError> {
        let array = self.array(key, "an array of strings", |kind| kind == MetadataType::String)?;
        let Some(entry) = array else { return Ok(None) };
        let read = |j| Ok(self.file.string(entry.index, j)?);
        (0..entry.len).map(read).collect::<Result<_, _>>().map(Some)
    }

    /// Reads an array of integers; `None` if the file has no such key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::WrongType`] or [`MetadataError::OutOfRange`].
    pub fn i32s(self, key: &str) -> Result<Option<Vec<i32>>, MetadataError> {
        const WANTED: &str = "an array of 32-bit integers";
        let Some(entry) = self.array(key, WANTED, MetadataType::is_integer)? else {
            return Ok(None);
        };
        let read = |j| {
            let n = self.file.integer(entry.index, j)?;
            i32::try_from(n).map_err(|_| entry.out_of_range(WANTED, &n))
        };
        (0..entry.len).map(read).collect::<Result<_, _>>().map(Some)
    }

    /// Reads an array of floating-point numbers; `None` if the file has no such key.
    ///
    /// # Errors
    ///
    /// [`MetadataError::WrongType`].
    pub fn f32s(self, key: &str) -> Result<Option<Vec<f32>>, MetadataError> {
        let array = self.array(key, "an array of numbers", MetadataType::is_float)?;
        let Some(entry) = array else { return Ok(None) };
        #[expect(clippy::cast_possible_truncation, reason = "rounding is what an f32 of it means")]
        let read = |j| Ok(self.file.number(entry.index, j)? as f32);
        (0..entry.len).map(read).collect::<Result<_, _>>().map(Some)
    }

    /// Reads a scalar by `pick`: `None` is a wrong type, `Err` a value out of range.
    fn scalar<T>(
        self,
        key: &str,
        wanted: &'static str,
        pick: impl Fn(&MetadataValue) -> Option<Result<T, ()>>,
    ) -> Result<Option<T>, MetadataError> {
        let Some(entry) = self.get(key)? else { return Ok(None) };
        if entry.is_array {
            return Err(entry.wrong_type(wanted));
        }
        let value = entry.element(0)?;
        match pick(&value) {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(())) => Err(entry.out_of_range(wanted, &value)),
            None => Err(entry.wrong_type(wanted)),
        }
    }

    fn array(
        self,
        key: &str,
        wanted: &'static str,
        fits: impl Fn(MetadataType) -> bool,
    ) -> Result<Option<MetadataEntry<'f>>, MetadataError> {
        let Some(entry) = self.get(key)? else { return Ok(None) };
        if entry.is_array && (fits(entry.kind) || entry.len == 0) {
            Ok(Some(entry))
        } else {
            Err(entry.wrong_type(wanted))
        }
    }
}

impl<'f> MetadataEntry<'f> {
    fn new(file: &'f FileHandle, index: u64) -> Result<Self, MetadataError> {
        let raw = file.metadata(index)?;
        let kind = MetadataType::from_raw(raw.kind).ok_or_else(|| MetadataError::WrongType {
            key: String::from_utf8_lossy(raw.key).into_owned(),
            wanted: "a type that these bindings know",
            found: format!("type {}", raw.kind),
        })?;
        let (key, is_array, len) = (raw.key, raw.is_array, raw.len);
        Ok(Self { file, index, key, kind, is_array, len })
    }

    /// The key; bytes that are not UTF-8 read as U+FFFD.
    pub fn key(&self) -> std::borrow::Cow<'f, str> {
        String::from_utf8_lossy(self.key)
    }

    /// Type of the value, or of the elements of an array.
    pub fn kind(&self) -> MetadataType {
        self.kind
    }

    /// Whether the value is an array.
    pub fn is_array(&self) -> bool {
        self.is_array
    }

    /// Number of elements; 1 for a scalar.
    #[expect(clippy::len_without_is_empty, reason = "a count of elements, not a container")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Element `j` of an array; a scalar is element 0.
    ///
    /// # Errors
    ///
    /// [`MetadataError::Core`] if there is no such element.
    pub fn element(&self, j: u64) -> Result<MetadataValue, MetadataError> {
        use MetadataType as T;
        let (file, index) = (self.file, self.index);
        Ok(match self.kind {
            T::U8 | T::U16 | T::U32 | T::U64 => {
                // "u64 as its two's complement"
                MetadataValue::Unsigned(file.integer(index, j)?.cast_unsigned())
            }
            T::I8 | T::I16 | T::I32 | T::I64 => MetadataValue::Signed(file.integer(index, j)?),
            T::F32 | T::F64 => MetadataValue::Float(file.number(index, j)?),
            T::Bool => MetadataValue::Bool(file.integer(index, j)? != 0),
            T::String => {
                let bytes = file.string(index, j)?;
                MetadataValue::String(String::from_utf8_lossy(bytes).into_owned())
            }
        })
    }

    fn wrong_type(&self, wanted: &'static str) -> MetadataError {
        let found = match (self.is_array, self.kind) {
            (true, kind) => format!("an array of {} {kind}", self.len),
            (false, kind) => kind.to_string(),
        };
        MetadataError::WrongType { key: self.key().into_owned(), wanted, found }
    }

    fn out_of_range(&self, wanted: &'static str, found: &dyn fmt::Display) -> MetadataError {
        let found = found.to_string();
        MetadataError::OutOfRange { key: self.key().into_owned(), wanted, found }
    }
}

impl MetadataType {
    fn from_raw(kind: u32) -> Option<Self> {
        use powerinfer_sys as sys;
        Some(match kind {
            sys::PI_META_U8 => Self::U8,
            sys::PI_META_I8 => Self::I8,
            sys::PI_META_U16 => Self::U16,
            sys::PI_META_I16 => Self::I16,
            sys::PI_META_U32 => Self::U32,
            sys::PI_META_I32 => Self::I32,
            sys::PI_META_U64 => Self::U64,
            sys::PI_META_I64 => Self::I64,
            sys::PI_META_F32 => Self::F32,
            sys::PI_META_F64 => Self::F64,
            sys::PI_META_BOOL => Self::Bool,
            sys::PI_META_STRING => Self::String,
            _ => return None,
        })
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    fn is_integer(self) -> bool {
        !self.is_float() && !matches!(self, Self::Bool | Self::String)
    }
}

impl fmt::Display for MetadataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::String => "string",
        })
    }
}

impl fmt::Display for MetadataValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(n) => n.fmt(f),
            Self::Signed(n) => n.fmt(f),
            Self::Float(x) => x.fmt(f),
            Self::Bool(x) => x.fmt(f),
            Self::String(text) => f.write_str(text),
        }
    }
}
