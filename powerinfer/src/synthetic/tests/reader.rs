//! Reads a container back into float64 matrices, independently of the writer.

use std::collections::HashMap;

/// A row-major matrix.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    pub(super) values: Vec<f64>,
}

impl Matrix {
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.n_cols..][..self.n_cols]
    }

    /// The products of all rows with a vector.
    pub(super) fn times(&self, x: &[f64]) -> Vec<f64> {
        (0..self.n_rows).map(|i| dot(self.row(i), x)).collect()
    }

    pub(super) fn transposed(&self) -> Self {
        let at = |i: usize| self.values[i % self.n_rows * self.n_cols + i / self.n_rows];
        let values = (0..self.values.len()).map(at).collect();
        Self { n_rows: self.n_cols, n_cols: self.n_rows, values }
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "lengths of a dot product");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A metadata value; arrays of integers are not told apart by width.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meta {
    Integer(i64),
    Number(f32),
    Text(String),
    Array(Vec<Meta>),
}

/// A whole file in memory.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) magic: [u8; 4],
    pub(super) metadata: HashMap<String, Meta>,
    pub(super) tensors: HashMap<String, Matrix>,
    /// Type ids by tensor name.
    pub(super) dtypes: HashMap<String, u32>,
}

impl Model {
    pub(super) fn integer(&self, key: &str) -> usize {
        match self.metadata.get(key) {
            Some(Meta::Integer(value)) => usize::try_from(*value).unwrap(),
            other => panic!("{key} is {other:?}"),
        }
    }

    pub(super) fn array(&self, key: &str) -> &[Meta] {
        match self.metadata.get(key) {
            Some(Meta::Array(items)) => items,
            other => panic!("{key} is {other:?}"),
        }
    }

    pub(super) fn tensor(&self, name: &str) -> &Matrix {
        self.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut cursor = Cursor { bytes, at: 0 };
        let magic = cursor.take(4).try_into().unwrap();
        assert_eq!(cursor.u32(), 3, "version");
        let (n_tensors, n_metadata) = (cursor.len(), cursor.len());
        let mut metadata = HashMap::new();
        for _ in 0..n_metadata {
            let key = cursor.string();
            let type_id = cursor.u32();
            let value = cursor.value(type_id);
            assert!(metadata.insert(key, value).is_none(), "a key is there twice");
        }
        let infos: Vec<_> = (0..n_tensors).map(|_| cursor.info()).collect();
        let data = cursor.at.next_multiple_of(32);
        let mut model = Self { magic, metadata, tensors: HashMap::new(), dtypes: HashMap::new() };
        for (name, ne, dtype, offset) in infos {
            assert_eq!(offset % 32, 0, "{name} is aligned");
            let (n_cols, n_rows) = (ne[0], ne[1..].iter().product());
            let values = decode(dtype, &bytes[data + offset..], n_cols * n_rows);
            model.tensors.insert(name.clone(), Matrix { n_rows, n_cols, values });
            model.dtypes.insert(name, dtype);
        }
        assert_eq!(model.tensors.len(), n_tensors, "names are distinct");
        model
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, n: usize) -> &[u8] {
        self.at += n;
        &self.bytes[self.at - n..self.at]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn len(&mut self) -> usize {
        usize::try_from(u64::from_le_bytes(self.take(8).try_into().unwrap())).unwrap()
    }

    fn string(&mut self) -> String {
        let n = self.len();
        String::from_utf8(self.take(n).to_vec()).unwrap()
    }

    fn value(&mut self, type_id: u32) -> Meta {
        match type_id {
            4 => Meta::Integer(self.u32().into()),
            5 => Meta::Integer(self.u32().cast_signed().into()),
            6 => Meta::Number(f32::from_bits(self.u32())),
            8 => Meta::Text(self.string()),
            9 => {
                let (element, n) = (self.u32(), self.len());
                Meta::Array((0..n).map(|_| self.value(element)).collect())
            }
            other => panic!("value type {other}"),
        }
    }

    fn info(&mut self) -> (String, Vec<usize>, u32, usize) {
        let name = self.string();
        let n_dims = self.u32();
        let ne = (0..n_dims).map(|_| self.len()).collect();
        (name, ne, self.u32(), self.len())
    }
}

/// Floats from the blocks of a type, after the format's description.
fn decode(dtype: u32, bytes: &[u8], n: usize) -> Vec<f64> {
    let half = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f64();
    let nibble = |qs: &[u8], j: usize| if j < 16 { qs[j] & 15 } else { qs[j - 16] >> 4 };
    let blocks = |size: usize| bytes.chunks_exact(size).take(n / 32);
    match dtype {
        0 => bytes[..4 * n]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()).into())
            .collect(),
        1 => bytes[..2 * n].chunks_exact(2).map(half).collect(),
        30 => bytes[..2 * n]
            .chunks_exact(2)
            .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f64())
            .collect(),
        2 => blocks(18)
            .flat_map(|b| (0..32).map(move |j| half(b) * (f64::from(nibble(&b[2..], j)) - 8.0)))
            .collect(),
        6 => blocks(22)
            .flat_map(|b| {
                let fifth = u32::from_le_bytes(b[2..6].try_into().unwrap());
                (0..32).map(move |j| {
                    let code = u32::from(nibble(&b[6..], j)) | ((fifth >> j & 1) << 4);
                    half(b) * (f64::from(code) - 16.0)
                })
            })
            .collect(),
        8 => blocks(34)
            .flat_map(|b| (0..32).map(move |j| half(b) * f64::from(b[2 + j].cast_signed())))
            .collect(),
        other => panic!("tensor type {other}"),
    }
}
