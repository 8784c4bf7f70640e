//! Lays out a GGUF or PWRI container: header bytes, and where each tensor's data goes.
//!
//! The layout is complete before the first weight exists, so that tensors can be written in any
//! order and from several threads.

use std::collections::BTreeSet;

use super::error::ContainerError;
use crate::dtype::DType;

const VERSION: u32 = 3;
/// Default of the format; files that use it need no `general.alignment`.
const ALIGNMENT: u64 = 32;
/// Readers keep names in 64 bytes with a terminator.
const MAX_NAME_BYTES: usize = 63;
const MAX_DIMS: usize = 4;

/// First four bytes of a container; they choose the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Magic {
    /// Dense model.
    Gguf,
    /// Sparse model: transposed down projections, usually with predictors.
    Pwri,
}

/// A metadata value.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    U32(u32),
    F32(f32),
    String(&'a str),
    Strings(&'a [String]),
    F32s(&'a [f32]),
    I32s(&'a [i32]),
}

/// A tensor with its place in the file.
#[derive(Debug)]
pub(crate) struct TensorSlot {
    pub(crate) name: String,
    /// Row length first.
    pub(crate) ne: Vec<u64>,
    pub(crate) dtype: DType,
    /// From the start of the data section; `Layout::data_offset` is to be added.
    pub(crate) offset: u64,
    pub(crate) n_bytes: u64,
}

/// Collects metadata and tensors.
#[derive(Debug)]
pub(crate) struct Builder {
    magic: Magic,
    keys: BTreeSet<String>,
    metadata: Vec<u8>,
    names: BTreeSet<String>,
    tensors: Vec<TensorSlot>,
    data_bytes: u64,
}

/// A finished container: everything but the tensor data. Gaps between tensors are zero bytes.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Bytes from the start of the file to the data section, padding included.
    pub(crate) header: Vec<u8>,
    pub(crate) data_offset: u64,
    pub(crate) tensors: Vec<TensorSlot>,
    pub(crate) file_bytes: u64,
}

impl Builder {
    pub(crate) fn new(magic: Magic) -> Self {
        Self {
            magic,
            keys: BTreeSet::new(),
            metadata: Vec::new(),
            names: BTreeSet::new(),
            tensors: Vec::new(),
            data_bytes: 0,
        }
    }

    /// Appends a metadata value.
    pub(crate) fn metadata(&mut self, key: &str, value: &Value<'_>) -> Result<(), ContainerError> {
        if !self.keys.insert(key.to_owned()) {
            return Err(ContainerError::DuplicateKey(key.to_owned()));
        }
        push_string(&mut self.metadata, key);
        push_value(&mut self.metadata, value);
        Ok(())
    }

    /// Appends a tensor; its data follows that of the tensor before.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        ne: &[u64],
        dtype: DType,
    ) -> Result<(), ContainerError> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            let name = name.to_owned();
            return Err(ContainerError::TensorName { name, max: MAX_NAME_BYTES });
        }
        if !(1..=MAX_DIMS).contains(&ne.len()) || ne.contains(&0) {
            let name = name.to_owned();
            return Err(ContainerError::TensorShape { name, ne: ne.to_vec() });
        }
        if !ne[0].is_multiple_of(dtype.block_elements().into()) {
            let name = name.to_owned();
            return Err(ContainerError::RowLength { name, row: ne[0], dtype });
        }
        if !self.names.insert(name.to_owned()) {
            return Err(ContainerError::DuplicateTensor(name.to_owned()));
        }
        let too_large = || ContainerError::TooLarge(name.to_owned());
        let n_blocks = ne[0] / u64::from(dtype.block_elements());
        let n_bytes = ne[1..]
            .iter()
            .chain([&u64::from(dtype.block_bytes())])
            .try_fold(n_blocks, |product, &n| product.checked_mul(n))
            .ok_or_else(too_large)?;
        let offset = self.data_bytes;
        self.data_bytes = offset
            .checked_add(n_bytes)
            .and_then(|end| end.checked_next_multiple_of(ALIGNMENT))
            .ok_or_else(too_large)?;
        self.tensors.push(TensorSlot {
            name: name.to_owned(),
            ne: ne.to_vec(),
            dtype,
            offset,
            n_bytes,
        });
        Ok(())
    }

    /// Writes the header.
    pub(crate) fn finish(self) -> Result<Layout, ContainerError> {
        let mut header = Vec::with_capacity(self.metadata.len() + 64 * self.tensors.len() + 64);
        header.extend_from_slice(match self.magic {
            Magic::Gguf => b"GGUF",
            Magic::Pwri => b"PWRI",
        });
        header.extend_from_slice(&VERSION.to_le_bytes());
        push_len(&mut header, self.tensors.len());
        push_len(&mut header, self.keys.len());
        header.extend_from_slice(&self.metadata);
        for tensor in &self.tensors {
            push_string(&mut header, &tensor.name);
            push_u32(&mut header, u32::try_from(tensor.ne.len()).expect("at most 4 dimensions"));
            tensor.ne.iter().for_each(|n| header.extend_from_slice(&n.to_le_bytes()));
            push_u32(&mut header, tensor.dtype.id());
            header.extend_from_slice(&tensor.offset.to_le_bytes());
        }
        let alignment = usize::try_from(ALIGNMENT).expect("a small constant");
        header.resize(header.len().next_multiple_of(alignment), 0);
        let data_offset = header.len() as u64;
        let file_bytes = data_offset.checked_add(self.data_bytes).ok_or_else(|| {
            ContainerError::TooLarge(
                self.tensors.last().map_or_else(String::new, |t| t.name.clone()),
            )
        })?;
        Ok(Layout { header, data_offset, tensors: self.tensors, file_bytes })
    }
}

fn push_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_len(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&(n as u64).to_le_bytes());
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    push_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Value type ids of the format.
mod type_id {
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const STRING: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
}

fn push_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::U32(x) => {
            push_u32(out, type_id::U32);
            push_u32(out, *x);
        }
        Value::F32(x) => {
            push_u32(out, type_id::F32);
            out.extend_from_slice(&x.to_le_bytes());
        }
        Value::String(text) => {
            push_u32(out, type_id::STRING);
            push_string(out, text);
        }
        Value::Strings(texts) => {
            push_array(out, type_id::STRING, texts, |out, text| push_string(out, text));
        }
        Value::F32s(xs) => {
            push_array(out, type_id::F32, xs, |out, x| out.extend_from_slice(&x.to_le_bytes()));
        }
        Value::I32s(xs) => {
            push_array(out, type_id::I32, xs, |out, x| out.extend_from_slice(&x.to_le_bytes()));
        }
    }
}

fn push_array<T>(out: &mut Vec<u8>, element: u32, items: &[T], push: impl Fn(&mut Vec<u8>, &T)) {
    push_u32(out, type_id::ARRAY);
    push_u32(out, element);
    push_len(out, items.len());
    for item in items {
        push(out, item);
    }
}

#[cfg(test)]
mod tests {
    use super::super::WeightType::{F16, F32, Q4_0};
    use super::*;

    fn builder() -> Builder {
        Builder::new(Magic::Gguf)
    }

    #[test]
    fn tensors_start_at_aligned_offsets_and_do_not_overlap() {
        let mut b = builder();
        b.metadata("general.name", &Value::String("x")).unwrap();
        b.tensor("a", &[3], F32.dtype()).unwrap();
        b.tensor("b", &[32, 3], Q4_0.dtype()).unwrap();
        b.tensor("c", &[2, 2, 2], F16.dtype()).unwrap();
        let layout = b.finish().unwrap();
        let places: Vec<_> = layout.tensors.iter().map(|t| (t.offset, t.n_bytes)).collect();
        assert_eq!(places, [(0, 12), (32, 54), (96, 16)], "offset and size of a, b and c");
        assert_eq!(layout.data_offset % ALIGNMENT, 0, "data section is aligned");
        assert_eq!(layout.file_bytes, layout.data_offset + 128, "the last tensor is padded too");
        assert_eq!(&layout.header[..8], b"GGUF\x03\0\0\0", "magic and version");
    }

    #[test]
    fn broken_rules_are_distinct_errors() {
        use ContainerError as E;
        let mut b = builder();
        b.metadata("k", &Value::U32(1)).unwrap();
        assert!(matches!(b.metadata("k", &Value::U32(2)), Err(E::DuplicateKey(_))), "key twice");
        b.tensor("t", &[32], F32.dtype()).unwrap();
        let long = "n".repeat(MAX_NAME_BYTES + 1);
        assert!(matches!(b.tensor("t", &[1], F32.dtype()), Err(E::DuplicateTensor(_))), "twice");
        assert!(matches!(b.tensor("", &[1], F32.dtype()), Err(E::TensorName { .. })), "no name");
        assert!(matches!(b.tensor(&long, &[1], F32.dtype()), Err(E::TensorName { .. })), "long");
        for ne in [&[][..], &[0], &[4, 0], &[1; 5]] {
            let refused = b.tensor("shape", ne, F32.dtype());
            assert!(matches!(refused, Err(E::TensorShape { .. })), "shape {ne:?}");
        }
        assert!(
            matches!(b.tensor("r", &[33], Q4_0.dtype()), Err(E::RowLength { .. })),
            "33 in q4_0"
        );
        let huge = b.tensor("h", &[u64::MAX, 2], F16.dtype());
        assert!(matches!(huge, Err(E::TooLarge(_))), "overflow");
    }
}
