//! Fills the rows of tensors, before their element type matters.

use super::activity::count;
use super::design::{CARRIER, Design, LayerDesign, Role};
use super::plan::Fill;
use super::random::{BLOCK, Stream, TOSSES};

/// Integer that stands for a block's constant; a power of two, so that 1.0 stays exactly 1.0.
const CONSTANT: i8 = 4;

/// A row as integers -7..=7 and one scale per 32 of them.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) values: Vec<i8>,
    /// Representable as half floats, so that all element types hold the same numbers.
    pub(super) scales: Vec<f32>,
}

impl Row {
    fn zeros(n: usize) -> Self {
        Self { values: vec![0; n], scales: vec![0.0; n / BLOCK] }
    }

    fn set_scale(&mut self, blocks: std::ops::Range<usize>, scale: f64) {
        self.scales[blocks].fill(half::f16::from_f64(scale).to_f32());
    }

    /// Makes all elements of some blocks `value`.
    fn set_constant(&mut self, blocks: std::ops::Range<usize>, value: f64) {
        self.values[blocks.start * BLOCK..blocks.end * BLOCK].fill(CONSTANT);
        self.set_scale(blocks, value / f64::from(CONSTANT));
    }

    /// Puts +value and -value in turn into the columns of the carrier.
    fn set_carrier(&mut self, value: f64) {
        for (i, x) in self.values[..CARRIER].iter_mut().enumerate() {
            *x = if i % 2 == 0 { CONSTANT } else { -CONSTANT };
        }
        self.set_scale(0..CARRIER / BLOCK, value / f64::from(CONSTANT));
    }

    /// Random integers from block `first` on; block `i` is always block `i` of the stream.
    fn set_random(&mut self, first: usize, stream: Stream, scale: f64) {
        for (i, block) in self.values.chunks_exact_mut(BLOCK).enumerate().skip(first) {
            stream.binomial_block(i as u64, block);
        }
        self.set_scale(first..self.scales.len(), scale);
    }
}

/// Gives the rows of one tensor in order, starting anywhere.
#[derive(Debug)]
pub(super) struct RowSource<'a> {
    fill: Fill,
    design: &'a Design,
    /// Of the tensor's layer; tensors outside of layers do not look at it.
    layer: Option<(usize, &'a LayerDesign)>,
    row: Row,
    /// The 32 rows around the current one of a transposed matrix, and the first row's number.
    tile: Vec<i8>,
    tile_start: Option<usize>,
}

impl<'a> RowSource<'a> {
    /// Rows of `n` elements.
    pub(super) fn new(
        fill: Fill,
        n: usize,
        design: &'a Design,
        layer: Option<(usize, &'a LayerDesign)>,
    ) -> Self {
        Self { fill, design, layer, row: Row::zeros(n), tile: Vec::new(), tile_start: None }
    }

    /// Row `i` of the tensor.
    pub(super) fn row(&mut self, i: usize) -> &Row {
        match self.fill {
            Fill::Constant(value) => self.row.set_constant(0..self.row.scales.len(), value),
            Fill::Body { role, carrier, scale } => {
                let stream = self.stream(role).part(i as u64);
                self.row.set_carrier(carrier);
                self.row.set_random(CARRIER / BLOCK, stream, scale);
            }
            Fill::AttentionOutput { scale } => {
                let stream = self.stream(Role::AttentionOutput).part(i as u64);
                self.row.set_random(0, stream, if i < CARRIER { 0.0 } else { scale });
            }
            Fill::DownTransposed { scale } => self.down_transposed(i, scale),
            Fill::Test => self.test(i),
            Fill::PredictorIn => self.predictor_in(i),
            Fill::PredictorOut => self.predictor_out(i),
        }
        &self.row
    }

    fn stream(&self, role: Role) -> Stream {
        self.design.stream(role, self.layer.map_or(0, |(index, _)| index))
    }

    fn layer_design(&self) -> &'a LayerDesign {
        self.layer.expect("tests and predictors belong to a layer").1
    }

    fn test(&mut self, neuron: usize) {
        let (layer, scale) = (self.layer_design(), self.design.unit);
        layer.test_row(neuron, &mut self.row.values[CARRIER..]);
        let bias = layer.bias(&self.design.activity, neuron, &self.row.values[CARRIER..]);
        self.row.set_carrier(scale * bias / count(CARRIER));
        self.row.set_scale(CARRIER / BLOCK..self.row.scales.len(), scale);
    }

    fn predictor_in(&mut self, unit: usize) {
        let layer = self.layer_design();
        let (n, carrier) = (layer.n_projections(), self.design.carrier);
        let body = &mut self.row.values[CARRIER..];
        let (bias, scale) = if unit < 2 * n {
            let sign = if unit < n { 1 } else { -1 };
            let signs = layer.projection(unit % n);
            body.iter_mut().zip(signs).for_each(|(x, s)| *x = sign * s);
            (0.0, 1.0 / (count(self.design.body).sqrt() * carrier))
        } else {
            body.fill(0);
            // This unit is 1 for every token.
            (1.0 / (count(CARRIER) * carrier), 0.0)
        };
        self.row.set_carrier(bias);
        self.row.set_scale(CARRIER / BLOCK..self.row.scales.len(), scale);
    }

    fn predictor_out(&mut self, neuron: usize) {
        let layer = self.layer_design();
        let n = layer.n_projections();
        let mut test_row = vec![0; self.design.body];
        layer.test_row(neuron, &mut test_row);
        let bias = layer.bias(&self.design.activity, neuron, &test_row);
        self.row.values.fill(0);
        for (j, sign) in layer.terms(neuron) {
            self.row.values[j] = sign;
            self.row.values[n + j] = -sign;
        }
        let scale = 1.0 / count(TOSSES).sqrt();
        let n_blocks = self.row.scales.len();
        self.row.set_scale(0..n_blocks - 1, scale);
        // The hidden units hold twice the test's integers over the deviation of a projection.
        let bias = 2.0 * scale * bias / count(self.design.body).sqrt();
        self.row.set_constant(n_blocks - 1..n_blocks, bias / count(BLOCK));
    }

    fn down_transposed(&mut self, i: usize, scale: f64) {
        let start = i / BLOCK * BLOCK;
        if self.tile_start != Some(start) {
            self.load_tile(start);
        }
        let n = self.row.values.len();
        self.row.values.copy_from_slice(&self.tile[(i - start) * n..][..n]);
        let n_blocks = self.row.scales.len();
        self.row.set_scale(0..n_blocks, if i < CARRIER { 0.0 } else { scale });
    }

    /// Collects 32 columns of the matrix that `Fill::Body` describes for `Role::Down`.
    fn load_tile(&mut self, start: usize) {
        let (stream, n) = (self.stream(Role::Down), self.row.values.len());
        self.tile.resize(BLOCK * n, 0);
        let mut block = [0; BLOCK];
        for neuron in 0..n {
            stream.part(neuron as u64).binomial_block((start / BLOCK) as u64, &mut block);
            for (column, &value) in block.iter().enumerate() {
                self.tile[column * n + neuron] = value;
            }
        }
        self.tile_start = Some(start);
    }
}
