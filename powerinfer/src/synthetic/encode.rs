//! Writes rows of small integers in the element type of their tensor.
//!
//! Integers of -7..=7 with a scale per 32 *are* blocks of the simple types: nothing is rounded
//! but the product in half floats. Super-blocks have scales of scales and go through the
//! quantiser of the native core.

use super::error::SyntheticError;
use super::random::BLOCK;
use super::rows::Row;
use super::weight_type::WeightType;
use crate::dtype::DType;

/// Encoder of the rows of one tensor.
pub(super) struct Encoder<'a> {
    tensor: &'a str,
    kind: WeightType,
    dtype: DType,
    floats: Vec<f32>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(tensor: &'a str, kind: WeightType) -> Self {
        Self { tensor, kind, dtype: kind.dtype(), floats: Vec::new() }
    }

    /// Appends a row.
    pub(super) fn push(&mut self, row: &Row, out: &mut Vec<u8>) -> Result<(), SyntheticError> {
        use WeightType as W;
        match self.kind {
            W::F32 => push_floats(row, out, f32::to_le_bytes),
            W::F16 => push_floats(row, out, |x| half::f16::from_f32(x).to_le_bytes()),
            W::Bf16 => push_floats(row, out, |x| half::bf16::from_f32(x).to_le_bytes()),
            W::Q4_0 => push_blocks(row, out, push_q4_0),
            W::Q5_0 => push_blocks(row, out, push_q5_0),
            W::Q8_0 => push_blocks(row, out, |values, out| {
                out.extend(values.iter().map(|q| q.cast_unsigned()));
            }),
            W::Q4K | W::Q5K | W::Q6K => self.quantize(row, out)?,
        }
        Ok(())
    }

    fn quantize(&mut self, row: &Row, out: &mut Vec<u8>) -> Result<(), SyntheticError> {
        self.floats.clear();
        for (block, scale) in row.values.chunks_exact(BLOCK).zip(&row.scales) {
            self.floats.extend(block.iter().map(|&q| f32::from(q) * scale));
        }
        let failed = |source| SyntheticError::Quantize { tensor: self.tensor.to_owned(), source };
        out.extend_from_slice(&self.dtype.quantize_row(&self.floats).map_err(failed)?);
        Ok(())
    }
}

/// Appends floats; the few different values of a block are converted once per scale.
fn push_floats<const N: usize>(row: &Row, out: &mut Vec<u8>, convert: impl Fn(f32) -> [u8; N]) {
    const OFFSET: i8 = 7;
    let mut table = [[0; N]; 15];
    let mut table_scale = None;
    for (block, &scale) in row.values.chunks_exact(BLOCK).zip(&row.scales) {
        if table_scale != Some(scale) {
            table = std::array::from_fn(|i| {
                let value = i8::try_from(i).expect("15 values") - OFFSET;
                convert(f32::from(value) * scale)
            });
            table_scale = Some(scale);
        }
        for &value in block {
            out.extend_from_slice(&table[usize::from((value + OFFSET).cast_unsigned())]);
        }
    }
}

/// Appends blocks of a half-float scale and packed integers.
fn push_blocks(row: &Row, out: &mut Vec<u8>, pack: impl Fn(&[i8], &mut Vec<u8>)) {
    for (block, &scale) in row.values.chunks_exact(BLOCK).zip(&row.scales) {
        out.extend_from_slice(&half::f16::from_f32(scale).to_le_bytes());
        pack(block, out);
    }
}

/// 16 bytes: element j in the low, element j + 16 in the high half of byte j, each plus 8.
fn push_q4_0(values: &[i8], out: &mut Vec<u8>) {
    let (low, high) = values.split_at(BLOCK / 2);
    let packed: [u8; BLOCK / 2] = std::array::from_fn(|j| {
        (low[j] + 8).cast_unsigned() | ((high[j] + 8).cast_unsigned() << 4)
    });
    out.extend_from_slice(&packed);
}

/// 4 bytes with the fifth bit of each element plus 16, then the low four bits as in `q4_0`.
fn push_q5_0(values: &[i8], out: &mut Vec<u8>) {
    let code = |j: usize| (values[j] + 16).cast_unsigned();
    let fifth = (0..BLOCK).fold(0_u32, |bits, j| bits | (u32::from(code(j) >> 4) << j));
    out.extend_from_slice(&fifth.to_le_bytes());
    out.extend((0..BLOCK / 2).map(|j| (code(j) & 15) | ((code(j + BLOCK / 2) & 15) << 4)));
}
