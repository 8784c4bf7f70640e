//! The numbers behind a synthetic model: how weights are chosen so that activity is as asked.
//!
//! **Carrier.** The first 32 columns of the residual stream hold a constant: +c and -c in turn, so
//! that a layer norm's mean does not see them. The embedding puts them there, attention and
//! feed-forward write zeros there. A row reads a constant by holding +b and -b there: a bias of
//! 32 b c, which norms scale like everything else, so its sign against the rest never changes.
//! The other columns, the *body*, are random with deviation c in the embedding.
//!
//! **Tests.** The row that decides whether a neuron fires (gate; up where there is no gate) is
//! (s1 P[j1] + ... + s14 P[j14]) / 2 with random signs s and 14 of the J random sign rows P of
//! the layer, times a scale. Its product with the body is normal with a known deviation, so the
//! bias follows from the probability by the inverse normal distribution. Body entries of every
//! matrix of the file have the same distribution, Binomial(14, 1/2) - 7 times a scale per
//! tensor, and thus fit four bits exactly. P's rows have as many + as -: means cancel.
//!
//! **Predictor.** fc1 = [P; -P; carrier rows], fc2 = [s at j, -s at J + j; bias]. As
//! relu(z) - relu(-z) = z, its score is the test itself up to a positive factor.
//!
//! **Depth.** Branches add little to the residual, and how much is known beforehand; biases grow
//! with the deviation of the body at their layer.

use super::activity::{Activity, count, rectified_square};
use super::random::{BLOCK, Draws, Stream, TOSSES};
use super::spec::{Architecture, SyntheticSpec};

/// Positions of an OPT model that can be used; its table has two rows more.
pub(super) const OPT_POSITIONS: u32 = 2048;
/// Columns of the residual stream that hold the constant.
pub(super) const CARRIER: usize = BLOCK;

/// Projections behind the tests of a model without predictors have the rank of this predictor.
const DEFAULT_RANK: u32 = 512;
/// Variance that all attention branches together add to the body, at a context of one token.
const ATTENTION_GROWTH: f64 = 0.05;
/// Part of it that is expected: a long context averages values and adds less.
const EXPECTED_ATTENTION: f64 = 0.5;
/// Variance that all feed-forward branches together add to the body.
const FFN_GROWTH: f64 = 0.15;
/// Variance that learned positions add to the body.
const POSITION_GROWTH: f64 = 0.05;
/// Deviation of the logits: sharp enough that sampling has likely and unlikely tokens.
const LOGIT_DEVIATION: f64 = 2.0;
/// Deviation of the embedding where it is the output matrix too: logits of a token's own row are
/// dim times this, and must not dwarf everything.
const TIED_EMBEDDING: f64 = 0.125;
/// P(up > 0) where up has a ReLU too: most gates that open let something through.
const UP_PROBABILITY: f64 = 0.9;

/// Names of the random streams; a change of a number changes the files.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Embedding = 1,
    Position = 2,
    Output = 3,
    Query = 4,
    Key = 5,
    Value = 6,
    AttentionOutput = 7,
    Up = 8,
    Down = 9,
    Projection = 10,
    Mix = 11,
    Ranks = 12,
    Qkv = 13,
}

/// Probability of the condition beside the test that a neuron needs to fire.
pub(super) const fn second_condition(architecture: Architecture) -> f64 {
    match architecture {
        Architecture::Bamboo => UP_PROBABILITY,
        Architecture::Llama | Architecture::Falcon | Architecture::Opt => 1.0,
    }
}

/// Scales of one model.
#[derive(Debug)]
pub(super) struct Design {
    stream: Stream,
    pub(super) activity: Activity,
    /// Columns of the residual stream that are random.
    pub(super) body: usize,
    n_layers: usize,
    /// Hidden units of a predictor.
    rank: usize,
    is_parallel: bool,
    has_positions: bool,
    /// c: deviation of the embedding's body and size of the carrier.
    pub(super) carrier: f64,
    /// Scales of the integers in the matrices that have one scale.
    pub(super) embedding: f64,
    pub(super) position: f64,
    /// Rows with products of deviation 1 with a normed residual: query, key, value, up, tests.
    pub(super) unit: f64,
    pub(super) attention_output: f64,
    pub(super) down: f64,
    pub(super) output: f64,
    /// Carrier weight of up rows: a bias where up has a ReLU that is to open often.
    pub(super) up_carrier: f64,
}

impl Design {
    pub(super) fn new(spec: &SyntheticSpec) -> Self {
        let second = second_condition(spec.architecture);
        let hidden_dim = spec.shape.hidden_dim as usize;
        let activity = Activity::new(hidden_dim, spec.active_share, spec.skew, second);
        let (dim, n_layers) = (spec.shape.dim as usize, spec.shape.n_layers as usize);
        let body = dim - CARRIER;
        let is_tied = spec.architecture == Architecture::Opt;
        let carrier = if is_tied { TIED_EMBEDDING } else { 1.0 };
        let deviation = (count(TOSSES) / 4.0).sqrt();
        let unit = 1.0 / (deviation * count(body).sqrt());
        let up_offset = if second < 1.0 { super::activity::normal_quantile(second) } else { 0.0 };
        let per_layer = |growth: f64| (growth / count(n_layers)).sqrt() * carrier;
        Self {
            stream: Stream::new(spec.seed),
            body,
            n_layers,
            rank: spec.predictor_rank.unwrap_or(DEFAULT_RANK) as usize,
            is_parallel: spec.architecture == Architecture::Falcon,
            has_positions: spec.architecture == Architecture::Opt,
            carrier,
            embedding: carrier / deviation,
            position: carrier * POSITION_GROWTH.sqrt() / deviation,
            unit,
            attention_output: per_layer(ATTENTION_GROWTH) / (deviation * count(dim).sqrt()),
            down: per_layer(FFN_GROWTH)
                / (deviation * hidden_energy(&activity, spec.architecture, up_offset).sqrt()),
            output: LOGIT_DEVIATION * unit,
            up_carrier: up_offset / count(CARRIER),
            activity,
        }
    }

    /// The random stream of one tensor.
    pub(super) fn stream(&self, role: Role, layer: usize) -> Stream {
        self.stream.part(role as u64).part(layer as u64)
    }

    /// Deviation of the body that the tests of a layer see, relative to the carrier.
    fn body_deviation(&self, layer: usize) -> f64 {
        let n_attention = if self.is_parallel { layer } else { layer + 1 };
        let share = |n: usize| count(n) / count(self.n_layers);
        let attention = EXPECTED_ATTENTION * ATTENTION_GROWTH * share(n_attention);
        let position = if self.has_positions { POSITION_GROWTH } else { 0.0 };
        (1.0 + position + attention + FFN_GROWTH * share(layer)).sqrt()
    }
}

/// Sum over the neurons of a layer of the expected squared input of the down projection.
fn hidden_energy(activity: &Activity, architecture: Architecture, up_offset: f64) -> f64 {
    let tests: f64 = activity.offsets.iter().map(|&offset| rectified_square(offset)).sum();
    match architecture {
        Architecture::Bamboo => tests * rectified_square(up_offset),
        // up has mean 0 and variance 1, or there is none
        Architecture::Llama | Architecture::Falcon | Architecture::Opt => tests,
    }
}

/// What the tests and the predictor of one layer are made of.
#[derive(Debug)]
pub(super) struct LayerDesign {
    /// Projections of +1 and -1, one row of `body` after the other.
    projections: Vec<i8>,
    /// Number of projections.
    n_projections: usize,
    body: usize,
    mix: Stream,
    /// Rank of each neuron among the hot ones: 0 is hottest.
    pub(super) ranks: Vec<usize>,
    /// Deviation of the body at this layer over the carrier.
    deviation: f64,
}

impl LayerDesign {
    pub(super) fn new(design: &Design, layer: usize) -> Self {
        let n_projections = (design.rank - BLOCK) / 2;
        let stream = design.stream(Role::Projection, layer);
        let projections =
            (0..n_projections as u64).flat_map(|j| balanced_signs(stream.part(j), design.body));
        let mut ranks: Vec<usize> = (0..design.activity.probabilities.len()).collect();
        Draws::new(design.stream(Role::Ranks, layer)).shuffle(&mut ranks);
        Self {
            projections: projections.collect(),
            n_projections,
            body: design.body,
            mix: design.stream(Role::Mix, layer),
            ranks,
            deviation: design.body_deviation(layer),
        }
    }

    /// Hidden units of the predictor.
    pub(super) fn n_projections(&self) -> usize {
        self.n_projections
    }

    /// Signs of projection `j`.
    pub(super) fn projection(&self, j: usize) -> &[i8] {
        &self.projections[j * self.body..][..self.body]
    }

    /// The projections that the test of a neuron adds up, with their signs.
    pub(super) fn terms(&self, neuron: usize) -> [(usize, i8); TOSSES] {
        let mut draws = Draws::new(self.mix.part(neuron as u64));
        let mut terms = [(usize::MAX, 1); TOSSES];
        for i in 0..TOSSES {
            let mut j = draws.below(self.n_projections);
            while terms[..i].iter().any(|&(taken, _)| taken == j) {
                j = draws.below(self.n_projections);
            }
            terms[i] = (j, if draws.word() & 1 == 0 { 1 } else { -1 });
        }
        terms
    }

    /// Body of the test row of a neuron as integers, each -7..=7.
    pub(super) fn test_row(&self, neuron: usize, out: &mut [i8]) {
        out.fill(0);
        for (j, sign) in self.terms(neuron) {
            let signs = self.projection(j);
            if sign > 0 {
                out.iter_mut().zip(signs).for_each(|(sum, x)| *sum += x);
            } else {
                out.iter_mut().zip(signs).for_each(|(sum, x)| *sum -= x);
            }
        }
        // An even number of odd numbers: halving is exact.
        for sum in out {
            *sum /= 2;
        }
    }

    /// Bias that the test of a neuron needs, in units of the integers of its row times the carrier.
    pub(super) fn bias(&self, activity: &Activity, neuron: usize, test_row: &[i8]) -> f64 {
        let squares: i32 = test_row.iter().map(|&q| i32::from(q) * i32::from(q)).sum();
        activity.offsets[self.ranks[neuron]] * self.deviation * f64::from(squares).sqrt()
    }
}

/// Random signs, as many of the one as of the other. `n` is even.
fn balanced_signs(stream: Stream, n: usize) -> Vec<i8> {
    let mut signs: Vec<i8> = (0..n).map(|i| if i % 2 == 0 { 1 } else { -1 }).collect();
    Draws::new(stream).shuffle(&mut signs);
    signs
}
