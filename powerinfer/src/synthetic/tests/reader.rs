//! Reads a file back through the core, into float64 matrices.

use std::collections::HashMap;

use crate::GgufFile;

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

/// A whole file in memory.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) file: GgufFile,
    pub(super) tensors: HashMap<String, Matrix>,
    /// Type names by tensor name.
    pub(super) dtypes: HashMap<String, &'static str>,
}

impl Weights {
    pub(super) fn integer(&self, key: &str) -> usize {
        let value = self.file.metadata().u32(key).unwrap();
        value.unwrap_or_else(|| panic!("no {key}")).try_into().unwrap()
    }

    pub(super) fn tensor(&self, name: &str) -> &Matrix {
        self.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub(super) fn read(bytes: &[u8]) -> Self {
        let file = GgufFile::from_bytes(bytes).unwrap();
        let (mut tensors, mut dtypes) = (HashMap::new(), HashMap::new());
        for info in file.tensors() {
            let info = info.unwrap();
            let [n_cols, n_rows] = [&info.shape[..1], &info.shape[1..]]
                .map(|ne| usize::try_from(ne.iter().product::<u64>()).unwrap());
            let at = usize::try_from(info.offset).unwrap();
            let data = &bytes[at..at + usize::try_from(info.bytes).unwrap()];
            let floats = info.dtype.dequantize_row(data, n_cols * n_rows).unwrap();
            let values = floats.into_iter().map(f64::from).collect();
            tensors.insert(info.name.clone(), Matrix { n_rows, n_cols, values });
            dtypes.insert(info.name, info.dtype.name());
        }
        Self { file, tensors, dtypes }
    }
}
